//! Nothing of one transaction is left for the next, however it ended.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use control_plane::{
    app::{ControlPlane, Running},
    config::{ApiLimits, Config, MasterKeyFile, PublicUrls},
    db::{self, PoolSizes},
};
use crypto::{FileKek, KeyKind, Zeroizing, key};
use futures_util::future::join_all;
use harness::gateway::install_tls_provider;
use portcullis_cli::rest::Rest;
use seams::{Clock as _, SystemClock, SystemEntropy};
use secrecy::SecretString;
use serde_json::json;

use crate::{begin, connect, count, new_database, run, twins};

#[tokio::test]
async fn role_and_tenant_end_with_the_transaction() {
    let (_, mut conn) = new_database().await;
    let [ours, _] = twins(&mut conn).await;
    for end in ["ROLLBACK", "COMMIT"] {
        begin(&mut conn, "portcullis_app", Some(ours.tenant)).await;
        assert_eq!(count(&mut conn, "clients").await, 1);
        if end == "ROLLBACK" {
            run(&mut conn, "SELECT 1 / 0").await.unwrap_err();
        }
        run(&mut conn, end).await.unwrap();
        let left: (bool, Option<String>) = sqlx::query_as(
            "SELECT current_user = session_user, nullif(current_setting('app.tenant', true), '')",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(left, (true, None), "after {end}");
    }
}

#[tokio::test]
async fn several_replicas_may_migrate_at_once() {
    let (url, _) = new_database().await;
    let empty = url.replace("/t_", "/u_");
    let name = empty.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    run(&mut connect(&url).await, &format!("CREATE DATABASE {name}")).await.unwrap();
    for result in join_all((0..4).map(|_| db::migrate(&empty))).await {
        result.unwrap();
    }
    let mut conn = connect(&empty).await;
    assert!(count(&mut conn, "_sqlx_migrations").await >= 6);
}

#[tokio::test]
async fn a_login_role_that_is_no_superuser_and_owns_only_the_database_is_enough() {
    let (url, mut conn) = new_database().await;
    let mut url: url::Url = url.parse().unwrap();
    let login = url.path().replace("/t_", "plain_");
    let database = login.replace("plain_", "v_");
    for statement in [
        format!("CREATE ROLE {login} LOGIN NOSUPERUSER NOCREATEROLE PASSWORD 'x'"),
        format!(
            "GRANT portcullis_owner, portcullis_app, portcullis_ops, portcullis_auth, portcullis_people,
               portcullis_audit_write, portcullis_audit_read TO {login}"
        ),
        format!("CREATE DATABASE {database} OWNER {login}"),
    ] {
        run(&mut conn, &statement).await.unwrap();
    }
    url.set_path(&database);
    url.set_username(&login).unwrap();
    url.set_password(Some("x")).unwrap();
    let store = db::Store::open(&SecretString::from(url.as_str()), PoolSizes::default()).await.unwrap();
    store.ensure_audit_partitions(SystemClock.now()).await.unwrap();
    store.ping().await.unwrap();
    let [ours, _] = twins(&mut connect(url.as_str()).await).await;
    store.tenant(ids::TenantId::from_uuid(ours.tenant)).await.unwrap();
    store.operator().await.unwrap();
    store.audit_writer(db::INSTALLATION).await.unwrap();
    store.audit_reader(db::INSTALLATION).await.unwrap();
    store.close().await;
}

/// A control plane with one connection for each kind of work.
async fn narrow() -> (Running, Rest) {
    install_tls_provider();
    let (url, _) = new_database().await;
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let token = key::mint(KeyKind::OperatorToken, &SystemEntropy).text;
    let origin = || "http://127.0.0.1:1".parse().unwrap();
    let config = Config {
        database_url: SecretString::from(url),
        redis: None,
        notified: true,
        pools: PoolSizes { app: 1, ops: 1, auth: 1, audit: 1 },
        api_listen: any,
        auth_listen: any,
        enrol_listen: any,
        grpc_listen: any,
        admin_listen: any,
        api_tls: None,
        api_front: None,
        master_key: MasterKeyFile(Zeroizing::new(FileKek::generate_file(&SystemEntropy).to_vec())),
        operator_token: Some(token.clone()),
        api_limits: ApiLimits::default(),
        dns_server: None,
        fetch_roots: Vec::new(),
        fetch_networks: egress::Networks::default(),
        state_dir: None,
        urls: PublicUrls { control: origin(), auth: origin(), gateway: origin() },
    };
    let running = ControlPlane::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await.unwrap();
    let rest = Rest::new(&format!("http://{}", running.api_addr), token, None).unwrap();
    (running, rest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_interleaved_requests_on_one_connection_never_see_each_other() {
    let (running, operator) = narrow().await;
    let mut tenants = Vec::new();
    for slug in ["left", "right"] {
        let tenant = operator.post("/v1/tenants", json!({"slug": slug, "name": slug})).await.unwrap();
        let base = format!("/v1/tenants/{}", tenant["id"].as_str().unwrap());
        let token = operator
            .post(&format!("{base}/admin-tokens"), json!({"name": "t", "scopes": ["*"]}))
            .await
            .unwrap();
        let admin = operator.with_token(SecretString::from(token["token"].as_str().unwrap()));
        admin.post(&format!("{base}/clients"), json!({"name": slug})).await.unwrap();
        tenants.push((slug, base, admin));
    }
    let requests = (0..100).map(|n| {
        let (slug, base, admin) = tenants[n % 2].clone();
        async move {
            let path = format!("{base}/clients");
            let request = admin.get(&path);
            match n % 5 {
                // The caller goes away in the middle, so the handler's transaction is dropped there.
                4 => drop(tokio::time::timeout(Duration::from_millis((n % 7) as u64), request).await),
                // Refused after the transaction began: a name that is taken.
                3 => drop(admin.post(&path, json!({"name": slug})).await.unwrap_err()),
                _ => {
                    let answer = request.await.unwrap();
                    let names: Vec<_> =
                        answer["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
                    assert_eq!(names, [slug]);
                }
            }
        }
    });
    join_all(requests).await;
    running.shutdown().await;
}
