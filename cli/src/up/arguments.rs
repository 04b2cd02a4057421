//! How the planes are started: arguments, and variables for what no other user of the machine may read.

use std::{ffi::OsString, path::Path};

use super::{
    certificates::LocalTls,
    processes::{Child, Stop},
};

/// Arguments of one of our own commands.
pub(super) struct Arguments(pub(super) Vec<OsString>);

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
}

/// The URL may hold a password, so it goes by the environment.
pub(super) fn redis_variable(url: Option<&str>) -> Option<(&'static str, String)> {
    url.map(|url| ("REDIS_URL", url.to_owned()))
}

pub(super) fn child<'a>(name: &'a str, stop: Stop, arguments: Arguments, log: &Path) -> Child<'a> {
    Child {
        name,
        stop,
        arguments: arguments.0,
        environment: Vec::new(),
        without: &["PG"],
        log: log.to_owned(),
    }
}
