//! A call's way past the guard: asked for before it is recorded, told how it ended.

use std::{sync::Arc, time::Duration};

use seams::{Clock, Entropy, Monotonic};
use telemetry::metric;
use wire::v1::ToolClass;

use super::{
    Outcome, Priority,
    breaker::{Change, Pass},
    gate::{Crowded, Entry, Place},
};
use crate::{
    drain::{Drain, Phase},
    refuse::Refusal,
    snapshot::index::{ToolIndex, UpstreamIndex},
    upstream::ToolTimeouts,
};

/// Whose breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// The server's.
    Upstream,
    /// The tool's.
    Tool,
}

impl Shut {
    /// As callers and metrics read it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Tool => "tool",
        }
    }
}

/// Leave to send one call to one server.
#[derive(Debug)]
pub(crate) struct Passage {
    upstream: Arc<UpstreamIndex>,
    tool: Option<Arc<ToolIndex>>,
    of_upstream: Pass,
    of_tool: Pass,
    /// One of the calls that the server is given at once, where that is bounded.
    place: Option<Place>,
    /// When it began; `None` once it is known how it ended.
    open_since: Option<Monotonic>,
}

impl Passage {
    /// Takes one of the server's places, or waits for one, where it is given a bounded number of calls and this is one of them;
    /// and asks the breakers of the server, and of the tool that is called.
    ///
    /// # Errors
    /// [`Refusal::UpstreamCrowded`], or [`Refusal::CircuitOpen`]: whose, and for how long. [`Refusal::Draining`] where it still
    /// waits when this proxy's time is over: nothing was sent, and another proxy can take it.
    pub(crate) async fn begin(
        upstream: &Arc<UpstreamIndex>,
        tool: Option<&Arc<ToolIndex>>,
        priority: Option<Priority>,
        clock: &dyn Clock,
        drain: &Drain,
    ) -> Result<Self, Refusal> {
        let place = match priority.filter(|_| upstream.concurrency.max > 0) {
            Some(priority) => Some(place(upstream, tool, priority, clock, drain).await?),
            None => None,
        };
        Self::ask(upstream, tool, place, clock.monotonic())
    }

    pub(super) fn ask(
        upstream: &Arc<UpstreamIndex>,
        tool: Option<&Arc<ToolIndex>>,
        place: Option<Place>,
        now: Monotonic,
    ) -> Result<Self, Refusal> {
        let limits = upstream.breaker;
        // Most tools have never failed, and so have none.
        let breaker = tool.and_then(|tool| tool.breaker());
        if let Some(shut) = breaker.and_then(|breaker| breaker.shut_for(limits, now)) {
            return Err(open(Shut::Tool, shut));
        }
        let of_upstream =
            upstream.guard.breaker.admit(limits, now).map_err(|shut| open(Shut::Upstream, shut))?;
        let of_tool = breaker.map_or(Ok(Pass::FIRST), |breaker| breaker.admit(limits, now));
        let of_tool = of_tool.map_err(|shut| {
            upstream.guard.breaker.lost(of_upstream, now);
            open(Shut::Tool, shut)
        })?;
        let tool = tool.cloned();
        Ok(Self { upstream: Arc::clone(upstream), tool, of_upstream, of_tool, place, open_since: Some(now) })
    }

    /// What its tool does, if it calls one.
    pub(crate) fn class(&self) -> Option<ToolClass> {
        self.tool.as_ref().map(|tool| tool.class)
    }

    /// What its tool says of time-outs.
    pub(crate) fn timeouts(&self) -> Option<&ToolTimeouts> {
        self.tool.as_ref()?.timeouts.as_deref()
    }

