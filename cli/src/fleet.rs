//! `portcullis fleet`: the proxies, what each enforces, and where one differs from what it should.

use std::io::{self, Write as _};

use anyhow::Context as _;
use seams::{Clock, SystemClock, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{access::Access, rest::Rest};

/// Characters of a digest that tell two apart for a person.
const DIGEST: usize = 12;

/// `portcullis fleet`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    access: Access,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the tenants of which a proxy does not enforce the current revision
    Diff {
        /// Id of the proxy (`px_…`)
        proxy: String,
    },
}

/// A proxy, as the admin API shows it.
#[derive(Debug, Deserialize)]
struct Proxy {
    id: String,
    pool: String,
    build: String,
    live: bool,
    tenants: u64,
    tenants_behind: u64,
    tenants_rejected: u64,
    behind_since: Option<String>,
    clock_skew_ms: Option<i64>,
    spool_bytes: Option<u64>,
    audit_records_missing: u64,
    audit_records_set_aside: u64,
    lease_until: Option<String>,
    revoked_at: Option<String>,
    global_rev: u64,
    global_rejected_rev: u64,
}

/// How far the newest revision of the fleet's configuration is.
#[derive(Debug, Deserialize)]
struct Rollout {
    state: String,
    target_rev: u64,
    stable_rev: u64,
    stage_percent: u8,
    reason: Option<String>,
    proxies: Counts,
}

#[derive(Debug, Deserialize)]
struct Counts {
    in_stage: u32,
    applied: u32,
    rejected: u32,
    others: u32,
}

/// How a proxy stands with one tenant.
#[derive(Debug, Deserialize)]
struct Standing {
    tenant_id: String,
    slug: String,
    standing: String,
    rev: u64,
    digest: String,
    applied_rev: u64,
    applied_digest: Option<String>,
    rejected_rev: u64,
    rejected_code: Option<String>,
    rejected_detail: Option<String>,
}

/// Prints what was asked for.
///
/// # Errors
/// When the control plane cannot be reached or refuses.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let rest = options.access.connect()?;
    let text = match &options.command {
        None => {
            let proxies = all(&rest, "/v1/proxies?limit=200").await.context("list proxies")?;
            if options.json {
                pretty(proxies)?
            } else {
                let shown = rest.get("/v1/global/rollout").await.context("look at the rollout")?;
                let rollout: Rollout = serde_json::from_value(shown).context("read the rollout")?;
                fleet(&read(proxies)?, SystemClock.now()) + &rollout.line()
            }
        }
        Some(Command::Diff { proxy }) => {
            let path = format!("/v1/proxies/{proxy}/tenants?differing=true&limit=200");
            let tenants = all(&rest, &path).await.context("compare the proxy's tenants")?;
            if options.json { pretty(tenants)? } else { diff(&read(tenants)?) }
        }
    };
    // Whether somebody still reads does not matter.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// Every item of a list.
async fn all(rest: &Rest, path: &str) -> anyhow::Result<Vec<Value>> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = rest.get(&format!("{path}{cursor}")).await?;
        let Value::Array(more) = page["items"].take() else { anyhow::bail!("the answer is no list") };
        items.extend(more);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(items: Vec<Value>) -> anyhow::Result<Vec<T>> {
    let items: Result<_, _> = items.into_iter().map(serde_json::from_value).collect();
    items.context("read the answer: control plane and this program are of different versions")
}

fn pretty(items: Vec<Value>) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&json!({"items": items}))?))
}

