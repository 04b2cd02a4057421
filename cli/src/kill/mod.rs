//! `portcullis kill` and `portcullis lift`: the kill switch from a terminal, through the admin API, or by an order signed here
//! when nothing else answers.

mod offline;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use url::Url;
use wire::v1::KillLevel;

use crate::{
    access::Access,
    rest::{Rest, RestError},
    up::summary::say,
};

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Everything
    Fleet,
    /// A tenant
    Tenant,
    /// An endpoint, by id
    Endpoint,
    /// An upstream, by id
    Upstream,
    /// A tool, by id
    Tool,
    /// A client, by id
    Client,
    /// A key, by id
    Key,
    /// A caller by name: today a client's id
    Principal,
}

impl Level {
    const fn wire(self) -> KillLevel {
        match self {
            Self::Fleet => KillLevel::Fleet,
            Self::Tenant => KillLevel::Tenant,
            Self::Endpoint => KillLevel::Endpoint,
            Self::Upstream => KillLevel::Upstream,
            Self::Tool => KillLevel::Tool,
            Self::Client => KillLevel::Client,
            Self::Key => KillLevel::Key,
            Self::Principal => KillLevel::Principal,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// An order signed here, for proxies that nothing else reaches.
#[derive(Debug, Args)]
pub struct Offline {
    /// Sign an order with the operator's offline key instead of asking the control plane
    #[arg(long, requires = "key")]
    offline: bool,
    /// The private file that `kill keygen` made
    #[arg(long)]
    key: Option<PathBuf>,
    /// A proxy's admin listener to hand the order to; repeatable
    #[arg(long)]
    proxy_admin: Vec<Url>,
    /// Write the order to this file; as a file in a proxy's `kill-orders` it is followed
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `kill`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Kill {
    #[command(subcommand)]
    action: Option<Action>,
    /// What is to be killed
    #[arg(required = true)]
    level: Option<Level>,
    /// Its id; absent for the fleet, and for a tenant that `--tenant` names
    target: Option<String>,
    /// Whose it is: id, or with the control plane's help the slug
    #[arg(long)]
    tenant: Option<String>,
    /// Why; goes into the audit log
    #[arg(long, required_unless_present = "offline")]
    reason: Option<String>,
    /// Only an exercise: pushed and acknowledged, and nothing is stopped
    #[arg(long)]
    drill: bool,
    /// Wait until every live proxy has it in force
    #[arg(long)]
    wait: bool,
    /// The token is the tenant's own, and not an operator's
    #[arg(long, requires = "tenant")]
    own: bool,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    offline: Offline,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the key pair for offline orders: keep the private file off every machine that serves, give proxies the public one
    Keygen {
        /// Private file to be made
        #[arg(long)]
        private: PathBuf,
        /// Public file to be made, for `portcullis proxy --kill-order-key-file`
        #[arg(long)]
        public: PathBuf,
    },
}

/// `lift`.
#[derive(Debug, Args)]
pub struct Lift {
    /// The kill's id
    id: String,
    /// The tenant, where the token is its own
    #[arg(long)]
    tenant: Option<String>,
    /// Why; goes into the audit log
    #[arg(long, required_unless_present = "offline")]
    reason: Option<String>,
    /// Wait until every live proxy has heard of it
    #[arg(long)]
    wait: bool,
    /// The token is the tenant's own, and not an operator's
    #[arg(long, requires = "tenant")]
    own: bool,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    offline: Offline,
}

/// Kills.
pub async fn kill(options: Kill) -> anyhow::Result<()> {
    if let Some(Action::Keygen { private, public }) = options.action {
        return offline::keygen(&private, &public);
    }
    let level = options.level.context("say what is to be killed")?;
    // `kill tenant acme` reads better than `kill tenant --tenant acme`.
    let (tenant, target) = match level {
        Level::Tenant => (options.tenant.or(options.target), None),
        _ => (options.tenant, options.target),
    };
    if options.offline.offline {
        return offline::kill(&options.offline, level, tenant.as_deref(), target.as_deref(), options.drill)
            .await;
    }
    let rest = options.access.connect()?;
    let mut order = json!({"level": level.name(), "reason": options.reason, "drill": options.drill});
    if let Some(target) = target {
        order["target"] = json!(target);
    }
    let base = match tenant {
        Some(tenant) if options.own => of_tenant(&tenant),
        Some(tenant) => {
            order["tenant_id"] = json!(tenant_id(&rest, &tenant).await?);
            ALL.to_owned()
        }
        None => ALL.to_owned(),
    };
    let made = rest.post(&format!("{base}{}", waiting(options.wait)), order).await?;
    report(&made, "acknowledgement", if options.drill { "drill" } else { "killed" });
    Ok(())
}

/// Lifts.
pub async fn lift(options: Lift) -> anyhow::Result<()> {
    if options.offline.offline {
        return offline::lift(&options.offline, &options.id).await;
    }
    let rest = options.access.connect()?;
    let base = options.tenant.as_deref().filter(|_| options.own).map_or_else(|| ALL.to_owned(), of_tenant);
    let path = format!("{base}/{}", options.id);
    let epoch = match rest.get(&path).await {
        Ok(kill) => kill["epoch"].clone(),
        // One that came to proxies by offline order is known to them alone.
        Err(RestError::Refused { status, .. }) if status.as_u16() == 404 && !options.own => json!(0),
        Err(error) => return Err(error.into()),
    };
    if epoch.is_null() {
        bail!("the kill is in force and not stored yet; lift it when Postgres is back");
    }
    let lift = json!({"reason": options.reason, "epoch": epoch});
    let lifted = rest.post(&format!("{path}/lift{}", waiting(options.wait)), lift).await?;
    report(&lifted, "lift_acknowledgement", "lifted");
    Ok(())
}

const fn waiting(wait: bool) -> &'static str {
    if wait { "?wait=applied&timeout=30s" } else { "" }
}

const ALL: &str = "/v1/kills";

fn of_tenant(tenant: &str) -> String {
    format!("/v1/tenants/{tenant}/kills")
}

async fn tenant_id(rest: &Rest, tenant: &str) -> anyhow::Result<String> {
    if tenant.parse::<ids::TenantId>().is_ok() {
        return Ok(tenant.to_owned());
    }
    let found = rest.get(&format!("/v1/tenants/{tenant}")).await?;
    Ok(found["id"].as_str().context("the control plane's answer has no id")?.to_owned())
}

/// The id, which is needed to lift it, and how far the proxies are.
fn report(kill: &Value, member: &str, done: &str) {
    let found = &kill[member];
    let count = |name: &str| found[name].as_u64().unwrap_or(0);
    let slowest = found["slowest_seconds"].as_f64();
    say(&format!(
        "{} {done}: acknowledged {}, unreachable {}, expired {}{}",
        kill["id"].as_str().unwrap_or_default(),
        count("acknowledged"),
        count("unreachable"),
        count("expired"),
        slowest.map(|seconds| format!(", slowest {seconds:.3} s")).unwrap_or_default(),
    ));
    for proxy in found["proxies"].as_array().into_iter().flatten() {
        say(&format!(
            "  {} {}{}",
            proxy["proxy_id"].as_str().unwrap_or_default(),
            proxy["state"].as_str().unwrap_or_default(),
            proxy["seconds"].as_f64().map(|seconds| format!(" {seconds:.3} s")).unwrap_or_default(),
        ));
    }
}
