//! `client_registrations`, and the clients and keys that are theirs.

pub(super) mod dynamic;

use crypto::jwt;
use egress::{Rule, Rules};
use ids::{ClientId, EndpointId, Id, PublicKeyId};
use seams::Timestamp;
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

use super::{Kind, Registered, Resolved, said::Said};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    oauth::redirect::RedirectUri,
};

/// The tenant's egress rules.
pub(crate) async fn egress(tx: &mut TenantTx) -> Result<Rules, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!("SELECT network, port FROM egress_rules WHERE tenant_id = $1", tenant)
        .fetch_all(tx.conn())
        .await?;
    let rules = rows.into_iter().map(|row| Rule::new(&row.network, row.port.unsigned_abs()));
    rules.collect::<Result<Vec<_>, _>>().map(Rules::new).map_err(|_| Unreadable("egress rule").into())
}

/// A client as it is stored; `None`: there is none.
pub(in crate::oauth) async fn client(
    tx: &mut TenantTx,
    id: ClientId,
) -> Result<Option<Resolved>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT c.name, c.enabled, c.redirect_uris, c.public, r.kind AS "kind?", r.metadata_url,
             r.metadata->>'client_name' AS client_name
           FROM clients c LEFT JOIN client_registrations r ON r.tenant_id = c.tenant_id AND r.client_id = c.id
           WHERE c.tenant_id = $1 AND c.id = $2"#,
        tenant,
        id.uuid()
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let document = row.metadata_url.as_deref().map(Url::parse).transpose();
    Ok(Some(Resolved {
        id,
        text: row.metadata_url.clone().unwrap_or_else(|| id.to_string()),
        name: row.client_name.unwrap_or(row.name),
        redirect_uris: row.redirect_uris.into_iter().map(RedirectUri::stored).collect(),
        public: row.public,
        enabled: row.enabled,
        kind: row
            .kind
            .map(|kind| Kind::from_name(&kind).ok_or(Unreadable("kind of registration")))
            .transpose()?,
        document: document.map_err(|_| Unreadable("metadata URL"))?,
    }))
}

/// The client with this document.
pub(super) async fn by_url(tx: &mut TenantTx, url: &str) -> Result<Option<ClientId>, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT client_id FROM client_registrations WHERE tenant_id = $1 AND metadata_url = $2",
        tenant,
        url
    );
    Ok(found.fetch_optional(tx.conn()).await?.map(Id::from_uuid))
}

/// A client that a document describes, and which document.
pub(super) struct Described {
    pub(super) client: Resolved,
    pub(super) digest: [u8; 32],
    pub(super) fetched_at: Timestamp,
}

/// What is known of the client with this document.
pub(super) async fn document(tx: &mut TenantTx, url: &str) -> Result<Option<Described>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT client_id, digest, updated_at FROM client_registrations WHERE tenant_id = $1 AND metadata_url = $2",
        tenant,
        url
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let Some(client) = client(tx, Id::from_uuid(row.client_id)).await? else { return Ok(None) };
    let digest = row.digest.try_into().map_err(|_| Unreadable("digest"))?;
    Ok(Some(Described { client, digest, fetched_at: Timestamp::from_offset(row.updated_at) }))
}

/// How many have come so.
pub(super) async fn count(tx: &mut TenantTx, kind: Kind) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM client_registrations WHERE tenant_id = $1 AND kind = $2"#,
        tenant,
        kind.name()
    )
    .fetch_one(tx.conn())
    .await?)
}

/// How many have registered themselves, with nobody vouching for them, and were never given a token.
pub(super) async fn unused(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM client_registrations
           WHERE tenant_id = $1 AND kind = 'dynamic' AND used_at IS NULL AND initial_access_token_id IS NULL"#,
        tenant
    )
    .fetch_one(tx.conn())
    .await?)
}

/// Its name in the tenant, where names are unique: its own words, and what tells it from others who say the same.
fn name(said: &Said, id: ClientId) -> String {
    let short: String = said.client_name.chars().take(80).collect();
    let id = id.to_string();
    format!("{} ({})", short.trim_end(), &id[id.len() - 10..])
}

fn redirect_uris(said: &Said) -> Vec<String> {
    said.redirect_uris.iter().map(ToString::to_string).collect()
}

fn is_public(said: &Said) -> bool {
    said.token_endpoint_auth_method == super::said::Method::None
}

