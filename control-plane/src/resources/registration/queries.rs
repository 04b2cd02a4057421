//! `registration_policies` and `registration_endpoints`.

use ids::{EndpointId, Id, Uuid};
use time::OffsetDateTime;

use super::types::{
    DocumentHosts, DocumentRegistration, DynamicAdmission, DynamicRegistration, HostPattern, Registration,
    RegistrationSettings,
};
use crate::db::{StoreError, TenantTx, Unreadable};

/// What the transaction's tenant has said, or that nobody may come.
pub(crate) async fn get(tx: &mut TenantTx) -> Result<Registration, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT documents, hosts, dynamic, updated_at,
             array(SELECT endpoint_id FROM registration_endpoints
               WHERE tenant_id = $1 AND kind = 'metadata_document' ORDER BY endpoint_id) AS "of_documents!",
             array(SELECT endpoint_id FROM registration_endpoints
               WHERE tenant_id = $1 AND kind = 'dynamic' ORDER BY endpoint_id) AS "of_dynamic!"
           FROM registration_policies WHERE tenant_id = $1"#,
        tenant
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else {
        return Ok(Registration { settings: RegistrationSettings::default(), updated_at: None });
    };
    let ids = |ids: Vec<Uuid>| ids.into_iter().map(Id::from_uuid).collect();
    Ok(Registration {
        settings: RegistrationSettings {
            documents: DocumentRegistration {
                from: DocumentHosts::from_name(&row.documents).ok_or(Unreadable("registration"))?,
                hosts: row.hosts.into_iter().map(HostPattern::stored).collect(),
                endpoint_ids: ids(row.of_documents),
            },
            dynamic: DynamicRegistration {
                by: DynamicAdmission::from_name(&row.dynamic).ok_or(Unreadable("registration"))?,
                endpoint_ids: ids(row.of_dynamic),
            },
        },
        updated_at: Some(row.updated_at),
    })
}

/// Holds the row, so that nobody changes it between reading and writing; there may be none.
pub(crate) async fn lock(tx: &mut TenantTx) -> Result<Registration, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM registration_policies WHERE tenant_id = $1 FOR UPDATE", tenant)
        .fetch_optional(tx.conn())
        .await?;
    get(tx).await
}

pub(super) async fn replace(
    tx: &mut TenantTx,
    settings: &RegistrationSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let hosts: Vec<_> = settings.documents.hosts.iter().map(|host| host.as_str().to_owned()).collect();
    sqlx::query!(
        "INSERT INTO registration_policies (tenant_id, documents, hosts, dynamic, updated_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id) DO UPDATE SET documents = $2, hosts = $3, dynamic = $4, updated_at = $5",
        tenant,
        settings.documents.from.name(),
        &hosts,
        settings.dynamic.by.name(),
        now
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!("DELETE FROM registration_endpoints WHERE tenant_id = $1", tenant)
        .execute(tx.conn())
        .await?;
    for (kind, endpoints) in
        [("metadata_document", &settings.documents.endpoint_ids), ("dynamic", &settings.dynamic.endpoint_ids)]
    {
        let endpoints: Vec<_> = endpoints.iter().map(|id| id.uuid()).collect();
        sqlx::query!(
            "INSERT INTO registration_endpoints (tenant_id, kind, endpoint_id) SELECT $1, $2, * FROM unnest($3::uuid[])",
            tenant,
            kind,
            &endpoints
        )
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// The first of these that is no endpoint of the tenant.
pub(super) async fn missing(
    tx: &mut TenantTx,
    endpoints: &[EndpointId],
) -> Result<Option<usize>, StoreError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = endpoints.iter().map(|id| id.uuid()).collect();
    let found =
        sqlx::query_scalar!("SELECT id FROM endpoints WHERE tenant_id = $1 AND id = ANY($2)", tenant, &ids);
    let found = found.fetch_all(tx.conn()).await?;
    Ok(ids.iter().position(|id| !found.contains(id)))
}
