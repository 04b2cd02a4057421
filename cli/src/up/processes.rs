//! The processes of a run: started in order, watched, stopped in the reverse order, and found again after a crash of
//! the supervisor. What a killed supervisor leaves goes on serving until the next `up` or `down` in its directory, which
//! stops it first.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::summary::say;
use crate::{
    files,
    private::{ProcessId, stop_process},
    run::environment,
};

/// Longer than any process takes that still does something useful: a drain, then the upload of the audit spool.
const PATIENCE: Duration = Duration::from_secs(90);

/// A recorded process and how it is asked to end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Name for people: `control`, `proxy-0`, `postgres`, …
    pub name: String,
    /// Which process.
    pub process: ProcessId,
    /// How it is asked to end.
    pub stop: Stop,
    /// Where its output goes.
    pub log: PathBuf,
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// SIGTERM, and waited for before the next is asked.
    Terminate,
    /// SIGTERM, together with its neighbours of this kind.
    TerminateTogether,
    /// SIGINT, Postgres' word for "end the sessions and stop".
    Interrupt,
}

impl Stop {
    fn signal(self) -> Signal {
        if self == Self::Interrupt { Signal::INT } else { Signal::TERM }
    }
}

/// What `processes.json` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Recorded {
    /// Which boot of the machine the processes are of: their numbers begin anew with each.
    boot: String,
    /// The supervisor itself.
    pub supervisor: Option<ProcessId>,
    /// Its processes in order of start.
    pub entries: Vec<Entry>,
}

impl Recorded {
    /// What was recorded since the machine started; nothing when it recorded nothing readable.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let recorded: Option<Self> =
            fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        recorded.filter(|recorded| recorded.boot == this_boot()).unwrap_or_default()
    }

    /// The supervisor, if it runs.
    #[must_use]
    pub fn running_supervisor(&self) -> Option<ProcessId> {
        self.supervisor.filter(|process| process.is_alive())
    }

    /// Names of the processes that run.
    #[must_use]
    pub fn running(&self) -> Vec<&str> {
        self.entries
            .iter()
            .filter(|entry| entry.process.is_alive())
            .map(|entry| entry.name.as_str())
            .collect()
    }
}

fn this_boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
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
    /// How it is asked to end.
    pub stop: Stop,
    /// Arguments after the program's name. They hold no secrets: every user of the machine can read them.
    pub arguments: Vec<OsString>,
    /// Variables, which may hold secrets.
    pub environment: Vec<(&'static str, String)>,
    /// Variables of the caller's that the child does not get, by the beginning of their names.
    pub without: &'static [&'static str],
    /// Where its output goes.
    pub log: PathBuf,
}

impl Processes {
    /// Becomes the supervisor. Processes that an earlier one left running are stopped.
    pub fn take_over(file: PathBuf) -> io::Result<Self> {
        let earlier = Recorded::read(&file);
        let supervisor = ProcessId::of(std::process::id());
        // Written before anything is stopped, so that a crash meanwhile forgets nothing.
        let mut processes =
            Self { file, recorded: Recorded { boot: this_boot(), supervisor, entries: earlier.entries } };
        processes.save()?;
        let left = processes.recorded.running();
        if !left.is_empty() {
            say(&format!("Stopping what an earlier run left: {} …", left.join(", ")));
        }
        stop_all(&processes.recorded.entries);
        processes.recorded.entries.clear();
        processes.save()?;
        Ok(processes)
    }

    /// Records a process that was started elsewhere.
    pub fn adopt(&mut self, entry: Entry) -> io::Result<()> {
        self.recorded.entries.push(entry);
        self.save()
    }

