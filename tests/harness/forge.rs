//! Tokens as a tenant's issuer would sign them, with its own key, of which no grant type gives any: what they are worth is for
//! whoever reads them to say.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    Aad, MasterPurpose, Sealer, Zeroizing,
    jwt::{Algorithm, PrivateKey},
};
use ids::{SigningKeyId, TenantId, TokenId};
use seams::{Clock as _, Entropy, SystemClock, SystemEntropy};
use serde_json::Value;
use sqlx::{PgPool, Row as _};

use crate::{gateway::Gateway, tenant::Tenant};

/// The token's claims, as they are.
#[must_use]
pub fn claims(token: &str) -> Value {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

/// The token made anew now, with these claims in the place of its own.
pub async fn altered(gateway: &Gateway, tenant: &Tenant, token: &str, change: Value) -> String {
    let mut claims = claims(token);
    let random: &dyn Entropy = &SystemEntropy;
    let made = TokenId::from_parts(SystemClock.now().millis(), random.bytes());
    claims["jti"] = Value::String(made.to_string());
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let (id, key) = signing_key(gateway, tenant).await;
    key.sign(&id.to_string(), "at+jwt", &claims).unwrap()
}

async fn signing_key(gateway: &Gateway, tenant: &Tenant) -> (SigningKeyId, PrivateKey) {
    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    let tenant: TenantId = tenant.id.parse().unwrap();
    let row = sqlx::query(
        "SELECT id, algorithm, sealed FROM signing_keys WHERE tenant_id = $1 AND sealed IS NOT NULL
         ORDER BY activates_at LIMIT 1",
    );
    let row = row.bind(tenant.uuid()).fetch_one(&database).await.unwrap();
    let id: SigningKeyId = SigningKeyId::from_uuid(row.get("id"));
    let uuid = id.uuid();
    let aad = Aad { tenant, table: "signing_keys", column: "sealed", row: uuid.as_bytes() };
    let sealers = gateway.master_key().derive_all(MasterPurpose::SigningKey).into_iter().map(Sealer::new);
    let sealed: Vec<u8> = row.get("sealed");
    let opened: Vec<Zeroizing<Vec<u8>>> =
        sealers.filter_map(|sealer| sealer.open(&aad, &sealed).ok()).collect();
    let algorithm = Algorithm::from_name(row.get("algorithm")).unwrap();
    (id, PrivateKey::new(algorithm, opened.into_iter().next().unwrap()))
}
