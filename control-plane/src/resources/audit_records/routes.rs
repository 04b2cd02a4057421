//! `/v1/tenants/{tenant}/audit-records` and, for acts on the installation itself, `/v1/audit-records`.

use ids::{ProxyId, TenantId, Uuid};
use prost::Message as _;
use seams::Timestamp;
use wire::v1;

use super::{
    open::Opener,
    queries::{self, Position},
    types::{AuditQuery, AuditRecord, Include},
};
use crate::{
    audit::act::{self, Place},
    db::{INSTALLATION, Unreadable},
    http::prelude::*,
};

/// A tenant's calls and acts, newest first. For operators also those of a tenant that was deleted, by its id; what is
/// sealed in them cannot be opened any more.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit-records", operation_id = "list_audit_records", tag = "audit",
    params(TenantPath, AuditQuery), responses((status = 200, description = "A page", body = Page<AuditRecord>), Problems),
    security(("token" = ["audit:read"])))]
pub async fn list(
    InTenantOrGone(caller): InTenantOrGone<AuditRead>,
    State(core): State<Core>,
    Query(filter): Query<AuditQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let opener = match filter.include {
        None => None,
        Some(Include::Content) if !caller.caller.scopes.contain(AuditContentRead::NAME) => {
            return Err(ApiError::Forbidden { scope: AuditContentRead::NAME });
        }
        Some(Include::Content) => {
            // On record before anything is shown.
            let mut audit = core.store.audit_writer(caller.tenant).await?;
            let act = caller.act("open_audit_content", caller.tenant);
            act::record(&mut audit, &act, Place::NoRevision, &*core.clock, &*core.entropy).await?;
            audit.commit().await?;
            Some(Opener::load(&core, caller.tenant).await?)
        }
    };
    page(&core, caller.tenant, &filter, opener.as_ref(), paging).await
}

/// Acts on the installation itself, such as making pools and join tokens, newest first.
#[utoipa::path(get, path = "/v1/audit-records", operation_id = "list_installation_audit_records", tag = "audit",
    params(AuditQuery), responses((status = 200, description = "A page", body = Page<AuditRecord>), Problems),
    security(("token" = ["operator"])))]
pub async fn list_installation(
    _: Operator,
    State(core): State<Core>,
    Query(filter): Query<AuditQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    page(&core, INSTALLATION, &filter, None, paging).await
}

async fn page(
    core: &Core,
    tenant: TenantId,
    filter: &AuditQuery,
    opener: Option<&Opener>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let after =
        paging.after().map(|bytes| Position::from_bytes(bytes).ok_or(ApiError::CursorInvalid)).transpose()?;
    let mut tx = core.store.audit_reader(tenant).await?;
    let rows = queries::list(&mut tx, tenant, filter, after.as_ref(), paging.fetch()).await?;
    drop(tx);
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let body = v1::AuditRecord::decode(row.body.as_slice())
            .map_err(|_| ApiError::internal(Unreadable("audit record")))?;
        let opened = opener.map(|opener| opener.open(&body));
        records.push(AuditRecord::of(row, body, opened));
    }
    paging.page_by(core, records, |record| Position::of(record).to_bytes())
}

impl Position {
    fn of(record: &AuditRecord) -> Self {
        Self {
            at: record.at,
            proxy_id: record.proxy_id.map(ProxyId::uuid).unwrap_or_default(),
            boot: hex::decode(&record.boot).unwrap_or_default(),
            seq: i64::try_from(record.seq).unwrap_or(i64::MAX),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let at = Timestamp::from_offset(self.at).micros().to_be_bytes();
        [&at, self.proxy_id.as_bytes().as_slice(), &self.seq.to_be_bytes(), &self.boot].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk()?;
        let (proxy_id, rest) = rest.split_first_chunk()?;
        let (seq, boot) = rest.split_first_chunk()?;
        Some(Self {
            at: Timestamp::from_micros(u64::from_be_bytes(*at)).to_offset(),
            proxy_id: Uuid::from_bytes(*proxy_id),
            boot: boot.to_vec(),
            seq: i64::from_be_bytes(*seq),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_cursor() {
        let position = Position {
            at: Timestamp::from_micros(1_795_600_000_123_456).to_offset(),
            proxy_id: Uuid::from_u128(7),
            boot: vec![3; 16],
            seq: 42,
        };
        assert_eq!(Position::from_bytes(&position.to_bytes()), Some(position));
        assert_eq!(Position::from_bytes(&[0; 31]), None);
    }
}
