//! Fills the database of a control plane with compiled tenants of the shared pool, as row 11 of the targets has them.
//!
//! `DATABASE_URL=… bench-fill --master-key-file FILE --tenants 10000 [--tools 20]`

use std::path::PathBuf;

use bench_tools::{
    fill::Tenants,
    tenants::{Shape, TOOLS},
};
use clap::Parser as _;
use crypto::FileKek;
use ids::{PoolId, Uuid};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;

#[derive(Debug, clap::Parser)]
struct Options {
    /// The database, as a superuser
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,
    /// File with the installation's master key
    #[arg(long)]
    master_key_file: PathBuf,
    /// How many
    #[arg(long)]
    tenants: u32,
    /// Tools of each
    #[arg(long, default_value_t = TOOLS)]
    tools: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let database = PgPool::connect(options.database_url.expose_secret()).await?;
    let kek = FileKek::from_bytes(&std::fs::read(&options.master_key_file)?)?;
    let shared: Uuid =
        sqlx::query_scalar("SELECT id FROM pools WHERE slug = 'shared'").fetch_one(&database).await?;
    let shape = Shape { tools: options.tools, distinct: false };
    Tenants::write(database, &kek, &[PoolId::from_uuid(shared)], options.tenants, shape).await?;
    Ok(())
}
