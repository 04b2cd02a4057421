use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
/// One unit a second, five at once.
const RATE: Rate = Rate { per_minute: 60, burst: 5 };

fn remaining(decision: Decision) -> u32 {
    match decision {
        Decision::Admit { remaining, .. } | Decision::Refuse { remaining, .. } => remaining,
    }
}

#[test]
fn burst_then_one_a_second() {
    let bucket = Bucket::new();
    for left in (0..5).rev() {
        let decision = bucket.try_take(SECOND, RATE, 1);
        assert!(decision.admitted());
        assert_eq!(remaining(decision), left);
    }
    let refused = bucket.try_take(SECOND, RATE, 1);
    assert_eq!(refused, Decision::Refuse { retry_after: Duration::from_secs(1), remaining: 0 });
    assert!(!bucket.try_take(2 * SECOND - 1, RATE, 1).admitted());
    assert!(bucket.try_take(2 * SECOND, RATE, 1).admitted());
    assert!(!bucket.try_take(2 * SECOND, RATE, 1).admitted());
}

#[test]
fn zero_rate_and_oversized_cost_are_never_admitted() {
    let none = Rate { per_minute: 0, burst: 10 };
    assert_eq!(gcra::decide(0, 0, none, 1), Decision::Refuse { retry_after: NEVER, remaining: 0 });
    assert_eq!(gcra::decide(0, 0, RATE, 6), Decision::Refuse { retry_after: NEVER, remaining: 5 });
    assert!(gcra::decide(0, 0, Rate { per_minute: 60, burst: 0 }, 0).admitted());
}

#[test]
fn extreme_numbers_refuse_instead_of_wrapping() {
    let slow = Rate { per_minute: 1, burst: u32::MAX };
    let late = gcra::decide(u64::MAX, u64::MAX - 1, slow, u32::MAX);
    assert!(!late.admitted());
    assert!(!gcra::decide(u64::MAX, 0, RATE, 1).admitted());
    let fast = Rate { per_minute: u32::MAX, burst: u32::MAX };
    assert!(gcra::decide(0, 0, fast, u32::MAX).admitted());
}

#[test]
fn time_that_steps_back_neither_refills_nor_closes() {
    let bucket = Bucket::new();
    for _ in 0..4 {
        assert!(bucket.try_take(1_000 * SECOND, RATE, 1).admitted());
    }
    // 900 seconds back: time stands still for the bucket, and its last unit is still there.
    assert!(bucket.try_take(100 * SECOND, RATE, 1).admitted());
    let refused = bucket.try_take(100 * SECOND, RATE, 1);
    assert_eq!(refused, Decision::Refuse { retry_after: Duration::from_secs(1), remaining: 0 });
    assert!(bucket.try_take(1_001 * SECOND, RATE, 1).admitted());
}

#[test]
fn refund_gives_back_exactly_what_is_missing() {
    let bucket = Bucket::new();
    let Decision::Admit { new_tat, .. } = bucket.try_take(SECOND, RATE, 3) else {
        panic!("full bucket refused")
    };
    bucket.refund(RATE, 3, new_tat);
    assert_eq!(remaining(bucket.peek(SECOND, RATE, 0)), 5);
    // Taken, refilled by time, emptied again: a late refund must not add to a burst already spent.
    let Decision::Admit { new_tat, .. } = bucket.try_take(SECOND, RATE, 3) else {
        panic!("full bucket refused")
    };
    assert!(bucket.try_take(60 * SECOND, RATE, 5).admitted());
    bucket.refund(RATE, 3, new_tat);
    assert!(!bucket.try_take(60 * SECOND, RATE, 1).admitted());
}

#[test]
fn reservation_is_all_or_nothing() {
    let (wide, narrow) = (Bucket::new(), Bucket::new());
    let tight = Rate { per_minute: 60, burst: 1 };
    let wanted = [(&wide, RATE, 2), (&narrow, tight, 1)];
    let first = reserve(&wanted, SECOND).unwrap();
    assert_eq!(first.remaining(), Some(0));
    let refused = reserve(&wanted, SECOND).unwrap_err();
    assert_eq!(refused, Refused { index: 1, retry_after: Duration::from_secs(1), remaining: 0 });
    assert_eq!(remaining(wide.peek(SECOND, RATE, 0)), 3, "the refused reservation kept nothing");
    first.refund();
    assert_eq!(remaining(wide.peek(SECOND, RATE, 0)), 5);
    assert!(reserve(&wanted, SECOND).is_ok());
}

