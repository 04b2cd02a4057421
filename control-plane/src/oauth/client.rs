//! Who asks: clients say so by a secret (RFC 6749 section 2.3.1) or by what they sign (RFC 7523), in one way at a time. What is wrong
//! with what they say, and whether there is such a client, neither the answer tells nor the time that it takes.

mod assertion;
mod presented;
mod queries;
mod secret;

pub use assertion::forget;

use std::{fmt, net::IpAddr, time::Duration};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};
use crypto::claims::Confirmation;
use errors::ErrorCode;
use ids::{ClientId, ClientSecretId, PublicKeyId, TrustedIssuerId};
use seams::Timestamp;

use self::presented::{Presented, Proof};
use super::{attempts::Named, error::OAuthError, form::Form, issuer::Issuer, log, registration};
use crate::{
    app::Core,
    db::TenantTx,
    http::{middleware::RequestId, serve::Peer},
};

/// From where, and by which request.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The caller's address.
    pub address: Option<IpAddr>,
    /// For logs and records.
    pub request_id: Option<String>,
}

impl FromRequestParts<Core> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Core) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned());
        Ok(Self { address: peer.map(|info| info.0.address.ip()), request_id })
    }
}

/// A client that has proven to be one of the issuer's tenant.
#[derive(Debug, Clone)]
pub struct Client {
    /// Which.
    pub id: ClientId,
    /// How long tokens live that it is given.
    pub lifetime: Duration,
    /// By what it has proven it.
    pub by: Shown,
    /// To what its tokens are bound that it is given now.
    pub confirmation: Option<Confirmation>,
}

/// By what a client has proven who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A secret.
    Secret(ClientSecretId),
    /// What it signed with the private half of a key.
    Key(PublicKeyId),
    /// What an issuer has signed that the tenant trusts.
    Workload(TrustedIssuerId),
    /// Nothing: it is public, and whoever names it is as good as it.
    Nothing,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(id) => id.fmt(f),
            Self::Key(id) => id.fmt(f),
            Self::Workload(id) => id.fmt(f),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl Client {
    /// Asks again, in the transaction in which it is given something: it may have been switched off while its secret was hashed. Until
    /// that ends nobody switches it off. Says when that was, by the clock by which its tokens are ended.
    ///
    /// # Errors
    /// [`OAuthError::Client`].
    pub(super) async fn still(&self, tx: &mut TenantTx, core: &Core) -> Result<Timestamp, OAuthError> {
        let now = core.clock.now().to_offset();
        let good_at = queries::is_still_good(tx, self.id, self.by, now).await?;
        good_at.map(Timestamp::from_offset).ok_or(OAuthError::Client { challenge: false })
    }
}

/// What is stored of a client whose proof was good.
struct Found {
    enabled: bool,
    suspended: bool,
    lifetime: i32,
    by: Shown,
}

/// The client that sent the form.
///
/// # Errors
/// [`OAuthError::Client`] for every reason why it is none; [`OAuthError::Limited`] if there were too many of them.
pub async fn authenticate(
    core: &Core,
    issuer: &Issuer,
    form: &Form,
    origin: &Origin,
) -> Result<Client, OAuthError> {
    let Presented { client, text, proof, challenge } = Presented::read(form)?;
    let limited = |retry_after| OAuthError::Limited { retry_after };
    let now = core.clock.monotonic();
    let client = match client {
        None if registration::is_url(&text) => {
            let named = Named { tenant: issuer.tenant, client: None };
            core.attempts.may(origin.address, named, now).map_err(limited)?;
            registration::known(core, issuer, &text, proof.assertion()).await?
        }
        client => client,
    };
    let named = Named { tenant: issuer.tenant, client };
    let known = match &proof {
        Proof::Secret(secret) => core.attempts.was_good(&core.attempts.digest(named, secret)),
        Proof::Assertion(_) | Proof::Nothing => false,
    };
    if !known {
        core.attempts.may(origin.address, named, now).map_err(limited)?;
    }
    let found = match &proof {
        Proof::Secret(secret) => secret::verify(core, named, secret).await?,
        Proof::Assertion(assertion) => assertion::verify(core, issuer, (client, &text), assertion).await?,
        Proof::Nothing => public(core, named).await?,
    };
    let (Some(found), Some(id)) = (found, client) else {
        core.attempts.failed(origin.address, named, now);
        if let Proof::Secret(secret) = &proof {
            // It has ended: from now on it counts like any other.
            core.attempts.forget(&core.attempts.digest(named, secret));
        }
        metrics::counter!(telemetry::metric::CLIENT_AUTHENTICATIONS_FAILED).increment(1);
        return Err(OAuthError::Client { challenge });
    };
    match found.by {
        // Anybody can say that they are it, and must not use up what it may ask.
        Shown::Nothing => core.attempts.stranger(origin.address, now).map_err(limited)?,
        _ => core.attempts.request(named, now).map_err(limited)?,
    }
    // Postgres keeps it between 900 and 3600.
    let lifetime = Duration::from_secs(found.lifetime.unsigned_abs().into());
    let client = Client { id, lifetime, by: found.by, confirmation: None };
    if !found.enabled || found.suspended {
        log::refused(core, issuer, (&client, origin), "authenticate_client", ErrorCode::OauthClientInvalid)
            .await?;
        return Err(OAuthError::Client { challenge });
    }
    Ok(client)
}

/// A client that has nothing to prove who it is by.
async fn public(core: &Core, named: Named) -> Result<Option<Found>, OAuthError> {
    let Some(client) = named.client else { return Ok(None) };
    let mut tx = core.store.tenant(named.tenant).await?;
    Ok(queries::public(&mut tx, client).await?.map(|public| Found {
        enabled: public.enabled,
        suspended: public.suspended,
        lifetime: public.lifetime,
        by: Shown::Nothing,
    }))
}
