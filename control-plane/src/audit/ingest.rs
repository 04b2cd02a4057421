//! Records from proxies' spools: checked, stored, and only then acknowledged.

mod queries;

use bytes::Bytes;
use ids::{ProxyId, TenantId, Uuid};
use prost::Message as _;
use seams::Timestamp;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1;

use super::row::AuditRow;
use crate::{
    app::Core,
    db::StoreError,
    fleet::{Peer, Peers},
};

/// Version of the record this build reads.
const VERSION: u32 = 1;
/// Acknowledgements a proxy may leave unread.
const QUEUE: usize = 16;
/// Records of one batch.
const MAX_RECORDS: usize = 20_000;

/// The service proxies upload to.
pub struct AuditService {
    core: Core,
    peers: Peers,
}

impl std::fmt::Debug for AuditService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditService").finish_non_exhaustive()
    }
}

impl AuditService {
    /// The service.
    #[must_use]
    pub fn new(core: Core) -> Self {
        Self { peers: Peers::new(core.clone()), core }
    }
}

/// Why a batch is not stored. The proxy keeps it, and its alarm for a spool that does not empty will bring somebody to
/// look: skipping what is wrong would be a hole in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("batch is empty, too large or without a boot id")]
    Batch,
    #[error("record is not in canonical form")]
    Record,
    #[error("record is another proxy's or another run's")]
    Foreign,
    #[error("sequence numbers do not rise")]
    Order,
    #[error("record of a tenant that this proxy does not serve")]
    Tenant,
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Foreign | Refused::Tenant => Self::permission_denied(refused.to_string()),
            Refused::Batch | Refused::Record | Refused::Order => Self::invalid_argument(refused.to_string()),
        }
    }
}

/// Records of one run of a proxy, in order.
#[derive(Debug)]
struct Batch {
    boot: Vec<u8>,
    rows: Vec<AuditRow>,
}

impl Batch {
    fn read(batch: v1::AuditBatch, proxy: ProxyId, now: Timestamp) -> Result<Self, Refused> {
        if batch.boot.len() != 16 || !(1..=MAX_RECORDS).contains(&batch.records.len()) {
            return Err(Refused::Batch);
        }
        let mut rows: Vec<AuditRow> = Vec::with_capacity(batch.records.len());
        for bytes in batch.records {
            let row = read_record(bytes, proxy, &batch.boot, now)?;
            if rows.last().is_some_and(|before| before.seq >= row.seq) {
                return Err(Refused::Order);
            }
            rows.push(row);
        }
        Ok(Self { boot: batch.boot, rows })
    }

    /// Ranges missing between `stored`, the last number that had arrived, and the batch's end.
    fn gaps(&self, stored: i64) -> Vec<(i64, i64)> {
        let mut expected = stored.saturating_add(1);
        let mut gaps = Vec::new();
        for row in &self.rows {
            if row.seq > expected {
                gaps.push((expected, row.seq - 1));
            }
            expected = expected.max(row.seq.saturating_add(1));
        }
        gaps
    }

    fn last_seq(&self) -> i64 {
        self.rows.last().map_or(0, |row| row.seq)
    }
}

fn read_record(bytes: Bytes, proxy: ProxyId, boot: &[u8], now: Timestamp) -> Result<AuditRow, Refused> {
    let record = v1::AuditRecord::decode(bytes.clone()).map_err(|_| Refused::Record)?;
    // Exactly: a field this build does not know would be signed for without being understood.
    if record.version != VERSION || record.encode_to_vec() != bytes {
        return Err(Refused::Record);
    }
    if record.proxy_id != proxy.uuid().as_bytes() || record.boot != boot {
        return Err(Refused::Foreign);
    }
    let known_enums = v1::Phase::try_from(record.phase).is_ok_and(|phase| phase != v1::Phase::Unspecified)
        && v1::Decision::try_from(record.decision).is_ok();
    if !known_enums || record.phase == i32::from(v1::Phase::Act) {
        return Err(Refused::Record);
    }
    AuditRow::from_record(&record, bytes, now).map_err(|_| Refused::Record)
}

/// One upload stream.
struct Upload {
    core: Core,
    peers: Peers,
    peer: Peer,
    /// Tenants this proxy may record for, once asked.
    admitted: HashMap<Uuid, bool>,
}

