//! `--detach`: the same command in the background, watched until everything runs.

use std::{fs, io::Read as _, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use super::{
    Options, already_running,
    places::Places,
    processes::{self, Recorded},
    signals::Asked,
    summary,
};
use crate::private::ProcessId;

const STEP: Duration = Duration::from_millis(50);

/// Starts the background process, shows its progress, and returns its result.
pub(super) async fn start(options: &Options) -> anyhow::Result<()> {
    let mut asked = Asked::listen()?;
    let places =
        Places::prepare(&options.dir).with_context(|| format!("prepare {}", options.dir.display()))?;
    // The background process takes the directory for itself; here is only seen whether it can.
    let Some(lock) = places.lock().context("take the directory")? else {
        return Err(already_running(&places));
    };
    let path = places.log("up");
    let log = processes::fresh_log(&path).with_context(|| format!("make {}", path.display()))?;
    drop(lock);
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("up").arg("--background").arg("--dir").arg(&places.root).args(arguments(options));
    // In variables, not arguments: those are visible to every user of the machine.
    for (name, url) in [("DATABASE_URL", options.database_url()), ("REDIS_URL", options.redis_url())] {
        match url {
            Some(url) => command.env(name, url),
            None => command.env_remove(name),
        };
    }
    let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let process = ProcessId::of(child.id());
    let mut progress = Progress::of(&path)?;
    loop {
        progress.show()?;
        if let Some(status) = child.try_wait()? {
            progress.show()?;
            bail!("nothing was started ({status}); see {}", path.display());
        }
        let supervisor = Recorded::read(&places.processes()).supervisor;
        if supervisor.is_some() && supervisor == process && places.up_json().exists() {
            progress.show()?;
            summary::print(&serde_json::from_slice(&fs::read(places.up_json())?)?, &places, true);
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = asked.wait() => {
                if let Some(process) = process {
                    process.signal(Signal::TERM);
                }
            }
        }
    }
}

fn arguments(options: &Options) -> Vec<String> {
    let mut arguments =
        vec![format!("--proxies={}", options.proxies), format!("--port-base={}", options.port_base)];
    for (given, name) in [
        (options.fresh, "--fresh"),
        (options.redis, "--redis"),
        (options.no_demo, "--no-demo"),
        (options.tls, "--tls"),
    ] {
        if given {
            arguments.push(name.to_owned());
        }
    }
    arguments.extend(options.dns_server.map(|server| format!("--dns-server={server}")));
    arguments
}

/// What the background process has written and was not shown yet.
struct Progress {
    log: fs::File,
    text: Vec<u8>,
}

impl Progress {
    fn of(log: &Path) -> anyhow::Result<Self> {
        Ok(Self { log: fs::File::open(log)?, text: Vec::new() })
    }

    /// Prints whole lines only.
    fn show(&mut self) -> anyhow::Result<()> {
        self.log.read_to_end(&mut self.text)?;
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            summary::say(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(())
    }
}
