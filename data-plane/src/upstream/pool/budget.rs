//! How many calls of one upstream a worker may send twice: one of ten, and one a second where few come. So a server that closes
//! its connections because it has too much to do is not given twice as much.

use std::time::Duration;

use seams::Monotonic;

/// What a call that is sent twice costs, and what every call earns.
const COST: u32 = 10;
const EARNED: u32 = 1;
/// What is saved at most: for ten.
const SAVED_AT_MOST: u32 = 10 * COST;
/// Where nothing is saved, there is one for each such time.
const ANYWAY: Duration = Duration::from_secs(1);

/// One worker's budget for one upstream.
#[derive(Debug, Default)]
pub(super) struct Budget {
    saved: u32,
    /// When one was last sent that was not paid for.
    anyway: Option<Monotonic>,
}

impl Budget {
    /// A call is sent.
    pub(super) fn earn(&mut self) {
        self.saved = (self.saved + EARNED).min(SAVED_AT_MOST);
    }

    /// Whether it may be sent again.
    pub(super) fn take(&mut self, now: Monotonic) -> bool {
        if let Some(left) = self.saved.checked_sub(COST) {
            self.saved = left;
            return true;
        }
        let may = self.anyway.is_none_or(|last| now.since(last) >= ANYWAY);
        if may {
            self.anyway = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_ten_calls_may_be_sent_twice_and_one_a_second_in_any_case() {
        let at = |millis: u64| Monotonic::from_nanos(millis * 1_000_000);
        let mut budget = Budget::default();
        assert!(budget.take(at(1)) && !budget.take(at(1)) && !budget.take(at(1_000)));
        assert!(budget.take(at(1_001)));
        (0..9).for_each(|_| budget.earn());
        assert!(!budget.take(at(1_500)));
        budget.earn();
        assert!(budget.take(at(1_500)) && !budget.take(at(1_500)));
        // What is saved has an end.
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.take(at(1_500))).count(), 10);
    }
}
