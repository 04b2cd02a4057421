//! What callers' traffic shows about upstreams' definitions: a tool that is no longer what was approved is refused here
//! at once, and the control plane hears of it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hashbrown::HashMap;
use ids::{TenantId, UpstreamId};
use parking_lot::Mutex;
use telemetry::metric;
use tokio::sync::mpsc;

use crate::snapshot::index::ToolIndex;

/// Notices that may wait; more are dropped, and come again with the next list.
const WAITING: usize = 1024;
/// Definitions remembered as reported.
const REMEMBERED: usize = 16 * 1024;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// A definition's digest; `None` for one that has none, because no pin could hold it.
type Seen = Option<[u8; 32]>;

/// What was seen of tools whose definition is not the approved one.
type Changed = Map<UpstreamId, Map<Box<str>, Seen>>;

/// What was told to the control plane.
type Reported = Map<(UpstreamId, Box<str>), Seen>;

/// Something the control plane should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// A definition that differs from the approved one, or that nobody has reviewed.
    Drift {
        /// Whose upstream.
        tenant: TenantId,
        /// Which.
        upstream: UpstreamId,
        /// The tool's name.
        name: Box<str>,
        /// The definition as sent.
        definition: Bytes,
    },
    /// The upstream says that its tools have changed.
    ListChanged {
        /// Whose upstream.
        tenant: TenantId,
        /// Which.
        upstream: UpstreamId,
    },
}

/// The process's view of upstreams' definitions, shared by all workers.
#[derive(Debug)]
pub(crate) struct Watched {
    changed: ArcSwap<Changed>,
    reported: Mutex<Reported>,
    notices: mpsc::Sender<Noticed>,
}

impl Watched {
    /// With the receiver of what is noticed.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Noticed>) {
        let (notices, receiver) = mpsc::channel(WAITING);
        let watched = Self { changed: ArcSwap::default(), reported: Mutex::default(), notices };
        (Arc::new(watched), receiver)
    }

    /// Whether the tool was last seen with another definition than the approved one. Ends by itself when that very
    /// definition is approved, or when the upstream goes back to the approved one.
    pub(crate) fn is_quarantined(&self, upstream: UpstreamId, tool: &ToolIndex) -> bool {
        let changed = self.changed.load();
        if changed.is_empty() {
            return false;
        }
        let seen = changed.get(&upstream).and_then(|tools| tools.get(&tool.name));
        seen.is_some_and(|seen| seen.is_none() || *seen != tool.digest)
    }

    /// A definition in a list differs from the tool's pin, or has none.
    pub(crate) fn differs(
        &self,
        tenant: TenantId,
        upstream: UpstreamId,
        name: &str,
        pinned: bool,
        digest: Seen,
        definition: &[u8],
    ) {
        if pinned {
            self.update(upstream, name, |tools| {
                let known = tools.get(name).copied();
                (known != Some(digest)).then(|| tools.insert(name.into(), digest)).is_some()
            });
        }
        if self.is_news(upstream, name, digest) {
            let definition = Bytes::copy_from_slice(definition);
            self.notice(Noticed::Drift { tenant, upstream, name: name.into(), definition });
        }
    }

    /// A definition in a list is the approved one.
    pub(crate) fn agrees(&self, upstream: UpstreamId, name: &str) {
        let changed = self.changed.load();
        if changed.get(&upstream).is_some_and(|tools| tools.contains_key(name)) {
            self.update(upstream, name, |tools| tools.remove(name).is_some());
            self.reported.lock().remove(&(upstream, Box::from(name)));
        }
    }

    /// The upstream announced that its tools have changed.
    pub(crate) fn list_changed(&self, tenant: TenantId, upstream: UpstreamId) {
        self.notice(Noticed::ListChanged { tenant, upstream });
    }

    fn update(&self, upstream: UpstreamId, name: &str, change: impl Fn(&mut Map<Box<str>, Seen>) -> bool) {
        self.changed.rcu(|current| {
            let mut tools = current.get(&upstream).cloned().unwrap_or_default();
            if !change(&mut tools) {
                return current.clone();
            }
            tracing::debug!(upstream.id = %upstream, tool.name = name, "definition seen");
            let mut next = Changed::clone(current);
            if tools.is_empty() {
                next.remove(&upstream)
            } else {
                next.insert(upstream, tools)
            };
            Arc::new(next)
        });
    }

    /// Whether this definition of this tool has not been reported yet.
    fn is_news(&self, upstream: UpstreamId, name: &str, digest: Seen) -> bool {
        let mut reported = self.reported.lock();
        if reported.len() >= REMEMBERED {
            reported.clear();
        }
        reported.insert((upstream, Box::from(name)), digest) != Some(digest)
    }

    fn notice(&self, noticed: Noticed) {
        if let Err(mpsc::error::TrySendError::Full(lost)) = self.notices.try_send(noticed) {
            metrics::counter!(metric::UPSTREAM_NOTICES_DROPPED).increment(1);
            if let Noticed::Drift { upstream, name, .. } = lost {
                self.reported.lock().remove(&(upstream, name));
            }
        }
    }
}
