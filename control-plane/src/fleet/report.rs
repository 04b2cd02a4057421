//! What proxies found out about upstreams: their tools go into the catalogue.

mod queries;

use errors::ErrorCode;
use ids::{TenantId, ToolId, UpstreamId, Uuid};
use tonic::{Request, Response, Status};
use wire::{snapshot::MAX_TOOLS, v1};

use super::{
    FleetError, Peer, Peers,
    catalogue::{Plan, Seen, plan},
    commands,
    queries::pool_of_tenant,
};
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
    db::{StoreError, TenantTx},
    publish::commit::commit,
};

/// Characters kept of what a server says of itself.
const MAX_SERVER_TEXT: usize = 200;

pub(super) struct ReportService {
    core: Core,
    peers: Peers,
}

/// A report whose ids are ids.
struct Report {
    command: Option<Uuid>,
    tenant: TenantId,
    upstream: UpstreamId,
    error: Option<ErrorCode>,
    body: v1::CatalogueReport,
}

/// What is known of a server, beside its tools.
pub(super) struct ServerStatus<'a> {
    pub(super) protocol_version: &'a str,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) error: Option<ErrorCode>,
}

impl Report {
    fn read(body: v1::CatalogueReport) -> Option<Self> {
        let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
        let command = if body.command_id.is_empty() { None } else { Some(uuid(&body.command_id)?) };
        let error =
            if body.error_code.is_empty() { None } else { Some(ErrorCode::from_slug(&body.error_code)?) };
        if body.tools.len() > MAX_TOOLS {
            return None;
        }
        let (tenant, upstream) = (uuid(&body.tenant_id)?, uuid(&body.upstream_id)?);
        Some(Self {
            command,
            tenant: TenantId::from_uuid(tenant),
            upstream: UpstreamId::from_uuid(upstream),
            error,
            body,
        })
    }
}

impl ReportService {
    pub(super) fn new(core: Core) -> Self {
        Self { peers: Peers::new(core.clone()), core }
    }

    /// A proxy reports on its own pool's tenants and on no others.
    async fn serves(&self, peer: Peer, tenant: TenantId) -> Result<bool, StoreError> {
        Ok(pool_of_tenant(&mut self.core.store.operator().await?, tenant).await? == Some(peer.pool))
    }

    async fn take(&self, peer: Peer, mut report: Report) -> Result<v1::CatalogueAck, FleetError> {
        let core = &self.core;
        let reported = report.body.tools.len();
        let tools = std::mem::take(&mut report.body.tools);
        // Reading megabytes of definitions takes long enough to hold up others on this thread, and must not hold the
        // tenant's other writes.
        let seen: Vec<_> =
            tokio::task::spawn_blocking(move || tools.into_iter().filter_map(Seen::read).collect())
                .await
                .map_err(|error| StoreError::Bug(Box::new(error)))?;
        let mut tx = core.store.tenant_for_write(report.tenant).await?;
        if !queries::upstream_exists(&mut tx, report.upstream).await? {
            return Err(StoreError::NotFound.into());
        }
        self.note_server(&mut tx, peer, &report).await?;
        if let Some(error) = report.error {
            tracing::warn!(
                portcullis.tenant.id = %report.tenant,
                portcullis.upstream.id = %report.upstream,
                error.code = error.slug(),
                detail = clip(&report.body.error_detail),
                "discovery failed"
            );
            tx.commit_unpublished().await?;
            return Ok(v1::CatalogueAck::default());
        }
        if seen.len() < reported {
            tracing::warn!(
                portcullis.tenant.id = %report.tenant,
                portcullis.upstream.id = %report.upstream,
                tools = reported - seen.len(),
                "definitions that cannot be pinned were left out"
            );
        }
        let known = queries::tools(&mut tx, report.upstream).await?;
        let plan = plan(&known, seen, report.body.complete);
        if plan.left_out > 0 {
            tracing::warn!(
                portcullis.tenant.id = %report.tenant,
                portcullis.upstream.id = %report.upstream,
                tools = plan.left_out,
                "the upstream has shown more names of tools than are kept; new ones were left out"
            );
        }
        self.store(&mut tx, report.upstream, &plan).await?;
        if plan.publish {
            let act = Act {
                actor: Actor::Proxy(peer.proxy),
                operation: "fleet.report_catalogue",
                target: report.upstream.to_string(),
                address: peer.address,
                request_id: None,
                ending: Ending::Commit,
            };
            commit(tx, core, &act).await?;
        } else {
            tx.commit_unpublished().await?;
        }
        Ok(v1::CatalogueAck { added: plan.added, changed: plan.changed, retired: plan.retired })
    }

