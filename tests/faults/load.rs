//! Callers that never stop, each call with a name of its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use harness::{Caller, Endpoint, Tenant};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinHandle;

/// What became of the calls.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Names of calls whose whole response reached the caller.
    pub(crate) answered: Vec<String>,
    /// Refusals by code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// How often the caller's first proxy, its second and so on were passed over.
    pub(crate) passed_over: Vec<u64>,
    /// Calls whose connection broke or could not be made.
    pub(crate) broken: u64,
    /// Of calls that should not fail: what went wrong.
    pub(crate) failed: Vec<String>,
}

/// Callers at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    answered: Arc<AtomicU64>,
    callers: Vec<JoinHandle<()>>,
}

/// What a caller does when a proxy cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// A call that breaks is given up, and the next one begins.
    GiveUp,
    /// A proxy that refuses the connection, or says that it is not ready, is passed over, as every load balancer does; all
    /// else must not happen.
    NextProxy,
}

impl Load {
    /// So many callers of `echo` at these proxies.
    pub(crate) fn start(count: usize, endpoint: &Endpoint, proxies: &[String], manners: Manners) -> Self {
        Self::paced(count, endpoint, proxies, manners, Duration::ZERO)
    }

    /// The same, with a pause of each caller after each call.
    pub(crate) fn paced(
        count: usize,
        endpoint: &Endpoint,
        proxies: &[String],
        manners: Manners,
        pause: Duration,
    ) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        seen.lock().passed_over = vec![0; proxies.len()];
        let answered = Arc::new(AtomicU64::new(0));
        let callers = (0..count)
            .map(|number| {
                let one = One {
                    number,
                    urls: proxies.iter().map(|proxy| format!("{proxy}{}", endpoint.path)).collect(),
                    manners,
                    pause,
                    caller: endpoint.caller(),
                    stop: Arc::clone(&stop),
                    seen: Arc::clone(&seen),
                    answered: Arc::clone(&answered),
                };
                tokio::task::spawn(one.run())
            })
            .collect();
        Self { stop, seen, answered, callers }
    }

    /// Calls answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits until so many more calls were answered.
    pub(crate) async fn more(&self, count: u64) {
        let target = self.answered() + count;
        harness::eventually("calls are answered", async || self.answered() >= target).await;
    }

    /// Waits until callers have passed over their first proxy more often than before. One that leaves answers no new
    /// connection while it ends those it has, so this takes a second.
    pub(crate) async fn moved_on(&self) {
        let first = || self.seen.lock().passed_over[0];
        let before = first();
        harness::eventually("callers move on", async || first() > before).await;
    }

    /// Lets the calls under way end, and says what became of all.
    pub(crate) async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.await.unwrap();
        }
        std::mem::take(&mut *self.seen.lock())
    }
}

struct One {
    number: usize,
    urls: Vec<String>,
    manners: Manners,
    pause: Duration,
    caller: Caller,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    answered: Arc<AtomicU64>,
}

impl One {
    async fn run(self) {
        let mut count = 0_u64;
        while !self.stop.load(Ordering::SeqCst) {
            count += 1;
            if !self.call(&format!("call-{}-{count}", self.number)).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
    }

    /// Whether the call was answered.
    async fn call(&self, name: &str) -> bool {
        let (caller, body) =
            self.caller.modern("tools/call", json!({"name": "echo", "arguments": {"text": name}}));
        let caller = caller.with_header("x-request-id", name);
        let mut answer = None;
        // Whose turn it is first differs from caller to caller.
        for at in 0..self.urls.len() {
            let url = &self.urls[(self.number + at) % self.urls.len()];
            let sent = caller.clone().at(url).try_send(reqwest::Method::POST, body.to_string()).await;
            let pass_over = match &sent {
                Ok(answer) => answer.code() == "not_ready",
                Err(error) => error.is_connect(),
            };
            answer = Some(sent);
            if !pass_over || self.manners == Manners::GiveUp {
                break;
            }
            *self.seen.lock().passed_over.get_mut(at).expect("a place for each proxy") += 1;
        }
        let mut seen = self.seen.lock();
        match answer.expect("there is a proxy") {
            Ok(answer) if answer.tool_text() == "ok: echo" => {
                seen.answered.push(name.to_owned());
                self.answered.fetch_add(1, Ordering::SeqCst);
                return true;
            }
            Ok(answer) if self.manners == Manners::GiveUp => {
                *seen.refused.entry(answer.code()).or_default() += 1;
            }
            Err(_) if self.manners == Manners::GiveUp => seen.broken += 1,
            answer => seen.failed.push(format!("{name}: {answer:?}")),
        }
        false
    }
}

/// Limits that no load of a test reaches.
pub(crate) async fn without_limits(tenant: &Tenant) {
    let limit =
        json!({"subject": "every_client", "per_minute": 10_000_000, "burst": 1_000_000, "concurrency": 0});
    tenant.post("/limits", limit).await;
}
