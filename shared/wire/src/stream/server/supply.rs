//! From what was loaded to what is sent.

use bytes::Bytes;
use ids::TenantId;

use super::{
    CHUNK, Context, Delta, Flight, KEEPS_DEFINITIONS, LoadFailure, Output, RETRY, Server, Snapshot, Step,
    send,
};
use crate::{
    snapshot::{
        MAX_BYTES,
        definitions::{self, Place},
    },
    stream::Version,
    v1::{self, control_message},
};

impl Server {
    pub(super) fn loaded(
        &mut self,
        context: Context<'_>,
        tenant: TenantId,
        snapshot: Snapshot,
        out: &mut Vec<Output>,
    ) -> Step {
        if snapshot.bytes.len() > MAX_BYTES {
            // No proxy takes it, and it would fill the queue.
            return self.not_loaded(context, tenant, LoadFailure::Broken);
        }
        let Snapshot { version, bytes, keys, definitions } = snapshot;
        let cuts_out = self.cuts_out(tenant);
        let leans = cuts_out && !definitions.is_empty();
        let Some(nonce) = self.take_off(context, tenant, version, leans) else { return Ok(()) };
        let (bytes, cuts) = if cuts_out {
            self.teach(definitions.iter().map(|place| (place, &bytes)), out);
            definitions::cut(&bytes, 0, definitions.iter())
        } else {
            // They lie in it whole, and are held as well when it is applied.
            for place in &*definitions {
                let _new = self.known.learn(&place.address);
            }
            (bytes, Vec::new())
        };
        let parts = if self.protocol >= 1 { parts(&bytes) } else { vec![bytes] };
        let mut parts = parts.into_iter();
        let first = parts.next().unwrap_or_default();
        let replace = v1::Replace {
            nonce,
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            rev: version.rev,
            digest: version.digest.to_vec(),
            snapshot: first,
            keys,
            chunks: parts.len() as u32,
            cuts,
        };
        send(out, control_message::Body::Replace(replace));
        for (index, bytes) in (1..).zip(parts) {
            send(out, control_message::Body::Chunk(v1::Chunk { nonce, index, bytes }));
        }
        Ok(())
    }

    pub(super) fn loaded_delta(
        &mut self,
        context: Context<'_>,
        tenant: TenantId,
        delta: Delta,
        out: &mut Vec<Output>,
    ) -> Step {
        let Some(scope) = self.scopes.get_mut(&tenant).filter(|scope| scope.flight == Flight::Loading) else {
            return Ok(());
        };
        // What the proxy holds may have been found to be something else while this was read.
        if scope.base() != Some(delta.from) {
            scope.flight = Flight::None;
            self.window.landed(tenant);
            return Ok(());
        }
        let cuts_out = self.cuts_out(tenant);
        let Some(nonce) = self.take_off(context, tenant, delta.version, true) else { return Ok(()) };
        let mut changes = delta.changes;
        let mut cuts = Vec::new();
        if cuts_out {
            let there = delta.definitions.iter().zip(&changes.upserts);
            self.teach(there.filter_map(|(place, bytes)| Some((place.as_ref()?, bytes))), out);
            for ((number, upsert), place) in (0..).zip(&mut changes.upserts).zip(&*delta.definitions) {
                let (rest, cut) = definitions::cut(upsert, number, place);
                *upsert = rest;
                cuts.extend(cut);
            }
        }
        let message = v1::Delta {
            nonce,
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            from_rev: delta.from.rev,
            from_digest: delta.from.digest.to_vec(),
            rev: delta.version.rev,
            digest: delta.version.digest.to_vec(),
            changes: Some(changes),
            keys: delta.keys,
            cuts,
        };
        send(out, control_message::Body::Delta(message));
        Ok(())
    }

    /// Whether definitions go on their own, and once.
    fn cuts_out(&self, tenant: TenantId) -> bool {
        self.protocol >= KEEPS_DEFINITIONS && self.scopes.get(&tenant).is_some_and(|scope| !scope.whole)
    }

    /// Sends those of the definitions that the proxy does not hold, each with the bytes that it lies in.
    fn teach<'a>(&mut self, places: impl Iterator<Item = (&'a Place, &'a Bytes)>, out: &mut Vec<Output>) {
        let mut new = v1::Definitions::default();
        let mut size = 0;
        for (place, bytes) in places {
            if !self.known.learn(&place.address) {
                continue;
            }
            let definition = place.of(bytes);
            if size + definition.len() > CHUNK {
                send(out, control_message::Body::Definitions(std::mem::take(&mut new)));
                size = 0;
            }
            size += definition.len();
            new.definitions.push(definition);
        }
        if !new.definitions.is_empty() {
            send(out, control_message::Body::Definitions(new));
        }
    }

    /// The nonce under which what was loaded is now to be sent; `None` when it is not to be.
    fn take_off(
        &mut self,
        context: Context<'_>,
        tenant: TenantId,
        version: Version,
        leans: bool,
    ) -> Option<u64> {
        let scope = self.scopes.get_mut(&tenant).filter(|scope| scope.flight == Flight::Loading)?;
        scope.flight = Flight::None;
        let Some(target) = scope.target else {
            self.window.landed(tenant);
            return None;
        };
        if version.rev > target.rev {
            scope.target = Some(version);
        }
        // A lagging read must neither take the proxy back nor be repeated at once.
        if scope.held.is_some_and(|held| version.rev < held.rev || version == held) {
            scope.retry_at = Some(context.after(RETRY));
            self.window.retrying.insert(tenant);
            self.window.landed(tenant);
            return None;
        }
        self.nonce += 1;
        scope.retry_at = None;
        scope.flight = Flight::Sent { nonce: self.nonce, version, leans };
        self.window.settled(tenant);
        Some(self.nonce)
    }

    pub(super) fn not_loaded(
        &mut self,
        context: Context<'_>,
        tenant: TenantId,
        failure: LoadFailure,
    ) -> Step {
        let Some(scope) = self.scopes.get_mut(&tenant).filter(|scope| scope.flight == Flight::Loading) else {
            return Ok(());
        };
        scope.flight = Flight::None;
        scope.retry_at = Some(context.after(RETRY));
        self.window.retrying.insert(tenant);
        self.window.landed(tenant);
        if failure == LoadFailure::Broken {
            self.window.settled(tenant);
        }
        Ok(())
    }
}

/// At least one.
fn parts(bytes: &Bytes) -> Vec<Bytes> {
    let mut rest = bytes.clone();
    let mut parts = Vec::new();
    while rest.len() > CHUNK {
        parts.push(rest.split_to(CHUNK));
    }
    parts.push(rest);
    parts
}