    async fn note_server(&self, tx: &mut TenantTx, peer: Peer, report: &Report) -> Result<(), StoreError> {
        let (protocol, name, version) = (
            clip(&report.body.protocol_version),
            clip(&report.body.server_name),
            clip(&report.body.server_version),
        );
        // A change noticed in passing says nothing of the server.
        if !report.body.complete && report.error.is_none() {
            return Ok(());
        }
        let status =
            ServerStatus { protocol_version: &protocol, name: &name, version: &version, error: report.error };
        queries::upsert_status(tx, report.upstream, peer.proxy, &status, self.core.clock.now()).await
    }

    async fn store(&self, tx: &mut TenantTx, upstream: UpstreamId, plan: &Plan) -> Result<(), StoreError> {
        let now = self.core.clock.now();
        queries::insert_definitions(tx, &plan.definitions, now).await?;
        if !plan.new.is_empty() {
            let approved = queries::approves_first_seen(tx, upstream).await?;
            let id = || ToolId::from_parts(now.millis(), self.core.entropy.bytes());
            let tools: Vec<_> = plan.new.iter().map(|tool| (id(), tool)).collect();
            queries::insert_tools(tx, upstream, &tools, approved, now).await?;
        }
        queries::update_tools(tx, &plan.updates, now).await?;
        queries::forget_definitions(tx, &plan.replaced).await?;
        queries::touch_tools(tx, &plan.same, now).await
    }

    async fn finish(
        &self,
        tenant: TenantId,
        command: Uuid,
        error: Option<ErrorCode>,
    ) -> Result<(), StoreError> {
        let mut tx = self.core.store.operator().await?;
        commands::finish(&mut tx, tenant, command, error.map(ErrorCode::slug), &*self.core.clock).await?;
        tx.commit().await
    }
}

/// What a server says of itself, short and fit for the database.
fn clip(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(MAX_SERVER_TEXT).collect()
}

#[tonic::async_trait]
impl v1::report_server::Report for ReportService {
    async fn catalogue(
        &self,
        request: Request<v1::CatalogueReport>,
    ) -> Result<Response<v1::CatalogueAck>, Status> {
        let peer = self.peers.admit(&request).await?;
        // What is not stored by then is not stored.
        tokio::select! {
            status = self.peers.until_out(peer.named()) => Err(status),
            reported = self.reported(peer, request) => reported,
        }
    }
}

impl ReportService {
    async fn reported(
        &self,
        peer: Peer,
        request: Request<v1::CatalogueReport>,
    ) -> Result<Response<v1::CatalogueAck>, Status> {
        let report = Report::read(request.into_inner())
            .ok_or_else(|| Status::invalid_argument("report has an id or code that is none"))?;
        if !self.serves(peer, report.tenant).await? {
            return Err(Status::permission_denied("another pool's tenant"));
        }
        let (tenant, command, error) = (report.tenant, report.command, report.error);
        let taken = self.take(peer, report).await;
        if let Some(command) = command {
            let error = error.or_else(|| taken.as_ref().err().map(FleetError::code));
            self.finish(tenant, command, error).await?;
        }
        taken.map(Response::new).map_err(FleetError::into_status)
    }
}
