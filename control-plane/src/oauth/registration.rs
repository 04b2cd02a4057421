//! Clients that nobody has made: they are described by a document at a URL that is their id, or they register themselves. Whether they
//! may is the tenant's to say (`/v1/tenants/{tenant}/registration`), and unless it has said so they may not.
//!
//! Either way such a client is a row like any other, so that grants, limits, kills and the audit log treat it as one.

mod document;
pub(super) mod dynamic;
pub(super) mod error;
mod keys;
pub mod limits;
pub(super) mod manage;
mod queries;
pub mod said;
pub mod sweep;

use crypto::jwt::Token;
use ids::ClientId;
use seams::Timestamp;
use url::Url;

pub use self::document::ResolveError;
pub(super) use self::queries::client;
pub(crate) use self::queries::egress;
use self::{document::id_of, said::Said};
use super::{client::Origin, error::OAuthError, issuer::Issuer, redirect::RedirectUri};
use crate::{app::Core, db::StoreError, resources::registration::queries as policies};

/// How a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By a document that describes it.
    Document,
    /// By registering itself.
    Dynamic,
}

impl Kind {
    /// As stored.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Document => "metadata_document",
            Self::Dynamic => "dynamic",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Document, Self::Dynamic].into_iter().find(|own| own.name() == name)
    }
}

/// A client as whoever sends its users needs to know it; nothing is proven by naming one.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Its id, whatever it is called outside.
    pub id: ClientId,
    /// Its id as it was given, exactly: what stands in requests.
    pub text: String,
    /// Name to show. Its own words, where nobody has made it.
    pub name: String,
    /// Where its users may be sent back to.
    pub redirect_uris: Vec<RedirectUri>,
    /// Whether it can keep a secret.
    pub public: bool,
    /// Whether it is switched on.
    pub enabled: bool,
    /// How it has come, where nobody has made it.
    pub kind: Option<Kind>,
    /// The document that describes it: its host is what can be known of who made the client.
    pub document: Option<Url>,
}

/// The client that is called so at this issuer: an id, or the URL of a document that describes it, which is fetched where it has
/// become old. `origin` is who asks, for bounds and records.
///
/// # Errors
/// [`ResolveError::Unknown`] if there is none, or the tenant does not admit it.
pub async fn resolve(
    core: &Core,
    issuer: &Issuer,
    text: &str,
    origin: &Origin,
) -> Result<Resolved, ResolveError> {
    if let Ok(id) = text.parse::<ClientId>() {
        let mut tx = core.store.tenant(issuer.tenant).await?;
        let found = queries::client(&mut tx, id).await?.ok_or(ResolveError::Unknown)?;
        // One that is described by a document is called by its URL alone.
        return if found.document.is_none() { Ok(found) } else { Err(ResolveError::Unknown) };
    }
    let url = id_of(text).ok_or(ResolveError::Unknown)?;
    document::resolve(core, issuer, &url, origin).await
}

/// Whether a text can be the id of a client that a document describes.
pub(super) fn is_url(text: &str) -> bool {
    id_of(text).is_some()
}

/// Which client is called so, where it has been here before and the tenant admits it still. Its document is not fetched; its keys are,
/// where it has signed something and keeps them elsewhere.
pub(super) async fn known(
    core: &Core,
    issuer: &Issuer,
    text: &str,
    assertion: Option<&str>,
) -> Result<Option<ClientId>, StoreError> {
    let Some(url) = id_of(text) else { return Ok(None) };
    let found = {
        let mut tx = core.store.tenant(issuer.tenant).await?;
        if !policies::get(&mut tx).await?.settings.documents.admits(&url) {
            return Ok(None);
        }
        queries::by_url(&mut tx, url.as_str()).await?
    };
    let signed = assertion.and_then(|assertion| Token::parse(assertion).ok());
    if let (Some(id), Some(token)) = (found, signed) {
        keys::refresh(core, issuer, id, token.kid().as_str()).await?;
    }
    Ok(found)
}

/// What a client that nobody has made said that it would do; `None`: somebody has made it.
pub(super) struct Registered {
    grant_types: Vec<String>,
    document: Option<Url>,
    used_at: Option<Timestamp>,
}

impl Registered {
    fn names(&self, grant: &str) -> bool {
        let own = |name: &str| self.grant_types.iter().any(|own| own == name);
        // Whoever may act for users may go on doing so.
        own(grant) || (grant == "refresh_token" && self.grant_types.iter().any(|own| said::is_for_users(own)))
    }
}

/// Whether the client may ask for this grant: one that nobody has made may for those that it has named, while the tenant admits it.
///
/// # Errors
/// [`OAuthError::NotForThisClient`].
pub(super) async fn may(
    core: &Core,
    issuer: &Issuer,
    client: ClientId,
    grant: &str,
) -> Result<Option<Registered>, OAuthError> {
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let Some(registered) = queries::registered(&mut tx, client).await? else { return Ok(None) };
    let admitted = match &registered.document {
        Some(url) => policies::get(&mut tx).await?.settings.documents.admits(url),
        None => true,
    };
    if admitted && registered.names(grant) { Ok(Some(registered)) } else { Err(OAuthError::NotForThisClient) }
}

/// The client was given a token: it is in use.
pub(super) async fn used(
    core: &Core,
    issuer: &Issuer,
    client: ClientId,
    registered: Option<Registered>,
) -> Result<(), StoreError> {
    let now = core.clock.now();
    let due = registered.is_some_and(|own| own.used_at.is_none_or(|at| now.since(at) >= NOTED_EVERY));
    if due {
        let mut tx = core.store.tenant(issuer.tenant).await?;
        queries::used(&mut tx, client, now.to_offset()).await?;
        tx.commit_unpublished().await?;
    }
    Ok(())
}

/// How often it is noted that such a client is in use.
const NOTED_EVERY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// What is stored of a client's words, and their digest.
pub(super) fn stored(said: &Said) -> Result<(serde_json::Value, [u8; 32]), StoreError> {
    let value = serde_json::to_value(said).map_err(|error| StoreError::Bug(error.into()))?;
    let digest = crypto::digest::sha256(value.to_string().as_bytes());
    Ok((value, digest))
}
