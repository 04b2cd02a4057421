//! Proofs of possession (RFC 9449), for tokens that are bound to a key: each is for one request, and taken once.
//!
//! When a proof was made its maker says, or a nonce of ours that it brings back: a caller whose clock is off is given one. Every proxy
//! of the tenant takes any proxy's nonces.
//!
//! That a proof is taken once holds within this process, for all its workers: what it has taken is kept for as long as the proof could
//! be good. Another proxy does not know of it: somebody who reads a request within TLS, and repeats it at once, is let in once at
//! each other proxy, for a minute, or five where it has a nonce. Nonces that are one proxy's own would close that, and make callers
//! behind a balancer try each call twice.

use std::{collections::HashSet, time::Duration};

use crypto::jwt::dpop::Proof;
use http::Method;
use ids::{ClientId, EndpointId, TenantId};
use parking_lot::Mutex;
use seams::Timestamp;

use super::{EndpointEvidence, Exchange};
use crate::{refuse::Refusal, resource, snapshot::index::Map};

/// How far the clock of whoever makes proofs may be off.
const SKEW: Duration = Duration::from_secs(60);
/// How long a nonce is good.
const NONCE_LIFE: Duration = Duration::from_secs(5 * 60);
/// Proofs of one client that are kept, twice: beyond it, the older half is forgotten, and with it all that is as old is refused.
const KEPT_PER_CLIENT: usize = 8 * 1024;
/// Of all clients: beyond it, those of the client that has most are.
const KEPT: usize = 256 * 1024;

/// Proofs that this process has taken.
#[derive(Debug, Default)]
pub(crate) struct Proofs(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    of: Map<(TenantId, ClientId), Own>,
    count: usize,
}

/// One client's.
#[derive(Debug, Default)]
struct Own {
    /// Of what was made until then nobody knows any more whether it was taken: it is not.
    floor: Timestamp,
    newer: Part,
    older: Part,
}

/// Some of them, and when the last of these was made.
#[derive(Debug, Default)]
struct Part {
    ids: HashSet<[u8; 16], ahash::RandomState>,
    latest: Timestamp,
}

/// Whether a proof is new.
#[derive(Debug, PartialEq, Eq)]
enum Novelty {
    New,
    Taken,
    /// It may have been taken.
    Unknown,
}

impl Part {
    fn is_over(&self, now: Timestamp) -> bool {
        self.latest.plus(NONCE_LIFE) < now
    }
}

impl Own {
    fn len(&self) -> usize {
        self.newer.ids.len() + self.older.ids.len()
    }

    fn forget_over(&mut self, now: Timestamp) {
        for part in [&mut self.newer, &mut self.older] {
            if part.is_over(now) {
                *part = Part::default();
            }
        }
    }

    fn take(&mut self, id: [u8; 16], made: Timestamp) -> Novelty {
        if made <= self.floor {
            return Novelty::Unknown;
        }
        if self.newer.ids.contains(&id) || self.older.ids.contains(&id) {
            return Novelty::Taken;
        }
        if self.newer.ids.len() >= KEPT_PER_CLIENT {
            self.floor = self.floor.max(self.older.latest);
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.latest = self.newer.latest.max(made);
        self.newer.ids.insert(id);
        Novelty::New
    }
}

impl Taken {
    fn make_room(&mut self, now: Timestamp) {
        self.of.retain(|_, own| {
            own.forget_over(now);
            own.len() > 0 || own.floor.plus(NONCE_LIFE) >= now
        });
        self.count = self.of.values().map(Own::len).sum();
        if self.count >= KEPT
            && let Some(most) = self.of.values_mut().max_by_key(|own| own.len())
        {
            self.count -= most.len();
            let floor = most.floor.max(most.newer.latest).max(most.older.latest);
            *most = Own { floor, ..Own::default() };
        }
    }
}

impl Proofs {
    /// Takes a proof of a client's that was made then.
    fn take(&self, who: (TenantId, ClientId), id: &[u8; 32], made: Timestamp, now: Timestamp) -> Novelty {
        let mut taken = self.0.lock();
        if taken.count >= KEPT {
            taken.make_room(now);
        }
        let own = taken.of.entry(who).or_default();
        let before = own.len();
        own.forget_over(now);
        let mut short = [0; 16];
        short.copy_from_slice(&id[..16]);
        let novelty = own.take(short, made);
        let after = own.len();
        taken.count = taken.count - before + after;
        novelty
    }
}

/// Whether the request brings a proof for itself, of the key to which its token is bound.
pub(super) fn check(
    exchange: &Exchange,
    place: &EndpointEvidence,
    proofs: &Proofs,
    (client, key, token): (ClientId, crypto::claims::Thumbprint, &str),
    now: Timestamp,
) -> Result<(), Refusal> {
    let tenant = place.tenant();
    let mut values = exchange.headers().get_all("dpop").iter();
    let (Some(text), None) = (values.next(), values.next()) else {
        return Err(Refusal::ProofInvalid);
    };
    let proof = text.to_str().ok().and_then(|text| Proof::read(text).ok()).ok_or(Refusal::ProofInvalid)?;
    let method = &exchange.head().method;
    let here = resource::uris(exchange, place).iter().any(|uri| proof.is_for(method.as_str(), uri));
    let known = matches!(*method, Method::GET | Method::POST | Method::DELETE);
    if !(known && here && proof.key() == key && proof.is_with(token)) {
        return Err(Refusal::ProofInvalid);
    }
    let (purpose, nonces) = (purpose(tenant.id, place.endpoint().id), tenant.crypto.nonces());
    let again = || Refusal::ProofNonce { nonce: nonces.make(&purpose, now) };
    let made = match proof.nonce() {
        Some(nonce) => {
            let made = nonces.made(&purpose, nonce).filter(|made| made.plus(NONCE_LIFE) > now);
            // Another proxy's clock may be ahead.
            made.filter(|made| *made <= now.plus(SKEW)).ok_or_else(again)?
        }
        None => {
            let near = proof.made().plus(SKEW) > now && proof.made() <= now.plus(SKEW);
            near.then_some(proof.made()).ok_or_else(again)?
        }
    };
    match proofs.take((tenant.id, client), proof.id(), made, now) {
        Novelty::New => Ok(()),
        Novelty::Taken => Err(Refusal::ProofInvalid),
        Novelty::Unknown => Err(again()),
    }
}

/// What a nonce is for: this endpoint, at whichever proxy.
fn purpose(tenant: TenantId, endpoint: EndpointId) -> Vec<u8> {
    [tenant.uuid().as_bytes().as_slice(), endpoint.uuid().as_bytes()].concat()
}

#[cfg(test)]
mod tests;
