//! R57, R58: private halves of signing keys are sealed for control planes alone, whatever proxies hold, and forgotten as soon as they
//! sign no more.

use std::time::Duration;

use crypto::{
    Aad, DataKey,
    jwt::{self, Algorithm, Token},
};
use harness::{Gateway, Machine, Tenant, eventually, text};
use ids::{DataKeyId, SigningKeyId, TenantId, Uuid};
use seams::SystemEntropy;
use serde_json::json;
use sqlx::PgPool;

async fn machine(gateway: &Gateway, tenant: &Tenant) -> Machine {
    let tools = text(&tenant.post("/endpoints", json!({"slug": "tools", "name": "tools"})).await, "id");
    Machine::new(gateway, tenant, "machine", &[&tools]).await
}

async fn data_key(gateway: &Gateway, database: &PgPool, tenant: TenantId) -> DataKey {
    let (id, wrapped): (Uuid, Vec<u8>) =
        sqlx::query_as("SELECT id, wrapped FROM tenant_data_keys WHERE current")
            .fetch_one(database)
            .await
            .unwrap();
    DataKey::unwrap(&gateway.master_key(), tenant, DataKeyId::from_uuid(id), &wrapped).unwrap()
}

async fn sealed(database: &PgPool) -> Vec<(Uuid, Option<Uuid>, Option<Vec<u8>>)> {
    let rows = sqlx::query_as("SELECT id, data_key_id, sealed FROM signing_keys ORDER BY id");
    rows.fetch_all(database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_proxies_hold_opens_no_signing_key_nor_what_an_earlier_version_sealed() {
    let mut gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let machine = machine(&gateway, &tenant).await;
    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    let id: TenantId = tenant.id.parse().unwrap();
    let data_key = data_key(&gateway, &database, id).await;
    let (row, under, made) = sealed(&database).await.remove(0);
    let bytes = *row.as_bytes();
    let aad = Aad { tenant: id, table: "signing_keys", column: "sealed", row: &bytes };
    assert_eq!(under, None);
    assert!(data_key.sealer().open(&aad, &made.unwrap()).is_err(), "a proxy's key opens it");

    // As the version before has left it.
    let (private, public) = jwt::generate(Algorithm::Es256, &SystemEntropy).unwrap();
    let old = data_key.sealer().seal(&aad, private.pkcs8(), &SystemEntropy).unwrap();
    gateway.stop_control().await;
    sqlx::query("UPDATE signing_keys SET sealed = $1, data_key_id = $2, public_key = $3")
        .bind(&old)
        .bind(data_key.id.uuid())
        .bind(public.bytes())
        .execute(&database)
        .await
        .unwrap();
    gateway.start_control().await;
    let kid = SigningKeyId::from_uuid(row).to_string();
    let signs = async || {
        let token = machine.token().await;
        let token = Token::parse(&token).unwrap();
        token.kid().as_str() == kid && public.signed(&token)
    };
    assert!(signs().await, "it signs whichever way it is sealed");
    eventually("it is sealed anew", async || sealed(&database).await[0].1.is_none()).await;
    let (_, _, now) = sealed(&database).await.remove(0);
    let now = now.unwrap();
    assert!(now != old && data_key.sealer().open(&aad, &now).is_err());
    assert!(signs().await, "the same key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_half_is_forgotten_as_soon_as_another_key_signs() {
    let mut gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    let held = async || -> Vec<bool> {
        sealed(&database).await.into_iter().map(|(_, _, sealed)| sealed.is_some()).collect()
    };
    tenant.post("/signing-keys", json!({})).await;
    tenant.post("/signing-keys", json!({"at_once": true})).await;
    assert_eq!(held().await, [false, true], "at once");
    tenant.post("/signing-keys", json!({})).await;
    assert_eq!(held().await, [false, true, true], "the next one does not sign yet");
    gateway.control_clock().set_forward(Duration::from_secs(16 * 60));
    // Whoever looks next forgets it, without any rotation; replicas look twice a minute.
    gateway.stop_control().await;
    gateway.start_control().await;
    eventually("the one before is forgotten", async || held().await == [false, false, true]).await;
}
