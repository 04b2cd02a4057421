//! A directory in which the binary is run, and what a run in it shows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use harness::{Caller, processes};
use portcullis_cli::{private::ProcessId, rest::Rest};
use secrecy::SecretString;
use serde_json::Value;

/// What a start or a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);
const STEP: Duration = Duration::from_millis(20);
/// What a run with two proxies uses, and some room.
const PORTS: u16 = 30;

/// A state directory, removed with everything that runs in it.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) base: u16,
    scratch: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        harness::gateway::install_tls_provider();
        let scratch = tempfile::Builder::new().prefix("portcullis-up-").tempdir().unwrap();
        Self { dir: scratch.path().join("state"), base: processes::free_ports(PORTS), scratch }
    }

    /// `portcullis <command> --dir …` without variables of the caller's that it would read.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut line = processes::command(command);
        line.arg("--dir").arg(&self.dir).current_dir(self.scratch.path());
        line
    }

    /// `portcullis up` on this place's ports.
    pub(crate) fn up(&self, options: &[&str]) -> Command {
        let mut line = self.command("up");
        line.arg(format!("--port-base={}", self.base)).args(options);
        line
    }

    /// Starts `portcullis up` and waits until everything runs.
    pub(crate) fn start(&self, options: &[&str]) -> Running<'_> {
        self.wait_for(self.up(options))
    }

    /// Starts the command and waits until its result is there.
    pub(crate) fn wait_for(&self, mut command: Command) -> Running<'_> {
        let output = self.scratch.path().join("output");
        let file = fs::File::create(&output).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut running = Running { place: self, child, output };
        let started = eventually(|| {
            let ended = running.child.try_wait().unwrap().is_some();
            assert!(!ended, "up ended: {}", running.said());
            // Written after the result.
            running.said().contains("Portcullis is running")
        });
        assert!(started, "up takes too long: {}", running.said());
        running
    }

    /// Runs a command to its end.
    pub(crate) fn finish(&self, mut command: Command) -> Finished {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let ended = eventually(|| child.try_wait().unwrap().is_some());
        assert!(ended, "{command:?} does not end");
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        Finished {
            success: status.success(),
            text: String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
        }
    }

    pub(crate) fn down(&self) -> Finished {
        self.finish(self.command("down"))
    }

    pub(crate) fn status(&self) -> Finished {
        self.finish(self.command("status"))
    }

    pub(crate) fn result(&self) -> UpJson {
        UpJson(serde_json::from_slice(&fs::read(self.up_json()).unwrap()).unwrap())
    }

    pub(crate) fn up_json(&self) -> PathBuf {
        self.dir.join("up.json")
    }

    /// What the supervisor wrote down about its processes.
    pub(crate) fn recorded(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.join("processes.json")).unwrap()).unwrap()
    }

    /// A recorded process by its name.
    pub(crate) fn process(&self, name: &str) -> ProcessId {
        let recorded = self.recorded();
        let entry = recorded["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == name);
        serde_json::from_value(entry.unwrap_or_else(|| panic!("no {name} in {recorded}"))["process"].clone())
            .unwrap()
    }

    /// All recorded processes, in the order in which they were started.
    pub(crate) fn processes(&self) -> Vec<(String, ProcessId)> {
        let recorded = self.recorded();
        let entries = recorded["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| {
                (
                    entry["name"].as_str().unwrap().to_owned(),
                    serde_json::from_value(entry["process"].clone()).unwrap(),
                )
            })
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.down();
        // As root the data lies where the server's account can reach it.
        if let Ok(target) = fs::read_link(self.dir.join("data")) {
            fs::remove_dir_all(target).unwrap();
        }
    }
}

/// A running `portcullis up`.
pub(crate) struct Running<'a> {
    place: &'a Place,
    pub(crate) child: Child,
    output: PathBuf,
}

impl Running<'_> {
    /// All it printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Finished {
        let ended = eventually(|| self.child.try_wait().unwrap().is_some());
        assert!(ended, "does not end: {}", self.said());
        Finished { success: self.child.wait().unwrap().success(), text: self.said() }
    }

    /// Ctrl-C, and its end.
    pub(crate) fn stop(self) -> Finished {
        self.signal("INT");
        self.ended()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.place.down();
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) text: String,
}

/// `up.json`.
pub(crate) struct UpJson(pub(crate) Value);

impl UpJson {
    pub(crate) fn text(&self, member: &str) -> String {
        harness::text(&self.0, member)
    }

    /// A caller of the demo endpoint with the demo key.
    pub(crate) fn caller(&self) -> Caller {
        Caller::new(&self.text("endpoint_url"), &self.text("api_key"))
    }

    /// What the demo's `add` answers at `url` with the demo key.
    pub(crate) async fn sum_at(&self, url: &str, a: u32, b: u32) -> String {
        let call = serde_json::json!({"name": "add", "arguments": {"a": a, "b": b}});
        self.caller().at(url).request("tools/call", call).await.tool_text()
    }

    /// The admin API, with the operator token.
    pub(crate) fn operator(&self) -> Rest {
        let ca = self.0["ca_file"].as_str().map(Path::new);
        Rest::new(&self.text("control_url"), SecretString::from(self.text("operator_token")), ca).unwrap()
    }

    /// The printed line, pasted into a shell.
    pub(crate) fn paste_curl(&self) -> String {
        shell(&self.text("curl"))
    }
}

/// What a shell prints when a line is pasted into it.
pub(crate) fn shell(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("bash").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Whether it holds within the time that a start or stop may take.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        if holds() {
            return true;
        }
        thread::sleep(STEP);
        waited += STEP;
    }
    false
}
