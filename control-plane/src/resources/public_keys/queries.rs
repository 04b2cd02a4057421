//! `client_public_keys`.

use crypto::jwt::{self, Algorithm, Jwk};
use ids::{ClientId, Id, PublicKeyId, Uuid};
use time::OffsetDateTime;

use super::types::PublicKey;
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    client_id: Uuid,
    name: String,
    kid: String,
    algorithm: String,
    public_key: Vec<u8>,
    created_at: OffsetDateTime,
    not_after: Option<OffsetDateTime>,
}

impl TryFrom<Row> for PublicKey {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let algorithm = Algorithm::from_name(&row.algorithm).ok_or(Unreadable("algorithm"))?;
        let key = jwt::PublicKey::new(algorithm, &row.public_key).map_err(|_| Unreadable("public key"))?;
        Ok(Self {
            id: Id::from_uuid(row.id),
            client_id: Id::from_uuid(row.client_id),
            name: Name::stored(row.name),
            key: Jwk::new(&row.kid, &key),
            created_at: row.created_at,
            not_after: row.not_after,
        })
    }
}

pub(super) async fn list(
    tx: &mut TenantTx,
    client: ClientId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<PublicKey>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, client_id, name, kid, algorithm, public_key, created_at, not_after FROM client_public_keys
         WHERE tenant_id = $1 AND client_id = $2 AND id > $3 ORDER BY id LIMIT $4",
        tenant,
        client.uuid(),
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn get(
    tx: &mut TenantTx,
    client: ClientId,
    id: PublicKeyId,
) -> Result<PublicKey, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, client_id, name, kid, algorithm, public_key, created_at, not_after FROM client_public_keys
         WHERE tenant_id = $1 AND client_id = $2 AND id = $3",
        tenant,
        client.uuid(),
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    row.try_into()
}

pub(super) async fn count(tx: &mut TenantTx, client: ClientId) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM client_public_keys WHERE tenant_id = $1 AND client_id = $2"#,
        tenant,
        client.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    made: &PublicKey,
    (kid, key): (&str, &jwt::PublicKey),
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_public_keys
           (tenant_id, id, client_id, name, kid, algorithm, public_key, created_at, not_after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant,
        made.id.uuid(),
        made.client_id.uuid(),
        made.name.as_str(),
        kid,
        key.algorithm().name(),
        key.bytes(),
        made.created_at,
        made.not_after
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: PublicKeyId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM client_public_keys WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
