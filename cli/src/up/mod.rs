//! `portcullis up`: both planes on this machine, supervised, with private servers and a demo tenant.

pub mod certificates;
pub mod demo;
mod options;
pub mod places;
pub mod processes;
pub mod snippets;
mod bring_up;
pub mod summary;

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
pub use options::{Options, Ports};
use rustix::process::Signal;

use self::{bring_up::Run, places::Places, processes::Recorded};
use crate::private::stop_process;

/// Runs until Ctrl-C, SIGTERM, or the end of one of its processes; with `--detach` returns when everything runs.
pub async fn up(options: Options) -> anyhow::Result<()> {
    let mut places = Places::prepare(&options.dir).context("prepare the state directory")?;
    if let Some(other) = Recorded::read(&places.processes()).running_supervisor() {
        bail!("already running (process {}); stop it with `portcullis down`", other.pid);
    }
    if options.fresh {
        // What still runs on the old data is stopped before the data goes.
        processes::Processes::take_over(places.processes())?.stop()?;
        places.wipe().context("delete the earlier state")?;
        places = Places::prepare(&options.dir).context("prepare the state directory")?;
    }
    if options.detach {
        return detach(&options, &places).await;
    }
    let run = Run::bring_up(options, places).await?;
    summary::print(run.result())?;
    let outcome = tokio::select! {
        asked = crate::run::asked_to_stop() => asked.map_err(Into::into),
        name = run.first_death() => Err(anyhow::anyhow!("{name} ended; see .portcullis/logs/{name}.log")),
    };
    summary::say("Stopping …")?;
    run.stop()?;
    outcome
}

/// Starts the same command in the background and waits for its result.
async fn detach(options: &Options, places: &Places) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let log = places.log("up");
    let out = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
    // A result of an earlier run must not be taken for this one's.
    std::fs::remove_file(places.up_json()).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("up").arg("--dir").arg(&places.root).args(background_arguments(options)).process_group(0);
    if let Some(url) = &options.database_url {
        command.env("DATABASE_URL", url);
    }
    if let Some(url) = &options.redis_url {
        command.env("REDIS_URL", url);
    }
    let mut child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
    loop {
        if let Ok(bytes) = std::fs::read(places.up_json()) {
            return summary::print(&serde_json::from_slice(&bytes)?);
        }
        if let Some(status) = child.try_wait()? {
            bail!("up ended ({status}); see {}", log.display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn background_arguments(options: &Options) -> Vec<String> {
    let mut arguments =
        vec![format!("--proxies={}", options.proxies), format!("--port-base={}", options.port_base)];
    for (given, name) in [(options.redis, "--redis"), (options.no_demo, "--no-demo"), (options.tls, "--tls")] {
        if given {
            arguments.push(name.to_owned());
        }
    }
    arguments
}

/// Stops a running `up` in this state directory.
pub fn down(dir: &Path) -> anyhow::Result<()> {
    let places = Places::prepare(dir)?;
    let recorded = Recorded::read(&places.processes());
    match recorded.running_supervisor() {
        Some(supervisor) => {
            if !stop_process(supervisor, Signal::TERM, Duration::from_secs(120)) {
                bail!("up did not stop within 120 s and was killed; run `portcullis down` again for what it left");
            }
            summary::say("Stopped.")
        }
        None => {
            // Nothing supervises any more; what a crash left is ended all the same.
            processes::Processes::take_over(places.processes())?.stop()?;
            summary::say("Nothing was running.")
        }
    }
}

/// Prints what runs and whether it is ready. An error when something is not.
pub async fn status(dir: &Path) -> anyhow::Result<()> {
    let places = Places::prepare(dir)?;
    let recorded = Recorded::read(&places.processes());
    if recorded.running_supervisor().is_none() {
        bail!("not running; start with `make up`");
    }
    let result = std::fs::read(places.up_json()).context("still starting: .portcullis/up.json is not written yet")?;
    summary::status(&serde_json::from_slice(&result)?, &recorded).await
}
