use proptest::prelude::*;

use super::*;
use Priority::{Protocol, Read, Write};

const LIMITS: Limits = Limits { max: 2, queue: 3, wait: Duration::from_secs(5), adaptive: false };

fn gate() -> Arc<Gate> {
    Arc::default()
}

fn enter(gate: &Arc<Gate>, priority: Priority) -> Place {
    match gate.enter(LIMITS, priority) {
        Ok(Entry::In(place)) => place,
        other => panic!("{other:?}"),
    }
}

fn wait(gate: &Arc<Gate>, priority: Priority) -> Waiting {
    match gate.enter(LIMITS, priority) {
        Ok(Entry::Waits(waiting)) => waiting,
        other => panic!("{other:?}"),
    }
}

/// Whether it has been given a place.
fn given(waiting: &mut Waiting) -> Option<Place> {
    waiting.place.try_recv().ok()
}

#[test]
fn places_go_in_order_of_arrival_and_the_important_first() {
    let gate = gate();
    let (first, second) = (enter(&gate, Read), enter(&gate, Read));
    let (mut list, mut read, mut write) = (wait(&gate, Protocol), wait(&gate, Read), wait(&gate, Write));
    assert_eq!(gate.now(), (2, 3));
    drop(first);
    let third = given(&mut write).unwrap();
    assert!(given(&mut read).is_none() && given(&mut list).is_none());
    let mut later = wait(&gate, Read);
    drop((second, third));
    let (fourth, fifth) = (given(&mut read).unwrap(), given(&mut later).unwrap());
    assert_eq!(gate.now(), (2, 1));
    drop(fourth);
    let last = given(&mut list).unwrap();
    assert_eq!(gate.now(), (2, 0));
    drop((fifth, last));
    assert_eq!(gate.now(), (0, 0));
}

