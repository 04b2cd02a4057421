//! Redis behind sentinels: the master is killed, and the link finds the next one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    eventually,
    gateway::install_tls_provider,
    redis::{link, patient_link},
};
use redis_link::{Address, Link, redis::cmd};
use seams::SystemEntropy;

use crate::{
    counting::{Fleet, HOT, KEY, LARGE, SECOND, after},
    servers::{Certificates, Server, answers},
};

/// What replication may lag behind here: the master dies while it is busy.
const LAG: f64 = 1.0;

/// A master, a replica and three sentinels, and how to reach them. Data servers and sentinels have passwords of their own.
struct Watched {
    master: Server,
    replica: Server,
    sentinels: Vec<Server>,
}

impl Watched {
    async fn start() -> Self {
        let data = |more: &[String]| {
            // Sentinels and replicas are `default`; the link is a user that may do no more than it does.
            let mut lines = vec![
                "requirepass data-secret".to_owned(),
                "masterauth data-secret".to_owned(),
                "user proxy on >proxy/secret ~* +@all".to_owned(),
                "repl-diskless-sync-delay 0".to_owned(),
            ];
            lines.extend_from_slice(more);
            Server::start(&lines, ":data-secret@")
        };
        let master = data(&[]);
        eventually("the master is there", async || master.ask::<String>(&["PING"]).is_ok()).await;
        let replica = data(&[format!("replicaof 127.0.0.1 {}", master.port)]);
        let synced = async || {
            replica.ask::<String>(&["INFO", "replication"]).is_ok_and(|info| info.contains("link_status:up"))
        };
        eventually("the replica has everything", synced).await;
        let watch = |_| {
            let lines = [
                "requirepass watch-secret".to_owned(),
                format!("sentinel monitor main 127.0.0.1 {} 2", master.port),
                "sentinel auth-pass main data-secret".to_owned(),
                "sentinel down-after-milliseconds main 500".to_owned(),
                "sentinel failover-timeout main 3000".to_owned(),
                "sentinel sentinel-pass watch-secret".to_owned(),
            ];
            Server::sentinel(&lines, ":watch-secret@")
        };
        let sentinels: Vec<_> = (0..3).map(watch).collect();
        for sentinel in &sentinels {
            let knows = async || {
                let told = sentinel
                    .ask::<std::collections::HashMap<String, String>>(&["SENTINEL", "MASTER", "main"]);
                told.is_ok_and(|told| told["num-other-sentinels"] == "2" && told["num-slaves"] == "1")
            };
            eventually("the sentinel knows the others", knows).await;
        }
        Self { master, replica, sentinels }
    }

