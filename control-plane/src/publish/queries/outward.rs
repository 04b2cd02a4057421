//! What upstreams are shown beside static headers.

use ids::{Id, TenantId};

use crate::{
    db::{StoreError, TenantTx},
    publish::outward::{AssertionRow, AuthRows},
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
    Ok(auth)
}
