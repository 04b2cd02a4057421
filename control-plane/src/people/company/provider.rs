//! A provider, as it describes itself (OpenID Connect Discovery), and what it answers. Everything is fetched by the way that bounds it.

use bytes::Bytes;
use crypto::{
    Aad, SecretString, Zeroizing,
    jwt::{Kid, PublicKey, Token, Typ, usable},
};
use ids::{SignInProviderId, TenantId};
use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::claims::{Claims, Said};
use crate::{
    app::Core,
    data_keys,
    db::{StoreError, TenantTx},
    fetch::{Kind, Sent, Wanted, is_plain},
    oauth::{error::OAuthError, form::Form, issuer::Issuer, registration::egress},
    people::page::PageError,
    resources::sign_in_providers::{queries, types::SignInProviderSettings},
};

/// A key that is missing in what is kept is looked for again after so long.
const ANEW: std::time::Duration = std::time::Duration::from_secs(60);
/// Bytes of a code.
const MAX_CODE: usize = 4 * 1024;

/// What is used of a provider's metadata.
#[derive(Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    #[serde(deserialize_with = "url")]
    pub(super) authorization_endpoint: Url,
    #[serde(deserialize_with = "url")]
    token_endpoint: Url,
    #[serde(deserialize_with = "url")]
    jwks_uri: Url,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// A provider that is switched on.
pub(super) struct Provider {
    pub(super) id: SignInProviderId,
    pub(super) settings: SignInProviderSettings,
    pub(super) redirect_uri: String,
    pub(super) metadata: Metadata,
    tenant: TenantId,
    rules: egress::Rules,
    secret: SecretString,
}

/// Why nobody is let in. Who it is about is told no more than that; the reason is for the log.
#[derive(Debug)]
pub(super) enum Refused {
    /// What the provider has said.
    Answer(&'static str),
    /// It cannot be asked.
    Unreachable,
}

impl Refused {
    pub(super) fn page(&self, provider: &Provider) -> PageError {
        metrics::counter!(telemetry::metric::SIGN_INS_FAILED).increment(1);
        match self {
            Self::Answer(why) => {
                tracing::info!(tenant.id = %provider.tenant, provider.id = %provider.id, error.cause = why, "company sign-in refused");
                PageError::Company("What your organisation's sign-in has answered is not accepted.")
            }
            Self::Unreachable => {
                tracing::info!(tenant.id = %provider.tenant, provider.id = %provider.id, "company sign-in cannot be asked");
                OAuthError::KeysUnavailable.into()
            }
        }
    }
}

/// What the token endpoint answers.
#[derive(Deserialize)]
struct Answer {
    id_token: String,
}

impl Provider {
    /// The tenant's provider with this id, if people may sign in by it now.
    pub(super) async fn find(core: &Core, issuer: &Issuer, id: &str) -> Result<Self, PageError> {
        let id: SignInProviderId = id.parse().map_err(|_| PageError::Form)?;
        let mut tx = core.store.tenant(issuer.tenant).await?;
        let provider = match queries::get(&mut tx, core, id).await {
            Ok(provider) if provider.settings.enabled && super::queries::is_open(&mut tx).await? => provider,
            Ok(_) | Err(StoreError::NotFound) => return Err(PageError::Form),
            Err(error) => return Err(error.into()),
        };
        let secret = secret(&mut tx, core, id).await?;
        let rules = egress(&mut tx).await?;
        drop(tx);
        let (settings, redirect_uri, tenant) = (provider.settings, provider.redirect_uri, issuer.tenant);
        let at = format!("{}/.well-known/openid-configuration", settings.issuer.trim_end_matches('/'));
        let at = Url::parse(&at).map_err(|_| StoreError::unreadable("provider's issuer"))?;
        let wanted =
            Wanted { tenant, rules: &rules, kind: Kind::ProviderMetadata, url: &at, anew_after: None };
        let document = core.fetcher.get(wanted).await.map_err(|_| OAuthError::KeysUnavailable)?;
        let wrong = || PageError::Company("What your organisation's sign-in says of itself is not accepted.");
        let metadata: Metadata = serde_json::from_slice(&document.body).map_err(|_| wrong())?;
        let urls = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
        // Who says to be another is another (OpenID Connect Discovery section 4.3).
        if metadata.issuer != settings.issuer || !urls.iter().all(|url| is_plain(url)) {
            return Err(wrong());
        }
        Ok(Self { id, settings, redirect_uri, metadata, tenant, rules, secret })
    }

