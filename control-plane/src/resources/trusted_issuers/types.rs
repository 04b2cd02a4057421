//! What a trusted issuer looks like.

use std::collections::BTreeMap;

use crypto::jwt::{Algorithm, JwkSet};
use ids::{ClientId, TrustedIssuerId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::{
    fields::{Name, moment},
    signing_keys::types::SigningAlgorithm,
};

/// An issuer of others whose assertions are taken as grants (RFC 7523 section 2.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct TrustedIssuer {
    /// Id.
    #[schema(value_type = String, example = "tis_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: TrustedIssuerId,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: TrustedIssuerSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be chosen and changed of a trusted issuer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuerSettings {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// `iss` of its assertions, letter by letter: an https URL.
    #[schema(max_length = 1024, example = "https://token.actions.githubusercontent.com")]
    pub issuer: String,
    /// A disabled one's assertions are refused.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What its assertions are for.
    pub purpose: TrustedPurpose,
    /// Where its keys are: an https URL.
    #[serde(default)]
    #[schema(max_length = 2048)]
    pub jwks_uri: Option<String>,
    /// Its keys themselves (RFC 7517), where they are not at a URL.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<JwkSet>,
    /// Algorithms by which it may sign.
    #[serde(default = "algorithms")]
    #[schema(min_items = 1, max_items = 3)]
    pub algorithms: Vec<SigningAlgorithm>,
    /// `aud` of its assertions, where it is neither the tenant's issuer nor its token endpoint. An identity assertion's is always the
    /// issuer.
    #[serde(default)]
    #[schema(max_length = 1024)]
    pub audience: Option<String>,
    /// How far ahead its assertions may end, seconds.
    #[serde(default = "hour")]
    #[schema(minimum = 60, maximum = 86400, default = 3600)]
    pub max_lifetime_seconds: u32,
    /// Whether each assertion is good once. Switch it off only for workloads that are given one and have to present it again and again,
    /// such as Kubernetes pods; an identity assertion is always good once.
    #[serde(default = "yes")]
    pub single_use: bool,
    /// Which client a workload is: the first of these rules that fits says so, and where none does it is none.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub rules: Vec<WorkloadRule>,
    /// Domains of the e-mail addresses that an identity assertion may speak for; where there are none, it speaks for nobody.
    #[serde(default)]
    #[schema(max_items = 64, example = json!(["example.com"]))]
    pub email_domains: Vec<String>,
}

/// What a trusted issuer's assertions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustedPurpose {
    /// To say which client a workload is.
    Workload,
    /// To say for which member a client acts (Identity Assertion Authorization Grant).
    IdJag,
}

/// A workload and the client that it is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadRule {
    /// `sub` of the assertion, exactly; or what it begins with, and `*`.
    #[schema(max_length = 1024, example = "repo:acme/deploy:environment:production")]
    pub subject: String,
    /// Other claims that have to have exactly these texts.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// The client.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
}

const fn yes() -> bool {
    true
}

const fn hour() -> u32 {
    3_600
}

fn algorithms() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa]
}

impl TrustedPurpose {
    /// As stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::IdJag => "id_jag",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Workload, Self::IdJag].into_iter().find(|own| own.name() == name)
    }
}

impl TrustedIssuerSettings {
    /// Whether it may sign so.
    #[must_use]
    pub fn signs_by(&self, algorithm: Algorithm) -> bool {
        self.algorithms.iter().any(|own| Algorithm::from(*own) == algorithm)
    }
}

impl WorkloadRule {
    /// Whether the rule is about a workload that is called so.
    #[must_use]
    pub fn fits(&self, subject: &str, claim: impl Fn(&str, &str) -> bool) -> bool {
        let named = match self.subject.strip_suffix('*') {
            Some(beginning) => subject.starts_with(beginning),
            None => subject == self.subject,
        };
        named && self.claims.iter().all(|(name, value)| claim(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_about_exactly_the_workloads_that_it_names() {
        let rule = |subject: &str, claims: &[(&str, &str)]| WorkloadRule {
            subject: subject.to_owned(),
            claims: claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            client_id: ClientId::from_parts(1, [1; 10]),
        };
        let own = |name: &str, value: &str| name == "ref" && value == "main";
        assert!(rule("repo:a", &[]).fits("repo:a", own));
        assert!(rule("repo:a*", &[("ref", "main")]).fits("repo:a:x", own));
        for (subject, claims) in [
            ("repo:b", &[][..]),
            ("repo", &[]),
            ("repo:a:*", &[]),
            ("repo:a", &[("ref", "x")]),
            ("repo:a", &[("sha", "main")]),
        ] {
            assert!(!rule(subject, claims).fits("repo:a", own), "{subject}");
        }
    }
}
