//! Orders signed with the operator's offline key.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use crypto::{ExposeSecret as _, SigningKey, signature};
use ids::{KillId, TenantId};
use seams::{Clock as _, Entropy, SystemClock, SystemEntropy};
use url::Url;
use wire::kill::{self, ORDER_CONTEXT, Order, Target, Unverified};

use super::{Level, Offline};
use crate::{files, rest::http_client, run::read_secret, up::summary::say};

/// How long an order is accepted after it was signed. What was accepted stays in force.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the key pair.
pub(super) fn keygen(private: &Path, public: &Path) -> anyhow::Result<()> {
    for path in [private, public] {
        if path.exists() {
            bail!("{} exists; a key that proxies were given is not replaced by accident", path.display());
        }
    }
    let (secret, open) = signature::generate_files(&SystemEntropy)?;
    files::write_private(private, secret.as_bytes())
        .with_context(|| format!("write {}", private.display()))?;
    std::fs::write(public, open).with_context(|| format!("write {}", public.display()))?;
    say(&format!("Start proxies with --kill-order-key-file {}", public.display()));
    Ok(())
}

/// Orders a kill.
pub(super) async fn kill(
    options: &Offline,
    level: Level,
    tenant: Option<&str>,
    target: Option<&str>,
    drill: bool,
) -> anyhow::Result<()> {
    let tenant: Option<TenantId> =
        tenant.map(str::parse).transpose().context("an offline order names a tenant by its id (tnt_…)")?;
    let target = Target::parse(level.wire(), tenant, target)
        .context("the level does not go with --tenant and the id that were given")?;
    let now = SystemClock.now();
    let entropy: &dyn Entropy = &SystemEntropy;
    let id = KillId::from_parts(now.millis(), entropy.bytes());
    let kill = kill::Kill { id, target, drill, at: now };
    let order = Order { issued: now, expires: now.plus(LIFE), kill: Some(kill), lifted: Vec::new() };
    hand_out(options, &order).await?;
    say(&format!("{id} ordered; lift it by this id"));
    Ok(())
}

/// Orders that a kill which came by order ends.
pub(super) async fn lift(options: &Offline, id: &str) -> anyhow::Result<()> {
    let id: KillId = id.parse().context("the id of a kill is needed")?;
    let now = SystemClock.now();
    hand_out(options, &Order { issued: now, expires: now.plus(LIFE), kill: None, lifted: vec![id] }).await?;
    say(&format!("{id} lifted by order"));
    Ok(())
}

/// Signs, and hands to everybody that was named. One that cannot be reached does not keep it from the others.
async fn hand_out(options: &Offline, order: &Order) -> anyhow::Result<()> {
    let key = read_secret(options.key.as_deref().context("--key is needed")?)?;
    let key = SigningKey::from_file(key.expose_secret()).context("read the offline key")?;
    let body = order.encode();
    let signature = key.sign(ORDER_CONTEXT, &body).to_vec();
    let text = Unverified { body, signature }.to_text();
    if options.proxy_admin.is_empty() && options.out.is_none() {
        say(text.trim_end());
    }
    if let Some(out) = &options.out {
        files::write_readable(out, text.as_bytes()).with_context(|| format!("write {}", out.display()))?;
    }
    let mut missed = 0;
    for proxy in &options.proxy_admin {
        match deliver(proxy, &text).await {
            Ok(()) => say(&format!("  {proxy} in force")),
            Err(error) => {
                say(&format!("  {proxy} {error:#}"));
                missed += 1;
            }
        }
    }
    if missed > 0 {
        bail!("{missed} of {} proxies did not follow", options.proxy_admin.len())
    } else {
        Ok(())
    }
}

async fn deliver(proxy: &Url, order: &str) -> anyhow::Result<()> {
    let url = proxy.join("/kill-orders")?;
    let response =
        http_client(None)?.post(url).body(order.to_owned()).send().await.context("cannot be reached")?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let problem: serde_json::Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
    bail!("refuses ({status}): {}", problem["detail"].as_str().unwrap_or("no detail"))
}
