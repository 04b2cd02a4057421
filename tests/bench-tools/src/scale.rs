//! How large and how quick the index of many tenants is.
//!
//! `bench-scale TENANTS [distinct]` applies so many tenants, each with one endpoint, ten keys, five grants and twenty tools
//! with definitions of 1 KiB, which are the same for all tenants or, with `distinct`, different for each. It then revokes keys
//! of the last 24 tenants one after the other, each as a change, and prints
//! `{"rss_mib", "index_s", "revocations", "revoke_p50_ms", "revoke_p99_ms"}`: memory with what applying needs and without the
//! bytes that changes are put onto, which a proxy has on disk; time to apply everything, one after the other on one core;
//! time to apply one revocation.

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use bench_tools::tenants::{KEYS, Shape, TOOLS, change, replace, tenant, tenant_id};
use data_plane::snapshot::{base::Bases, store::Snapshots};
use ids::TenantId;
use parking_lot::Mutex;
use seams::{Clock as _, SystemClock};
use wire::v1;

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tenants whose keys are revoked: so many times [`KEYS`] less one are the samples.
const REVOKING: u32 = 24;

/// Keeps the tenants whose keys are revoked.
#[derive(Debug)]
struct Last {
    from: TenantId,
    kept: Mutex<BTreeMap<TenantId, v1::Replace>>,
}

impl Bases for Last {
    fn get(&self, tenant: TenantId) -> Option<v1::Replace> {
        self.kept.lock().get(&tenant).cloned()
    }

    fn put(&self, tenant: TenantId, replace: &v1::Replace) {
        if tenant >= self.from {
            self.kept.lock().insert(tenant, replace.clone());
        }
    }

    fn remove(&self, tenant: TenantId) {
        self.kept.lock().remove(&tenant);
    }
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (tenants, distinct) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [tenants] => (tenants.parse::<u32>()?, false),
        [tenants, "distinct"] => (tenants.parse()?, true),
        _ => bail!("usage: bench-scale TENANTS [distinct]"),
    };
    ensure!(tenants > 0, "at least one tenant");
    let shape = Shape { tools: TOOLS, distinct };
    let revoking = tenants.saturating_sub(REVOKING)..tenants;
    let clock = SystemClock;
    let bases = Last { from: tenant_id(revoking.start), kept: Mutex::default() };
    let snapshots = Snapshots::with_bases(Arc::new(clock), Arc::new(bases));
    let before = resident()?;
    let mut index_seconds = 0.0;
    for number in 0..tenants {
        let replace = replace(number, &tenant(number, 1, 0, shape));
        let started = clock.monotonic();
        snapshots.apply(&replace)?;
        index_seconds += clock.monotonic().since(started).as_secs_f64();
    }
    ensure!(snapshots.load().len() == tenants as usize, "not all were applied");
    let resident = resident()? - before;
    let mut revocations = Vec::new();
    for number in revoking {
        for revoked in 1..KEYS {
            let before = tenant(number, u64::from(revoked), revoked - 1, shape);
            let after = tenant(number, u64::from(revoked) + 1, revoked, shape);
            let change = change(number, &before, &after).context("canonical")?;
            let started = clock.monotonic();
            snapshots.amend(&change)?;
            revocations.push(clock.monotonic().since(started).as_secs_f64() * 1_000.0);
        }
    }
    revocations.sort_by(f64::total_cmp);
    let summary = serde_json::json!({
        "rss_mib": resident as f64 / f64::from(1 << 20),
        "index_s": index_seconds,
        "revocations": revocations.len(),
        "revoke_p50_ms": revocations[revocations.len() / 2],
        "revoke_p99_ms": revocations[(revocations.len() * 99).div_ceil(100) - 1],
    });
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> anyhow::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).context("statm")?.parse()?;
    Ok(pages * 4_096)
}
