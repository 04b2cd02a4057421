//! The spool's way to the control plane: in order, acknowledged, begun anew where it broke off.

use std::{sync::Arc, time::Duration};

use telemetry::metric;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use wire::{
    MAX_MESSAGE,
    v1::{self, audit_client::AuditClient},
};

use super::{Shared, backoff::Backoff};
use crate::audit::spool::{Batch, Reader, Spool};

/// Bytes of a batch, about.
const BATCH: usize = 1 << 20;
/// Batches that await acknowledgement.
const WINDOW: usize = 4;
/// A batch that is not full is gathered so long: under steady traffic it holds what arrived meanwhile.
const GATHER: Duration = Duration::from_millis(50);

/// Uploads until shutdown.
pub(super) async fn run(shared: Shared, spool: Arc<Spool>) {
    let stopping = shared.tasks.token();
    tokio::select! {
        () = stopping.cancelled() => {}
        () = upload(shared, spool) => {}
    }
}

async fn upload(shared: Shared, spool: Arc<Spool>) {
    let mut channel = shared.channel.clone();
    let mut waits = Backoff::default();
    let mut reader = spool.reader();
    loop {
        // What was sent and not acknowledged is sent again.
        reader.rewind();
        reader.more().await;
        let current = channel.borrow_and_update().clone();
        let Some(current) = current else {
            if channel.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ended = tokio::select! {
            ended = stream(current, &spool, &mut reader, &mut waits) => ended,
            // With the new certificate.
            changed = channel.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match ended.code() {
            // Nothing but a change of this proxy or of the control plane helps; the spool's size raises the alarm.
            Code::PermissionDenied | Code::InvalidArgument => {
                tracing::error!(reason = ended.message(), "control plane refuses audit records");
            }
            _ => {
                tracing::debug!(grpc.code = ?ended.code(), reason = ended.message(), "audit upload interrupted")
            }
        }
        tokio::time::sleep(waits.next(&*shared.entropy)).await;
    }
}

/// One upload stream, until it breaks.
async fn stream(
    channel: tonic::transport::Channel,
    spool: &Spool,
    reader: &mut Reader,
    waits: &mut Backoff,
) -> Status {
    let (outbound, queued) = mpsc::channel(WINDOW);
    let mut client = AuditClient::new(channel).max_encoding_message_size(MAX_MESSAGE);
    let mut acks = match client.upload(ReceiverStream::new(queued)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    let mut under_way = 0;
    loop {
        tokio::select! {
            batch = next_batch(reader), if under_way < WINDOW => {
                let Some(batch) = batch else { continue };
                let message = v1::AuditBatch {
                    boot: batch.boot.to_vec(),
                    records: batch.records,
                    last_seq: batch.last_seq,
                    spool_bytes: spool.unacknowledged_bytes(),
                };
                if outbound.send(message).await.is_err() {
                    return acks.message().await.err().unwrap_or_else(|| Status::unavailable("closed"));
                }
                under_way += 1;
            }
            ack = acks.message() => match ack {
                Ok(Some(ack)) => {
                    let Ok(boot) = <[u8; 16]>::try_from(ack.boot) else {
                        return Status::internal("acknowledgement of no boot");
                    };
                    spool.acknowledge(boot, ack.seq);
                    metrics::gauge!(metric::AUDIT_SPOOL_BYTES).set(spool.unacknowledged_bytes() as f64);
                    under_way = under_way.saturating_sub(1);
                    waits.reset();
                }
                Ok(None) => return Status::unavailable("closed by the control plane"),
                Err(status) => return status,
            },
        }
    }
}

/// Cut short while it waits, it has read nothing.
async fn next_batch(reader: &mut Reader) -> Option<Batch> {
    reader.more().await;
    if reader.unread() < BATCH as u64 {
        tokio::time::sleep(GATHER).await;
    }
    reader.next_batch(BATCH).unwrap_or_else(|error| {
        tracing::error!(error.code = error.code().slug(), error.cause = %error, "spool cannot be read");
        None
    })
}
