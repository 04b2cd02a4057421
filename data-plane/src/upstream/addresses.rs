//! What is known of the addresses of one server: what its name resolved to last, which of them do not answer, and whose turn
//! it is.
//!
//! Every address a name has is used, in turn. One that cannot be connected to, or on which several calls in a row came to
//! nothing, is left alone for a while, for twice as long each time, and then tried again by one connection. Where that leaves
//! none, or none that can be connected to, all are tried: what is known may be wrong, and there is nothing to lose.
//!
//! Which of them may be dialled at all is not remembered: the rules are asked for each connection. The lock is taken for new
//! connections and for what went wrong; a call on a pooled connection reads one number.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use telemetry::metric;
use tokio::time::Instant;

use super::resolve::Resolver;

/// Addresses of one name that are looked at; a name with more is a mistake, or meant to keep somebody busy.
const AT_MOST: usize = 32;
/// How long an answer is used for new connections. Names that change do so within minutes, and a connection that cannot be
/// made asks anew in any case.
const ANSWER_FOR: Duration = Duration::from_secs(5);
/// How long an address is left alone the first time, and at most.
const EJECTED_FOR: Duration = Duration::from_secs(1);
const EJECTED_AT_MOST: Duration = Duration::from_secs(60);
/// Calls in a row without a response, each on a connection that was there.
const UNANSWERED: u32 = 3;

/// The addresses of one server.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// How many are not known to be well. Read by every call.
    troubled: AtomicU32,
    known: Mutex<Known>,
    /// Held by whoever asks the resolver: the others wait for the same answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    answer: Option<Answer>,
    /// Connections begun.
    turn: usize,
    troubled: Vec<Troubled>,
}

/// What a name resolved to.
#[derive(Debug)]
struct Answer {
    at: Instant,
    /// A failure is for those alone who waited for it.
    addresses: Result<Vec<IpAddr>, io::ErrorKind>,
}

/// An address that is not known to be well.
#[derive(Debug)]
struct Troubled {
    address: SocketAddr,
    /// Calls in a row that came to nothing.
    unanswered: u32,
    /// How often it was ejected since a call was answered.
    streak: u32,
    /// Ejected, until then.
    until: Option<Instant>,
    /// A connection tries it again.
    tried: bool,
}

/// The order in which to dial.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) addresses: Vec<SocketAddr>,
    /// So many of them are well. The others are for when none of these can be connected to.
    pub(super) well: usize,
}

impl Addresses {
    /// Those that come first differ from one worker to the next, whatever order the resolver gives them in.
    pub(super) fn beginning_at(turn: u16) -> Self {
        let known = Known { turn: usize::from(turn), ..Known::default() };
        Self { known: Mutex::new(known), ..Self::default() }
    }

    /// What `name` resolves to, from an answer that is still young or anew.
    pub(super) async fn resolve(&self, name: &str, resolver: &dyn Resolver) -> io::Result<Vec<IpAddr>> {
        let came = Instant::now();
        if let Some(addresses) = self.answer(|answer| came.duration_since(answer.at) < ANSWER_FOR) {
            return Ok(addresses?);
        }
        let _asking = self.asking.lock().await;
        // Somebody else may have asked meanwhile, whatever came of it.
        if let Some(addresses) = self.answer(|answer| answer.at > came) {
            return Ok(addresses?);
        }
        let mut resolved = resolver.resolve(name).await;
        if let Ok(addresses) = &mut resolved {
            addresses.truncate(AT_MOST);
        }
        let addresses = resolved.as_ref().map(Clone::clone).map_err(io::Error::kind);
        self.known.lock().answer = Some(Answer { at: Instant::now(), addresses });
        resolved
    }

    fn answer(&self, is_of_use: impl Fn(&Answer) -> bool) -> Option<Result<Vec<IpAddr>, io::ErrorKind>> {
        let known = self.known.lock();
        let answer = known.answer.as_ref().filter(|answer| is_of_use(answer))?;
        Some(answer.addresses.clone())
    }

    /// How many the name has.
    pub(super) fn count(&self) -> usize {
        let known = self.known.lock();
        let addresses = known.answer.as_ref().and_then(|answer| answer.addresses.as_ref().ok());
        addresses.map_or(0, Vec::len)
    }

    /// No connection came of the answer: the next one asks anew.
    pub(super) fn forget_answer(&self) {
        self.known.lock().answer = None;
    }

