//! What is measured, one thing after the other. CPU time and memory are those of the control planes, by the kernel.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bench_tools::fill::Tenants;
use harness::Site;
use seams::{Clock as _, Monotonic, SystemClock};
use serde_json::{Value, json};

use crate::{Options, say, stub::Board};

/// Between looks.
const LOOK: Duration = Duration::from_millis(50);
/// What any phase may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// Between two revisions of [`Fleet::changing`].
const CHANGE_EVERY: Duration = Duration::from_millis(50);
/// After which a control plane has written what came last, and given memory back.
const SETTLE: Duration = Duration::from_secs(3);
/// Of /proc: CPU time is counted in hundredths of a second on every Linux this runs on.
const MICROS_PER_TICK: u64 = 10_000;

pub(crate) struct Fleet<'a> {
    site: &'a mut Site,
    tenants: Tenants,
    board: Arc<Board>,
    proxies: usize,
    controls: usize,
    proxies_per_pool: usize,
    acks_of_all: u64,
}

/// CPU time of the control planes, and their memory.
struct Use {
    at: Monotonic,
    acks: u64,
    cpu_micros: u64,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(site: &'a mut Site, options: &Options, tenants: Tenants, board: Arc<Board>) -> Self {
        let Options { proxies, controls, pools, .. } = *options;
        let acks_of_all = proxies as u64 * u64::from(options.tenants);
        Self { site, tenants, board, proxies, controls, proxies_per_pool: proxies / pools, acks_of_all }
    }

    /// Everybody comes at once, with nothing.
    pub(crate) async fn joining(
        &self,
        begin: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Value> {
        let before = self.used()?;
        begin().await?;
        self.until("all have everything", || self.board.acks.load(Ordering::Relaxed) >= self.acks_of_all)
            .await?;
        self.until("all are synced", || self.all_synced()).await?;
        let took = SystemClock.monotonic().since(before.at);
        tokio::time::sleep(SETTLE).await;
        let mut found = self.since(&before)?;
        found["seconds"] = json!(round(took.as_secs_f64()));
        found["told_to_come_back"] = json!(self.board.busy.load(Ordering::Relaxed));
        found["mib_sent"] = json!(self.board.bytes.load(Ordering::Relaxed) >> 20);
        found["welcomes"] = spread(before.at, &self.board.take_welcomed());
        Ok(found)
    }

    /// Nothing happens but beats.
    pub(crate) async fn resting(&self, time: Duration) -> anyhow::Result<Value> {
        let before = self.used()?;
        tokio::time::sleep(time).await;
        self.since(&before)
    }

    /// Revisions, each of which a pool acknowledges.
    pub(crate) async fn changing(&mut self, changes: u32) -> anyhow::Result<Value> {
        let resting = self.resting(Duration::from_secs(10)).await?["cpu_millis_per_second"].clone();
        let before = self.used()?;
        let wanted = before.acks + u64::from(changes) * self.proxies_per_pool as u64;
        for number in 0..changes {
            // Of another pool each time.
            self.tenants.change(number.wrapping_mul(37) % self.tenants.count()).await?;
            tokio::time::sleep(CHANGE_EVERY).await;
        }
        // Of two revisions that follow each other quickly a proxy may see only the second.
        let enough = wanted - (wanted - before.acks) / 50;
        self.until("revisions are acknowledged", || self.board.acks.load(Ordering::Relaxed) >= enough)
            .await?;
        tokio::time::sleep(SETTLE).await;
        let mut found = self.since(&before)?;
        found["changes"] = json!(changes);
        let at_rest = resting.as_f64().unwrap_or(0.0) * found["seconds"].as_f64().unwrap_or(0.0);
        let cpu = found["cpu_seconds"].as_f64().unwrap_or(0.0) * 1e3 - at_rest;
        found["cpu_micros_per_ack_above_rest"] =
            json!(round(cpu * 1e3 / found["acks"].as_f64().unwrap_or(1.0)));
        Ok(found)
    }

    /// Each control plane goes and comes back, killed and asked to.
    pub(crate) async fn restarts(&mut self, away: Duration) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        for index in 0..self.controls {
            for kill in [true, false] {
                found.push(self.restart(index, kill, away).await.context("a restart")?);
            }
        }
        Ok(found)
    }