pub(super) async fn insert_client(
    tx: &mut TenantTx,
    id: ClientId,
    said: &Said,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO clients (tenant_id, id, name, enabled, redirect_uris, public, created_at, updated_at)
         VALUES ($1, $2, $3, true, $4, $5, $6, $6)",
        tenant,
        id.uuid(),
        name(said, id),
        &redirect_uris(said),
        is_public(said),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What it says now. Whether it is switched on, and what administrators call it, is not its to say.
pub(super) async fn update_client(
    tx: &mut TenantTx,
    id: ClientId,
    said: &Said,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE clients SET redirect_uris = $3, public = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        &redirect_uris(said),
        is_public(said),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn insert_document(
    tx: &mut TenantTx,
    id: ClientId,
    url: &str,
    (value, digest): (&Value, &[u8; 32]),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_registrations (tenant_id, client_id, kind, metadata_url, metadata, digest, created_at, updated_at)
         VALUES ($1, $2, 'metadata_document', $3, $4, $5, $6, $6)",
        tenant,
        id.uuid(),
        url,
        value,
        digest.as_slice(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: ClientId,
    (value, digest): (&Value, &[u8; 32]),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE client_registrations SET metadata = $3, digest = $4, updated_at = $5 WHERE tenant_id = $1 AND client_id = $2",
        tenant,
        id.uuid(),
        value,
        digest.as_slice(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Its document says what it said.
pub(super) async fn fetched(tx: &mut TenantTx, id: ClientId, now: OffsetDateTime) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE client_registrations SET updated_at = $3 WHERE tenant_id = $1 AND client_id = $2",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lets it use these of the tenant's endpoints.
pub(super) async fn allow(
    tx: &mut TenantTx,
    id: ClientId,
    endpoints: &[EndpointId],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| endpoint.uuid()).collect();
    sqlx::query!(
        "INSERT INTO client_endpoints (tenant_id, client_id, endpoint_id, created_at)
         SELECT $1, $2, *, $4 FROM unnest($3::uuid[])",
        tenant,
        id.uuid(),
        &endpoints,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Which grants a client has named that nobody has made.
pub(super) async fn registered(tx: &mut TenantTx, id: ClientId) -> Result<Option<Registered>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT array(SELECT jsonb_array_elements_text(metadata->'grant_types')) AS "grant_types!", metadata_url, used_at
           FROM client_registrations WHERE tenant_id = $1 AND client_id = $2"#,
        tenant,
        id.uuid()
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let document = row.metadata_url.as_deref().map(Url::parse).transpose();
    Ok(Some(Registered {
        grant_types: row.grant_types,
        document: document.map_err(|_| Unreadable("metadata URL"))?,
        used_at: row.used_at.map(Timestamp::from_offset),
    }))
}

pub(super) async fn used(tx: &mut TenantTx, id: ClientId, now: OffsetDateTime) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE client_registrations SET used_at = $3 WHERE tenant_id = $1 AND client_id = $2",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A key of a client, to be compared.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithm: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) async fn keys(tx: &mut TenantTx, id: ClientId) -> Result<Vec<Key>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Key,
        "SELECT kid, algorithm, public_key AS bytes FROM client_public_keys WHERE tenant_id = $1 AND client_id = $2",
        tenant,
        id.uuid()
    );
    Ok(rows.fetch_all(tx.conn()).await?)
}

pub(super) async fn delete_keys(tx: &mut TenantTx, id: ClientId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM client_public_keys WHERE tenant_id = $1 AND client_id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn insert_key(
    tx: &mut TenantTx,
    client: ClientId,
    id: PublicKeyId,
    (kid, key): (&str, &jwt::PublicKey),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_public_keys (tenant_id, id, client_id, name, kid, algorithm, public_key, created_at)
         VALUES ($1, $2, $3, $4, $4, $5, $6, $7)",
        tenant,
        id.uuid(),
        client.uuid(),
        kid,
        key.algorithm().name(),
        key.bytes(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Where the client keeps its keys, if it is not here.
pub(super) async fn key_set_url(tx: &mut TenantTx, id: ClientId) -> Result<Option<Url>, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT metadata->>'jwks_uri' FROM client_registrations WHERE tenant_id = $1 AND client_id = $2",
        tenant,
        id.uuid()
    );
    let found = found.fetch_optional(tx.conn()).await?.flatten();
    found.map(|url| Url::parse(&url).map_err(|_| Unreadable("key set URL").into())).transpose()
}

/// Holds the client's row: whoever changes its keys does so alone.
pub(super) async fn hold(tx: &mut TenantTx, id: ClientId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM clients WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    Ok(())
}