    /// The order in which to dial them: `sticky` first if it is well, else whose turn it is; then alternately by family
    /// (RFC 8305 section 4); and those that are ejected last.
    pub(super) fn order(&self, of: Vec<SocketAddr>, sticky: Option<SocketAddr>, now: Instant) -> Order {
        let known = &mut *self.known.lock();
        let turn = known.turn;
        known.turn = known.turn.wrapping_add(1);
        let well = |address: &SocketAddr| {
            known.troubled.iter().all(|troubled| troubled.address != *address || !troubled.is_ejected(now))
        };
        let (mut well, mut ejected): (Vec<_>, Vec<_>) = of.into_iter().partition(well);
        if well.is_empty() {
            std::mem::swap(&mut well, &mut ejected);
        }
        let first = sticky.and_then(|sticky| well.iter().position(|address| *address == sticky));
        let first = first.unwrap_or_else(|| turn.checked_rem(well.len()).unwrap_or_default());
        well.rotate_left(first);
        let mut addresses = alternate(well);
        // Its time is over: this connection shows whether it works again, and others do not try meanwhile.
        if let Some(first) = addresses.first()
            && let Some(troubled) = known.troubled.iter_mut().find(|troubled| troubled.address == *first)
            && troubled.until.is_some_and(|until| until <= now)
        {
            troubled.until = Some(now + troubled.period());
            troubled.tried = true;
        }
        let well = addresses.len();
        addresses.append(&mut ejected);
        Order { addresses, well }
    }

    /// A connection was made.
    pub(super) fn connected(&self, address: SocketAddr) {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.change(|known| {
            // How often it was ejected is forgotten when a call is answered.
            let mut troubled = known.troubled.iter_mut();
            if let Some(troubled) = troubled.find(|troubled| troubled.address == address) {
                troubled.tried = false;
                if troubled.until.take().is_some() {
                    changed("restored");
                }
            }
        });
    }

    /// A call was answered.
    pub(super) fn answered(&self, address: SocketAddr) {
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.change(|known| {
            let at = known.troubled.iter().position(|troubled| troubled.address == address);
            if at.is_some_and(|at| known.troubled.swap_remove(at).until.is_some()) {
                changed("restored");
            }
        });
    }

    /// It cannot be connected to, or not as fast as another.
    pub(super) fn unreachable(&self, address: SocketAddr, now: Instant) {
        self.change(|known| known.of(address).eject(now));
    }

    /// Nothing came back on a connection to it. Says whether it is ejected for that.
    pub(super) fn unanswered(&self, address: SocketAddr, now: Instant) -> bool {
        self.change(|known| {
            let troubled = known.of(address);
            troubled.unanswered += 1;
            // On probation: one more is enough.
            let eject = troubled.unanswered >= UNANSWERED || troubled.streak > 0;
            if eject {
                troubled.eject(now);
            }
            eject
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock();
        let done = change(&mut known);
        self.troubled.store(known.troubled.len() as u32, Ordering::Relaxed);
        done
    }
}

impl Known {
    fn of(&mut self, address: SocketAddr) -> &mut Troubled {
        let at = self.troubled.iter().position(|troubled| troubled.address == address);
        let at = at.unwrap_or_else(|| {
            // Names that change their mind again and again are remembered in part.
            if self.troubled.len() >= AT_MOST {
                self.troubled.remove(0);
            }
            self.troubled.push(Troubled { address, unanswered: 0, streak: 0, until: None, tried: false });
            self.troubled.len() - 1
        });
        &mut self.troubled[at]
    }
}

impl Troubled {
    fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// As long as it was ejected last.
    fn period(&self) -> Duration {
        EJECTED_FOR.saturating_mul(1 << self.streak.saturating_sub(1).min(16)).min(EJECTED_AT_MOST)
    }

    fn eject(&mut self, now: Instant) {
        // Connections that were begun together fail together, and count once.
        if self.is_ejected(now) && !self.tried {
            return;
        }
        self.streak += 1;
        (self.unanswered, self.tried) = (0, false);
        self.until = Some(now + self.period());
        changed("ejected");
    }
}

fn changed(to: &'static str) {
    metrics::counter!(metric::UPSTREAM_ADDRESS_CHANGES, "to" => to).increment(1);
}

/// The first stays the first; then the other family, and so on alternately, each in its own order.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    if addresses.iter().all(|address| address.is_ipv6() == first) {
        return addresses;
    }
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let mut order = Vec::with_capacity(same.len() + other.len());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    loop {
        let (one, two) = (same.next(), other.next());
        if one.is_none() && two.is_none() {
            return order;
        }
        order.extend(one.into_iter().chain(two));
    }
}

#[cfg(test)]
mod tests;