    /// Starts one of our own subcommands.
    pub fn start(&mut self, child: Child<'_>) -> io::Result<ProcessId> {
        let log = fresh_log(&child.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        // Own process group: Ctrl-C reaches the supervisor alone, which stops the others in order.
        command.args(&child.arguments).process_group(0);
        for name in environment::names_beginning(child.without).into_iter().chain(environment::of_planes()) {
            command.env_remove(name);
        }
        command.envs(child.environment);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = command.spawn()?;
        let process = ProcessId::of(running.id()).ok_or_else(|| {
            io::Error::other(format!("{} ended at once; see {}", child.name, child.log.display()))
        })?;
        thread::spawn(move || running.wait());
        self.adopt(Entry { name: child.name.to_owned(), process, stop: child.stop, log: child.log })?;
        Ok(process)
    }

    /// Whether anything was started.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.recorded.entries.is_empty()
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

impl Entry {
    /// Says that it ended though nobody asked it to, why if it said so, and where to look.
    #[must_use]
    pub fn obituary(&self) -> String {
        let why = last_words(&self.log).map(|words| format!(": {words}")).unwrap_or_default();
        format!("{} ended by itself{why}; its log is {}", self.name, self.log.display())
    }
}

/// What our own commands print when they fail, if it stands at the log's end.
fn last_words(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    tail.lines().next_back()?.strip_prefix(crate::COMPLAINT).map(str::to_owned)
}

/// A new log, readable by its owner only; the one before it is kept beside it.
pub(super) fn fresh_log(log: &Path) -> io::Result<fs::File> {
    match fs::rename(log, log.with_extension("previous.log")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new().create_new(true).append(true).mode(0o600).open(log)
}

fn stop_all(entries: &[Entry]) {
    let mut rest = entries;
    while let Some((last, before)) = rest.split_last() {
        let together = |entry: &&Entry| last.stop == Stop::TerminateTogether && entry.stop == last.stop;
        let wave = 1 + before.iter().rev().take_while(together).count();
        let (before, wave) = rest.split_at(rest.len() - wave);
        for entry in wave {
            entry.process.signal(entry.stop.signal());
        }
        for entry in wave.iter().rev() {
            if !stop_process(entry.process, entry.stop.signal(), PATIENCE) {
                say(&format!("{} did not end within {} s and was killed", entry.name, PATIENCE.as_secs()));
            }
        }
        rest = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(name: &str, stop: Stop) -> (Entry, thread::JoinHandle<()>) {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        let reaper = thread::spawn(move || {
            child.wait().unwrap();
        });
        (Entry { name: name.to_owned(), process, stop, log: PathBuf::new() }, reaper)
    }

    #[test]
    fn what_a_killed_supervisor_left_is_ended_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("processes.json");
        let (orphan, reaper) = sleeper("orphan", Stop::Terminate);
        let process = orphan.process;
        let mut first = Processes::take_over(file.clone()).unwrap();
        first.adopt(orphan).unwrap();
        assert!(first.first_dead().is_none());
        let second = Processes::take_over(file.clone()).unwrap();
        reaper.join().unwrap();
        assert!(!process.is_alive());
        second.stop().unwrap();
        assert!(Recorded::read(&file).running_supervisor().is_none());
    }

    #[test]
    fn an_earlier_boot_left_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("processes.json");
        let (bystander, reaper) = sleeper("bystander", Stop::Terminate);
        let process = bystander.process;
        let recorded = Recorded { boot: "another".to_owned(), supervisor: None, entries: vec![bystander] };
        fs::write(&file, serde_json::to_vec(&recorded).unwrap()).unwrap();
        Processes::take_over(file).unwrap();
        assert!(process.is_alive());
        process.signal(Signal::TERM);
        reaper.join().unwrap();
    }

    #[test]
    fn every_process_of_a_wave_is_stopped() {
        let stops = [Stop::Interrupt, Stop::Terminate, Stop::TerminateTogether, Stop::TerminateTogether];
        let (entries, reapers): (Vec<_>, Vec<_>) =
            stops.map(|stop| sleeper("sleeper", stop)).into_iter().unzip();
        stop_all(&entries);
        reapers.into_iter().for_each(|reaper| reaper.join().unwrap());
        assert!(entries.iter().all(|entry| !entry.process.is_alive()));
    }

    #[test]
    fn an_obituary_names_the_reason_and_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("control.log");
        fs::write(&log, format!("{{\"level\":\"INFO\"}}\n{}no database\n", crate::COMPLAINT)).unwrap();
        let process = ProcessId { pid: 1, started: 0 };
        let entry = Entry { name: "control".to_owned(), process, stop: Stop::Terminate, log: log.clone() };
        let said = entry.obituary();
        assert!(
            said.contains("control ended by itself: no database; its log is ")
                && said.contains("control.log")
        );
        let newer = fresh_log(&log).unwrap();
        assert_eq!(newer.metadata().unwrap().len(), 0);
        assert!(dir.path().join("control.previous.log").exists());
    }
}
