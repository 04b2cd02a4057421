//! Workloads: what a platform has signed for a machine says which client it is, so that it needs no secret of its own (SEP-1933).

use std::time::Duration;

use crypto::jwt::{Token, Typ};

use super::{queries, verify};
use crate::{
    app::Core,
    oauth::{
        attempts::Named,
        client::{Client, Origin, Shown},
        error::OAuthError,
        form::Form,
        issuer::Issuer,
        log,
    },
    resources::trusted_issuers::types::TrustedPurpose,
};

/// The grant, as in requests and in the metadata.
pub(in crate::oauth) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The assertion, if that alone says who asks.
pub(in crate::oauth) fn presented<'a>(form: &'a Form, grant: &str) -> Option<&'a str> {
    let assertion = form.get("assertion").filter(|_| grant == JWT_BEARER)?;
    // An identity assertion is for a client that has said who it is.
    let identity = Token::parse(assertion).is_ok_and(|token| token.typ() == Typ::IdJag);
    (!identity).then_some(assertion)
}

/// The client that the workload is. It says so once, by one way.
///
/// # Errors
/// [`OAuthError::Assertion`]; [`OAuthError::Limited`] if there were too many of them.
pub(in crate::oauth) async fn authenticate(
    core: &Core,
    issuer: &Issuer,
    (form, assertion): (&Form, &str),
    origin: &Origin,
) -> Result<Client, OAuthError> {
    let (nobody, now) = (Named { tenant: issuer.tenant, client: None }, core.clock.monotonic());
    let limited = |retry_after| OAuthError::Limited { retry_after };
    core.attempts.may(origin.address, nobody, now).map_err(limited)?;
    if form.get("client_secret").is_some()
        || form.get("client_assertion").is_some()
        || form.has_authorization()
    {
        return Err(OAuthError::Request("the assertion says who asks; nothing else may"));
    }
    match client(core, issuer, (form, assertion)).await {
        Ok(client) => {
            let named = Named { tenant: issuer.tenant, client: Some(client.id) };
            core.attempts.request(named, now).map_err(limited)?;
            Ok(client)
        }
        Err(error) => {
            if matches!(error, OAuthError::Assertion(_)) {
                core.attempts.failed(origin.address, nobody, now);
                metrics::counter!(telemetry::metric::CLIENT_AUTHENTICATIONS_FAILED).increment(1);
                if core.registrations.refusal(issuer.tenant, now).is_ok() {
                    let what = ("issue_token", "workload".to_owned());
                    log::unregistered(core, issuer, origin, what, error.code()).await?;
                }
            }
            Err(error)
        }
    }
}

async fn client(
    core: &Core,
    issuer: &Issuer,
    (form, assertion): (&Form, &str),
) -> Result<Client, OAuthError> {
    let token = Token::parse(assertion).map_err(|_| {
        OAuthError::Assertion("it is no JWT of up to 8 KiB with `alg`, `kid` and `typ` alone in its header")
    })?;
    if token.typ() != Typ::Jwt {
        return Err(OAuthError::Assertion("its `typ` is not `JWT`"));
    }
    let verified = verify(core, issuer, &token, TrustedPurpose::Workload).await?;
    let claims = &verified.claims;
    let rules = &verified.by.settings.rules;
    let rule = rules.iter().find(|rule| rule.fits(&claims.sub, |name, value| claims.is(name, value)));
    let id =
        rule.map(|rule| rule.client_id).ok_or(OAuthError::Assertion("no rule says which client it is"))?;
    if form.get("client_id").is_some_and(|named| named != id.to_string()) {
        return Err(OAuthError::Assertion("it is another client's"));
    }
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let found = queries::client(&mut tx, id).await?;
    let found = found.filter(|found| found.enabled);
    let found = found.ok_or(OAuthError::Assertion("no rule says which client it is"))?;
    verified.note(&mut tx, core).await?;
    tx.commit_unpublished().await?;
    // Postgres keeps it between 900 and 3600.
    let lifetime = Duration::from_secs(found.lifetime.unsigned_abs().into());
    Ok(Client { id, lifetime, by: Shown::Workload(verified.id()), confirmation: None })
}