    async fn restart(&mut self, index: usize, kill: bool, away: Duration) -> anyhow::Result<Value> {
        say(&format!("control plane {index} {}", if kill { "is killed" } else { "is asked to end" }))?;
        self.board.take_welcomed();
        let busy = self.board.busy.load(Ordering::Relaxed);
        let gone = SystemClock.monotonic();
        let leaving = self.site.take_control(index);
        if kill {
            leaving.kill();
        } else {
            tokio::task::spawn_blocking(|| leaving.terminate()).await?;
        }
        // What remains takes over meanwhile, if anything does.
        let before = self.used()?;
        tokio::time::sleep(away).await;
        self.site.start_control(index);
        self.site.control_ready(index).await;
        let back = SystemClock.monotonic();
        self.until("all are back", || self.all_synced()).await?;
        let synced = SystemClock.monotonic();
        tokio::time::sleep(SETTLE).await;
        let mut found = self.since(&before)?;
        let welcomed = self.board.take_welcomed();
        // With another control plane there, they need not wait for this one.
        let from = if self.controls > 1 { gone } else { back };
        found["control_plane"] = json!(index);
        found["how"] = json!(if kill { "killed" } else { "asked to end" });
        found["away_seconds"] = json!(round(back.since(gone).as_secs_f64()));
        found["all_synced_after_seconds"] = json!(round(synced.since(from).as_secs_f64()));
        found["told_to_come_back"] = json!(self.board.busy.load(Ordering::Relaxed) - busy);
        found["welcomes"] = spread(from, &welcomed);
        Ok(found)
    }

    fn all_synced(&self) -> bool {
        self.board.synced.load(Ordering::SeqCst) == self.proxies
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
        let begun = SystemClock.monotonic();
        let mut said = begun;
        while !holds() {
            tokio::time::sleep(LOOK).await;
            let now = SystemClock.monotonic();
            if now.since(said) >= Duration::from_secs(10) {
                said = now;
                let (synced, acks) =
                    (self.board.synced.load(Ordering::SeqCst), self.board.acks.load(Ordering::Relaxed));
                say(&format!("until {what}: {synced} of {} synced, {acks} acknowledgements", self.proxies))?;
            }
            if now.since(begun) >= PATIENCE {
                bail!("{what}: not within {} s", PATIENCE.as_secs());
            }
        }
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.controls).filter_map(|index| self.site.control_id(index))
    }

    fn used(&self) -> anyhow::Result<Use> {
        let cpu_micros = self.running().map(cpu_micros).sum::<anyhow::Result<u64>>()?;
        let acks = self.board.acks.load(Ordering::Relaxed);
        Ok(Use { at: SystemClock.monotonic(), acks, cpu_micros })
    }

    /// What was used since: one that was started since counts from its start.
    fn since(&self, before: &Use) -> anyhow::Result<Value> {
        let now = self.used()?;
        let seconds = now.at.since(before.at).as_secs_f64();
        let (acks, cpu) = (now.acks - before.acks, now.cpu_micros.saturating_sub(before.cpu_micros));
        let memory = self.running().map(memory_mib).collect::<anyhow::Result<Vec<_>>>()?;
        let most = |pick: fn(&(u64, u64)) -> u64| memory.iter().map(pick).max().unwrap_or(0);
        Ok(json!({
            "seconds": round(seconds),
            "acks": acks,
            "cpu_seconds": round(cpu as f64 / 1e6),
            "cpu_millis_per_second": round(cpu as f64 / 1e3 / seconds),
            "cpu_micros_per_ack": (acks > 0).then(|| round(cpu as f64 / acks as f64)),
            "rss_mib": most(|memory| memory.0),
            "rss_peak_mib": most(|memory| memory.1),
        }))
    }
}

/// When streams were welcomed, counted from a moment: seconds by which half of them were, 99 of 100, and all; and how many in
/// the busiest second, beside how many there were.
fn spread(from: Monotonic, welcomed: &[Monotonic]) -> Value {
    let mut after: Vec<f64> = welcomed.iter().map(|at| at.since(from).as_secs_f64()).collect();
    after.sort_by(f64::total_cmp);
    let at =
        |share: f64| after.get(((after.len() as f64 * share).ceil() as usize).max(1) - 1).copied().map(round);
    let mut seconds: BTreeMap<u64, u64> = BTreeMap::new();
    for moment in welcomed {
        *seconds.entry(moment.nanos() / 1_000_000_000).or_default() += 1;
    }
    json!({
        "count": after.len(), "p50_s": at(0.5), "p99_s": at(0.99), "last_s": at(1.0),
        "busiest_second": seconds.values().max(),
    })
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// User and system time of a process so far.
fn cpu_micros(process: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The command, in parentheses, may hold spaces; the state after it is field 3.
    let (_, fields) = text.rsplit_once(") ").context("stat")?;
    let field = |number: usize| fields.split(' ').nth(number - 3).and_then(|text| text.parse::<u64>().ok());
    let ticks = field(14).zip(field(15)).map(|(user, system)| user + system).context("stat")?;
    Ok(ticks * MICROS_PER_TICK)
}

/// Resident memory of a process now, and at most so far.
fn memory_mib(process: u32) -> anyhow::Result<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let (now, peak) = kib("VmRSS:").zip(kib("VmHWM:")).context("status")?;
    Ok((now >> 10, peak >> 10))
}