fn fleet(proxies: &[Proxy], now: Timestamp) -> String {
    if proxies.is_empty() {
        return "No proxy has enrolled.\n".to_owned();
    }
    let mut rows = vec![
        [
            "PROXY", "POOL", "BUILD", "STATE", "LEASE", "TENANTS", "BEHIND", "REFUSED", "LAG", "SKEW",
            "SPOOL", "MISSING", "ASIDE", "GLOBAL",
        ]
        .map(ToOwned::to_owned)
        .to_vec(),
    ];
    rows.extend(proxies.iter().map(|proxy| {
        vec![
            proxy.id.clone(),
            proxy.pool.clone(),
            proxy.build.clone(),
            proxy.state().to_owned(),
            proxy.lease_until.as_deref().map_or_else(none, |until| seconds(until, now, Direction::Ahead)),
            proxy.tenants.to_string(),
            proxy.tenants_behind.to_string(),
            proxy.tenants_rejected.to_string(),
            proxy.behind_since.as_deref().map_or_else(none, |since| seconds(since, now, Direction::Ago)),
            proxy.clock_skew_ms.map_or_else(none, |skew| format!("{skew:+} ms")),
            proxy.spool_bytes.map_or_else(none, size),
            proxy.audit_records_missing.to_string(),
            proxy.audit_records_set_aside.to_string(),
            proxy.global(),
        ]
    }));
    table(&rows)
}

impl Proxy {
    fn state(&self) -> &'static str {
        match (&self.revoked_at, &self.lease_until) {
            (Some(_), _) => "revoked",
            (None, _) if self.live => "live",
            (None, None) => "new",
            (None, Some(_)) => "away",
        }
    }

    /// The revision of the fleet's configuration, and the one that it refused after that.
    fn global(&self) -> String {
        let enforced = if self.global_rev == 0 { none() } else { self.global_rev.to_string() };
        match self.global_rejected_rev {
            refused if refused > self.global_rev => format!("{enforced} !{refused}"),
            _ => enforced,
        }
    }
}

impl Rollout {
    /// Nothing where the fleet never had a configuration of its own.
    fn line(&self) -> String {
        if self.target_rev == 0 {
            return String::new();
        }
        let Counts { in_stage, applied, rejected, others } = &self.proxies;
        let others = if *others == 0 {
            String::new()
        } else {
            format!(
                "; {others} others at {}",
                if self.stable_rev == 0 { none() } else { self.stable_rev.to_string() }
            )
        };
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!(
            "\nGlobal configuration: revision {} is {} at {} %, applied by {applied} of {in_stage}, refused by \
             {rejected}{others}{reason}\n",
            self.target_rev, self.state, self.stage_percent
        )
    }
}

fn diff(tenants: &[Standing]) -> String {
    if tenants.is_empty() {
        return "The proxy enforces the current revision of every tenant of its pool.\n".to_owned();
    }
    let titles = ["TENANT", "ID", "STANDING", "CURRENT", "APPLIED", "REFUSED"];
    let mut rows = vec![titles.map(ToOwned::to_owned).to_vec()];
    rows.extend(tenants.iter().map(|tenant| {
        let refused = match (&tenant.rejected_code, &tenant.rejected_detail) {
            _ if tenant.rejected_rev == 0 => none(),
            (Some(code), Some(detail)) => format!("{} {code}: {detail}", tenant.rejected_rev),
            (code, _) => format!("{} {}", tenant.rejected_rev, code.as_deref().unwrap_or_default()),
        };
        vec![
            tenant.slug.clone(),
            tenant.tenant_id.clone(),
            tenant.standing.clone(),
            version(tenant.rev, Some(&tenant.digest)),
            version(tenant.applied_rev, tenant.applied_digest.as_deref()),
            refused,
        ]
    }));
    table(&rows)
}

fn version(rev: u64, digest: Option<&str>) -> String {
    match digest.and_then(|digest| digest.get(..DIGEST)) {
        _ if rev == 0 => none(),
        Some(digest) => format!("{rev} {digest}"),
        None => rev.to_string(),
    }
}

fn none() -> String {
    "-".to_owned()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ahead,
    Ago,
}

