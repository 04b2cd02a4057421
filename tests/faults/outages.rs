//! R59: Postgres, the control plane and Redis go away, one by one, in pairs and all together. Agents notice nothing, a proxy
//! comes back from its own disk, a key that was never used before works, and what was refused before is refused.

use std::time::Duration;

use harness::{
    Caller, Endpoint, Site, Tenant, Upstream, eventually,
    site::{Plan, spooled_segments},
    text, tool,
};
use portcullis_cli::private::postgres::Durability;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::{
    accounts,
    load::{Load, Manners, without_limits},
    recovery, setting,
};

/// What can be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Postgres,
    Control,
    Redis,
}

use Part::{Control, Postgres, Redis};

const OUTAGES: [&[Part]; 7] = [
    &[Postgres],
    &[Control],
    &[Redis],
    &[Postgres, Control],
    &[Postgres, Redis],
    &[Control, Redis],
    &[Postgres, Control, Redis],
];

/// Calls that one client may make at once: odd, so that half of it is rounded up.
const LIMIT: usize = 7;
const PROXIES: usize = 2;
/// Between the calls of each caller where outages are long.
const PAUSE: Duration = Duration::from_millis(20);

struct Cast {
    tenant: Tenant,
    endpoint: Endpoint,
    /// Keys of clients that may make [`LIMIT`] calls, none of which they have made.
    limited: Vec<SecretString>,
    /// Keys that nobody has used.
    unused: Vec<SecretString>,
    /// Keys that must not work: of another tenant, revoked, and never made.
    bad: Vec<String>,
}

async fn key(tenant: &Tenant, client: &str, name: &str) -> (String, SecretString) {
    let made = tenant.post(&format!("/clients/{client}/keys?wait=applied"), json!({"name": name})).await;
    (text(&made, "id"), SecretString::from(text(&made, "key")))
}

/// A key of a new client with a limit of its own, which is as good as used up for ever.
async fn limited(tenant: &Tenant, endpoint: &Endpoint, number: usize) -> SecretString {
    let client = text(&tenant.post("/clients", json!({"name": format!("limited {number}")})).await, "id");
    let path = format!("{}/clients/{client}/endpoints/{}", tenant.base, endpoint.id);
    tenant.admin.put(&path, json!({})).await.unwrap();
    let limit = json!({"subject": {"client": client}, "per_minute": 1, "burst": LIMIT, "concurrency": 0});
    tenant.post("/limits", limit).await;
    let endpoint = Endpoint { client: client.clone(), ..endpoint.clone() };
    tenant.grant(&endpoint, &["echo"]).await;
    key(tenant, &client, "limited").await.1
}

async fn cast(site: &Site, upstream: &Upstream) -> Cast {
    let tenant = site.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", upstream).await;
    without_limits(&tenant).await;
    let neighbour = site.tenant("other").await;
    let theirs = neighbour.endpoint("tools", upstream).await;
    let mut unused = Vec::new();
    for number in 0..=OUTAGES.len() {
        unused.push(key(&tenant, &endpoint.client, &format!("unused {number}")).await.1);
    }
    let mut limited_keys = Vec::new();
    for number in 0..OUTAGES.len() {
        limited_keys.push(limited(&tenant, &endpoint, number).await);
    }
    let (id, revoked) = key(&tenant, &endpoint.client, "revoked").await;
    let path = format!("{}/clients/{}/keys/{id}?wait=applied", tenant.base, endpoint.client);
    tenant.admin.delete(&path).await.unwrap();
    let never = crypto::key::mint(crypto::KeyKind::ApiKey, &seams::SystemEntropy).text;
    let bad = [&theirs.key, &revoked, &never].map(|key| key.expose_secret().to_owned()).to_vec();
    tenant.grant(&endpoint, &["echo"]).await;
    Cast { tenant, endpoint, limited: limited_keys, unused, bad }
}

impl Cast {
    fn caller(&self, site: &Site, proxy: usize, key: &str) -> Caller {
        Caller::new(&format!("{}{}", site.gateway_url(proxy), self.endpoint.path), key)
    }

    /// What a proxy must do whatever is away.
    async fn holds(&self, site: &Site, proxy: usize, unused: &SecretString, away: &[Part]) {
        let answer = self.caller(site, proxy, unused.expose_secret()).call("echo").await;
        assert_eq!(answer.tool_text(), "ok: echo", "a key never used, without {away:?}: {answer:?}");
        let answer = self.caller(site, proxy, unused.expose_secret()).call("other").await;
        assert_eq!(answer.code(), "tool_not_granted", "without {away:?}");
        for bad in &self.bad {
            let answer = self.caller(site, proxy, bad).call("echo").await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "credential_invalid"),
                "without {away:?}"
            );
        }
    }

    /// Every call up to the limit succeeds: up to its share at each proxy while nobody counts for all.
    async fn keeps_its_limit(&self, site: &Site, limited: &SecretString, away: &[Part]) {
        let share = LIMIT.div_ceil(PROXIES);
        for proxy in 0..PROXIES {
            let together = LIMIT / PROXIES + proxy * (LIMIT % PROXIES);
            for count in 1..=if away.contains(&Redis) { share } else { together } {
                let answer = self.caller(site, proxy, limited.expose_secret()).call("echo").await;
                assert_eq!(
                    answer.tool_text(),
                    "ok: echo",
                    "{count} at {proxy}, without {away:?}: {answer:?}"
                );
            }
        }
    }
}

