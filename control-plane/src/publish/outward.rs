//! What upstreams are shown beside static headers: as rows, and as proxies are told.

use std::{collections::HashMap, fmt};

use crypto::jwt::Algorithm;
use ids::{AssertionKeyId, DataKeyId, UpstreamId};
use seams::Timestamp;
use wire::{
    snapshot::ASSERTION_HEADER,
    v1::{self, Resource, resource::Body},
};

use super::{encode::raw, rows::SealedHeaderRow};
use crate::{assertions::keys::SealedHalf, resources::upstream_oauth::types::UpstreamAuthentication};

const AUTHORIZATION: &str = "authorization";

/// What one upstream is shown.
#[derive(Debug, Clone, Default)]
pub struct AuthRow {
    /// A signed statement of each request.
    pub assertion: Option<AssertionRow>,
    /// An access token.
    pub oauth: Option<OauthRow>,
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

/// `upstream_oauth`.
#[derive(Clone)]
pub struct OauthRow {
    /// Where tokens are given, or
    pub token_endpoint: Option<String>,
    /// whose metadata says where.
    pub issuer: Option<String>,
    /// Who the gateway is there.
    pub client_id: String,
    /// How it shows that.
    pub authentication: UpstreamAuthentication,
    /// Name and algorithm of a key.
    pub key: Option<(String, Algorithm)>,
    /// What is asked for.
    pub scope: String,
    /// `None`: the upstream's URL; empty: none is named.
    pub resource: Option<String>,
    /// DER certificates trusted instead of the public roots.
    pub ca_der: Vec<Vec<u8>>,
    /// Which data key opens `sealed`.
    pub data_key_id: DataKeyId,
    /// The sealed secret or key.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for OauthRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthRow").field("client_id", &self.client_id).finish_non_exhaustive()
    }
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
        let bearer = self.assertion.as_ref().map(|assertion| assertion.bearer);
        let header = if bearer == Some(true) { AUTHORIZATION } else { ASSERTION_HEADER };
        if bearer.is_some() && taken(header) {
            return Some(("/assertion/sent_as", "a credential is sent in the same header"));
        }
        let elsewhere = bearer == Some(true) || taken(AUTHORIZATION);
        (self.oauth.is_some() && elsewhere)
            .then_some(("/oauth", "something else is sent in `Authorization`, where access tokens are"))
    }

    /// As proxies are told; `None`: nothing.
    pub(super) fn encode(&self, url: &str) -> Option<v1::UpstreamAuth> {
        let assertion = self.assertion.as_ref().map(|row| v1::UpstreamAssertion {
            audience: row.audience.clone().unwrap_or_else(|| url.to_owned()),
            bearer: row.bearer,
            body_digest: row.body_digest,
        });
        let oauth = self.oauth.as_ref().map(|row| row.encode(url));
        Some(v1::UpstreamAuth { assertion, oauth }).filter(|auth| *auth != v1::UpstreamAuth::default())
    }
}

impl OauthRow {
    fn encode(&self, url: &str) -> v1::UpstreamOauth {
        let authentication = match self.authentication {
            UpstreamAuthentication::ClientSecretBasic => v1::ClientAuthentication::SecretBasic,
            UpstreamAuthentication::ClientSecretPost => v1::ClientAuthentication::SecretPost,
            UpstreamAuthentication::PrivateKeyJwt => v1::ClientAuthentication::PrivateKeyJwt,
        };
        let algorithm = match self.key.as_ref().map(|(_, algorithm)| *algorithm) {
            None => v1::SignatureAlgorithm::Unspecified,
            Some(Algorithm::Rs256) => v1::SignatureAlgorithm::Rs256,
            Some(Algorithm::Es256) => v1::SignatureAlgorithm::Es256,
            Some(Algorithm::EdDsa) => v1::SignatureAlgorithm::Eddsa,
        };
        v1::UpstreamOauth {
            token_endpoint: self.token_endpoint.clone().unwrap_or_default(),
            issuer: self.issuer.clone().unwrap_or_default(),
            client_id: self.client_id.clone(),
            authentication: authentication.into(),
            data_key_id: raw(self.data_key_id),
            sealed: self.sealed.clone(),
            scope: self.scope.clone(),
            resource: self.resource.clone().unwrap_or_else(|| url.to_owned()),
            ca_der: self.ca_der.clone(),
            key_id: self.key.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
            algorithm: algorithm.into(),
        }
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
