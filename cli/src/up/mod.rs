//! `portcullis up`: both planes on this machine, supervised, with private servers and a demo tenant.

mod arguments;
mod bring_up;
pub mod certificates;
pub mod demo;
mod detach;
mod options;
pub mod places;
pub mod processes;
mod signals;
pub mod snippets;
pub mod summary;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
pub use options::{Options, Ports};
use rustix::process::Signal;

use self::{
    bring_up::Plan,
    places::{Lock, Places},
    processes::{Processes, Recorded},
    signals::Asked,
    summary::{UpResult, say},
};
use crate::private::stop_process;

/// Longer than every process may take that it stops.
const STOP_PATIENCE: Duration = Duration::from_secs(400);

/// Runs until Ctrl-C, SIGTERM, or the end of one of its processes; with `--detach` returns when everything runs.
pub async fn up(options: Options) -> anyhow::Result<()> {
    if options.detach {
        return detach::start(&options).await;
    }
    if options.background {
        // Closing the terminal it was started from ends it no more.
        rustix::process::setsid().context("leave the terminal")?;
    }
    let mut asked = Asked::listen()?;
    let places =
        Places::prepare(&options.dir).with_context(|| format!("prepare {}", options.dir.display()))?;
    let Some(_lock) = places.lock().context("take the directory")? else {
        return Err(already_running(&places));
    };
    places.forget_result().context("remove the earlier result")?;
    let mut processes = Processes::take_over(places.processes()).context("stop what an earlier run left")?;
    let outcome = supervise(options, &places, &mut processes, &mut asked).await;
    places.forget_result().context("remove the result")?;
    if processes.any() {
        say("Stopping …");
        processes.stop().context("stop everything")?;
        say("Stopped.");
    }
    outcome
}

/// Brings everything up and watches it. What was started is in `processes`, however this ends.
async fn supervise(
    options: Options,
    places: &Places,
    processes: &mut Processes,
    asked: &mut Asked,
) -> anyhow::Result<()> {
    let background = options.background;
    let places = places.clone().of_database(options.database_url())?;
    if options.fresh {
        say("Deleting the earlier state …");
        places.wipe().context("delete the earlier state")?;
    }
    let places = places.of_database(options.database_url())?;
    let plan = Plan::new(options, places.clone())?;
    let result: UpResult = tokio::select! {
        biased;
        () = asked.wait() => return Ok(()),
        result = plan.start_all(processes) => result?,
    };
    crate::files::write_private(&places.up_json(), &serde_json::to_vec_pretty(&result)?)
        .context("write the result")?;
    if !background {
        summary::print(&result, &places, false);
    }
    loop {
        tokio::select! {
            biased;
            () = asked.wait() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        if let Some(dead) = processes.first_dead() {
            bail!(dead.obituary());
        }
    }
}

fn already_running(places: &Places) -> anyhow::Error {
    let process = Recorded::read(&places.processes()).supervisor.map_or(0, |process| process.pid);
    let root = places.root.display();
    anyhow::anyhow!(
        "already running in {root} (process {process}); stop it with `make down` or `portcullis down --dir {root}`"
    )
}

/// Stops what runs in this state directory.
pub fn down(dir: &Path) -> anyhow::Result<()> {
    let Some(places) = Places::find(dir) else {
        say("Nothing was running.");
        return Ok(());
    };
    let running = match places.lock().context("take the directory")? {
        Some(lock) => return stop_orphans(&places, lock),
        None => Recorded::read(&places.processes()).running_supervisor(),
    };
    let Some(supervisor) = running else {
        bail!("another command is at work in {}; try again", places.root.display())
    };
    if !stop_process(supervisor, Signal::TERM, STOP_PATIENCE) {
        let lock = places.lock().context("take the directory")?;
        let Some(lock) = lock else { bail!("process {} does not end", supervisor.pid) };
        return stop_orphans(&places, lock);
    }
    say("Stopped.");
    Ok(())
}

/// Nothing supervises any more; what a crash left is ended all the same.
fn stop_orphans(places: &Places, _lock: Lock) -> anyhow::Result<()> {
    let left = !Recorded::read(&places.processes()).running().is_empty();
    places.forget_result().context("remove the result")?;
    Processes::take_over(places.processes())?.stop()?;
    say(if left { "Stopped." } else { "Nothing was running." });
    Ok(())
}

/// Prints what runs and whether it is ready. An error when something is not.
pub async fn status(dir: &Path) -> anyhow::Result<()> {
    let places = Places::find(dir).context("not running; start with `make up`")?;
    let recorded = Recorded::read(&places.processes());
    if recorded.running_supervisor().is_none() {
        match recorded.running().join(", ") {
            left if left.is_empty() => bail!("not running; start with `make up`"),
            left => bail!(
                "what started them was killed, but these still run: {left}; `make up` or `make down` stops them"
            ),
        }
    }
    let result = std::fs::read(places.up_json())
        .with_context(|| format!("still starting: {} is not written yet", places.up_json().display()))?;
    summary::status(&serde_json::from_slice(&result)?, &recorded).await
}
