//! Counters that proxies share: their names, and the scripts that take from them.

mod key;
pub mod together;

use std::sync::Arc;

use limits::{
    Rate,
    shared::{Ask, Reading},
};
use redis::{RedisResult, Script, aio::MultiplexedConnection};
use smallvec::SmallVec;

pub use key::{Counter, CounterKey, Subject};
pub use together::Together;

use crate::{CallError, Link};

/// Of a rate, in the scripts.
const KIND_RATE: u8 = 1;
/// A proxy that has not been heard of for so long does not count, milliseconds.
const LIVES_MILLIS: u64 = 15_000;

/// The counters in one Redis.
#[derive(Debug, Clone)]
pub struct Counters {
    link: Link,
    scripts: Arc<Scripts>,
}

#[derive(Debug)]
struct Scripts {
    reserve: Script,
    refund: Script,
    alive: Script,
}

/// What the store answered to a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The place of the counter that refused; nothing was taken then.
    pub refused: Option<usize>,
    /// One for each counter asked.
    pub readings: SmallVec<[Reading; 3]>,
}

/// What one counter is to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refund {
    /// Which.
    pub key: CounterKey,
    /// At the rate it was taken.
    pub rate: Rate,
    /// How much.
    pub units: u32,
    /// [`Reading::tat`] of the take.
    pub tat: u64,
}

impl Counters {
    /// Of the Redis behind `link`.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let scripts = Scripts {
            reserve: Script::new(include_str!("reserve.lua")),
            refund: Script::new(include_str!("refund.lua")),
            alive: Script::new(include_str!("alive.lua")),
        };
        Self { link, scripts: Arc::new(scripts) }
    }

    /// The way to Redis.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Takes from all counters or from none, as `limits::shared::reserve` does. All are of one tenant.
    ///
    /// # Errors
    /// [`CallError`]; it may have been taken all the same.
    pub async fn reserve(&self, wanted: &[(CounterKey, Ask)]) -> Result<Reserved, CallError> {
        let mut script = self.scripts.reserve.prepare_invoke();
        for (key, ask) in wanted {
            script.key(key);
            script.arg(KIND_RATE).arg(ask.rate.interval_nanos().unwrap_or(0)).arg(ask.rate.burst);
            script.arg(ask.cost).arg(ask.extra).arg(ask.debt);
            script.arg(ask.floor.map_or(-1, |floor| i64::try_from(floor).unwrap_or(-1))).arg(0);
        }
        let ask = |mut connection: MultiplexedConnection| async move {
            let reply: Vec<u64> = script.invoke_async(&mut connection).await?;
            Reserved::read(&reply, wanted.len())
        };
        self.link.with(ask).await
    }

    /// Charges one unit to `charge`, and if it is there gives everything in `back` back. Says whether it did.
    ///
    /// # Errors
    /// [`CallError`]; it may have been done all the same.
    pub async fn refund(
        &self,
        charge: Option<(CounterKey, Rate)>,
        back: &[Refund],
    ) -> Result<bool, CallError> {
        let mut script = self.scripts.refund.prepare_invoke();
        let nothing = back.first().map(|refund| (refund.key, Rate { per_minute: 0, burst: 0 }));
        let Some((key, rate)) = charge.or(nothing) else { return Ok(true) };
        script.key(key).arg(rate.interval_nanos().unwrap_or(0)).arg(rate.burst);
        for refund in back {
            script.key(refund.key);
            script.arg(KIND_RATE).arg(refund.rate.interval_nanos().unwrap_or(0)).arg(refund.units);
            script.arg(format!("{}:{}", refund.tat / 1_000, refund.tat % 1_000));
        }
        self.link.with(|mut connection| async move { script.invoke_async(&mut connection).await }).await
    }

    /// Says that this proxy lives, and learns how many of its pool do.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn alive(&self, pool: &str, proxy: &str) -> Result<u32, CallError> {
        let mut script = self.scripts.alive.prepare_invoke();
        script.key(format!("pc:live:{pool}")).arg(proxy).arg(LIVES_MILLIS);
        self.link.with(|mut connection| async move { script.invoke_async(&mut connection).await }).await
    }
}

impl Reserved {
    fn read(reply: &[u64], counters: usize) -> RedisResult<Self> {
        let wrong = || redis::RedisError::from((redis::ErrorKind::UnexpectedReturnType, "not a reservation"));
        let (refused, readings) = reply.split_first().ok_or_else(wrong)?;
        let readings: SmallVec<[Reading; 3]> = readings
            .chunks_exact(3)
            .map(|three| Reading {
                now: three[0],
                missing: three[1],
                granted: u32::try_from(three[2]).unwrap_or(0),
            })
            .collect();
        let refused = usize::try_from(*refused).ok().and_then(|place| place.checked_sub(1));
        if readings.len() != counters || refused.is_some_and(|place| place >= counters) {
            return Err(wrong());
        }
        Ok(Self { refused, readings })
    }
}
