//! The script is the pure model: the same answers and the same stored state, on histories nobody thought of.

use harness::{
    eventually,
    redis::{Redis, patient_link},
};
use ids::{ClientId, TenantId};
use limits::{
    Rate,
    budget::{Budget, Window},
    shared::{self, Ask, Floor, Of, Stored},
};
use proptest::{prelude::*, test_runner::TestRunner};
use redis_link::{
    Link,
    counters::{Counter, CounterKey, Counters, Refund, Subject},
    redis::cmd,
};

fn key(number: u8, counter: Counter) -> CounterKey {
    let subject = Subject::Client(ClientId::from_parts(1, [number; 10]));
    CounterKey { tenant: TenantId::from_parts(1, [9; 10]), subject, counter }
}

async fn started() -> (Redis, Link) {
    let redis = Redis::start();
    let (link, keeper) = patient_link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || link.is_up()).await;
    (redis, link)
}

async fn stored(link: &Link, key: CounterKey) -> Option<Stored> {
    let text: Option<String> = link.call(cmd("GET").arg(key.to_string())).await.unwrap();
    text.map(|text| {
        let (tat, latest) = text.split_once(' ').unwrap();
        let (micros, nanos) = tat.split_once(':').unwrap();
        let number = |text: &str| text.parse::<u64>().unwrap();
        Stored { value: number(micros) * 1_000 + number(nanos), latest: number(latest) }
    })
}

/// One step of a history: what is asked of each of three buckets (0 units of cost: not asked at all), and what happens
/// before.
#[derive(Debug, Clone)]
struct Turn {
    asks: [(u32, u32, u32); 3],
    floor: Option<u64>,
    event: u8,
}

fn turns() -> impl Strategy<Value = ([Rate; 3], Vec<Turn>)> {
    let rate = (prop_oneof![0u32..3, 1u32..5_000, 1u32..50_000_000], prop_oneof![1u32..8, 1u32..50_000_000]);
    let rate = rate.prop_map(|(per_minute, burst)| Rate { per_minute, burst }.storable());
    let units = prop_oneof![0u32..6, 0u32..100_000];
    let ask = (units, prop_oneof![Just(0u32), 0u32..50], prop_oneof![4 => Just(0u32), 1 => 0u32..9]);
    let turn = (prop::array::uniform3(ask), prop::option::of(0u64..90_000_000_000), 0u8..24);
    let turn = turn.prop_map(|(asks, floor, event)| Turn { asks, floor, event });
    (prop::array::uniform3(rate), prop::collection::vec(turn, 1..30))
}

/// Plays a history; before each turn the model starts from what the store holds, so that a difference is where it arises.
async fn play(link: &Link, counters: &Counters, rates: [Rate; 3], turns: Vec<Turn>) {
    link.call::<()>(&cmd("FLUSHALL")).await.unwrap();
    let names = [0, 1, 2].map(|number| key(number, Counter::Calls));
    for turn in turns {
        match turn.event {
            0 => link.call::<()>(cmd("SCRIPT").arg("FLUSH")).await.unwrap(),
            1 => link.call::<()>(cmd("DEL").arg(names[0].to_string())).await.unwrap(),
            2 => step_back(link, names[1]).await,
            _ => {}
        }
        let (mut wanted, mut held) = (Vec::new(), Vec::new());
        for (place, (cost, extra, debt)) in
            turn.asks.into_iter().enumerate().filter(|(_, ask)| ask.0 + ask.1 > 0)
        {
            let before = stored(link, names[place]).await;
            let rate = rates[place];
            // A floor is for what was lost; with a counter that may run out this moment it would depend on the moment.
            let floor = turn.floor.filter(|_| before.is_none()).map(|floor| floor.min(rate.horizon_nanos()));
            let floor = floor.map(|least| Floor { window: 0, least });
            wanted.push((
                names[place],
                Ask { of: Of::Rate(rate), cost, extra, debt: i64::from(debt.min(rate.burst)), floor },
            ));
            held.push(before);
        }
        if wanted.is_empty() {
            continue;
        }
        let (seconds, micros): (u64, u64) = link.call(&cmd("TIME")).await.unwrap();
        let server = seconds * 1_000_000 + micros;
        let answer = counters.reserve(&wanted).await.unwrap();
        // The time is not ours to choose, but the answer says which it was.
        let micros = answer.readings.iter().map(|reading| reading.now).min().unwrap();
        let asks: Vec<_> = wanted.iter().map(|(_, ask)| *ask).collect();
        let (result, readings) = shared::reserve(&asks, &mut held, micros);
        assert_eq!(answer.refused, result.err(), "{asks:?}");
        assert_eq!(answer.readings.as_slice(), readings.as_slice(), "{asks:?}");
        for ((name, ask), model) in wanted.iter().zip(held) {
            if result.is_ok() || ask.debt != 0 {
                assert_eq!(stored(link, *name).await, model, "{asks:?}");
                let life: u64 = link.call(cmd("PTTL").arg(name.to_string())).await.unwrap();
                let behind = model.map_or(0, |held| held.latest.saturating_sub(server)) / 1_000;
                let most = behind + horizon(ask) / 1_000_000 + 1_002;
                assert!(life <= most, "{life} ms for a bucket that is full in {most}");
            }
        }
        if let (Ok(()), Some((name, ask))) = (result, wanted.first().filter(|_| turn.event > 16)) {
            give_back(link, counters, *name, *ask, answer.readings[0].moment(ask.of)).await;
        }
    }
}

