//! R47: proxies and control planes are replaced one by one, under load, without a failed call.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use harness::{
    Site, Upstream, eventually,
    site::{Plan, spooled_segments},
    tool,
};
use serde_json::json;

use crate::{
    accounts,
    balancer::balance,
    load::{Load, Manners, without_limits},
    setting,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_are_replaced_one_by_one() {
    let mut site = Site::start(Plan { proxies: 2, ..Plan::default() }).await;
    let upstream = Upstream::with_ledger(vec![tool("echo", "Says it back")]).await;
    let tenant = site.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    without_limits(&tenant).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let urls = [site.gateway_url(0), site.gateway_url(1)];
    let load = Load::start(6, &endpoint, &urls, Manners::NextProxy);
    load.more(100).await;
    for round in 0..setting("PORTCULLIS_ROUNDS", 2) as usize {
        let index = round % 2;
        let leaving = site.take_proxy(index);
        tokio::task::spawn_blocking(|| leaving.terminate()).await.unwrap();
        assert_eq!(spooled_segments(&site.state_dir(index)), 0, "it left with records in its spool");
        load.moved_on().await;
        site.start_proxy(index);
        site.proxy_ready(index).await;
        load.more(20).await;
    }
    let seen = load.stop().await;
    assert_eq!(seen.failed, Vec::<String>::new());
    assert_eq!(seen.passed_over[1], 0, "there was always one");
    for index in 0..2 {
        site.take_proxy(index).terminate();
    }
    let ledger = upstream.ledger();
    assert_eq!(ledger.len(), seen.answered.len(), "each answered call was made once, and no other");
    accounts::agree(&site.database_url(), &seen, &ledger).await;
}

/// Two control planes at one address. Agents call, automation writes and reads through fresh and kept connections; a new
/// revision reaches the proxy after every step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_planes_are_replaced_one_by_one() {
    let mut site = Site::prepare(Plan { controls: 2, behind_front: true, ..Plan::default() });
    for (at, port) in site.front().into_iter().enumerate() {
        balance(port, vec![site.control_ports(0)[at], site.control_ports(1)[at]]).await;
    }
    site.start_planes().await;
    let upstream = Upstream::with_ledger(vec![tool("echo", "Says it back")]).await;
    let tenant = site.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    without_limits(&tenant).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let load = Load::start(4, &endpoint, &[site.gateway_url(0)], Manners::NextProxy);

    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let administering: Vec<_> = (0..2)
        .map(|number| {
            let (tenant, stop, written) = (tenant.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let count = written.fetch_add(1, Ordering::SeqCst);
                    let role = json!({"name": format!("role {number} {count}")});
                    tenant.admin.post(&format!("{}/roles", tenant.base), role).await.unwrap();
                    tenant.admin.get(&format!("{}/grants", tenant.base)).await.unwrap();
                }
            })
        })
        .collect();
    load.more(100).await;
    for round in 0..setting("PORTCULLIS_ROUNDS", 2) as usize {
        let index = round % 2;
        let leaving = site.take_control(index);
        tokio::task::spawn_blocking(|| leaving.terminate()).await.unwrap();
        let before = written.load(Ordering::SeqCst);
        eventually("the other one takes writes", async || written.load(Ordering::SeqCst) > before + 4).await;
        load.more(20).await;
        site.start_control(index);
        site.control_ready(index).await;
        // Enforced by the proxy when it returns, by whichever control plane it is connected to.
        let client = tenant.post("/clients?wait=applied", json!({"name": format!("after {round}")})).await;
        assert!(client["id"].is_string());
    }
    stop.store(true, Ordering::SeqCst);
    for each in administering {
        each.await.expect("no request of the admin API failed");
    }
    let seen = load.stop().await;
    assert_eq!(seen.failed, Vec::<String>::new());
    site.take_proxy(0).terminate();
    accounts::agree(&site.database_url(), &seen, &upstream.ledger()).await;
}
