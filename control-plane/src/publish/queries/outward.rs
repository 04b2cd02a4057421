//! What upstreams are shown beside static headers.

use crypto::jwt::Algorithm;
use ids::{Id, TenantId};

use super::certificates;
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    publish::outward::{AssertionRow, AuthRows, OauthRow},
    resources::upstream_oauth::types::UpstreamAuthentication,
};

pub(super) async fn auth(tx: &mut TenantTx, tenant: TenantId) -> Result<AuthRows, StoreError> {
    let mut auth = AuthRows::new();
    let rows = sqlx::query!(
        "SELECT upstream_id, audience, sent_as, body_digest FROM upstream_assertions WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    for row in rows {
        let (audience, bearer, body_digest) = (row.audience, row.sent_as == "bearer", row.body_digest);
        auth.entry(Id::from_uuid(row.upstream_id)).or_default().assertion =
            Some(AssertionRow { audience, bearer, body_digest });
    }
    let rows = sqlx::query!(
        "SELECT upstream_id, token_endpoint, issuer, client_id, authentication, key_id, algorithm, scope, resource, ca_pem,
           data_key_id, sealed
         FROM upstream_oauth WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    for row in rows {
        let authentication = UpstreamAuthentication::from_name(&row.authentication);
        let algorithm = row.algorithm.as_deref().and_then(Algorithm::from_name);
        auth.entry(Id::from_uuid(row.upstream_id)).or_default().oauth = Some(OauthRow {
            token_endpoint: row.token_endpoint,
            issuer: row.issuer,
            client_id: row.client_id,
            authentication: authentication.ok_or(Unreadable("authentication"))?,
            key: row.key_id.zip(algorithm),
            scope: row.scope,
            resource: row.resource,
            ca_der: row.ca_pem.as_deref().map(certificates).transpose()?.unwrap_or_default(),
            data_key_id: Id::from_uuid(row.data_key_id),
            sealed: row.sealed,
        });
    }
    Ok(auth)
}
