//! A fleet of stub proxies against real control planes: what an acknowledgement costs, what a restart brings back at once.
//!
//! `bench-fleet [--proxies 1000] [--pools 10] [--tenants 100] [--controls 1] [--tools 2] [--changes 200] [--away 3]` starts a
//! Postgres and control planes of its own, fills the database with `tenants` compiled tenants for each pool, and has stubs join,
//! which speak the real protocol over mutual TLS through `wire::stream::client`, three streams each, and take every revision at
//! once ([`stub`]). It then measures, one after the other: everybody joining at once with nothing, a fleet at rest, `changes`
//! revisions, and each control plane killed, and asked to end, and started again after `away` seconds. Prints one JSON
//! document ([`phases`]). The control plane is `PORTCULLIS_BIN`, or the one built beside this.

mod link;
mod phases;
mod stub;

use std::{io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use bench_tools::{fill::Tenants, tenants::Shape};
use clap::Parser as _;
use crypto::FileKek;
use futures_util::{StreamExt as _, TryStreamExt as _};
use harness::{Site, member::Member, site::Plan, text};
use portcullis_cli::private::postgres::Durability;
use secrecy::SecretString;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;

use phases::Fleet;
use stub::{Board, Stub};

/// Stubs that join at once.
const JOINING: usize = 8;

/// What is measured.
#[derive(Debug, clap::Parser)]
pub(crate) struct Options {
    /// Stub proxies, dealt over the pools
    #[arg(long, default_value_t = 1_000)]
    proxies: usize,
    /// Pools
    #[arg(long, default_value_t = 10)]
    pools: usize,
    /// Tenants of each pool
    #[arg(long, default_value_t = 100)]
    tenants: u32,
    /// Control planes on one database
    #[arg(long, default_value_t = 1)]
    controls: usize,
    /// Tools of each tenant, with definitions of 1 KiB
    #[arg(long, default_value_t = 2)]
    tools: u16,
    /// Revisions that are made while the fleet is at rest
    #[arg(long, default_value_t = 200)]
    changes: u32,
    /// How long a control plane is away, seconds
    #[arg(long, default_value_t = 3)]
    away: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let plan =
        Plan { controls: options.controls, proxies: 0, durability: Durability::Full, ..Plan::default() };
    let mut site = Site::start(plan).await;
    let mut pools = Vec::new();
    for number in 0..options.pools {
        let made = site.operator.post("/v1/pools", json!({"slug": slug(number)})).await?;
        pools.push(text(&made, "id").parse().context("a pool's id")?);
    }
    let database = PgPoolOptions::new().max_connections(4).connect(&site.database_url()).await?;
    let kek = FileKek::from_bytes(&std::fs::read(site.master_key_file())?)?;
    let shape = Shape { tools: options.tools, distinct: false };
    say(&format!("writing {} tenants", pools.len() as u32 * options.tenants))?;
    let tenants = Tenants::write(database, &kek, &pools, options.tenants, shape).await?;
    say(&format!("enrolling {} stubs", options.proxies))?;
    let members = join(&site, &options).await?;

    let targets: Vec<SocketAddr> =
        (0..options.controls).map(|index| ([127, 0, 0, 1], site.control_ports(index)[2]).into()).collect();
    let board = Arc::new(Board::default());
    let mut stubs = JoinSet::new();
    let mut fleet = Fleet::new(&mut site, &options, tenants, board.clone());
    let joined = {
        let members = &members;
        let stubs = &mut stubs;
        fleet
            .joining(async move || {
                for member in members {
                    let channel = link::channel(member, targets.clone())?;
                    stubs.spawn(stub::follow_kills(channel.clone()));
                    stubs.spawn(stub::watch_commands(channel.clone()));
                    stubs.spawn(Stub::new(channel, board.clone()).run());
                }
                Ok(())
            })
            .await?
    };
    let resting = fleet.resting(Duration::from_secs(20)).await?;
    let changing = fleet.changing(options.changes).await?;
    let restarts = fleet.restarts(Duration::from_secs(options.away)).await?;
    let result = json!({
        "proxies": options.proxies, "pools": options.pools, "tenants_per_pool": options.tenants,
        "control_planes": options.controls, "profile": profile(),
        "joining": joined, "resting": resting, "changing": changing, "restarts": restarts,
    });
    writeln!(std::io::stdout(), "{result:#}")?;
    stubs.shutdown().await;
    Ok(())
}

/// Enrols the stubs, some at a time.
async fn join(site: &Site, options: &Options) -> anyhow::Result<Vec<Member>> {
    let enrol: SocketAddr = ([127, 0, 0, 1], site.control_ports(0)[1]).into();
    futures_util::stream::iter(0..options.proxies)
        .map(async |number| {
            let pool = json!({"pool": slug(number % options.pools)});
            let minted = site.operator.post("/v1/join-tokens", pool).await?;
            anyhow::Ok(Member::join_at(enrol, &SecretString::from(text(&minted, "token"))).await)
        })
        .buffer_unordered(JOINING)
        .try_collect()
        .await
}

fn slug(pool: usize) -> String {
    format!("pool-{pool}")
}

/// Progress, beside the result.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

const fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}
