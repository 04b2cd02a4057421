//! Records from proxies' spools: checked, stored, and only then acknowledged.
//!
//! A stream's batches are stored several at a time and acknowledged in order. What cannot stand in the log is set aside
//! with its bytes and its reason (`audit_quarantine`), and a number that is missing is a gap (`audit_gaps`); both raise an
//! alarm, and neither holds up what comes behind.

mod batch;
mod queries;

use std::{collections::HashSet, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use ids::{ProxyId, TenantId, Uuid};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1;

use self::batch::{Batch, Fault};
use super::row::AuditRow;
use crate::{
    app::Core,
    db::StoreError,
    fleet::{Peer, Peers},
};

/// Acknowledgements a proxy may leave unread.
const QUEUE: usize = 16;
/// Batches of one stream that are stored at once: one is read while another is written.
const AT_ONCE: usize = 3;
/// Records of one proxy that are set aside. One that brings more is not listened to, so that it cannot fill the database.
const MAX_SET_ASIDE: i64 = 10_000;

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

type Stored = Result<Batch, Status>;

/// One upload stream.
struct Upload {
    core: Core,
    peers: Peers,
    peer: Peer,
    /// Tenants for which records of these recorders were taken on this stream.
    admitted: Mutex<HashSet<(Uuid, Uuid)>>,
}

impl Upload {
    /// Stores what comes and passes it on in order.
    async fn store_all(
        self: Arc<Self>,
        mut inbound: Streaming<v1::AuditBatch>,
        stored: mpsc::Sender<Stored>,
    ) {
        let stopping = self.core.tasks.stopping();
        let mut out = std::pin::pin!(self.peers.until_out(self.peer.named()));
        let mut storing = FuturesOrdered::new();
        let mut open = true;
        while open || !storing.is_empty() {
            tokio::select! {
                () = stopping.cancelled() => return,
                status = &mut out => {
                    let _gone = stored.send(Err(status)).await;
                    return;
                }
                message = inbound.message(), if open && storing.len() < AT_ONCE => match message {
                    Ok(Some(batch)) => storing.push_back(Arc::clone(&self).take(batch)),
                    Ok(None) | Err(_) => open = false,
                },
                Some(batch) = storing.next() => {
                    let failed = batch.is_err();
                    if stored.send(batch).await.is_err() || failed {
                        return;
                    }
                }
            }
        }
    }

    /// Notes the arrival of each batch and acknowledges it.
    async fn acknowledge_all(
        self: Arc<Self>,
        mut stored: mpsc::Receiver<Stored>,
        acks: mpsc::Sender<Result<v1::AuditAck, Status>>,
    ) {
        while let Some(batch) = stored.recv().await {
            let ack = match batch {
                Ok(batch) => self.note_arrival(&batch).await.map_err(Status::from).map(|()| ack(batch)),
                Err(status) => Err(status),
            };
            if let Err(status) = &ack {
                tracing::warn!(portcullis.proxy.id = %self.peer.proxy, reason = status.message(), "audit batch refused");
            }
            let ended = ack.is_err();
            if acks.send(ack).await.is_err() || ended {
                return;
            }
        }
    }

    async fn take(self: Arc<Self>, message: v1::AuditBatch) -> Stored {
        // A stream stays open for as long as its certificate; the proxy may have been revoked since.
        self.peers.still(self.peer).await?;
        let (uploader, now) = (self.peer.proxy, self.core.clock.now());
        // Thousands of records are decoded and hashed: long enough to hold up others on this thread.
        let read = tokio::task::spawn_blocking(move || Batch::read(message, uploader, now));
        let mut batch = read.await.map_err(|error| StoreError::Bug(Box::new(error)))??;
        self.check_recorder(&mut batch).await?;
        self.check_tenants(&mut batch).await?;
        match self.store(&batch.rows).await {
            Ok(()) => {}
            // Not the database's state but a record's content: find out whose.
            Err(StoreError::Bug(error)) => {
                tracing::error!(portcullis.proxy.id = %uploader, error.cause = %error, "audit batch cannot be stored whole");
                self.store_singly(&mut batch).await?;
            }
            Err(error) => return Err(error.into()),
        }
        self.core.key_uses.remember(&batch.rows);
        metrics::counter!(telemetry::metric::AUDIT_INGESTED).increment(batch.rows.len() as u64);
        Ok(batch)
    }

    /// A proxy uploads what it recorded, and what it found in the spool that it was started over: that of another proxy of
    /// its pool which lives no more.
    async fn check_recorder(&self, batch: &mut Batch) -> Result<(), Status> {
        if batch.recorder == self.peer.proxy.uuid() {
            return Ok(());
        }
        let recorder = ProxyId::from_uuid(batch.recorder);
        let mut tx = self.core.store.operator().await?;
        match queries::predecessor(&mut tx, recorder, self.peer.pool, self.core.clock.now()).await? {
            Some(false) => {}
            // Its lease will run out, if it is not this one's predecessor in truth.
            Some(true) => return Err(Status::unavailable("the proxy that recorded this still lives")),
            None => {
                batch.sift(|_| Some(Fault::Foreign));
                batch.recorder = self.peer.proxy.uuid();
            }
        }
        Ok(())
    }

    /// A proxy records for the tenants of its pool, for those it has served, and for those that are gone: the log
    /// outlives the tenant.
    async fn check_tenants(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let recorder = batch.recorder;
        let wanted: HashSet<Uuid> = batch.rows.iter().map(|row| row.tenant_id).collect();
        let unknown: Vec<Uuid> = {
            let admitted = self.admitted.lock();
            wanted.into_iter().filter(|tenant| !admitted.contains(&(recorder, *tenant))).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let mut tx = self.core.store.operator().await?;
        let recorders = [recorder, self.peer.proxy.uuid()];
        let foreign = queries::not_served(&mut tx, &unknown, &recorders, self.peer.pool).await?;
        drop(tx);
        let mut admitted = self.admitted.lock();
        admitted.extend(
            unknown.into_iter().filter(|tenant| !foreign.contains(tenant)).map(|tenant| (recorder, tenant)),
        );
        drop(admitted);
        batch.sift(|row| foreign.contains(&row.tenant_id).then_some(Fault::Tenant));
        Ok(())
    }

    async fn store(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let Some(first) = rows.first() else { return Ok(()) };
        let mut ordered: Vec<&AuditRow> = rows.iter().collect();
        ordered.sort_by_key(|row| row.tenant_id);
        let mut tx = self.core.store.audit_writer(TenantId::from_uuid(first.tenant_id)).await?;
        for of_tenant in ordered.chunk_by(|one, next| one.tenant_id == next.tenant_id) {
            tx.turn_to(TenantId::from_uuid(of_tenant[0].tenant_id)).await?;
            queries::insert_many(&mut tx, of_tenant).await?;
        }
        tx.commit().await
    }

    async fn store_singly(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let mut unstorable = HashSet::new();
        for row in &batch.rows {
            match self.store(std::slice::from_ref(row)).await {
                Ok(()) => {}
                Err(StoreError::Bug(_)) => {
                    unstorable.insert(row.seq);
                }
                Err(error) => return Err(error),
            }
        }
        batch.sift(|row| unstorable.contains(&row.seq).then_some(Fault::Unstorable));
        Ok(())
    }

    /// After the records are stored and before they are acknowledged: whatever is lost in between is sent again.
    async fn note_arrival(&self, batch: &Batch) -> Result<(), FullOrStore> {
        let (now, proxy) = (self.core.clock.now(), self.peer.proxy);
        let recorder = ProxyId::from_uuid(batch.recorder);
        let mut tx = self.core.store.operator().await?;
        let stored = queries::arrived(&mut tx, recorder, &batch.boot, proxy, now).await?;
        let gaps = batch.gaps(stored);
        if let (Some((from, _)), Some((_, to))) = (gaps.first(), gaps.last()) {
            tracing::error!(
                portcullis.proxy.id = %recorder,
                boot = crypto::digest::hex(&batch.boot),
                gaps = gaps.len(),
                from_seq = from,
                to_seq = to,
                "audit records are missing"
            );
            queries::insert_gaps(&mut tx, recorder, &batch.boot, &gaps, now).await?;
            metrics::counter!(telemetry::metric::AUDIT_GAPS).increment(gaps.len() as u64);
        }
        if !batch.set_aside.is_empty() {
            if queries::set_aside_by(&mut tx, proxy).await? >= MAX_SET_ASIDE {
                return Err(FullOrStore::Full);
            }
            let new = queries::set_aside(&mut tx, proxy, batch, now).await?;
            tracing::error!(
                portcullis.proxy.id = %proxy,
                boot = crypto::digest::hex(&batch.boot),
                records = new,
                reason = batch.set_aside[0].0.reason(),
                "audit records were set aside"
            );
            metrics::counter!(telemetry::metric::AUDIT_SET_ASIDE).increment(new);
        }
        queries::advance(&mut tx, recorder, &batch.boot, batch.last_seq, now).await?;
        queries::note_spool(&mut tx, proxy, batch.spool_bytes, now).await?;
        Ok(tx.commit().await?)
    }
}

fn ack(batch: Batch) -> v1::AuditAck {
    v1::AuditAck { boot: batch.boot, seq: u64::try_from(batch.last_seq).unwrap_or_default() }
}

/// Why an arrival was not noted.
#[derive(Debug, thiserror::Error)]
enum FullOrStore {
    #[error("too much of this proxy's was set aside: look at audit_quarantine")]
    Full,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FullOrStore> for Status {
    fn from(error: FullOrStore) -> Self {
        match error {
            FullOrStore::Full => Self::resource_exhausted(error.to_string()),
            FullOrStore::Store(error) => error.into(),
        }
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
        let (stored, arriving) = mpsc::channel(AT_ONCE);
        let admitted = Mutex::default();
        let upload = Arc::new(Upload { core: self.core.clone(), peers: self.peers.clone(), peer, admitted });
        let tasks = &self.core.tasks;
        tasks.spawn("audit upload", Arc::clone(&upload).store_all(request.into_inner(), stored));
        tasks.spawn("audit acknowledgement", upload.acknowledge_all(arriving, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
