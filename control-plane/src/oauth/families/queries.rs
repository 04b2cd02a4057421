//! `authorizations` and what belongs to them.

use crypto::claims::Thumbprint;
use ids::{AuthorizationId, ClientId, ConsentId, Id, MemberId, Scopes, TokenId, Uuid};
use seams::Timestamp;
use time::OffsetDateTime;

use super::Family;
use crate::{
    db::{StoreError, TenantTx},
    oauth::authorize::queries::{read_scopes, write_scopes},
};

/// Which families.
#[derive(Debug, Clone)]
pub(crate) enum Which {
    One(AuthorizationId),
    OfMember(MemberId),
    /// Of the member with the client at the endpoint.
    OfConsent(MemberId, ClientId, String),
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    family: &Family,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO authorizations (tenant_id, id, member_id, client_id, resource, scopes, signed_in_at, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant,
        family.id.uuid(),
        family.member.uuid(),
        family.client.uuid(),
        family.resource,
        &write_scopes(&family.scopes),
        family.signed_in_at.to_offset(),
        now,
        family.expires_at.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Families of the member with the client that go on, but for the newest `kept`.
pub(super) async fn beyond(
    tx: &mut TenantTx,
    (member, client): (MemberId, ClientId),
    kept: i64,
) -> Result<Vec<AuthorizationId>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_scalar!(
        "SELECT id FROM authorizations WHERE tenant_id = $1 AND member_id = $2 AND client_id = $3 AND ended_at IS NULL
         ORDER BY id DESC OFFSET $4",
        tenant,
        member.uuid(),
        client.uuid(),
        kept
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(Id::from_uuid).collect())
}

/// A family that goes on, its row held; `None`: it has ended.
pub(crate) async fn hold(
    tx: &mut TenantTx,
    id: AuthorizationId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT ended_at IS NULL AND expires_at > $3 FROM authorizations WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant,
        id.uuid(),
        now
    );
    Ok(found.fetch_optional(tx.conn()).await?.flatten().unwrap_or(false))
}

/// Binds the family to a key.
pub(crate) async fn bind(tx: &mut TenantTx, id: AuthorizationId, key: Thumbprint) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE authorizations SET jkt = $3 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        key.0.as_slice()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Whether the family is bound to no key, or to this.
pub(crate) async fn is_good_with(
    tx: &mut TenantTx,
    id: AuthorizationId,
    key: Option<Thumbprint>,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        r#"SELECT jkt IS NULL OR jkt = $3 AS "good" FROM authorizations WHERE tenant_id = $1 AND id = $2"#,
        tenant,
        id.uuid(),
        key.as_ref().map(|key| key.0.as_slice())
    );
    // Compared with a key that is not there, neither.
    Ok(found.fetch_one(tx.conn()).await?.unwrap_or(false))
}

/// Whether the member is there and switched on; held so.
pub(crate) async fn hold_member(tx: &mut TenantTx, member: MemberId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT id FROM members WHERE tenant_id = $1 AND id = $2 AND enabled FOR SHARE",
        tenant,
        member.uuid()
    );
    Ok(found.fetch_optional(tx.conn()).await?.is_some())
}

/// To what the member agrees of what the family is about; held so.
pub(super) async fn hold_consent(tx: &mut TenantTx, family: &Family) -> Result<Option<Scopes>, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT scopes FROM consents WHERE tenant_id = $1 AND member_id = $2 AND client_id = $3 AND resource = $4 FOR SHARE",
        tenant,
        family.member.uuid(),
        family.client.uuid(),
        family.resource
    );
    found.fetch_optional(tx.conn()).await?.as_deref().map(read_scopes).transpose()
}

/// Notes an access token of the family, and forgets those of it that have expired.
pub(super) async fn note_token(
    tx: &mut TenantTx,
    family: AuthorizationId,
    (token, expires_at): (TokenId, OffsetDateTime),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM authorization_tokens WHERE tenant_id = $1 AND authorization_id = $2 AND expires_at <= $3",
        tenant,
        family.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "INSERT INTO authorization_tokens (tenant_id, id, authorization_id, expires_at) VALUES ($1, $2, $3, $4)",
        tenant,
        token.uuid(),
        family.uuid(),
        expires_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends families that go on: whose they were, and their access tokens that have not expired.
pub(super) async fn end(
    tx: &mut TenantTx,
    which: Which,
    now: OffsetDateTime,
) -> Result<(Vec<(MemberId, ClientId)>, Vec<TokenId>), StoreError> {
    let (id, member, of): (Option<Uuid>, Option<Uuid>, Option<(ClientId, String)>) = match which {
        Which::One(id) => (Some(id.uuid()), None, None),
        Which::OfMember(member) => (None, Some(member.uuid()), None),
        Which::OfConsent(member, client, resource) => (None, Some(member.uuid()), Some((client, resource))),
    };
    let (client, resource) = of.map(|(client, resource)| (client.uuid(), resource)).unzip();
    let tenant = tx.tenant().uuid();
    let ended = sqlx::query!(
        "UPDATE authorizations SET ended_at = $6 WHERE tenant_id = $1 AND ended_at IS NULL
           AND ($2::uuid IS NULL OR id = $2) AND ($3::uuid IS NULL OR member_id = $3)
           AND ($4::uuid IS NULL OR client_id = $4) AND ($5::text IS NULL OR resource = $5)
         RETURNING id, member_id, client_id",
        tenant,
        id,
        member,
        client,
        resource,
        now
    );
    let ended = ended.fetch_all(tx.conn()).await?;
    let families: Vec<Uuid> = ended.iter().map(|row| row.id).collect();
    let between = ended.iter().map(|row| (Id::from_uuid(row.member_id), Id::from_uuid(row.client_id)));
    let mut between: Vec<(MemberId, ClientId)> = between.collect();
    between.sort_unstable();
    between.dedup();
    let tokens = sqlx::query!(
        "DELETE FROM authorization_tokens WHERE tenant_id = $1 AND authorization_id = ANY($2) RETURNING id, expires_at",
        tenant,
        &families
    );
    let tokens = tokens.fetch_all(tx.conn()).await?;
    let live = tokens.into_iter().filter(|row| row.expires_at > now).map(|row| Id::from_uuid(row.id));
    Ok((between, live.collect()))
}

/// Codes of the member that nobody has used.
pub(super) async fn delete_codes(tx: &mut TenantTx, member: MemberId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM authorization_codes WHERE tenant_id = $1 AND member_id = $2 AND authorization_id IS NULL",
        tenant,
        member.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes a consent, of this member if one is named, and says what it was about.
pub(super) async fn delete_consent(
    tx: &mut TenantTx,
    id: ConsentId,
    member: Option<MemberId>,
) -> Result<Option<(MemberId, ClientId, String)>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "DELETE FROM consents WHERE tenant_id = $1 AND id = $2 AND ($3::uuid IS NULL OR member_id = $3)
         RETURNING member_id, client_id, resource",
        tenant,
        id.uuid(),
        member.map(MemberId::uuid)
    );
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| (Id::from_uuid(row.member_id), Id::from_uuid(row.client_id), row.resource)))
}

