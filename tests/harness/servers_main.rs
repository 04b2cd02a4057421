//! `test-servers start` (a nextest set-up script) and `test-servers guard` (what it leaves running).

use std::path::PathBuf;

use anyhow::Context as _;
use portcullis_cli::private::ProcessId;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("start") => harness::servers::start(),
        Some("guard") => {
            let dir = PathBuf::from(arguments.next().context("directory missing")?);
            let pid = arguments.next().context("process missing")?.parse()?;
            let started = arguments.next().context("start time missing")?.parse()?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(harness::servers::guard(&dir, ProcessId { pid, started }))
        }
        _ => anyhow::bail!("usage: test-servers start | guard DIR PID STARTED"),
    }
}
