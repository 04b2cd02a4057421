//! How long each check takes, for whoever wants to know: off, and then a branch for each check and nothing else, unless the
//! log filter lets `portcullis::checks` through at debug level when the proxy starts.
//!
//! A check's time runs from the end of the check before it, so what is written down between the two counts with it, and
//! nothing on a call's way is left out but the wait for its body.

use std::time::Duration;

use metrics::Histogram;
use seams::{Clock, Monotonic};
use telemetry::metric;

macro_rules! checks {
    ($($check:ident $name:literal,)*) => {
        /// What is timed, in the order of the pipeline.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Check { $($check,)* }

        impl Check {
            /// Names as exposed.
            pub(crate) const NAMES: &[&str] = &[$($name,)*];
        }
    };
}

checks! {
    Edge "edge",
    Endpoint "endpoint",
    KillCoarse "kill_coarse",
    Fresh "fresh",
    Network "network",
    AddressLimit "address_limit",
    Authenticate "authenticate",
    KillCredential "kill_credential",
    Body "body",
    Protocol "protocol",
    Session "session",
    KillFine "kill_fine",
    Limit "limit",
    Authorize "authorize",
    ToolPin "tool_pin",
    Guard "guard",
    Intent "intent",
    // All of them together, of a request that passed.
    All "all",
}

/// One worker's histograms, by [`Check`].
pub(crate) struct Timings(Vec<Histogram>);

impl Timings {
    /// Where they are wanted, by the log filter.
    pub(crate) fn if_wanted() -> Option<Self> {
        tracing::enabled!(target: "portcullis::checks", tracing::Level::DEBUG).then(Self::new)
    }

    pub(crate) fn new() -> Self {
        let histogram = |name: &&'static str| metrics::histogram!(metric::CHECK, "check" => *name);
        Self(Check::NAMES.iter().map(histogram).collect())
    }

    fn record(&self, check: Check, took: Duration) {
        if let Some(histogram) = self.0.get(check as usize) {
            histogram.record(took.as_secs_f64());
        }
    }
}

/// The stopwatch of one request.
pub(crate) struct Laps<'a>(Option<Running<'a>>);

struct Running<'a> {
    timings: &'a Timings,
    clock: &'a dyn Clock,
    since: Monotonic,
    sum: Duration,
}

impl<'a> Laps<'a> {
    pub(crate) fn begin(timings: Option<&'a Timings>, clock: &'a dyn Clock) -> Self {
        Self(timings.map(|timings| Running { timings, clock, since: clock.monotonic(), sum: Duration::ZERO }))
    }

    /// `outcome` is what `check` has just come to, a refusal too.
    #[inline]
    pub(crate) fn of<T>(&mut self, check: Check, outcome: T) -> T {
        if let Some(running) = &mut self.0 {
            running.record(check);
        }
        outcome
    }

    /// What happened since the last check was none.
    #[inline]
    pub(crate) fn leave_out(&mut self) {
        if let Some(running) = &mut self.0 {
            running.since = running.clock.monotonic();
        }
    }

    /// Every check has passed.
    #[inline]
    pub(crate) fn passed(self) {
        if let Some(running) = self.0 {
            running.timings.record(Check::All, running.sum);
        }
    }
}

impl Running<'_> {
    fn record(&mut self, check: Check) {
        let now = self.clock.monotonic();
        let took = now.since(self.since);
        self.since = now;
        self.sum += took;
        self.timings.record(check, took);
    }
}

#[cfg(test)]
mod tests;
