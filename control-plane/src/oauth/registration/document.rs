//! A client whose id is the URL of a document that describes it (draft-ietf-oauth-client-id-metadata-document).
//!
//! The document is fetched where it has become old, and what it says now is what counts: a redirect URI that it drops is dropped. Where
//! it cannot be fetched, what it said last counts for a day; where it says what is not accepted, the client is refused.

use std::time::Duration;

use ids::ClientId;
use url::Url;

use super::{
    Kind, Resolved, queries,
    said::{Said, SaidError, Speaker},
    stored,
};
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
    db::{StoreError, TenantTx},
    fetch::{FetchError, Kind as Fetched, Wanted, is_plain},
    http::problem::ApiError,
    oauth::{client::Origin, issuer::Issuer, keys, log},
    publish::commit::{CommitError, commit},
    resources::registration::queries as policies,
};

/// Characters of such an id.
const MAX_ID: usize = 1_024;
/// How long what a document said last counts while it cannot be fetched.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// Clients of a tenant that have come so.
const MOST: i64 = 1_000;

/// Why no client is found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is none that is called so, or the tenant does not admit it.
    #[error("no such client")]
    Unknown,
    /// The document that is to describe it cannot be fetched.
    #[error("the client's document cannot be fetched")]
    Unreachable(#[source] FetchError),
    /// The document does not describe a client that is accepted.
    #[error("the client's document is not accepted")]
    Document(#[source] SaidError),
    /// Too many unknown ones were asked for, or have come.
    #[error("too many clients")]
    Limited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client cannot be made known to proxies.
    #[error("the client cannot be published")]
    Commit(#[source] CommitError),
}

impl From<CommitError> for ResolveError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Self::Store(error),
            error @ CommitError::Rejected(_) => Self::Commit(error),
        }
    }
}

/// The URL, if the text is an id of this form: plain `https`, with a path, spelt as browsers spell it.
pub(super) fn id_of(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| text.len() <= MAX_ID && url.as_str() == text)?;
    // Taken as it was written: `Url` resolves `.` and `..`, so a path with them is not spelt so.
    (is_plain(&url) && url.path() != "/" && !text.contains('#')).then_some(url)
}

/// The client that the document at `url` describes, made known where it has not been here before.
pub(super) async fn resolve(
    core: &Core,
    issuer: &Issuer,
    url: &Url,
    origin: &Origin,
) -> Result<Resolved, ResolveError> {
    let (rules, before) = {
        let mut tx = core.store.tenant(issuer.tenant).await?;
        if !policies::get(&mut tx).await?.settings.documents.admits(url) {
            return Err(ResolveError::Unknown);
        }
        let rules = queries::egress(&mut tx).await?;
        (rules, queries::document(&mut tx, url.as_str()).await?)
    };
    if before.is_none() {
        let limits = &core.registrations;
        let asking = limits.unknown_document(issuer.tenant, origin.address, core.clock.monotonic());
        asking.map_err(|retry_after| ResolveError::Limited { retry_after })?;
    }
    let wanted =
        Wanted { tenant: issuer.tenant, rules: &rules, kind: Fetched::ClientMetadata, url, anew_after: None };
    let document = match core.fetcher.get(wanted).await {
        Ok(document) => document,
        Err(error) => {
            let now = core.clock.now();
            return match before {
                Some(before) if now.since(before.fetched_at) < STALE => Ok(before.client),
                _ => Err(refused(core, issuer, url, origin, ResolveError::Unreachable(error)).await),
            };
        }
    };
    let said = match Said::read(&document.body, Speaker::Document(url)) {
        Ok(said) => said,
        Err(error) => return Err(refused(core, issuer, url, origin, ResolveError::Document(error)).await),
    };
    let (value, digest) = stored(&said)?;
    if let Some(before) = before
        && before.digest == digest
    {
        // Noted now and then: for when it cannot be fetched.
        if core.clock.now().since(before.fetched_at) >= STALE / 24 {
            let mut tx = core.store.tenant(issuer.tenant).await?;
            queries::fetched(&mut tx, before.client.id, core.clock.now().to_offset()).await?;
            tx.commit_unpublished().await?;
        }
        return Ok(before.client);
    }
    store(core, issuer, url, origin, (&said, &value, &digest)).await
}