    fn url(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        let hosts = hosts.join(",");
        format!("redis+sentinel://proxy:proxy%2Fsecret@{hosts}/main?sentinel_password=watch-secret")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_under_load_is_replaced_within_the_bound() {
    let mut watched = Watched::start().await;
    let url = watched.url();
    let fleet = Fleet::over(|| link(&url), LARGE).await;
    let mut away = Duration::ZERO;
    let happens = async {
        after(SECOND).await;
        let began = Instant::now();
        watched.master.kill();
        eventually("somebody noticed", async || !fleet.all_up()).await;
        eventually("everybody has found the new master", async || fleet.all_up()).await;
        away = began.elapsed();
        after(SECOND).await;
    };
    let log = fleet.under_load(HOT, 4 * SECOND, happens).await;
    let lost = f64::from(LARGE.burst).min(LAG * fleet.per_second());
    fleet.keeps(&log, |seconds| fleet.outage(away, seconds) + lost);
    // They count together again, on what was the replica.
    let proxy = &fleet.proxies[0];
    let together = async || proxy.call(&proxy.bucket).await != Err(true) && proxy.link.is_up();
    eventually("limits are counted together", together).await;
    let counted =
        async || watched.replica.ask::<Option<String>>(&["GET", &KEY.to_string()]).unwrap().is_some();
    eventually("the new master counts", counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_replaced_while_it_answers_is_left_and_so_is_a_sentinel_that_is_gone() {
    let mut watched = Watched::start().await;
    let url = watched.url();
    watched.sentinels[0].kill();
    let (link, keeper) = patient_link(&url);
    tokio::spawn(keeper.run());
    let port = async |link: &Link| {
        link.call::<Vec<String>>(cmd("CONFIG").arg("GET").arg("port")).await.unwrap().pop()
    };
    eventually("the link is up", async || link.is_up()).await;
    assert_eq!(port(&link).await, Some(watched.master.port.to_string()));
    watched.sentinels[1].ask::<()>(&["SENTINEL", "FAILOVER", "main"]).unwrap();
    let moved = async || {
        link.is_up()
            && link.call::<()>(cmd("SET").arg("a").arg(1)).await.is_ok()
            && port(&link).await == Some(watched.replica.port.to_string())
    };
    eventually("the link has gone to the new master", moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_sentinel_alone_says_is_not_believed() {
    let mut watched = Watched::start().await;
    // A master by its own account, and a sentinel that knows no better.
    let stray = Server::start(&["user proxy on >proxy/secret ~* +@all".to_owned()], "");
    eventually("the stray server is there", async || stray.ask::<String>(&["PING"]).is_ok()).await;
    let lines =
        ["requirepass watch-secret".to_owned(), format!("sentinel monitor main 127.0.0.1 {} 1", stray.port)];
    let liar = Server::sentinel(&lines, ":watch-secret@");
    let names_the_stray = async || {
        let told = liar.ask::<(String, u16)>(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        told.is_ok_and(|(_, port)| port == stray.port)
    };
    eventually("it names the stray server", names_the_stray).await;
    watched.sentinels[0].kill();
    watched.sentinels[0] = liar;
    let start = |url: &str| {
        let (link, keeper) = patient_link(url);
        tokio::spawn(keeper.run());
        link
    };
    let port = async |link: &Link| {
        link.call::<Vec<String>>(cmd("CONFIG").arg("GET").arg("port"))
            .await
            .ok()
            .and_then(|mut told| told.pop())
    };
    let agreed = start(&watched.url());
    eventually("the link is up", async || agreed.is_up()).await;
    assert_eq!(port(&agreed).await, Some(watched.master.port.to_string()));
    // With half of those that know gone as well there is no telling who is right.
    watched.sentinels[1].kill();
    let undecided = start(&watched.url());
    for _ in 0..20 {
        assert!(!undecided.is_up(), "connected to {:?}", port(&undecided).await);
        after(SECOND / 10).await;
    }
    // What is connected stays so: a server that answers is not left for want of sentinels.
    assert_eq!(port(&agreed).await, Some(watched.master.port.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_over_tls_lead_to_a_master_over_tls() {
    install_tls_provider();
    let certificates = Certificates::make();
    let mut lines = certificates.config();
    lines.extend(["requirepass data-secret", "user proxy on >secret ~* +@all"].map(str::to_owned));
    let master = Server::start(&lines, "");
    eventually("the master is there", async || answers(&master)).await;
    let mut lines = certificates.config();
    lines.extend([
        "tls-replication yes".to_owned(),
        format!("sentinel monitor main 127.0.0.1 {} 1", master.port),
        "sentinel auth-pass main data-secret".to_owned(),
        "user watcher on >watch-secret allchannels +@all".to_owned(),
    ]);
    let sentinel = Server::sentinel(&lines, "");
    let at = format!("127.0.0.1:{}", sentinel.port);
    let url = |data: &str, watch: &str| {
        format!("rediss+sentinel://proxy:{data}@{at}/main?sentinel_user=watcher&sentinel_password={watch}")
    };
    let start = |url: String, ca: Option<&Vec<u8>>| {
        let address = Address::parse(url.into(), ca.cloned()).unwrap().with_budget(Duration::from_secs(10));
        let (link, keeper) = Link::new(address, Arc::new(SystemEntropy));
        tokio::spawn(keeper.run());
        link
    };
    let good = start(url("secret", "watch-secret"), Some(&certificates.ca));
    let others = [
        start(url("secret", "watch-secret"), None),
        start(url("wrong", "watch-secret"), Some(&certificates.ca)),
    ];
    eventually("the link is up", async || good.is_up()).await;
    assert_eq!(good.call::<String>(cmd("ACL").arg("WHOAMI")).await.unwrap(), "proxy");
    after(SECOND).await;
    assert!(others.iter().all(|link| !link.is_up()), "nobody vouches for it, or the password is wrong");
}
