//! How a kill without a row is written down. Proxies and Redis keep it for control planes and need to know what to stop, not why
//! or who said so: that is sealed.

use std::collections::BTreeMap;

use crypto::{Aad, Sealer};
use ids::{ProxyId, TenantId, Uuid};
use prost::Message as _;
use seams::{Entropy, Timestamp};
use wire::{kill::Kill, v1};

use super::ORDERED_BY;
use crate::{
    audit::{Act, Actor, ending::Ending},
    secrets::Secrets,
};

/// A kill that has no row yet.
#[derive(Debug, Clone)]
pub struct Unsaved {
    /// It.
    pub kill: Kill,
    /// Why.
    pub reason: String,
    /// By whom, for the audit log.
    pub act: Act,
    /// Both, sealed: made once, so that whoever keeps it sees that it is the same.
    pub(super) sealed: Vec<u8>,
    /// In force at a proxy from this serial on.
    pub(in crate::kills) serial: u64,
    /// When each proxy connected here had it in force.
    pub(in crate::kills) acked: BTreeMap<ProxyId, Timestamp>,
}

/// The first seals, every one opens while a rotation of the master key lasts.
#[derive(Debug)]
pub(in crate::kills) struct Sealers(Vec<Sealer>);

impl Sealers {
    pub(in crate::kills) fn new(secrets: &Secrets) -> Self {
        Self(secrets.unsaved_kill_sealers())
    }

    /// One that was ordered here.
    pub(super) fn unsaved(&self, kill: Kill, reason: String, act: Act, entropy: &dyn Entropy) -> Unsaved {
        let operator = match act.actor {
            Actor::Operator(id) => id,
            _ => Uuid::nil(),
        };
        let written = v1::UnsavedReason {
            reason: reason.clone(),
            operator_id: operator.as_bytes().to_vec(),
            address: act.address.map(|address| address.to_string()).unwrap_or_default(),
            request_id: act.request_id.clone().unwrap_or_default(),
        };
        let seal = |sealer: &Sealer| aad(&kill, |aad| sealer.seal(aad, &written.encode_to_vec(), entropy));
        // What is too long to be sealed does not exist; a kill goes out whatever can be kept of its reason.
        let sealed = self.0.first().and_then(|sealer| seal(sealer).ok()).unwrap_or_default();
        Unsaved { kill, reason, act, sealed, serial: 0, acked: BTreeMap::new() }
    }

    /// Those that this build knows, and whether that is all.
    pub(super) fn decode(&self, bytes: &[u8]) -> (Vec<Unsaved>, bool) {
        let Ok(written) = v1::UnsavedKills::decode(bytes) else { return (Vec::new(), false) };
        let read: Vec<_> = written.kills.iter().filter_map(|written| self.read(written)).collect();
        let whole = read.len() == written.kills.len();
        (read, whole)
    }

    /// `None` for what this build does not know, or that another installation sealed.
    fn read(&self, written: &v1::UnsavedKill) -> Option<Unsaved> {
        let kill = Kill::read(written.kill.as_ref()?)?;
        let sealed = written.sealed_reason.clone();
        let open = |sealer: &Sealer| aad(&kill, |aad| sealer.open(aad, &sealed)).ok();
        let opened = self.0.iter().find_map(open)?;
        let why = v1::UnsavedReason::decode(opened.as_slice()).ok()?;
        let act = Act {
            actor: Actor::Operator(Uuid::from_slice(&why.operator_id).ok()?),
            operation: ORDERED_BY,
            target: format!("{} {}", kill.id, why.reason),
            address: why.address.parse().ok(),
            request_id: (!why.request_id.is_empty()).then_some(why.request_id),
            ending: Ending::Commit,
        };
        Some(Unsaved { kill, reason: why.reason, act, sealed, serial: 0, acked: BTreeMap::new() })
    }
}

/// The reason of one kill does not open as another's.
fn aad<T>(kill: &Kill, with: impl FnOnce(&Aad<'_>) -> T) -> T {
    let tenant = kill.target.tenant().unwrap_or_else(|| TenantId::from_uuid(Uuid::nil()));
    with(&Aad { tenant, table: "kills", column: "reason", row: kill.id.uuid().as_bytes() })
}

/// Empty when there are none.
pub(super) fn encode(unsaved: &[Unsaved]) -> Vec<u8> {
    let write = |unsaved: &Unsaved| v1::UnsavedKill {
        kill: Some(unsaved.kill.write()),
        sealed_reason: unsaved.sealed.clone(),
    };
    v1::UnsavedKills { kills: unsaved.iter().map(write).collect() }.encode_to_vec()
}