impl Upload {
    async fn run(
        mut self,
        mut inbound: Streaming<v1::AuditBatch>,
        acks: mpsc::Sender<Result<v1::AuditAck, Status>>,
    ) {
        let stopping = self.core.tasks.stopping();
        loop {
            let batch = tokio::select! {
                () = stopping.cancelled() => return,
                message = inbound.message() => match message {
                    Ok(Some(batch)) => batch,
                    Ok(None) | Err(_) => return,
                },
            };
            let ack = self.take(batch).await;
            if let Err(status) = &ack {
                tracing::warn!(portcullis.proxy.id = %self.peer.proxy, reason = status.message(), "audit batch refused");
            }
            let ended = ack.is_err();
            if acks.send(ack).await.is_err() || ended {
                return;
            }
        }
    }

    async fn take(&mut self, batch: v1::AuditBatch) -> Result<v1::AuditAck, Status> {
        // A stream stays open for as long as its certificate; the proxy may have been revoked since.
        self.peers.still(self.peer).await?;
        let batch = Batch::read(batch, self.peer.proxy, self.core.clock.now())?;
        for row in &batch.rows {
            if !self.may_record(row.tenant_id).await? {
                return Err(Refused::Tenant.into());
            }
        }
        self.store(&batch).await?;
        metrics::counter!(telemetry::metric::AUDIT_INGESTED).increment(batch.rows.len() as u64);
        self.note_arrival(&batch).await?;
        let seq = u64::try_from(batch.last_seq()).unwrap_or_default();
        Ok(v1::AuditAck { boot: batch.boot, seq })
    }

    async fn store(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut by_tenant: HashMap<Uuid, Vec<&AuditRow>> = HashMap::new();
        for row in &batch.rows {
            by_tenant.entry(row.tenant_id).or_default().push(row);
        }
        let first = batch.rows.first().map_or(Uuid::nil(), |row| row.tenant_id);
        let mut tx = self.core.store.audit_writer(TenantId::from_uuid(first)).await?;
        for (tenant, rows) in by_tenant {
            tx.turn_to(TenantId::from_uuid(tenant)).await?;
            queries::insert_many(&mut tx, &rows).await?;
        }
        tx.commit().await
    }

    /// After the records are stored and before they are acknowledged: whatever is lost in between is sent again.
    async fn note_arrival(&self, batch: &Batch) -> Result<(), StoreError> {
        let (now, proxy) = (self.core.clock.now(), self.peer.proxy);
        let mut tx = self.core.store.operator().await?;
        let stored = queries::arrived(&mut tx, proxy, &batch.boot, now).await?;
        let gaps = batch.gaps(stored);
        if let (Some((from, _)), Some((_, to))) = (gaps.first(), gaps.last()) {
            tracing::error!(
                portcullis.proxy.id = %proxy,
                boot = crypto::digest::hex(&batch.boot),
                gaps = gaps.len(),
                from_seq = from,
                to_seq = to,
                "audit records are missing"
            );
            queries::insert_gaps(&mut tx, proxy, &batch.boot, &gaps, now).await?;
            metrics::counter!(telemetry::metric::AUDIT_GAPS).increment(gaps.len() as u64);
        }
        queries::advance(&mut tx, proxy, &batch.boot, batch.last_seq(), now).await?;
        tx.commit().await
    }

    /// A proxy records for the tenants of its pool, for those it has served, and for those that are gone: the log
    /// outlives the tenant.
    async fn may_record(&mut self, tenant: Uuid) -> Result<bool, StoreError> {
        if let Some(admitted) = self.admitted.get(&tenant) {
            return Ok(*admitted);
        }
        let mut tx = self.core.store.operator().await?;
        let admitted =
            !tenant.is_nil() && queries::may_record(&mut tx, tenant, self.peer.proxy, self.peer.pool).await?;
        self.admitted.insert(tenant, admitted);
        Ok(admitted)
    }
}

#[tonic::async_trait]
impl v1::audit_server::Audit for AuditService {
    type UploadStream = ReceiverStream<Result<v1::AuditAck, Status>>;

    async fn upload(
        &self,
        request: Request<Streaming<v1::AuditBatch>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let peer = self.peers.admit(&request).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let upload =
            Upload { core: self.core.clone(), peers: self.peers.clone(), peer, admitted: HashMap::new() };
        self.core.tasks.spawn("audit upload", upload.run(request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[cfg(test)]
mod tests;