#[test]
fn reservation_may_own_its_buckets() {
    let bucket = Arc::new(Bucket::new());
    let reservation = reserve(&[(Arc::clone(&bucket), RATE, 5)], 0).unwrap();
    std::thread::spawn(move || reservation.refund()).join().unwrap();
    assert_eq!(remaining(bucket.peek(0, RATE, 0)), 5);
}

#[test]
fn changed_rate_keeps_what_is_held() {
    let wide = Rate { per_minute: 60, burst: 100 };
    let bucket = Bucket::new();
    assert!(bucket.try_take(SECOND, wide, 100).admitted());
    let narrower = bucket.carried_over(SECOND, wide, RATE);
    assert!(!narrower.try_take(SECOND, RATE, 1).admitted());
    assert!(narrower.try_take(2 * SECOND, RATE, 1).admitted(), "not closed for the old burst's time");
    let wider = narrower.carried_over(10 * SECOND, RATE, wide);
    assert_eq!(remaining(wider.peek(10 * SECOND, wide, 0)), 5);
}

#[test]
fn concurrency_counts_leases() {
    let running = Arc::new(Concurrency::new());
    let (first, second) = (running.try_acquire(2), running.try_acquire(2));
    assert!(first.is_some() && second.is_some());
    assert!(running.try_acquire(2).is_none());
    drop(first);
    assert!(running.try_acquire(2).is_some());
    assert_eq!(running.running(), 1);
    assert!(running.try_acquire(0).is_some(), "0 is no limit");
}

#[test]
fn leases_that_grow_share_one_limit() {
    let held = Arc::new(Concurrency::new());
    let (mut first, mut second) = (held.lease(), held.lease());
    assert!(first.try_grow(4, 10) && first.try_grow(3, 10) && second.try_grow(3, 10));
    assert!(!second.try_grow(1, 10) && !second.try_grow(u32::MAX, 0), "all or nothing");
    drop(first);
    assert_eq!(held.running(), 3);
    assert!(second.try_grow(7, 10));
    drop(second);
    assert_eq!(held.running(), 0);
}

#[test]
fn threads_together_take_no_more_than_the_burst() {
    let rate = Rate { per_minute: 60, burst: 1_000 };
    let bucket = Bucket::new();
    let admitted: usize = std::thread::scope(|scope| {
        let take = || (0..1_000).filter(|_| bucket.try_take(SECOND, rate, 1).admitted()).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 1_000);
}

fn v6(network: u64, host: u64) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host)).into()
}

#[test]
fn addresses_are_counted_by_network() {
    let table = AddressTable::new(1_024, [1, 2, 3, 4]);
    let rate = Rate { per_minute: 60, burst: 1 };
    assert!(table.try_take(v6(0x2001_0db8, 1), SECOND, rate, 1).admitted());
    assert!(!table.try_take(v6(0x2001_0db8, 2), SECOND, rate, 1).admitted(), "same /64");
    assert!(table.try_take(v6(0x2001_0db9, 1), SECOND, rate, 1).admitted(), "next /64");
    let v4 = Ipv4Addr::new(192, 0, 2, 1);
    assert!(table.try_take(IpAddr::from(v4), SECOND, rate, 1).admitted());
    assert!(
        !table.try_take(IpAddr::from(v4.to_ipv6_mapped()), SECOND, rate, 1).admitted(),
        "the same caller"
    );
    assert!(table.try_take(IpAddr::from(Ipv4Addr::new(192, 0, 2, 2)), SECOND, rate, 1).admitted());
}

#[test]
fn a_flood_of_addresses_neither_grows_the_table_nor_frees_the_busiest() {
    let table = AddressTable::new(128, [1, 2, 3, 4]);
    assert_eq!(table.capacity(), 128);
    let busy: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    while table.try_take(busy, SECOND, RATE, 1).admitted() {}
    for network in 0..100_000 {
        assert!(table.try_take(v6(network, 1), SECOND, RATE, 1).admitted());
    }
    assert!(!table.try_take(busy, SECOND, RATE, 1).admitted());
}

