//! From what was loaded to what is sent.

use bytes::Bytes;
use ids::TenantId;

use super::{CHUNK, Context, Delta, Flight, LoadFailure, Output, RETRY, Server, Snapshot, Step, send};
use crate::{
    snapshot::MAX_BYTES,
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
        let Some(nonce) = self.take_off(context, tenant, snapshot.version, false) else { return Ok(()) };
        let Snapshot { version, bytes, keys } = snapshot;
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
        let Some(nonce) = self.take_off(context, tenant, delta.version, true) else { return Ok(()) };
        let message = v1::Delta {
            nonce,
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            from_rev: delta.from.rev,
            from_digest: delta.from.digest.to_vec(),
            rev: delta.version.rev,
            digest: delta.version.digest.to_vec(),
            changes: Some(delta.changes),
            keys: delta.keys,
        };
        send(out, control_message::Body::Delta(message));
        Ok(())
    }

    /// The nonce under which what was loaded is now to be sent; `None` when it is not to be.
    fn take_off(
        &mut self,
        context: Context<'_>,
        tenant: TenantId,
        version: Version,
        delta: bool,
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
        scope.flight = Flight::Sent { nonce: self.nonce, version, delta };
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