/// A code, its row held.
pub(crate) struct StoredCode {
    pub(crate) family: Family,
    pub(crate) session: Vec<u8>,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    pub(crate) expires_at: Timestamp,
    /// What came of it, if it was used.
    pub(crate) used: Option<AuthorizationId>,
}

/// The code with this digest, as the family that is to come of it.
pub(crate) async fn hold_code(
    tx: &mut TenantTx,
    digest: &[u8; 32],
    (id, ends): (AuthorizationId, Timestamp),
) -> Result<Option<StoredCode>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT member_id, client_id, session, redirect_uri, challenge, resource, scopes, signed_in_at, expires_at, authorization_id
         FROM authorization_codes WHERE tenant_id = $1 AND digest = $2 FOR UPDATE",
        tenant,
        digest
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let family = Family {
        id,
        member: Id::from_uuid(row.member_id),
        client: Id::from_uuid(row.client_id),
        resource: row.resource,
        scopes: read_scopes(&row.scopes)?,
        signed_in_at: Timestamp::from_offset(row.signed_in_at),
        expires_at: ends,
    };
    Ok(Some(StoredCode {
        family,
        session: row.session,
        redirect_uri: row.redirect_uri,
        challenge: row.challenge,
        expires_at: Timestamp::from_offset(row.expires_at),
        used: row.authorization_id.map(Id::from_uuid),
    }))
}

/// The code was used for this.
pub(crate) async fn use_code(
    tx: &mut TenantTx,
    digest: &[u8; 32],
    family: AuthorizationId,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE authorization_codes SET authorization_id = $3 WHERE tenant_id = $1 AND digest = $2",
        tenant,
        digest,
        family.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A refresh token's family, whether or not it goes on.
pub(crate) async fn of_refresh_token(
    tx: &mut TenantTx,
    digest: &[u8; 32],
) -> Result<Option<Family>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT a.id, a.member_id, a.client_id, a.resource, a.scopes, a.signed_in_at, a.expires_at
         FROM refresh_tokens r JOIN authorizations a ON a.tenant_id = r.tenant_id AND a.id = r.authorization_id
         WHERE r.tenant_id = $1 AND r.digest = $2",
        tenant,
        digest
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    Ok(Some(Family {
        id: Id::from_uuid(row.id),
        member: Id::from_uuid(row.member_id),
        client: Id::from_uuid(row.client_id),
        resource: row.resource,
        scopes: read_scopes(&row.scopes)?,
        signed_in_at: Timestamp::from_offset(row.signed_in_at),
        expires_at: Timestamp::from_offset(row.expires_at),
    }))
}

/// What is stored of a refresh token itself.
pub(crate) struct StoredToken {
    pub(crate) expires_at: Timestamp,
    pub(crate) used_at: Option<Timestamp>,
    pub(crate) successor: Option<Vec<u8>>,
}

/// To be read when the family is held.
pub(crate) async fn refresh_token(tx: &mut TenantTx, digest: &[u8; 32]) -> Result<StoredToken, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT expires_at, used_at, successor FROM refresh_tokens WHERE tenant_id = $1 AND digest = $2",
        tenant,
        digest
    );
    let row = row.fetch_one(tx.conn()).await?;
    Ok(StoredToken {
        expires_at: Timestamp::from_offset(row.expires_at),
        used_at: row.used_at.map(Timestamp::from_offset),
        successor: row.successor,
    })
}

pub(crate) async fn insert_refresh_token(
    tx: &mut TenantTx,
    digest: &[u8; 32],
    family: AuthorizationId,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO refresh_tokens (tenant_id, digest, authorization_id, expires_at) VALUES ($1, $2, $3, $4)",
        tenant,
        digest,
        family.uuid(),
        expires_at.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Another stands in its place from now on.
pub(crate) async fn supersede(
    tx: &mut TenantTx,
    digest: &[u8; 32],
    successor: &[u8; 32],
    now: Timestamp,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE refresh_tokens SET used_at = $4, successor = $3 WHERE tenant_id = $1 AND digest = $2",
        tenant,
        digest,
        successor,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