/// The law itself, without arithmetic tricks: in every window of the log, admitted ≤ burst + rate · length.
#[derive(Default)]
struct Log(VecDeque<(u64, u32)>);

impl Log {
    fn breaks(&self, rate: Rate) -> Option<(u64, u64)> {
        for (first, &(from, _)) in self.0.iter().enumerate() {
            let mut units = 0u128;
            for &(to, cost) in self.0.iter().skip(first) {
                units += u128::from(cost);
                let allowed = u128::from(rate.burst) * 60_000_000_000
                    + u128::from(rate.per_minute) * u128::from(to - from);
                if units * 60_000_000_000 > allowed {
                    return Some((from, to));
                }
            }
        }
        None
    }
}

/// Token bucket in exact fractions: units scaled by 60·10⁹.
struct Model {
    held: u128,
    at: u64,
}

proptest! {
    #[test]
    fn never_more_than_burst_plus_rate(
        per_minute in 1u32..10_000, burst in 1u32..20,
        steps in prop::collection::vec((-2_000_000_000i64..2_000_000_000, 1u32..4, any::<bool>()), 1..120),
    ) {
        let rate = Rate { per_minute, burst };
        let bucket = Bucket::new();
        let (mut now, mut latest) = (10 * SECOND, 0);
        let mut log = Log::default();
        for (step, cost, refund) in steps {
            // Time steps back too; what counts is the latest time seen.
            now = now.saturating_add_signed(step / 4);
            latest = now.max(latest);
            if let Decision::Admit { new_tat, .. } = bucket.try_take(now, rate, cost) {
                if refund {
                    bucket.refund(rate, cost, new_tat);
                } else {
                    log.0.push_back((latest, cost));
                }
            }
        }
        prop_assert_eq!(log.breaks(rate), None);
    }

    #[test]
    fn late_refunds_never_break_the_law(
        per_minute in 1u32..10_000, burst in 1u32..20,
        steps in prop::collection::vec((0u64..500_000_000, 1u32..4, 0u8..4), 1..120),
    ) {
        let rate = Rate { per_minute, burst };
        let bucket = Bucket::new();
        let mut now = SECOND;
        let mut log = Log::default();
        let mut open: Vec<(u32, u64)> = Vec::new();
        for (step, cost, choice) in steps {
            now += step;
            match (choice, open.pop()) {
                (0, Some((cost, tat))) => bucket.refund(rate, cost, tat),
                (_, kept) => open.extend(kept),
            }
            if let Decision::Admit { new_tat, .. } = bucket.try_take(now, rate, cost) {
                // Half are refunded some steps later and so do not count as admitted.
                if choice % 2 == 0 { open.push((cost, new_tat)) } else { log.0.push_back((now, cost)) }
            }
        }
        prop_assert_eq!(log.breaks(rate), None);
    }

    #[test]
    fn agrees_with_an_exact_token_bucket(
        divisor in 0usize..6, burst in 1u32..50,
        steps in prop::collection::vec((0u64..3_000_000_000, 1u32..6), 1..200),
    ) {
        // Rates whose interval is a whole number of nanoseconds, so that rounding plays no part.
        let per_minute = [1, 60, 100, 600, 1_000, 6_000][divisor];
        let rate = Rate { per_minute, burst };
        let unit = 60_000_000_000u128;
        let bucket = Bucket::new();
        let mut now = 0;
        let mut model = Model { held: unit * u128::from(burst), at: 0 };
        for (step, cost) in steps {
            now += step;
            let flowed = u128::from(per_minute) * u128::from(now - model.at);
            model = Model { held: (model.held + flowed).min(unit * u128::from(burst)), at: now };
            let price = unit * u128::from(cost);
            let decision = bucket.try_take(now, rate, cost);
            prop_assert_eq!(decision.admitted(), model.held >= price);
            if decision.admitted() {
                model.held -= price;
            } else if cost <= burst {
                let Decision::Refuse { retry_after, .. } = decision else { unreachable!() };
                let wait = retry_after.as_nanos() as u64;
                prop_assert!(bucket.peek(now + wait, rate, cost).admitted(), "waiting as told was not enough");
                prop_assert!(!bucket.peek(now + wait - 1, rate, cost).admitted(), "told to wait too long");
            }
            prop_assert_eq!(u128::from(remaining(bucket.peek(now, rate, 0))), model.held / unit);
        }
    }
}