    /// The code that it has sent the person back with.
    pub(super) fn answered<'a>(&self, form: &'a Form) -> Result<&'a str, Refused> {
        // RFC 9207: an answer is of the one that was asked.
        match form.get("iss") {
            Some(iss) if iss == self.settings.issuer => {}
            None if !self.metadata.authorization_response_iss_parameter_supported => {}
            _ => return Err(Refused::Answer("`iss` of the answer is not the provider")),
        }
        if form.get("error").is_some() {
            return Err(Refused::Answer("the provider has refused"));
        }
        let code = form.get("code").filter(|code| code.len() <= MAX_CODE);
        code.ok_or(Refused::Answer("there is no code"))
    }

    /// Gives the code in for an id token.
    pub(super) async fn exchange(
        &self,
        core: &Core,
        code: &str,
        verifier: &str,
    ) -> Result<Zeroizing<String>, Refused> {
        use crypto::ExposeSecret as _;

        let (client, secret) = (&self.settings.client_id, self.secret.expose_secret());
        let methods = self.metadata.token_endpoint_auth_methods_supported.as_deref();
        let takes = |method: &str| methods.is_some_and(|all| all.iter().any(|one| one == method));
        // Basic is what is meant where nothing is said.
        let basic = methods.is_none() || takes("client_secret_basic");
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ];
        if !basic {
            form.extend([("client_id", client.as_str()), ("client_secret", secret)]);
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let sent = Sent::form(Bytes::from(body), basic.then_some((client.as_str(), secret)));
        let wanted = self.wanted(Kind::ProviderTokens, &self.metadata.token_endpoint);
        let answer = match core.fetcher.post(wanted, sent).await {
            Ok(answer) => answer,
            Err(error) if error.is_answer() => {
                return Err(Refused::Answer("the provider does not take the code"));
            }
            Err(_) => return Err(Refused::Unreachable),
        };
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|_| Refused::Answer("there is no id token"))?;
        Ok(Zeroizing::new(answer.id_token))
    }

    /// What an id token says, if it is one for this sign-in.
    pub(super) async fn read(
        &self,
        core: &Core,
        token: &str,
        (nonce, anew): (&str, bool),
    ) -> Result<Said, Refused> {
        let token =
            Token::parse(token).map_err(|_| Refused::Answer("the id token is no JWT that is taken"))?;
        if token.typ() != Typ::Jwt {
            return Err(Refused::Answer("the id token is another kind of token"));
        }
        // The algorithm is the key's, and one of those that are taken at all.
        let signed = |keys: &[(Kid, PublicKey)]| {
            let named = |kid: &Kid| token.kid().as_str().is_empty() || kid == token.kid();
            keys.iter().any(|(kid, key)| named(kid) && key.signed(&token))
        };
        let kept = self.keys(core, None).await?;
        let missing = kept.iter().all(|(kid, _)| kid != token.kid());
        // One that is not there may be new; that is looked for once a minute, whoever asks.
        if !(signed(&kept) || (missing && signed(&self.keys(core, Some(ANEW)).await?))) {
            return Err(Refused::Answer("the id token is not signed by the provider"));
        }
        let claims: Claims = token
            .claims()
            .map_err(|_| Refused::Answer("the id token lacks a claim, or one is of another type"))?;
        claims.check(&self.settings, nonce, (core.clock.now(), anew)).map_err(Refused::Answer)
    }

    async fn keys(
        &self,
        core: &Core,
        anew_after: Option<std::time::Duration>,
    ) -> Result<Vec<(Kid, PublicKey)>, Refused> {
        let wanted = Wanted { anew_after, ..self.wanted(Kind::IssuerKeys, &self.metadata.jwks_uri) };
        let document = core.fetcher.get(wanted).await.map_err(|_| Refused::Unreachable)?;
        Ok(usable(&document.body))
    }

    const fn wanted<'a>(&'a self, kind: Kind, url: &'a Url) -> Wanted<'a> {
        Wanted { tenant: self.tenant, rules: &self.rules, kind, url, anew_after: None }
    }
}

async fn secret(tx: &mut TenantTx, core: &Core, id: SignInProviderId) -> Result<SecretString, StoreError> {
    let (key, sealed) = queries::sealed(tx, id).await?;
    let sealer = data_keys::get(tx, core, key).await?.sealer();
    let row = id.uuid();
    let aad = Aad { tenant: tx.tenant(), table: "sign_in_providers", column: "sealed", row: row.as_bytes() };
    let opened = sealer.open(&aad, &sealed).map_err(|error| StoreError::Bug(Box::new(error)))?;
    let text = std::str::from_utf8(&opened).map_err(|_| StoreError::unreadable("client secret"))?;
    Ok(SecretString::from(text.to_owned()))
}
