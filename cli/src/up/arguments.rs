//! The command line of a plane that `up` starts.

use std::ffi::OsString;

use super::certificates::LocalTls;

/// Arguments of one of our own commands.
pub(super) struct Arguments(Vec<OsString>);

impl Arguments {
    pub(super) fn of(command: &str) -> Self {
        Self(vec![command.into()])
    }

    pub(super) fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.extend([flag.into(), value.into()]);
    }

    pub(super) fn address(&mut self, flag: &str, port: u16) {
        self.pair(flag, format!("127.0.0.1:{port}"));
    }

    pub(super) fn tls(&mut self, tls: Option<&LocalTls>) {
        if let Some(tls) = tls {
            self.pair("--tls-cert", &tls.certificate);
            self.pair("--tls-key", &tls.key);
        }
    }

    /// What is on the line.
    pub(super) fn into_line(self) -> Vec<OsString> {
        self.0
    }
}
