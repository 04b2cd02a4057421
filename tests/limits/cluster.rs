//! A Redis Cluster: a tenant's counters are in one slot, which may move, and whose node may be killed.

use std::{sync::Arc, time::Duration};

use harness::{eventually, gateway::install_tls_provider, redis::patient_link};
use ids::ClientId;
use redis_link::{
    Address, Link,
    counters::{CounterKey, Subject},
    redis::cmd,
};
use seams::SystemEntropy;

use crate::{
    counting::{Fleet, HOT, KEY, LARGE, PROXIES, SECOND, after, key},
    servers::{Certificates, Server, answers},
};

struct Cluster {
    nodes: Vec<Server>,
    ids: Vec<String>,
}

const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

impl Cluster {
    async fn start() -> Self {
        let lines = [
            "cluster-node-timeout 1000",
            // What is left goes on.
            "cluster-require-full-coverage no",
            "requirepass secret",
            "masterauth secret",
        ];
        let nodes: Vec<_> = (0..3).map(|_| Server::node(&lines.map(str::to_owned), ":secret@")).collect();
        let mut ids = Vec::new();
        for (node, (first, last)) in nodes.iter().zip(SLOTS) {
            eventually("the node is there", async || node.ask::<String>(&["PING"]).is_ok()).await;
            let (first, last) = (first.to_string(), last.to_string());
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).unwrap();
            let (port, bus) = (nodes[0].port.to_string(), (nodes[0].port + 1).to_string());
            node.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).unwrap();
            ids.push(node.ask(&["CLUSTER", "MYID"]).unwrap());
        }
        let cluster = Self { nodes, ids };
        eventually("the nodes have met", async || cluster.is_whole()).await;
        cluster
    }

    fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| {
            let told = node.ask::<String>(&["CLUSTER", "INFO"]).unwrap_or_default();
            told.contains("cluster_state:ok")
                && told.contains("cluster_slots_ok:16384")
                && told.contains("cluster_size:3")
        })
    }

    fn url(&self) -> String {
        // Not all of them: the others are found.
        format!("redis+cluster://:secret@127.0.0.1:{},127.0.0.1:{}/", self.nodes[0].port, self.nodes[2].port)
    }

    /// The slot of a key, and which node has it.
    fn place(&self, key: CounterKey) -> (u16, usize) {
        let slot = self.nodes[0].ask::<u16>(&["CLUSTER", "KEYSLOT", &key.to_string()]).unwrap();
        let node = SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap();
        (slot, node)
    }

    /// Moves a slot, as a resharding tool does, with its keys.
    fn begin_to_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        self.nodes[to].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]]).unwrap();
        self.nodes[from].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]]).unwrap();
    }

    fn end_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let keys: Vec<String> = self.nodes[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).unwrap();
        let port = self.nodes[to].port.to_string();
        for key in keys {
            let migrate = ["MIGRATE", "127.0.0.1", &port, &key, "0", "5000", "AUTH", "secret"];
            self.nodes[from].ask::<()>(&migrate).unwrap();
        }
        for node in [to, from, 3 - from - to] {
            self.nodes[node].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]]).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_slot_moves_under_load() {
    let cluster = Cluster::start().await;
    let client = CounterKey { subject: Subject::Client(ClientId::from_parts(1, [3; 10])), ..KEY };
    assert_eq!(cluster.place(KEY), cluster.place(client), "all keys of a tenant are in one slot");
    let url = cluster.url();
    let fleet = Fleet::over(|| patient_link(&url), LARGE).await;
    let (slot, from) = cluster.place(KEY);
    let to = (from + 1) % 3;
    let happens = async {
        after(SECOND).await;
        cluster.begin_to_move(slot, from, to);
        after(SECOND / 2).await;
        cluster.end_move(slot, from, to);
        after(SECOND).await;
    };
    let log = fleet.under_load(HOT, 3 * SECOND, happens).await;
    // What a redirected call took twice is too much taken; nothing was lost, and nobody had to count by share.
    fleet.keeps(&log, |_| 0.0);
    assert!(fleet.all_up());
    let held: Option<String> = cluster.nodes[to].ask(&["GET", &KEY.to_string()]).unwrap();
    assert!(held.is_some(), "the bucket is counted where its slot is");
    let late = log.iter().filter(|(at, ..)| at + 500_000_000 > log.last().unwrap().0).count();
    assert!(late > 10, "{late} calls passed in the last half second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_takes_its_tenants_and_no_others() {
    let mut cluster = Cluster::start().await;
    let url = cluster.url();
    let fleet = Fleet::over(|| patient_link(&url), LARGE).await;
    let (_, gone) = cluster.place(KEY);
    let other = (0..).find(|tenant| cluster.place(key(*tenant)).1 != gone).unwrap();
    let proxy = &fleet.proxies[0];
    let (own, others) = (&proxy.bucket, proxy.bucket_of(other));
    let counters = proxy.together.counters();
    let together = async || proxy.call(&others).await != Err(true) && counters.is_up(key(other).tenant);
    eventually("both are counted together", async || together().await && counters.is_up(KEY.tenant)).await;
    let mut away = Duration::ZERO;
    let happens = async {
        after(SECOND).await;
        let began = std::time::Instant::now();
        cluster.nodes[gone].kill();
        let lost = async || fleet.proxies.iter().all(|proxy| !proxy.together.counters().is_up(KEY.tenant));
        eventually("its tenants are counted by share", lost).await;
        assert!(fleet.all_up(), "the others are not");
        for _ in 0..20 {
            eventually("another tenant is counted together", together).await;
            after(SECOND / 20).await;
        }
        cluster.nodes[gone].start_again();
        let back = async || fleet.proxies.iter().all(|proxy| proxy.together.counters().is_up(KEY.tenant));
        eventually("its tenants are counted together again", back).await;
        away = began.elapsed();
        after(SECOND).await;
    };
    let log = fleet.under_load(HOT, 4 * SECOND, happens).await;
    fleet.keeps(&log, |seconds| fleet.outage(away, seconds));
    let refused = proxy.call(own).await;
    assert_ne!(refused, Err(true), "by share");
    assert_eq!(proxy.together.proxies(), PROXIES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_over_tls_with_users() {
    install_tls_provider();
    let certificates = Certificates::make();
    let mut lines = certificates.config();
    lines
        .extend(["tls-cluster yes", "requirepass none", "user proxy on >secret ~* +@all"].map(str::to_owned));
    let node = Server::node(&lines, "");
    eventually("the node is there", async || answers(&node)).await;
    let start = |scheme: &str, user: &str, ca: Option<&Vec<u8>>| {
        let url = format!("{scheme}://{user}@127.0.0.1:{}/", node.port);
        let address = Address::parse(url.into(), ca.cloned()).unwrap().with_budget(Duration::from_secs(10));
        let (link, keeper) = Link::new(address, Arc::new(SystemEntropy));
        tokio::spawn(keeper.run());
        link
    };
    let admin = start("rediss", "proxy:secret", Some(&certificates.ca));
    eventually("the node answers", async || admin.is_up()).await;
    admin.call::<()>(cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await.unwrap();
    let ok =
        async || admin.call::<String>(cmd("CLUSTER").arg("INFO")).await.unwrap().contains("cluster_state:ok");
    eventually("the cluster is whole", ok).await;
    let good = start("rediss+cluster", "proxy:secret", Some(&certificates.ca));
    let others = [
        start("rediss+cluster", "proxy:secret", None),
        start("rediss+cluster", "proxy:wrong", Some(&certificates.ca)),
        start("redis+cluster", "proxy:secret", None),
    ];
    eventually("the link is up", async || good.is_up()).await;
    good.call::<()>(cmd("SET").arg("a").arg(1)).await.unwrap();
    after(SECOND).await;
    assert!(others.iter().all(|link| !link.is_up()), "nobody vouches for it, or the password is wrong");
}
