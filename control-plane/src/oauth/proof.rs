//! Proofs of possession at the token endpoint (RFC 9449 section 5): whoever sends one gets a token that is bound to its key.
//!
//! A proof is taken once by all replicas together. When it was made its maker says, or a nonce of ours that it brings back, which any
//! replica knows: a client whose clock is off is given one.

mod queries;

use std::time::Duration;

use crypto::{claims::Confirmation, digest, jwt::dpop::Proof};
use ids::{ClientId, TenantId};

use super::{error::OAuthError, form::Form, issuer::Issuer};
use crate::app::Core;

/// How far a client's clock may be off.
const SKEW: Duration = Duration::from_secs(60);
/// How long a nonce is good.
const NONCE_LIFE: Duration = Duration::from_secs(5 * 60);
/// Proofs and assertions of one client that are remembered: more than it can send while they are good.
const MOST: i64 = 20_000;

/// To what the token of a request is bound: the key that signed its proof. `None`: it brings none, and the client need not.
///
/// # Errors
/// [`OAuthError::Proof`] for a proof that is none, not for this request, or was taken before, and where one is missing;
/// [`OAuthError::ProofNonce`] for one that was made at another time.
pub(super) async fn bound(
    core: &Core,
    issuer: &Issuer,
    client: ClientId,
    form: &Form,
) -> Result<Option<Confirmation>, OAuthError> {
    let now = core.clock.now();
    let mut values = form.headers.get_all("dpop").iter();
    let proof = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(text), None) => text.to_str().ok().map(Proof::read),
        (Some(_), Some(_)) => return Err(OAuthError::Proof),
    };
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let Some(proof) = proof else {
        let free = form.headers.get("dpop").is_none() && !queries::has_to_prove(&mut tx, client).await?;
        return if free { Ok(None) } else { Err(OAuthError::Proof) };
    };
    let proof = proof.map_err(|_| OAuthError::Proof)?;
    if !proof.is_for("POST", &issuer.token_endpoint()) {
        return Err(OAuthError::Proof);
    }
    let (purpose, nonces) = (purpose(issuer.tenant), core.secrets.nonces());
    let again = || OAuthError::ProofNonce { nonce: nonces.make(&purpose, now) };
    let made = match proof.nonce() {
        Some(nonce) => {
            let made = nonces.made(&purpose, nonce).filter(|made| made.plus(NONCE_LIFE) > now);
            // Another replica's clock may be ahead.
            made.filter(|made| *made <= now.plus(SKEW)).ok_or_else(again)?
        }
        None => {
            let near = proof.made().plus(SKEW) > now && proof.made() <= now.plus(SKEW);
            near.then_some(proof.made()).ok_or_else(again)?
        }
    };
    // Beside the client's assertions, and like none of them. For as long as it could be good on a clock that is slow.
    let id = digest::sha256_parts(&[b"proof of possession ", proof.id()]);
    let times = (now.to_offset(), made.plus(NONCE_LIFE).plus(SKEW).to_offset());
    if !queries::take(&mut tx, client, &id, times, MOST).await? {
        return Err(OAuthError::Proof);
    }
    tx.commit_unpublished().await?;
    Ok(Some(Confirmation::key(proof.key())))
}

/// What a nonce is for: this issuer's token endpoint.
fn purpose(tenant: TenantId) -> Vec<u8> {
    [b"token endpoint ".as_slice(), tenant.uuid().as_bytes()].concat()
}