/// Makes the client, or makes of it what its document says now.
async fn store(
    core: &Core,
    issuer: &Issuer,
    url: &Url,
    origin: &Origin,
    (said, value, digest): (&Said, &serde_json::Value, &[u8; 32]),
) -> Result<Resolved, ResolveError> {
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(issuer.tenant).await?;
    // Held until the end: two who bring the same client wait for each other, and whoever forbids it meanwhile too.
    let policy = policies::lock(&mut tx).await?.settings.documents;
    if !policy.admits(url) {
        return Err(ResolveError::Unknown);
    }
    let before = queries::document(&mut tx, url.as_str()).await?;
    let (id, operation) = match &before {
        Some(before) if before.digest == *digest => return Ok(before.client.clone()),
        Some(before) => {
            queries::update_client(&mut tx, before.client.id, said, now.to_offset()).await?;
            queries::update(&mut tx, before.client.id, (value, digest), now.to_offset()).await?;
            (before.client.id, "update_registered_client")
        }
        None => {
            if queries::count(&mut tx, Kind::Document).await? >= MOST {
                return Err(ResolveError::Limited { retry_after: Duration::from_secs(60 * 60) });
            }
            let id = ClientId::from_parts(now.millis(), core.entropy.bytes());
            queries::insert_client(&mut tx, id, said, now.to_offset()).await?;
            queries::insert_document(&mut tx, id, url.as_str(), (value, digest), now.to_offset()).await?;
            queries::allow(&mut tx, id, &policy.endpoint_ids, now.to_offset()).await?;
            (id, "register_client")
        }
    };
    super::keys::replace(&mut tx, core, id, said.jwks.as_ref()).await?;
    keys::ensure(&mut tx, core).await?;
    let client = read(&mut tx, url).await?;
    let act = Act {
        actor: Actor::Client(id),
        operation,
        target: format!("{id} {url}"),
        address: origin.address,
        request_id: origin.request_id.clone(),
        ending: Ending::Commit,
    };
    commit(tx, core, &act).await?;
    Ok(client)
}

async fn read(tx: &mut TenantTx, url: &Url) -> Result<Resolved, StoreError> {
    queries::document(tx, url.as_str()).await?.map(|found| found.client).ok_or(StoreError::NotFound)
}

/// Records why a document was not taken, so that an administrator sees what his users see.
async fn refused(
    core: &Core,
    issuer: &Issuer,
    url: &Url,
    origin: &Origin,
    error: ResolveError,
) -> ResolveError {
    // Too many are not recorded, but they are counted: anybody can cause them.
    let limits = &core.registrations;
    if limits.refusal(issuer.tenant, core.clock.monotonic()).is_err() {
        return error;
    }
    let code = error.code();
    match log::unregistered(core, issuer, origin, ("register_client", url.to_string()), code).await {
        Ok(()) => error,
        Err(failed) => ResolveError::Store(failed),
    }
}

impl ResolveError {
    /// Its code.
    #[must_use]
    pub const fn code(&self) -> errors::ErrorCode {
        use errors::ErrorCode;
        match self {
            Self::Unknown => ErrorCode::OauthClientInvalid,
            Self::Unreachable(_) | Self::Document(_) => ErrorCode::OauthClientDocumentInvalid,
            Self::Limited { .. } => ErrorCode::TokenRequestsLimited,
            Self::Store(error) => error.code(),
            Self::Commit(_) => ErrorCode::ConfigRejected,
        }
    }

    /// What may be told of a document to whoever named it.
    #[must_use]
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(error) => Some(error.public()),
            Self::Document(SaidError::Redirect(why) | SaidError::Metadata(why)) => Some(why),
            _ => None,
        }
    }
}

impl From<ResolveError> for ApiError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Store(error) => error.into(),
            ResolveError::Limited { retry_after } => Self::RateLimited { retry_after },
            ResolveError::Unknown => Self::NotFound,
            error => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_https_url_with_a_path_is_an_id() {
        for id in ["https://app.example/c", "https://app.example:8443/a/b.json?v=1", "https://app.example/c/"]
        {
            assert!(id_of(id).is_some(), "{id}");
        }
        let long = format!("https://app.example/{}", "a".repeat(1_024));
        for none in [
            "https://app.example",
            "https://app.example/",
            "http://app.example/c",
            "https://app.example/c#x",
            "https://app.example/c#",
            "https://u@app.example/c",
            "https://u:p@app.example/c",
            "https://app.example/a/../c",
            "https://app.example/./c",
            "https://APP.example/c",
            "https://app.example:443/c",
            "https://app.example/ c",
            "https:app.example/c",
            "https://app.example\\c",
            "app",
            "",
            "cl_x",
            "data:application/json,{}",
            &long,
        ] {
            assert!(id_of(none).is_none(), "{none}");
        }
    }
}
