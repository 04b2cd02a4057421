//! One reservation over several buckets: all of them, or none.

use std::{borrow::Borrow, time::Duration};

use smallvec::SmallVec;

use crate::{
    bucket::Bucket,
    gcra::{Decision, Rate},
};

/// A refusal by one of the buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Which of the wanted buckets refused, by its place in the list.
    pub index: usize,
    /// As in [`Decision::Refuse`].
    pub retry_after: Duration,
    /// Whole units left in that bucket.
    pub remaining: u32,
}

/// What was taken. Dropping it keeps it taken; [`Self::refund`] gives it back.
#[must_use = "a call refused after this must refund it"]
#[derive(Debug)]
pub struct Reservation<B: Borrow<Bucket>> {
    taken: SmallVec<[Taken<B>; 6]>,
}

#[derive(Debug)]
struct Taken<B> {
    bucket: B,
    rate: Rate,
    cost: u32,
    tat: u64,
    remaining: u32,
}

/// Takes each cost from its bucket (`&Bucket` or `Arc<Bucket>`). At the first that refuses, what was taken before it is
/// given back, and nothing is held.
///
/// # Errors
/// The refusal of the first bucket that refused. List the bucket first whose refusal says most.
pub fn reserve<B: Borrow<Bucket> + Clone>(
    wanted: &[(B, Rate, u32)],
    now_nanos: u64,
) -> Result<Reservation<B>, Refused> {
    let mut reservation = Reservation { taken: SmallVec::new() };
    for (index, (bucket, rate, cost)) in wanted.iter().enumerate() {
        match bucket.borrow().try_take(now_nanos, *rate, *cost) {
            Decision::Admit { new_tat, remaining } => reservation.taken.push(Taken {
                bucket: bucket.clone(),
                rate: *rate,
                cost: *cost,
                tat: new_tat,
                remaining,
            }),
            Decision::Refuse { retry_after, remaining } => {
                reservation.refund();
                return Err(Refused { index, retry_after, remaining });
            }
        }
    }
    Ok(reservation)
}

impl<B: Borrow<Bucket>> Reservation<B> {
    /// Gives everything back: the call was refused by a later check and never left.
    pub fn refund(self) {
        for taken in self.taken {
            taken.bucket.borrow().refund(taken.rate, taken.cost, taken.tat);
        }
    }

    /// Fewest whole units left in any of the buckets; `None` of an empty reservation.
    #[must_use]
    pub fn remaining(&self) -> Option<u32> {
        self.taken.iter().map(|taken| taken.remaining).min()
    }
}