/// Time from now to `at`, or from `at` to now, by this machine's clock.
fn seconds(at: &str, now: Timestamp, direction: Direction) -> String {
    let Ok(at) = OffsetDateTime::parse(at, &Rfc3339) else { return none() };
    let ahead = Timestamp::from_offset(at).micros() as f64 / 1e6 - now.micros() as f64 / 1e6;
    match direction {
        Direction::Ahead if ahead < 0.0 => "over".to_owned(),
        Direction::Ahead => format!("{ahead:.0} s"),
        Direction::Ago => format!("{:.1} s", (-ahead).max(0.0)),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Columns two spaces apart, the last one as long as it is.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_in_one_line() {
        let proxy = json!({
            "id": "px_1", "pool": "shared", "build": "0.1.0", "live": true, "tenants": 3, "tenants_behind": 1,
            "tenants_rejected": 0, "behind_since": "1970-01-01T00:01:37.5Z", "clock_skew_ms": -12,
            "spool_bytes": 20_480, "audit_records_missing": 0, "audit_records_set_aside": 2,
            "lease_until": "1970-01-01T00:01:50Z", "revoked_at": null, "of_the_future": 1,
            "global_rev": 3, "global_rejected_rev": 4
        });
        let text = fleet(&read(vec![proxy]).unwrap(), Timestamp::from_secs(100));
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[1].join(" "), "px_1 shared 0.1.0 live 10 s 3 1 0 2.5 s -12 ms 20 KiB 0 2 3 !4");
        assert_eq!(lines[0].len(), 14);
    }

    #[test]
    fn what_is_not_known_is_a_dash_and_a_dead_proxy_says_so() {
        let proxy = |lease: Option<&str>, revoked: Option<&str>| Proxy {
            id: String::new(),
            pool: String::new(),
            build: String::new(),
            live: false,
            tenants: 0,
            tenants_behind: 0,
            tenants_rejected: 0,
            behind_since: None,
            clock_skew_ms: None,
            spool_bytes: None,
            audit_records_missing: 0,
            audit_records_set_aside: 0,
            lease_until: lease.map(ToOwned::to_owned),
            revoked_at: revoked.map(ToOwned::to_owned),
            global_rev: 0,
            global_rejected_rev: 0,
        };
        let over = "1970-01-01T00:00:09Z";
        let states = [proxy(None, None), proxy(Some(over), None), proxy(Some(over), Some(over))];
        assert_eq!(states.each_ref().map(Proxy::state), ["new", "away", "revoked"]);
        let text = fleet(&states, Timestamp::from_secs(10));
        assert!(text.contains("over") && text.contains('-'), "{text}");
        assert_eq!(fleet(&[], Timestamp::from_secs(10)), "No proxy has enrolled.\n");
    }

    #[test]
    fn a_rollout_is_one_line() {
        let rollout = json!({
            "state": "rolling", "target_rev": 4, "stable_rev": 3, "stage_percent": 10, "reason": null,
            "proxies": {"in_stage": 2, "applied": 1, "rejected": 0, "others": 9}, "of_the_future": 1
        });
        let mut rollout: Rollout = serde_json::from_value(rollout).unwrap();
        let line = "\nGlobal configuration: revision 4 is rolling at 10 %, applied by 1 of 2, refused by 0; 9 others at 3\n";
        assert_eq!(rollout.line(), line);
        (rollout.state, rollout.reason) = ("rolled_back".to_owned(), Some("px_1 refused it".to_owned()));
        rollout.proxies.others = 0;
        assert!(rollout.line().ends_with("refused by 0: px_1 refused it\n"), "{}", rollout.line());
        rollout.target_rev = 0;
        assert_eq!(rollout.line(), "");
    }

    #[test]
    fn a_difference_names_revisions_and_digests() {
        let tenant = Standing {
            tenant_id: "tnt_1".to_owned(),
            slug: "acme".to_owned(),
            standing: "rejected".to_owned(),
            rev: 8,
            digest: "a".repeat(64),
            applied_rev: 7,
            applied_digest: Some("b".repeat(64)),
            rejected_rev: 8,
            rejected_code: Some("snapshot_invalid".to_owned()),
            rejected_detail: Some("ep_1 hosts".to_owned()),
        };
        let text = diff(&[tenant]);
        let line = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line, "acme tnt_1 rejected 8 aaaaaaaaaaaa 7 bbbbbbbbbbbb 8 snapshot_invalid: ep_1 hosts");
        assert!(diff(&[]).contains("every tenant"));
    }
}
