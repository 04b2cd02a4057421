//! What is reported, and what comes of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A credential that was found. The form is the one in which GitHub's secret scanning reports to partners.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeakedCredential {
    /// All of it.
    #[schema(max_length = 4096, example = "pck_…")]
    pub token: String,
    /// What the finder calls its kind; of no consequence.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Where it was found.
    #[serde(default)]
    pub url: Option<String>,
    /// In what it was found; of no consequence.
    #[serde(default)]
    pub source: Option<String>,
}

impl fmt::Debug for LeakedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakedCredential").finish_non_exhaustive()
    }
}

/// What came of a report.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeakReport {
    /// In the order of the report.
    pub outcomes: Vec<LeakOutcome>,
}

/// What came of one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeakOutcome {
    /// It opens nothing any more, now or since before.
    Revoked,
    /// It is good, and of a kind that only operators end. They are told.
    OperatorsTold,
    /// It opens nothing here: it is none of this installation's, or a client secret that has ended.
    Unknown,
}

/// How to find credentials of this product in texts.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialFormat {
    /// A regular expression (in the syntax that RE2 and PCRE share) that every one matches.
    pub regex: &'static str,
    /// How what matches by chance is told from them.
    pub checksum: &'static str,
    /// Their kinds.
    pub kinds: Vec<CredentialPrefix>,
}

/// A kind of credential.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialPrefix {
    /// What it begins with, before the first `_`.
    #[schema(example = "pck")]
    pub prefix: &'static str,
    /// What it is.
    pub what: &'static str,
}
