//! Facts this proxy learned, on their way to the control plane.

use ids::{TenantId, UpstreamId, Uuid};
use telemetry::metric;
use tokio::sync::mpsc;
use tonic::{Code, Status};
use wire::{
    MAX_MESSAGE,
    v1::{self, report_client::ReportClient},
};

use super::{Shared, backoff::Backoff};

/// Reports that wait to be sent.
const QUEUE: usize = 256;

/// Takes reports.
#[derive(Debug, Clone)]
pub struct Reporter(mpsc::Sender<v1::CatalogueReport>);

impl Reporter {
    pub(super) fn new() -> (Self, mpsc::Receiver<v1::CatalogueReport>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Reports a change noticed in passing, without waiting. With the queue full it is dropped and counted: the next
    /// call that meets the change notices it again.
    pub fn notice(&self, report: v1::CatalogueReport) {
        if self.0.try_send(report).is_err() {
            metrics::counter!(metric::UPSTREAM_NOTICES_DROPPED).increment(1);
        }
    }

    /// Reports the answer to a command, waiting for room.
    pub(super) async fn answer(&self, report: v1::CatalogueReport) {
        // Fails only when the sending task has ended, at shutdown.
        let _stopped = self.0.send(report).await;
    }
}

/// Sends reports one after the other until shutdown.
pub(super) async fn run(shared: Shared, mut reports: mpsc::Receiver<v1::CatalogueReport>) {
    let stopping = shared.tasks.token();
    loop {
        let report = tokio::select! {
            () = stopping.cancelled() => return,
            report = reports.recv() => match report {
                Some(report) => report,
                None => return,
            },
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = deliver(&shared, report) => {}
        }
    }
}

async fn deliver(shared: &Shared, report: v1::CatalogueReport) {
    let mut waits = Backoff::default();
    loop {
        match send(shared, report.clone()).await {
            Ok(ack) => {
                tracing::info!(
                    portcullis.upstream.id = %upstream(&report),
                    complete = report.complete,
                    added = ack.added,
                    changed = ack.changed,
                    retired = ack.retired,
                    "catalogue reported"
                );
                return;
            }
            Err(status) if is_final(&status) => {
                tracing::warn!(
                    portcullis.tenant.id = %TenantId::from_uuid(Uuid::from_slice(&report.tenant_id).unwrap_or_default()),
                    portcullis.upstream.id = %upstream(&report),
                    reason = status.message(),
                    "catalogue report was refused"
                );
                return;
            }
            Err(_) => tokio::time::sleep(waits.next(&*shared.entropy)).await,
        }
    }
}

async fn send(shared: &Shared, report: v1::CatalogueReport) -> Result<v1::CatalogueAck, Status> {
    let channel = shared.channel.borrow().clone().ok_or_else(|| Status::unavailable("no certificate"))?;
    let mut client = ReportClient::new(channel).max_encoding_message_size(MAX_MESSAGE);
    Ok(client.catalogue(report).await?.into_inner())
}

/// Whether sending it again would end the same way.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
    )
}

fn upstream(report: &v1::CatalogueReport) -> UpstreamId {
    UpstreamId::from_uuid(Uuid::from_slice(&report.upstream_id).unwrap_or_default())
}
