use std::{fs, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process number.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
    pub started: u64,
}

impl ProcessId {
    /// The running process with this number.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command, field 2, may hold spaces and parentheses; what follows the last one does not.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let zombie = fields.next()? == "Z";
        let started = fields.nth(18)?.parse().ok()?;
        (!zombie).then_some(Self { pid, started })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
            && self.raw().is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }

    fn raw(self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.pid).ok()?)
    }

    /// Sends `signal` if the process still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = self.raw()
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(pid = self.pid, %error, "process ended before its signal");
        }
    }
}

/// Ends a process: `polite` first, SIGKILL when it still runs after `patience`. Returns whether it went politely.
pub fn stop_process(process: ProcessId, polite: Signal, patience: Duration) -> bool {
    const STEP: Duration = Duration::from_millis(20);
    process.signal(polite);
    let mut waited = Duration::ZERO;
    while process.is_alive() {
        if waited >= patience {
            process.signal(Signal::KILL);
            return false;
        }
        thread::sleep(STEP);
        waited += STEP;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        assert!(process.is_alive());
        assert!(!ProcessId { started: process.started + 1, ..process }.is_alive());
        process.signal(Signal::TERM);
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(stop_process(process, Signal::TERM, Duration::ZERO));
    }
}
