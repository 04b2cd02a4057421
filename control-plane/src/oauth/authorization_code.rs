//! The grant `authorization_code`: what a member has agreed to, for the client that has asked for it and can show by its verifier that
//! it was the one (RFC 7636). A code is good once: used twice, one of the two was a thief, so all that came of it ends.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{digest, secret::ct_eq};
use ids::AuthorizationId;

use super::{
    access_token::Issued,
    audience,
    client::{Client, Origin, Shown},
    error::OAuthError,
    families::{self, queries, queries::Which},
    form::Form,
    issuer::Issuer,
    log,
    refresh_token::Refresh,
};
use crate::{app::Core, kills, people};

/// Characters of a verifier (RFC 7636 section 4.1).
const VERIFIER: std::ops::RangeInclusive<usize> = 43..=128;

/// The tokens, when their record is committed.
pub(super) async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<(Issued, Option<Refresh>), OAuthError> {
    let code = digest::sha256(form.need("code")?.as_bytes());
    let (redirect_uri, verifier) = (form.need("redirect_uri")?, form.need("code_verifier")?);
    let now = core.clock.now();
    let id = AuthorizationId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let made = client.still(&mut tx, core).await?;
    let stored = queries::hold_code(&mut tx, &code, (id, families::end_of(now))).await?;
    let stored = stored.filter(|stored| stored.family.client == client.id).ok_or(OAuthError::GrantInvalid)?;
    if let Some(used) = stored.used {
        let dead = families::end(&mut tx, Which::One(used), now).await?;
        log::ended(tx, core, (client, origin), dead, format!("{used}: its code was used twice")).await?;
        return Err(OAuthError::GrantInvalid);
    }
    let family = &stored.family;
    let good = stored.expires_at > now
        && stored.redirect_uri == redirect_uri
        && is_of(verifier, &stored.challenge)
        && families::is_wanted(&mut tx, family).await?;
    if !good {
        return Err(OAuthError::GrantInvalid);
    }
    if form.get("resource").is_some_and(|resource| resource != family.resource) {
        return Err(OAuthError::Target("not the endpoint that the member was asked about"));
    }
    // The client may have lost it meanwhile.
    audience::choose(&mut tx, core, issuer, client.id, Some(&family.resource)).await?;
    // Who has signed out meanwhile lets nobody in any more.
    let mut outside = tx.leave().await?;
    let goes_on = people::session::goes_on(&mut outside, &stored.session).await?;
    tx = outside.enter(issuer.tenant).await?;
    if !goes_on {
        return Err(OAuthError::GrantInvalid);
    }
    let dead = families::begin(&mut tx, family, now).await?;
    let any_dead = !dead.is_empty();
    for credential in dead {
        kills::revoke(&mut tx, &core.kills, credential, now).await?;
    }
    // What a client with a secret was given is bound to that.
    if client.by == Shown::Nothing
        && let Some(key) = client.confirmation.and_then(|bound| bound.jkt)
    {
        queries::bind(&mut tx, family.id, key).await?;
    }
    queries::use_code(&mut tx, &code, family.id).await?;
    let refresh = Refresh::first(core);
    refresh.store(&mut tx, family, now).await?;
    let issued =
        families::issue(&mut tx, core, issuer, (client, made), (family, family.scopes.clone())).await?;
    let what = format!("{} {} for {} by {}", issued.id(), family.resource, family.member, client.by);
    log::done(tx, core, (client, origin), "issue_token", what).await?;
    if any_dead {
        core.kills.changed(core).await;
    }
    Ok((issued, Some(refresh)))
}

/// Whether the challenge was made from the verifier (`S256`).
fn is_of(verifier: &str, challenge: &str) -> bool {
    let unreserved = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    let made = URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes()));
    VERIFIER.contains(&verifier.len())
        && verifier.bytes().all(unreserved)
        && ct_eq(made.as_bytes(), challenge.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_the_one_from_which_the_challenge_was_made() {
        // RFC 7636 appendix B.
        let (verifier, challenge) =
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(is_of(verifier, challenge));
        assert!(!is_of(challenge, challenge), "`plain` is none");
        let of =
            |verifier: &str| is_of(verifier, &URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes())));
        for (wrong, why) in
            [("", "none"), ("short", "short"), (&"a".repeat(42), "short"), (&"a".repeat(129), "long")]
        {
            assert!(!of(wrong), "{why}");
        }
        assert!(!of(&format!("{} ", "a".repeat(50))) && of(&"a".repeat(43)) && of(&"a".repeat(128)));
    }
}