#[test]
fn in_a_full_queue_the_least_important_and_latest_gives_way() {
    let gate = gate();
    let _running = (enter(&gate, Read), enter(&gate, Read));
    let (mut old, mut new, mut read) = (wait(&gate, Protocol), wait(&gate, Protocol), wait(&gate, Read));
    assert_eq!(gate.enter(LIMITS, Protocol).unwrap_err(), Crowded::QueueFull);
    let _write = wait(&gate, Write);
    assert_eq!(new.place.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
    assert_eq!(old.place.try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty);
    let _second = wait(&gate, Write);
    assert_eq!(old.place.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
    let _third = wait(&gate, Write);
    assert_eq!(read.place.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
    assert_eq!(
        gate.enter(LIMITS, Write).unwrap_err(),
        Crowded::QueueFull,
        "among equals who came first stays"
    );
    assert_eq!(gate.now(), (2, 3));
}

#[test]
fn who_leaves_the_queue_is_forgotten_and_a_place_that_nobody_takes_goes_on() {
    let gate = gate();
    let (first, _second) = (enter(&gate, Read), enter(&gate, Read));
    let (leaves, gone, mut stays) = (wait(&gate, Read), wait(&gate, Read), wait(&gate, Read));
    drop(leaves);
    assert_eq!(gate.now(), (2, 2));
    // It has been given the place, and nobody looks at it any more.
    drop(first);
    assert_eq!(gate.now(), (2, 1));
    drop(gone);
    let _place = given(&mut stays).unwrap();
    assert_eq!(gate.now(), (2, 0));
}

#[test]
fn who_would_wait_too_long_is_refused_at_once() {
    let gate = gate();
    // Calls take eight seconds, two at once: the first in the queue waits four, the second eight.
    let place = enter(&gate, Read);
    place.ended(Monotonic::from_nanos(0), Duration::from_secs(8), false);
    let _running = (enter(&gate, Read), enter(&gate, Read));
    let _waits = wait(&gate, Read);
    assert_eq!(gate.enter(LIMITS, Read).unwrap_err(), Crowded::TooLate);
    assert_eq!(gate.again(), Duration::from_secs(8));
    // It would go first.
    let _important = wait(&gate, Write);
    assert_eq!(gate.now(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_for_long_enough_is_refused_and_leaves() {
    let gate = gate();
    let _running = (enter(&gate, Read), enter(&gate, Read));
    let waiting = wait(&gate, Read);
    assert_eq!(waiting.turn(LIMITS.wait).await.unwrap_err(), Crowded::TooLate);
    assert_eq!(gate.now(), (2, 0));
}

#[test]
fn what_the_configuration_says_next_holds_for_those_who_wait() {
    let gate = gate();
    let (first, _second) = (enter(&gate, Read), enter(&gate, Read));
    let mut waiting = [wait(&gate, Read), wait(&gate, Read), wait(&gate, Read)];
    let wider = Limits { max: 4, ..LIMITS };
    // A call that comes under the new configuration brings it, and those who wait go before it.
    let Ok(Entry::Waits(_last)) = gate.enter(wider, Protocol) else { panic!("it goes before others") };
    let places: Vec<_> = waiting.iter_mut().filter_map(given).collect();
    assert_eq!((places.len(), gate.now()), (2, (4, 2)));
    drop(first);
    assert!(given(&mut waiting[2]).is_some());
}

#[test]
fn a_server_that_becomes_slow_is_given_less_where_that_is_wanted() {
    let adaptive = Limits { max: 100, adaptive: true, ..LIMITS };
    let (gate, mut now) = (gate(), 0);
    let mut round = |millis: u64| {
        let mut places = Vec::new();
        while let Ok(Entry::In(place)) = gate.enter(adaptive, Read) {
            places.push(place);
        }
        let given = places.len();
        now += 1_000_000_000;
        for place in places {
            place.ended(Monotonic::from_nanos(now), Duration::from_millis(millis), false);
        }
        given
    };
    let quick: Vec<_> = (0..40).map(|_| round(10)).collect();
    assert_eq!((quick[0], quick[39]), (16, 100), "{quick:?}");
    let slow: Vec<_> = (0..5).map(|_| round(40)).collect();
    assert!(slow[4] < 15, "{slow:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Enter(Priority),
    End(usize),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = prop_oneof![Just(Protocol), Just(Read), Just(Write)];
    let step = prop_oneof![
        3 => priority.prop_map(Step::Enter),
        2 => any::<usize>().prop_map(Step::End),
        1 => any::<usize>().prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Never more than may run, never more than may wait, and never a free place while somebody waits.
    #[test]
    fn the_bounds_hold_and_no_place_is_lost(steps in steps()) {
        let gate = gate();
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Enter(priority) => match gate.enter(LIMITS, priority) {
                    Ok(Entry::In(place)) => running.push(place),
                    Ok(Entry::Waits(one)) => waiting.push(one),
                    Err(reason) => prop_assert_eq!(reason, Crowded::QueueFull),
                },
                Step::End(at) if !running.is_empty() => drop(running.swap_remove(at % running.len())),
                Step::Leave(at) if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                Step::End(_) | Step::Leave(_) => {}
            }
            let mut still = Vec::new();
            for mut one in waiting {
                match one.place.try_recv() {
                    Ok(place) => running.push(place),
                    Err(oneshot::error::TryRecvError::Empty) => still.push(one),
                    Err(oneshot::error::TryRecvError::Closed) => {}
                }
            }
            waiting = still;
            let (runs, waits) = gate.now();
            prop_assert_eq!((runs as usize, waits as usize), (running.len(), waiting.len()));
            prop_assert!(runs <= LIMITS.max && waits <= LIMITS.queue);
            prop_assert!(waits == 0 || runs == LIMITS.max, "a place is free and somebody waits");
        }
        drop((running, waiting));
        prop_assert_eq!(gate.now(), (0, 0));
    }
}

/// Real threads: each call that has a place is one of at most so many, and all that came have an end.
#[test]
fn many_threads_share_one_gate() {
    let gate = gate();
    let limits = Limits { max: 3, queue: 10_000, wait: Duration::from_secs(600), adaptive: false };
    let (at_once, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let call = async |n: usize| {
        let place = match gate.enter(limits, Priority::ALL[n % 3]).unwrap() {
            Entry::In(place) => place,
            Entry::Waits(waiting) => waiting.turn(limits.wait).await.unwrap(),
        };
        most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        at_once.fetch_sub(1, Ordering::SeqCst);
        drop(place);
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..50 {
                        futures_util::future::join_all((0..20).map(call)).await;
                    }
                });
            });
        }
    });
    assert_eq!(gate.now(), (0, 0));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn who_waits_hears_that_more_calls_are_given() {
    let gate = gate();
    let running = (enter(&gate, Read), enter(&gate, Read));
    let (mut first, mut second, mut third) = (wait(&gate, Read), wait(&gate, Read), wait(&gate, Read));
    gate.allow(Limits { max: 3, ..LIMITS });
    let third_place = given(&mut first).unwrap();
    assert!(given(&mut second).is_none());
    // Fewer: nobody is sent away, and nobody is let in until there is room.
    gate.allow(Limits { max: 1, ..LIMITS });
    drop(running);
    assert!(given(&mut second).is_none());
    // As many as come.
    gate.allow(Limits { max: 0, ..LIMITS });
    let rest = (given(&mut second).unwrap(), given(&mut third).unwrap());
    assert_eq!(gate.now(), (3, 0));
    drop((third_place, rest));
    assert_eq!(gate.now(), (0, 0));
}
