//! R62: kill -9 of proxy and control plane at any moment loses no record of a call that was answered.

use std::time::Duration;

use harness::{
    Site, Upstream,
    site::{Plan, spooled_segments},
    tool,
};
use seams::{Entropy, SeededEntropy, SystemEntropy};

use crate::{
    accounts,
    load::{Load, Manners, without_limits},
    setting,
};

/// Kills of the short run; `make test-kill` sets more.
const KILLS: u64 = 10;
const CALLERS: usize = 6;

/// Where a run gets its moments and victims from.
struct Chance(SeededEntropy);

impl Chance {
    /// From 0 up to, and without, `end`.
    fn below(&self, end: u64) -> u64 {
        let entropy: &dyn Entropy = &self.0;
        u64::from_le_bytes(entropy.bytes()) % end
    }

    async fn pause(&self, longest_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(longest_ms))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_lose_no_record() {
    let fresh: &dyn Entropy = &SystemEntropy;
    let seed = setting("PORTCULLIS_SEED", u64::from(u32::from_le_bytes(fresh.bytes())));
    let kills = setting("PORTCULLIS_KILLS", KILLS);
    println!("{kills} kills; the same moments and victims again: PORTCULLIS_SEED={seed}");
    let chance = Chance(SeededEntropy::new(seed));

    let mut site = Site::start(Plan::default()).await;
    let upstream = Upstream::with_ledger(vec![tool("echo", "Says it back")]).await;
    let tenant = site.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    without_limits(&tenant).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let load = Load::start(CALLERS, &endpoint, &[site.gateway_url(0)], Manners::GiveUp);
    load.more(50).await;

    let (mut proxies, mut controls) = (0, 0);
    for _ in 0..kills {
        chance.pause(400).await;
        // Sometimes before what was killed last has come back.
        let settled = chance.below(4) > 0;
        if chance.below(3) > 0 {
            proxies += 1;
            site.take_proxy(0).kill();
            chance.pause(150).await;
            site.start_proxy(0);
            if settled {
                site.proxy_ready(0).await;
                load.more(1).await;
            }
        } else {
            controls += 1;
            site.take_control(0).kill();
            chance.pause(150).await;
            site.start_control(0);
            if settled {
                site.control_ready(0).await;
            }
        }
    }
    site.control_ready(0).await;
    site.proxy_ready(0).await;
    load.more(50).await;
    let seen = load.stop().await;
    // Ends when the control plane has acknowledged everything, that of earlier runs included.
    site.take_proxy(0).terminate();
    assert_eq!(spooled_segments(&site.state_dir(0)), 0, "records are left in the spool");

    let ledger = upstream.ledger();
    println!(
        "{proxies} proxies and {controls} control planes killed; {} calls answered, {} reached the upstream, {} \
         connections broken, refused: {:?}",
        seen.answered.len(),
        ledger.len(),
        seen.broken,
        seen.refused
    );
    assert!(proxies == 0 || seen.broken > 0, "a kill under load breaks connections");
    let expected = ["not_ready", "draining"];
    let strange: Vec<_> = seen.refused.keys().filter(|code| !expected.contains(&code.as_str())).collect();
    assert!(strange.is_empty(), "refused as {strange:?}");
    accounts::agree(&site.database_url(), &seen, &ledger).await;
}
