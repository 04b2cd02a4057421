//! `domains` with `domain_certificates`.

use ids::{Id, TenantId};

use crate::{
    db::{StoreError, TenantTx},
    publish::rows::{DomainRow, SealedCertificateRow},
};

/// Claims that are not proven are nobody's business but the tenant's.
pub(super) async fn domains(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<DomainRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT d.id, d.name, d.endpoint_id, c.chain AS "chain?", c.data_key_id AS "data_key_id?", c.sealed AS "sealed?"
           FROM domains d LEFT JOIN domain_certificates c ON c.tenant_id = d.tenant_id AND c.domain_id = d.id
           WHERE d.tenant_id = $1 AND d.proven_at IS NOT NULL"#,
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    let row = rows.into_iter().map(|row| DomainRow {
        id: Id::from_uuid(row.id),
        name: row.name,
        endpoint_id: row.endpoint_id.map(Id::from_uuid),
        certificate: match (row.chain, row.data_key_id, row.sealed) {
            (Some(chain), Some(data_key_id), Some(sealed)) => {
                Some(SealedCertificateRow { chain, data_key_id: Id::from_uuid(data_key_id), sealed })
            }
            _ => None,
        },
    });
    Ok(row.collect())
}
