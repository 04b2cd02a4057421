//! `upstream_oauth`.

use crypto::jwt::Algorithm;
use ids::{DataKeyId, UpstreamId};

use super::types::{UpstreamAuthentication, UpstreamOauth, UpstreamOauthSettings};
use crate::db::{StoreError, TenantTx, Unreadable};

/// A secret as it is stored.
pub(super) struct Sealed {
    pub(super) algorithm: Option<Algorithm>,
    pub(super) data_key_id: DataKeyId,
    pub(super) sealed: Vec<u8>,
}

/// `NotFound` where there is none.
pub(super) async fn get(tx: &mut TenantTx, upstream: UpstreamId) -> Result<UpstreamOauth, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT token_endpoint, issuer, client_id, authentication, key_id, scope, resource, ca_pem, fingerprint, updated_at
         FROM upstream_oauth WHERE tenant_id = $1 AND upstream_id = $2",
        tenant,
        upstream.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    let authentication = UpstreamAuthentication::from_name(&row.authentication);
    Ok(UpstreamOauth {
        settings: UpstreamOauthSettings {
            token_endpoint: row.token_endpoint,
            issuer: row.issuer,
            client_id: row.client_id,
            authentication: authentication.ok_or(Unreadable("authentication"))?,
            key_id: row.key_id,
            scope: row.scope,
            resource: row.resource,
            ca_pem: row.ca_pem,
        },
        fingerprint: row.fingerprint,
        updated_at: row.updated_at,
    })
}

pub(super) async fn replace(
    tx: &mut TenantTx,
    upstream: UpstreamId,
    oauth: &UpstreamOauth,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    delete(tx, upstream).await?;
    let (tenant, settings) = (tx.tenant().uuid(), &oauth.settings);
    sqlx::query!(
        "INSERT INTO upstream_oauth (tenant_id, upstream_id, token_endpoint, issuer, client_id, authentication, key_id,
           algorithm, scope, resource, ca_pem, data_key_id, sealed, fingerprint, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        tenant,
        upstream.uuid(),
        settings.token_endpoint,
        settings.issuer,
        settings.client_id,
        settings.authentication.name(),
        settings.key_id,
        sealed.algorithm.map(Algorithm::name),
        settings.scope,
        settings.resource,
        settings.ca_pem,
        sealed.data_key_id.uuid(),
        sealed.sealed,
        oauth.fingerprint,
        oauth.updated_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, upstream: UpstreamId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM upstream_oauth WHERE tenant_id = $1 AND upstream_id = $2",
        tenant,
        upstream.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
