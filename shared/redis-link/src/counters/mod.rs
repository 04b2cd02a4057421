//! Counters that proxies share: their names, and the scripts that take from them.

mod end;
mod key;
pub mod running;
pub mod together;

use std::{fmt, sync::Arc};

use ids::TenantId;
use limits::{
    Rate,
    budget::Window,
    shared::{Ask, Of, Reading, Stored},
};
use redis::RedisResult;
use smallvec::SmallVec;

pub use end::End;
pub use key::{Counter, CounterKey, PermitsKey, Subject};
pub use running::Running;
pub use together::Together;

use crate::{CallError, Link, link::Place, script::Script};

/// In the scripts.
const KIND_RATE: u8 = 1;
const KIND_BUDGET: u8 = 2;
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
    look: Script,
    refund: Script,
    hold: Script,
    alive: Script,
}

/// What the store answered to a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The place of the counter that refused; nothing was taken then.
    pub refused: Option<usize>,
    /// One for each counter asked.
    pub readings: SmallVec<[Reading; 9]>,
}

/// What one counter is to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refund {
    /// Which.
    pub key: CounterKey,
    /// What it was when it was taken from.
    pub of: Of,
    /// How much.
    pub units: u32,
    /// [`Reading::moment`] of the take.
    pub moment: u64,
}

impl Counters {
    /// Of the Redis behind `link`.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let scripts = Scripts {
            reserve: Script::new(include_str!("reserve.lua")),
            look: Script::new(include_str!("look.lua")),
            refund: Script::new(include_str!("refund.lua")),
            hold: Script::new(include_str!("hold.lua")),
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
        let mut script = self.scripts.reserve.call();
        for (key, ask) in wanted {
            script.key(key);
            match ask.of {
                Of::Rate(rate) => {
                    script.arg(KIND_RATE).arg(rate.interval_nanos().unwrap_or(0)).arg(rate.burst);
                }
                Of::Budget(budget) => {
                    script.arg(KIND_BUDGET).arg(window_kind(budget.window)).arg(budget.units);
                }
            }
            script.arg(ask.cost).arg(ask.extra).arg(ask.debt);
            let least = ask.floor.and_then(|floor| i64::try_from(floor.least).ok());
            script.arg(least.unwrap_or(-1)).arg(ask.floor.map_or(0, |floor| floor.window));
        }
        let ask =
            async |connection| Reserved::read(&script.send::<Vec<u64>>(connection).await?, wanted.len());
        self.link.with_at(self.place(wanted.first().map(|(key, _)| key)), ask).await
    }

    /// Reads counters and changes nothing.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn look(&self, wanted: &[(CounterKey, Of)]) -> Result<Vec<Reading>, CallError> {
        // A script, so that the time is that of the server which has the counters.
        let mut script = self.scripts.look.call();
        for (key, _) in wanted {
            script.key(key);
        }
        let ask = async |connection| {
            let (seconds, micros, values): (u64, u64, Vec<Option<String>>) = script.send(connection).await?;
            let stored = wanted.iter().zip(values).map(|((_, of), value)| stored(*of, value?.as_str()));
            let asks: Vec<_> = wanted
                .iter()
                .map(|(_, of)| Ask { of: *of, cost: 0, extra: 0, debt: 0, floor: None })
                .collect();
            let mut stored: Vec<_> = stored.collect();
            Ok(limits::shared::reserve(&asks, &mut stored, seconds * 1_000_000 + micros).1)
        };
        self.link.with_at(self.place(wanted.first().map(|(key, _)| key)), ask).await
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
        let mut script = self.scripts.refund.call();
        let nothing = back.first().map(|refund| (refund.key, Rate { per_minute: 0, burst: 0 }));
        let Some((key, rate)) = charge.or(nothing) else { return Ok(true) };
        script.key(key).arg(rate.interval_nanos().unwrap_or(0)).arg(rate.burst);
        for Refund { key, of, units, moment } in back {
            script.key(key);
            match of {
                Of::Rate(rate) => {
                    script.arg(KIND_RATE).arg(rate.interval_nanos().unwrap_or(0)).arg(*units);
                    script.arg(format!("{}:{}", moment / 1_000, moment % 1_000));
                }
                Of::Budget(budget) => {
                    script.arg(KIND_BUDGET).arg(window_kind(budget.window)).arg(*units).arg(*moment);
                }
            }
        }
        self.link.with_at(self.place(Some(&key)), async |connection| script.send(connection).await).await
    }

    /// Gives `holder` the permits it needs of every limit or none of any, as `limits::running::hold` does. All are of one
    /// tenant.
    ///
    /// # Errors
    /// [`CallError`]; it may have been given all the same.
    pub async fn hold(
        &self,
        holder: u64,
        wanted: &[(PermitsKey, limits::running::Ask)],
    ) -> Result<running::Held, CallError> {
        let mut script = self.scripts.hold.call();
        script.arg(format!("{holder:016x}")).arg(limits::running::LEASE.as_micros().to_string());
        for (key, ask) in wanted {
            script.key(key).arg(ask.max).arg(ask.running).arg(ask.claimed).arg(ask.extra).arg(ask.turn);
            script.arg(ask.least.map_or(-1, i64::from));
        }
        let ask =
            async |connection| running::Held::read(&script.send::<Vec<u64>>(connection).await?, wanted.len());
        self.link.with_at(self.place(wanted.first().map(|(key, _)| key)), ask).await
    }

    /// Says that this proxy lives, and learns how many of its pool do.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn alive(&self, pool: &str, proxy: &str) -> Result<u32, CallError> {
        let mut script = self.scripts.alive.call();
        let key = format!("pc:live:{pool}");
        script.key(&key).arg(proxy).arg(LIVES_MILLIS);
        self.link.with_at(self.place(Some(&key)), async |connection| script.send(connection).await).await
    }

    /// Whether a tenant's counters can be asked.
    #[must_use]
    pub fn is_up(&self, tenant: TenantId) -> bool {
        self.link.is_up_at(self.place(Some(&PermitsKey { tenant, subject: Subject::Tenant })))
    }

    /// Where the first of some keys is; they are all in one place.
    fn place<K: fmt::Display>(&self, key: Option<&K>) -> Place {
        self.link.place(fmt::from_fn(|f| key.map_or(Ok(()), |key| key.fmt(f))))
    }
}