fn horizon(ask: &Ask) -> u64 {
    let Of::Rate(rate) = ask.of else { panic!("only rates are asked here") };
    rate.horizon_nanos()
}

/// As if an earlier take had seen a later time than the server shows now.
async fn step_back(link: &Link, name: CounterKey) {
    if let Some(Stored { value: tat, latest }) = stored(link, name).await {
        let (tat, latest) = (tat + 5_000_000_000, latest + 5_000_000);
        let text = format!("{}:{} {latest}", tat / 1_000, tat % 1_000);
        link.call::<()>(cmd("SET").arg(name.to_string()).arg(text).arg("PX").arg(600_000)).await.unwrap();
    }
}

async fn give_back(link: &Link, counters: &Counters, name: CounterKey, ask: Ask, tat: u64) {
    let Some(mut model) = stored(link, name).await else { return };
    let refund = Refund { key: name, of: ask.of, units: ask.cost, moment: tat };
    assert!(counters.refund(None, &[refund]).await.unwrap());
    let after = stored(link, name).await.expect("a refund forgets nothing");
    shared::refund(ask.of, ask.cost, tat, &mut model, after.latest);
    assert_eq!(after, model);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_is_the_model() {
    let (_redis, link) = started().await;
    let counters = Counters::new(link.clone());
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let mut runner = TestRunner::new(ProptestConfig { cases: 150, ..ProptestConfig::default() });
        runner.run(&turns(), |(rates, turns)| {
            handle.block_on(play(&link, &counters, rates, turns));
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refused_call_is_charged_as_a_request_or_keeps_what_it_took() {
    let (_redis, link) = started().await;
    let counters = Counters::new(link.clone());
    let rate = Rate { per_minute: 1, burst: 2 };
    let (calls, protocol) = (key(1, Counter::Calls), key(1, Counter::Protocol));
    let of = Of::Rate(rate);
    let ask = Ask { of, cost: 1, extra: 0, debt: 0, floor: None };
    let take = async || counters.reserve(&[(calls, ask)]).await.unwrap();
    for expected in [true, true, false] {
        let taken = take().await;
        assert_eq!(taken.refused, None, "what was given back is there again");
        let refund = Refund { key: calls, of, units: 1, moment: taken.readings[0].moment(of) };
        assert_eq!(counters.refund(Some((protocol, rate)), &[refund]).await.unwrap(), expected);
    }
    assert_eq!(take().await.refused, None);
    assert_eq!(take().await.refused, Some(0), "the third kept what it took");
}

#[tokio::test]
async fn a_budget_is_the_model_too() {
    let (_redis, link) = started().await;
    let counters = Counters::new(link.clone());
    for (counter, window) in [(Counter::Day, Window::Day), (Counter::Month, Window::Month)] {
        let budget = Budget { window, units: 100 };
        let (name, of) = (key(1, counter), Of::Budget(budget));
        let mut model = [None];
        for turn in 0..60u32 {
            let known = model[0].map_or(0, |held: Stored| held.latest);
            if turn % 20 == 19 {
                link.call::<()>(cmd("DEL").arg(name.to_string())).await.unwrap();
                model = [None];
            }
            let floor = (turn % 3 == 0).then_some(Floor { window: known, least: u64::from(turn) });
            let debt = i64::from(turn % 7) - 3;
            let ask = Ask { of, cost: turn % 5, extra: turn % 4, debt, floor };
            let before = now_of(&link).await;
            let answer = counters.reserve(&[(name, ask)]).await.unwrap();
            // Around midnight the two moments may differ; the answer says which it was.
            let after = now_of(&link).await;
            let at = if window.number(before) == answer.readings[0].now { before } else { after };
            let (result, readings) = shared::reserve(&[ask], &mut model, at * 1_000_000);
            assert_eq!(
                (answer.refused, answer.readings.as_slice()),
                (result.err(), readings.as_slice()),
                "{ask:?}"
            );
            if answer.refused.is_none() && turn % 6 == 0 {
                let moment = answer.readings[0].moment(of);
                let back = Refund { key: name, of, units: ask.cost, moment };
                assert!(counters.refund(None, &[back]).await.unwrap());
                shared::refund(of, ask.cost, moment, model[0].as_mut().unwrap(), at * 1_000_000);
            }
            if let Some(held) = model[0] {
                let text: String = link.call(cmd("GET").arg(name.to_string())).await.unwrap();
                assert_eq!(text, format!("{} {}", held.latest, held.value));
            }
        }
    }
}

async fn now_of(link: &Link) -> u64 {
    let (seconds, _micros): (u64, u64) = link.call(&cmd("TIME")).await.unwrap();
    seconds
}

#[tokio::test]
async fn proxies_that_live_are_counted() {
    let (_redis, link) = started().await;
    let counters = Counters::new(link.clone());
    for (name, count) in [("a", 1), ("b", 2), ("a", 2), ("c", 3)] {
        assert_eq!(counters.alive("shared", name).await.unwrap(), count);
    }
    assert_eq!(counters.alive("other", "a").await.unwrap(), 1);
    // One that has not been heard of for a minute.
    link.call::<()>(cmd("ZADD").arg("pc:live:shared").arg(1).arg("b")).await.unwrap();
    assert_eq!(counters.alive("shared", "a").await.unwrap(), 2);
}
