//! The processes of a run: started in order, watched, stopped in the reverse order, and found again after a crash of
//! the supervisor.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::{
    files,
    private::{ProcessId, stop_process},
};

/// A recorded process and how it is asked to end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Name for people: `control`, `proxy-0`, `postgres`, …
    pub name: String,
    /// Which process.
    pub process: ProcessId,
    /// Postgres takes SIGINT for "end the sessions and stop"; everything else SIGTERM.
    pub interrupt: bool,
}

/// What `processes.json` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Recorded {
    /// The supervisor itself.
    pub supervisor: Option<ProcessId>,
    /// Its processes in order of start.
    pub entries: Vec<Entry>,
}

impl Recorded {
    /// What an earlier run recorded; nothing when it recorded nothing readable.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The supervisor, if it runs.
    #[must_use]
    pub fn running_supervisor(&self) -> Option<ProcessId> {
        self.supervisor.filter(|process| process.is_alive())
    }
}

/// The processes of this run.
#[derive(Debug)]
pub struct Processes {
    file: PathBuf,
    recorded: Recorded,
}

/// One of our own subcommands to run as a child.
#[derive(Debug)]
pub struct Child<'a> {
    /// Name for people and for the log file.
    pub name: &'a str,
    /// Arguments after the program's name.
    pub arguments: Vec<OsString>,
    /// Variables that hold secrets, which arguments would show to every user of the machine.
    pub environment: Vec<(&'static str, String)>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Processes {
    /// Ends what an earlier run left behind and starts a new record.
    pub fn take_over(file: PathBuf) -> io::Result<Self> {
        let earlier = Recorded::read(&file);
        stop_all(&earlier.entries);
        let processes =
            Self { file, recorded: Recorded { supervisor: ProcessId::of(std::process::id()), entries: Vec::new() } };
        processes.save()?;
        Ok(processes)
    }

    /// Records a process that was started elsewhere.
    pub fn adopt(&mut self, name: &str, process: ProcessId, interrupt: bool) -> io::Result<()> {
        self.recorded.entries.push(Entry { name: name.to_owned(), process, interrupt });
        self.save()
    }

    /// Starts one of our own subcommands.
    pub fn start(&mut self, child: Child<'_>) -> io::Result<ProcessId> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&child.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        // Own process group: Ctrl-C reaches the supervisor alone, which stops the others in order.
        command.args(&child.arguments).envs(child.environment).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = command.spawn()?;
        let process = ProcessId::of(running.id())
            .ok_or_else(|| io::Error::other(format!("{} ended at once; see {}", child.name, child.log.display())))?;
        thread::spawn(move || running.wait());
        self.adopt(child.name, process, false)?;
        Ok(process)
    }

    /// The first process that no longer runs.
    #[must_use]
    pub fn first_dead(&self) -> Option<&Entry> {
        self.recorded.entries.iter().find(|entry| !entry.process.is_alive())
    }

    /// Stops everything, last started first, and forgets it.
    pub fn stop(mut self) -> io::Result<()> {
        stop_all(&self.recorded.entries);
        self.recorded = Recorded::default();
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        files::write_private(&self.file, &serde_json::to_vec_pretty(&self.recorded)?)
    }
}

fn stop_all(entries: &[Entry]) {
    for entry in entries.iter().rev() {
        let signal = if entry.interrupt { Signal::INT } else { Signal::TERM };
        if !stop_process(entry.process, signal, Duration::from_secs(30)) {
            tracing::warn!(name = entry.name, "did not end when asked and was killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_supervisor_left_is_ended_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("processes.json");
        let mut orphan = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(orphan.id()).unwrap();
        let mut first = Processes::take_over(file.clone()).unwrap();
        first.adopt("orphan", process, false).unwrap();
        assert!(first.first_dead().is_none());
        let reaper = thread::spawn(move || orphan.wait());
        let second = Processes::take_over(file.clone()).unwrap();
        reaper.join().unwrap().unwrap();
        assert!(!process.is_alive());
        second.stop().unwrap();
        assert!(Recorded::read(&file).running_supervisor().is_none());
    }
}
