//! One of four proxies in a network namespace of its own, whose cable is pulled.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use harness::{eventually, redis::link};

use crate::{
    counting::{Fleet, HOT, LARGE, Log, PROXIES, Proxy, SECOND, after, since_began},
    servers::Server,
};

const NAME: &str = "netns::a_proxy_whose_cable_is_pulled_admits_its_share";
/// Tells this program that it is the proxy in the namespace, and where Redis is.
const VARIABLE: &str = "LIMITS_TEST_IN_NAMESPACE";

fn ip(arguments: &str) -> bool {
    let run = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// A namespace and its cable. Dropping it removes both.
struct Namespace {
    name: String,
    cable: String,
    host: String,
}

impl Namespace {
    /// `None` where this user or machine may not.
    fn make() -> Option<Self> {
        let number = std::process::id();
        let net = format!("10.{}.{}", 200 + number / 250 % 50, number % 250);
        let made =
            Self { name: format!("pcl{number}"), cable: format!("pch{number}"), host: format!("{net}.1") };
        let Self { name, cable, host } = &made;
        let far = format!("pcn{number}");
        let lines = [
            format!("netns add {name}"),
            format!("link add {cable} type veth peer name {far} netns {name}"),
            format!("addr add {host}/30 dev {cable}"),
            format!("link set {cable} up"),
            format!("-n {name} addr add {net}.2/30 dev {far}"),
            format!("-n {name} link set {far} up"),
        ];
        lines.iter().all(|line| ip(line)).then_some(made)
    }

    fn pull(&self) {
        assert!(ip(&format!("link set {} down", self.cable)));
    }

    fn plug_in(&self) {
        assert!(ip(&format!("link set {} up", self.cable)));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.cable));
        ip(&format!("netns del {}", self.name));
    }
}

/// Nanoseconds since 1970, by which two processes understand each other.
fn wall() -> u64 {
    use seams::Clock as _;
    seams::SystemClock.now().micros() * 1_000
}

/// What the process in the namespace does: it is one proxy of the fleet, and says what it admitted.
async fn in_namespace(url: &str) {
    let proxies = vec![Proxy::start(link(url), LARGE, 9).await];
    let fleet = Fleet { proxies, rate: LARGE };
    println!("ready");
    let log = fleet.under_load(HOT, 6 * SECOND, async {}).await;
    let offset = wall() - since_began();
    for (before, after, _) in log {
        println!("admitted {} {}", before + offset, after + offset);
    }
    println!("up {}", fleet.all_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_whose_cable_is_pulled_admits_its_share() {
    if let Some((_, url)) = std::env::vars_os().find(|(name, _)| name == VARIABLE) {
        return in_namespace(url.to_str().unwrap()).await;
    }
    let Some(namespace) = Namespace::make() else {
        eprintln!("\n*** NOT TESTED: network namespaces need root and `ip` (Debian: iproute2) ***\n");
        return;
    };
    let lines = [format!("bind 127.0.0.1 {}", namespace.host), "requirepass secret".to_owned()];
    let server = Server::start(&lines, ":secret@");
    eventually("the server is there", async || server.ask::<String>(&["PING"]).is_ok()).await;
    let url = |host: &str| format!("redis://:secret@{host}:{}/", server.port);
    let mut fleet = Fleet::over(|| link(&url("127.0.0.1")), LARGE).await;
    // The fourth is in the namespace.
    fleet.proxies.truncate(PROXIES as usize - 1);
    let far = tokio::process::Command::new("ip")
        .args(["netns", "exec", &namespace.name])
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(VARIABLE, url(&namespace.host))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // Its clients: so many connections to Redis as there are proxies.
    let here = |line: &str| line.contains(&format!("laddr={}:", namespace.host));
    let connected = async || server.ask::<String>(&["CLIENT", "LIST"]).unwrap().lines().any(here);
    eventually("the proxy in the namespace has Redis", connected).await;
    let happens = async {
        after(SECOND).await;
        namespace.pull();
        after(2 * SECOND).await;
        assert!(fleet.all_up(), "the others have Redis");
        namespace.plug_in();
        after(2 * SECOND).await;
    };
    let mut log = fleet.under_load(HOT, 6 * SECOND, happens).await;
    let offset = wall() - since_began();
    let told = tokio::time::timeout(Duration::from_secs(60), far.wait_with_output()).await.unwrap().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let far: Log = told
        .lines()
        .filter_map(|line| {
            let (before, after) = line.strip_prefix("admitted ")?.split_once(' ')?;
            let number = |text: &str| text.parse::<u64>().unwrap().saturating_sub(offset);
            Some((number(before), number(after), PROXIES as usize - 1))
        })
        .collect();
    assert!(far.len() > 20, "the proxy in the namespace admitted {}: {told}", far.len());
    assert!(told.contains("up true"), "it has found Redis again");
    log.extend(far);
    log.sort_unstable();
    fleet.keeps(&log, |seconds| fleet.shares(1, seconds));
}