fn stop(site: &mut Site, part: Part) {
    match part {
        Postgres => site.stop_postgres(),
        Control => site.take_control(0).kill(),
        Redis => site.stop_redis(),
    }
}

fn start(site: &mut Site, part: Part) {
    match part {
        Postgres => site.start_postgres(),
        Control => site.start_control(0),
        Redis => site.start_redis(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_notice_no_outage() {
    let each = Duration::from_secs(setting("PORTCULLIS_OUTAGE_SECONDS", 1));
    let plan = Plan { proxies: PROXIES, redis: true, durability: Durability::Full, ..Plan::default() };
    let mut site = Site::start(plan).await;
    let upstream =
        Upstream::with_ledger(vec![tool("echo", "Says it back"), tool("other", "Not granted")]).await;
    let cast = cast(&site, &upstream).await;
    let urls = [site.gateway_url(0), site.gateway_url(1)];
    // Callers without a pause fill a tenant's share of the spool within minutes, and are refused then, as they must be.
    let pause = if each > Duration::from_secs(60) { PAUSE } else { Duration::ZERO };
    let load = Load::paced(4, &cast.endpoint, &urls, Manners::NextProxy, pause);
    load.more(50).await;
    for ((away, unused), limited) in OUTAGES.iter().zip(&cast.unused).zip(&cast.limited) {
        let sent = recovery::Sent::so_far(&site).await;
        // What needs another goes before it.
        for part in [Control, Redis, Postgres].iter().filter(|part| away.contains(part)) {
            stop(&mut site, *part);
        }
        load.more(50).await;
        for proxy in 0..PROXIES {
            cast.holds(&site, proxy, unused, away).await;
        }
        cast.keeps_its_limit(&site, limited, away).await;
        tokio::time::sleep(each).await;
        if away.len() == 3 {
            let leaving = site.take_proxy(1);
            tokio::task::spawn_blocking(|| leaving.terminate()).await.unwrap();
            site.start_proxy(1);
            site.proxy_ready(1).await;
            let unused = cast.unused.last().expect("one is left for this");
            cast.holds(&site, 1, unused, away).await;
        }
        load.more(50).await;
        for part in [Postgres, Redis, Control].iter().filter(|part| away.contains(part)) {
            start(&mut site, *part);
        }
        site.control_ready(0).await;
        // Recovered when what is written now is enforced everywhere.
        let name = format!("after {away:?}");
        let fresh = eventually_made(&cast, &name).await;
        for proxy in 0..PROXIES {
            eventually("the proxy enforces what is written after the outage", async || {
                // Until it does, each try is a failed authentication, of which an address has not many.
                tokio::time::sleep(Duration::from_millis(250)).await;
                let answer = cast.caller(&site, proxy, fresh.expose_secret()).call("echo").await;
                answer.tool_text() == "ok: echo"
            })
            .await;
        }
        sent.nothing_again(&site, away.contains(&Control)).await;
    }
    load.more(50).await;
    let seen = load.stop().await;
    assert_eq!(seen.failed, Vec::<String>::new());
    println!("{} calls answered, none failed; {each:?} an outage", seen.answered.len());
    for index in 0..PROXIES {
        leave(&mut site, index).await;
    }
    // Probes have no name of their own.
    let ledger: Vec<_> = upstream.ledger().into_iter().filter(|name| name != "hello").collect();
    accounts::agree(&site.database_url(), &seen, &ledger).await;
}

/// Lets a proxy leave with nothing in its spool. What was recorded in a long outage takes more than the time that a drain has:
/// then it comes back and goes on, and each time less is left.
async fn leave(site: &mut Site, index: usize) {
    let mut left = usize::MAX;
    loop {
        let leaving = site.take_proxy(index);
        tokio::task::spawn_blocking(|| leaving.terminate()).await.unwrap();
        let now = spooled_segments(&site.state_dir(index));
        if now == 0 {
            return;
        }
        assert!(now < left, "{now} segments of records stay in the spool");
        left = now;
        site.start_proxy(index);
        site.proxy_ready(index).await;
    }
}

/// A new key, as soon as the control plane takes writes again.
async fn eventually_made(cast: &Cast, name: &str) -> SecretString {
    let path = format!("{}/clients/{}/keys", cast.tenant.base, cast.endpoint.client);
    let mut made = None;
    eventually("a key is made", async || {
        made = cast.tenant.admin.post(&path, json!({"name": name})).await.ok();
        made.is_some()
    })
    .await;
    SecretString::from(text(&made.expect("made"), "key"))
}
