//! Where the admin API is and with which token: what every command that works through it takes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::SecretString;
use url::Url;

use crate::{rest::Rest, run, up::summary::UpResult};

/// Options of commands that work through the admin API. Without a URL they speak to the running `up`.
#[derive(Debug, Clone, clap::Args)]
pub struct Access {
    /// REST API of the control plane; that of the running `up` when absent
    #[arg(long, env = "PORTCULLIS_CONTROL_URL", requires = "operator_token_file")]
    control_url: Option<Url>,
    /// File with an operator token
    #[arg(long, env = "PORTCULLIS_OPERATOR_TOKEN_FILE", requires = "control_url")]
    operator_token_file: Option<PathBuf>,
    /// PEM file with the CA to trust instead of the system's
    #[arg(long, env = "PORTCULLIS_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Where the state of the running `up` is kept
    #[arg(long, default_value = ".portcullis")]
    dir: PathBuf,
}

impl Access {
    /// A client of the admin API.
    ///
    /// # Errors
    /// When no `up` runs and nothing else was given, or a file cannot be read.
    pub fn connect(&self) -> anyhow::Result<Rest> {
        let (url, token, ca) = match (&self.control_url, &self.operator_token_file) {
            (Some(url), Some(file)) => {
                let url = url.as_str().trim_end_matches('/').to_owned();
                (url, run::read_secret(file)?, self.ca_file.clone())
            }
            _ => {
                let result = running(&self.dir)?;
                let ca = self.ca_file.clone().or(result.ca_file.map(PathBuf::from));
                (result.control_url, SecretString::from(result.operator_token), ca)
            }
        };
        Ok(Rest::new(&url, token, ca.as_deref())?)
    }
}

fn running(dir: &Path) -> anyhow::Result<UpResult> {
    let path = dir.join("up.json");
    let bytes = std::fs::read(&path).with_context(|| {
        format!(
            "no run in {}: start one with `make up`, or give --control-url and --operator-token-file",
            dir.display()
        )
    })?;
    serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))
}
