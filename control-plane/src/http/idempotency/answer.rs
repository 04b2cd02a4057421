//! An answer as it is kept, and its place.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use crypto::{Aad, Sealer, digest};
use ids::TenantId;
use serde::{Deserialize, Serialize};

use crate::{
    app::Core,
    db::INSTALLATION,
    http::{ending::whole, problem::ApiError, write::Awaited},
};

/// What of a key is stored where.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) lookup: [u8; 32],
    pub(super) tenant: Option<TenantId>,
    pub(super) ticket: [u8; 16],
    pub(super) fingerprint: [u8; 32],
    sealers: Vec<Sealer>,
}

/// An answer that can be given again. May hold secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    awaited: Option<Awaited>,
}

#[derive(Serialize)]
struct Entry<'a> {
    fingerprint: [u8; 32],
    answer: Option<&'a Answer>,
}

#[derive(Deserialize)]
struct StoredEntry {
    fingerprint: [u8; 32],
    answer: Option<Answer>,
}

impl Slot {
    /// The place of `actor`'s key, for a request with this fingerprint.
    pub(super) fn new(
        core: &Core,
        tenant: Option<TenantId>,
        actor: &str,
        key: &str,
        fingerprint: [u8; 32],
    ) -> Self {
        // Of what is no secret, and of no master key: replicas find each other's while that is rotated.
        let lookup =
            digest::sha256_parts(&[b"portcullis answer v1\0", actor.as_bytes(), b"\0", key.as_bytes()]);
        let sealers = core.secrets.answer_sealers(&lookup, key);
        Self { lookup, tenant, ticket: core.entropy.bytes(), fingerprint, sealers }
    }

    fn aad(&self) -> Aad<'_> {
        Aad {
            tenant: self.tenant.unwrap_or(INSTALLATION),
            table: "stored_answers",
            column: "sealed",
            row: &self.lookup,
        }
    }

    /// Seals the fingerprint, with the answer when there is one.
    pub(super) fn seal(&self, core: &Core, answer: Option<&Answer>) -> Result<Vec<u8>, ApiError> {
        let entry = Entry { fingerprint: self.fingerprint, answer };
        let entry = crypto::Zeroizing::new(serde_json::to_vec(&entry).map_err(ApiError::internal)?);
        let sealer = self.sealers.first().ok_or_else(|| ApiError::internal("there is no master key"))?;
        sealer.seal(&self.aad(), &entry, &*core.entropy).map_err(ApiError::internal)
    }

    /// `None` if no key of ours opens it.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<([u8; 32], Option<Answer>)> {
        let opened = self.sealers.iter().find_map(|sealer| sealer.open(&self.aad(), sealed).ok())?;
        let entry: StoredEntry = serde_json::from_slice(&opened).ok()?;
        Some((entry.fingerprint, entry.answer))
    }
}

impl Answer {
    /// Takes the answer down; returns it as it was.
    pub(super) async fn of(response: Response) -> Result<(Response, Self), ApiError> {
        let (parts, body) = response.into_parts();
        let bytes = whole(body).await?;
        let headers = parts.headers.iter().filter_map(|(name, value)| {
            value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
        });
        let answer = Self {
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body: String::from_utf8(bytes.to_vec()).map_err(ApiError::internal)?,
            awaited: parts.extensions.get::<Awaited>().copied(),
        };
        Ok((Response::from_parts(parts, Body::from(bytes)), answer))
    }

    /// The answer, again.
    pub(super) fn into_response(self) -> Result<Response, ApiError> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).map_err(ApiError::internal)?;
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        if let Some(awaited) = self.awaited {
            response.extensions_mut().insert(awaited);
        }
        Ok(response)
    }
}
