//! What upstreams are shown beside static headers: as rows, and as proxies are told.

use std::collections::HashMap;

use ids::{AssertionKeyId, UpstreamId};
use seams::Timestamp;
use wire::{
    snapshot::ASSERTION_HEADER,
    v1::{self, Resource, resource::Body},
};

use super::{encode::raw, rows::SealedHeaderRow};
use crate::assertions::keys::SealedHalf;

/// What one upstream is shown.
#[derive(Debug, Clone, Default)]
pub struct AuthRow {
    /// A signed statement of each request.
    pub assertion: Option<AssertionRow>,
}

/// By upstream.
pub type AuthRows = HashMap<UpstreamId, AuthRow>;

/// `upstream_assertions`.
#[derive(Debug, Clone)]
pub struct AssertionRow {
    /// `None`: the upstream's URL.
    pub audience: Option<String>,
    /// In `Authorization` instead of a header of its own.
    pub bearer: bool,
    /// With a digest of the body.
    pub body_digest: bool,
}

/// `assertion_keys` that sign, now or later.
#[derive(Debug, Clone)]
pub struct AssertionsRow {
    /// Exactly as in `iss`.
    pub issuer: String,
    /// Which, from when on, and its private half.
    pub keys: Vec<(AssertionKeyId, Timestamp, SealedHalf)>,
}

impl AuthRow {
    /// What cannot be shown beside the others, and where that is said.
    pub(super) fn clash(&self, headers: &[&SealedHeaderRow]) -> Option<(&'static str, &'static str)> {
        let taken = |name: &str| headers.iter().any(|header| header.name == name);
        let assertion = self.assertion.as_ref()?;
        let header = if assertion.bearer { "authorization" } else { ASSERTION_HEADER };
        taken(header).then_some(("/assertion/sent_as", "a credential is sent in the same header"))
    }

    /// As proxies are told; `None`: nothing.
    pub(super) fn encode(&self, url: &str) -> Option<v1::UpstreamAuth> {
        let assertion = self.assertion.as_ref().map(|row| v1::UpstreamAssertion {
            audience: row.audience.clone().unwrap_or_else(|| url.to_owned()),
            bearer: row.bearer,
            body_digest: row.body_digest,
        });
        Some(v1::UpstreamAuth { assertion }).filter(|auth| *auth != v1::UpstreamAuth::default())
    }
}

/// The keys, where an upstream is asserted anything.
pub(super) fn assertions(row: &AssertionsRow) -> Resource {
    let mut keys: Vec<_> = row
        .keys
        .iter()
        .map(|(id, activates_at, half)| v1::AssertionKey {
            id: raw(*id),
            activates_at_micros: activates_at.micros(),
            data_key_id: raw(half.data_key_id),
            sealed: half.sealed.clone(),
        })
        .collect();
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    let body = v1::Assertions { issuer: row.issuer.clone(), keys };
    Resource { id: "assertions".to_owned(), body: Some(Body::Assertions(body)) }
}
