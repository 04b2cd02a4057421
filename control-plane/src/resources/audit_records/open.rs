//! Opening what records hold sealed. The other end is the data plane's `audit::record`, which seals under the tenant's
//! current data key, for the row named by the call's id.

use crypto::{Aad, Sealer};
use ids::{DataKeyId, TenantId};
use wire::v1;

use crate::{app::Core, data_keys, db::StoreError};

/// Opens records of one tenant.
#[derive(Debug)]
pub(super) struct Opener {
    tenant: TenantId,
    sealers: Vec<(DataKeyId, Sealer)>,
}

/// What was sealed in a record; `None` where nothing was, or it does not open.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) arguments: Option<String>,
    pub(super) excerpt: Option<String>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(…)")
    }
}

impl Opener {
    /// With all data keys the tenant has.
    pub(super) async fn load(core: &Core, tenant: TenantId) -> Result<Self, StoreError> {
        let mut tx = core.store.operator().await?;
        let keys = data_keys::all(&mut tx, core, tenant).await?;
        Ok(Self { tenant, sealers: keys.into_iter().map(|(key, _)| (key.id, key.sealer())).collect() })
    }

    /// What `body` holds sealed, as far as it opens.
    pub(super) fn open(&self, body: &v1::AuditRecord) -> Opened {
        Opened {
            arguments: self.part(body, "sealed_arguments", &body.sealed_arguments),
            excerpt: self.part(body, "sealed_excerpt", &body.sealed_excerpt),
        }
    }

    fn part(&self, body: &v1::AuditRecord, column: &str, sealed: &[u8]) -> Option<String> {
        if sealed.is_empty() {
            return None;
        }
        let key = self.sealers.iter().find(|(id, _)| id.uuid().as_bytes() == body.data_key_id.as_slice());
        let aad = Aad { tenant: self.tenant, table: "audit_records", column, row: &body.call_id };
        let opened = key.and_then(|(_, sealer)| sealer.open(&aad, sealed).ok());
        if opened.is_none() {
            tracing::warn!(tenant.id = %self.tenant, audit.column = column, "a sealed part of an audit record does not open");
        }
        // Cut at a number of bytes, which need not be the end of a character.
        opened.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use crypto::DataKey;
    use ids::CallId;
    use seams::SeededEntropy;

    use super::*;

    #[test]
    fn what_a_proxy_sealed_opens_for_its_own_call_alone() {
        let tenant = TenantId::from_parts(1, [1; 10]);
        let call = CallId::from_parts(1, [2; 10]).uuid();
        let key = DataKey::new(DataKeyId::from_parts(1, [3; 10]), [7; 32]);
        let aad = Aad { tenant, table: "audit_records", column: "sealed_arguments", row: call.as_bytes() };
        let sealed = key.sealer().seal(&aad, br#"{"a":2}"#, &SeededEntropy::new(1)).unwrap();
        let body = v1::AuditRecord {
            call_id: call.as_bytes().to_vec(),
            sealed_arguments: sealed.clone(),
            data_key_id: key.id.uuid().as_bytes().to_vec(),
            ..v1::AuditRecord::default()
        };
        let opener = |tenant| Opener { tenant, sealers: vec![(key.id, key.sealer())] };
        let opened = opener(tenant).open(&body);
        assert_eq!(opened.arguments.as_deref(), Some(r#"{"a":2}"#));
        assert_eq!(opened.excerpt, None);

        let moved = v1::AuditRecord { call_id: vec![4; 16], ..body.clone() };
        let swapped =
            v1::AuditRecord { sealed_arguments: Vec::new(), sealed_excerpt: sealed, ..body.clone() };
        let unknown_key = v1::AuditRecord { data_key_id: vec![5; 16], ..body.clone() };
        for wrong in [moved, unknown_key] {
            assert_eq!(opener(tenant).open(&wrong).arguments, None);
        }
        assert_eq!(opener(tenant).open(&swapped).excerpt, None);
        assert_eq!(opener(TenantId::from_parts(1, [9; 10])).open(&body).arguments, None);
    }
}
