//! Identity assertions (draft-ietf-oauth-identity-assertion-authz-grant; MCP extension `enterprise-managed-authorization`): a company's
//! identity provider says for which of its people a client acts here, so that nobody is asked. The client proves who it is as ever; the
//! assertion has to name it, one of its endpoints, and somebody who is a member already.

use crypto::{
    claims::Subject,
    jwt::{Token, Typ},
};
use ids::Scopes;
use serde_json::Value;

use super::{Verified, queries, verify};
use crate::{
    app::Core,
    oauth::{
        access_token::{self, Asked, Issued},
        audience,
        client::{Client, Origin},
        error::OAuthError,
        form::Form,
        issuer::Issuer,
        log, scopes,
    },
    people::email::Email,
    resources::{scopes::queries as known, trusted_issuers::types::TrustedPurpose},
};

/// How the metadata says that these are taken.
pub(in crate::oauth) const PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// The token, when its record is committed.
pub(in crate::oauth) async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<Issued, OAuthError> {
    let wrong = OAuthError::Assertion;
    let token = Token::parse(form.need("assertion")?)
        .map_err(|_| wrong("it is no JWT of up to 8 KiB with `alg`, `kid` and `typ` alone in its header"))?;
    if token.typ() != Typ::IdJag {
        return Err(wrong("its `typ` is not `oauth-id-jag+jwt`"));
    }
    let verified = verify(core, issuer, &token, TrustedPurpose::IdJag).await?;
    let claims = &verified.claims;
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let made = client.still(&mut tx, core).await?;
    let named = queries::name(&mut tx, client.id).await?;
    if claims.text("client_id") != Some(named.as_str()) {
        return Err(wrong("its `client_id` is not the client that presents it"));
    }
    let resource = claims.resource().ok_or(wrong("its `resource` is missing, or more than one"))?;
    if form.get("resource").is_some_and(|asked| asked != resource) {
        return Err(OAuthError::Target("the assertion is for another endpoint"));
    }
    let chosen = audience::choose(&mut tx, core, issuer, client.id, Some(resource)).await;
    let audience = chosen.map_err(|error| match error {
        OAuthError::Target(_) => wrong("its `resource` is not an endpoint that the client may use"),
        error => error,
    })?;
    let email = verified
        .email()
        .ok_or(wrong("its `email` is missing, not verified, or of a domain that it may not speak for"))?;
    let member = queries::member(&mut tx, email.as_str()).await?;
    let member = member.ok_or(wrong("its `email` is no member's who may sign in"))?;
    // What was asked for, as far as the assertion has it and it exists here.
    let had: Scopes = claims.text("scope").unwrap_or_default().parse().map_err(|_| OAuthError::Scope)?;
    let scopes = match form.get("scope") {
        Some(_) => {
            let asked = scopes::asked(&mut tx, form).await?;
            Scopes::first(asked.iter().filter(|scope| had.has(scope.as_str())).cloned())
        }
        None => {
            let all = known::all(&mut tx).await?;
            Scopes::first(all.into_iter().map(|(scope, _)| scope).filter(|scope| had.has(scope.as_str())))
        }
    };
    verified.note(&mut tx, core).await?;
    let asked = Asked {
        subject: Subject::Member(member),
        client: client.id,
        made,
        lifetime: client.lifetime,
        audience,
        scopes,
        confirmation: client.confirmation,
        auth_time: claims.more.get("auth_time").and_then(Value::as_u64),
        actor: None,
    };
    let issued = access_token::issue(&mut tx, core, issuer, asked).await?;
    let (id, audience) = (issued.id(), &issued.claims.aud);
    let what = format!("{id} {audience} for {member} by {} and {}", client.by, verified.id());
    log::done(tx, core, (client, origin), "issue_token", what).await?;
    Ok(issued)
}

impl super::Claims {
    /// The one endpoint that it is for.
    fn resource(&self) -> Option<&str> {
        match self.more.get("resource")? {
            Value::String(one) => Some(one),
            Value::Array(several) => match several.as_slice() {
                [Value::String(one)] => Some(one),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Verified {
    /// Whom it speaks for, if it may.
    fn email(&self) -> Option<Email> {
        // A provider that says that it does not know has not said.
        if self.claims.more.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
            return None;
        }
        let email = Email::parse(self.claims.text("email")?)?;
        let (_, domain) = email.as_str().rsplit_once('@')?;
        self.by.settings.email_domains.iter().any(|own| own == domain).then_some(email)
    }
}