impl Reserved {
    fn read(reply: &[u64], counters: usize) -> RedisResult<Self> {
        let (refused, readings) = threes(reply, counters)?;
        let readings = readings.map(|[now, taken, granted]| Reading {
            now,
            taken,
            granted: u32::try_from(granted).unwrap_or(0),
        });
        Ok(Self { refused, readings: readings.collect() })
    }
}

/// A script's reply: which counter refuses, and three numbers of each.
fn threes(reply: &[u64], counters: usize) -> RedisResult<(Option<usize>, impl Iterator<Item = [u64; 3]>)> {
    let wrong = || redis::RedisError::from((redis::ErrorKind::UnexpectedReturnType, "not a reservation"));
    let (refused, readings) = reply.split_first().ok_or_else(wrong)?;
    let (readings, rest) = readings.as_chunks::<3>();
    let refused = usize::try_from(*refused).ok().and_then(|place| place.checked_sub(1));
    if !rest.is_empty() || readings.len() != counters || refused.is_some_and(|place| place >= counters) {
        return Err(wrong());
    }
    Ok((refused, readings.iter().copied()))
}

const fn window_kind(window: Window) -> u8 {
    match window {
        Window::Day => 1,
        Window::Month => 2,
    }
}

/// As the scripts write it; what they did not write counts as nothing.
fn stored(of: Of, text: &str) -> Option<Stored> {
    let (first, second) = text.split_once(' ')?;
    match of {
        Of::Rate(_) => {
            let (micros, nanos) = first.split_once(':')?;
            let value = micros.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(nanos.parse().ok()?)?;
            Some(Stored { value, latest: second.parse().ok()? })
        }
        Of::Budget(_) => Some(Stored { value: second.parse().ok()?, latest: first.parse().ok()? }),
    }
}