    /// The call has ended.
    pub(crate) fn end(mut self, outcome: Outcome, now: Monotonic, entropy: &dyn Entropy) {
        if outcome == Outcome::Unknown {
            return;
        }
        let since = self.open_since.take();
        if let (Some(place), Some(since)) = (self.place.take(), since) {
            place.ended(now, now.since(since), outcome != Outcome::Answered);
        }
        let limits = self.upstream.breaker;
        let guard = &*self.upstream.guard;
        let chance = || u64::from_le_bytes(entropy.bytes());
        match outcome {
            Outcome::Answered => {
                self.tell(Shut::Upstream, guard.breaker.succeeded(limits, self.of_upstream, now));
                if let Some(breaker) = self.tool.as_ref().and_then(|tool| tool.breaker()) {
                    self.tell(Shut::Tool, breaker.succeeded(limits, self.of_tool, now));
                }
            }
            Outcome::Unreachable => {
                self.tell(Shut::Upstream, guard.breaker.failed(limits, self.of_upstream, now, chance));
            }
            Outcome::Unanswered => {
                if let Some(tool) = &self.tool {
                    let breaker = tool.breaker_of_failures();
                    self.tell(Shut::Tool, breaker.failed(limits, self.of_tool, now, chance));
                }
                // A probe's failure always counts, else it would say nothing.
                if guard.is_news(self.tool.as_ref().map(|tool| tool.id)) || self.of_upstream.is_probe() {
                    self.tell(Shut::Upstream, guard.breaker.failed(limits, self.of_upstream, now, chance));
                }
            }
            Outcome::Unknown => {}
        }
    }

    /// Without a guard's leave.
    #[cfg(test)]
    pub(crate) fn unasked(upstream: &Arc<UpstreamIndex>) -> Self {
        let (of_upstream, of_tool) = (Pass::FIRST, Pass::FIRST);
        Self {
            upstream: Arc::clone(upstream),
            tool: None,
            of_upstream,
            of_tool,
            place: None,
            open_since: None,
        }
    }

    fn tell(&self, of: Shut, change: Option<Change>) {
        let Some(change) = change else { return };
        let tool =
            self.tool.as_ref().filter(|_| of == Shut::Tool).map(|tool| tracing::field::display(tool.id));
        let to = match change {
            Change::Opened(time) => {
                let secs = time.as_secs_f64();
                tracing::warn!(upstream.id = %self.upstream.id, tool.id = tool, secs, "circuit opened");
                "open"
            }
            Change::Closed => {
                tracing::info!(upstream.id = %self.upstream.id, tool.id = tool, "circuit closed");
                "closed"
            }
        };
        metrics::counter!(metric::CIRCUIT_CHANGES, "of" => of.as_str(), "to" => to).increment(1);
    }
}

impl Drop for Passage {
    /// Nobody heard how it ended, its caller having left: if it was the probe, the next call is.
    fn drop(&mut self) {
        let Some(since) = self.open_since else { return };
        self.upstream.guard.breaker.lost(self.of_upstream, since);
        if let Some(breaker) = self.tool.as_ref().and_then(|tool| tool.breaker()) {
            breaker.lost(self.of_tool, since);
        }
    }
}

async fn place(
    upstream: &UpstreamIndex,
    tool: Option<&Arc<ToolIndex>>,
    priority: Priority,
    clock: &dyn Clock,
    drain: &Drain,
) -> Result<Place, Refusal> {
    let (guard, limits) = (&*upstream.guard, upstream.concurrency);
    let gate = guard.gate.get_or_init(Arc::default);
    let crowded = |reason: Crowded| {
        metrics::counter!(metric::UPSTREAM_CROWDED, "reason" => reason.as_str()).increment(1);
        Refusal::UpstreamCrowded { reason, retry_after: gate.again() }
    };
    match gate.enter(limits, priority) {
        Ok(Entry::In(place)) => Ok(place),
        Ok(Entry::Waits(waiting)) => {
            // Nobody waits for what is refused at the end of it.
            let now = clock.monotonic();
            if let Some(shut) = guard.breaker.shut_for(upstream.breaker, now) {
                return Err(open(Shut::Upstream, shut));
            }
            let breaker = tool.and_then(|tool| tool.breaker());
            if let Some(shut) = breaker.and_then(|breaker| breaker.shut_for(upstream.breaker, now)) {
                return Err(open(Shut::Tool, shut));
            }
            Box::pin(async {
                tokio::select! {
                    biased;
                    place = waiting.turn(limits.wait) => place.map_err(crowded),
                    () = drain.reached(Phase::Ending) => Err(Refusal::Draining),
                }
            })
            .await
        }
        Err(reason) => Err(crowded(reason)),
    }
}

const fn open(of: Shut, retry_after: Duration) -> Refusal {
    Refusal::CircuitOpen { of, retry_after }
}
