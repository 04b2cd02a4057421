//! An application that people let act for them: a client of a tenant's issuer that sends them to it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    gateway::Gateway,
    machine::{Answered, FormBody as _, send},
    person::{Person, Shown},
    tenant::Tenant,
    values::text,
};

/// A verifier and its challenge (RFC 7636 appendix B).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// See [`VERIFIER`].
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The application.
#[derive(Debug, Clone)]
pub struct App {
    /// Id of the client.
    pub client: String,
    /// Its secret; `None`: it is public.
    pub secret: Option<String>,
    /// Where it has people sent back to.
    pub redirect_uri: String,
    /// Slug of its tenant.
    pub slug: String,
    /// Where its issuer listens.
    pub url: String,
    /// By what it speaks.
    pub http: reqwest::Client,
}

/// What it was given.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl Tokens {
    /// Of an answer of the token endpoint, which must be one.
    pub fn of(answered: &Answered) -> Self {
        assert_eq!(answered.status, 200, "{answered:?}");
        Self { access: text(&answered.body, "access_token"), refresh: text(&answered.body, "refresh_token") }
    }
}

impl App {
    /// A public client that may use these endpoints.
    pub async fn public(gateway: &Gateway, tenant: &Tenant, name: &str, endpoints: &[&str]) -> Self {
        Self::new(gateway, tenant, json!({"name": name, "public": true}), endpoints).await
    }

    /// One with a secret.
    pub async fn confidential(gateway: &Gateway, tenant: &Tenant, name: &str, endpoints: &[&str]) -> Self {
        let mut app = Self::new(gateway, tenant, json!({"name": name}), endpoints).await;
        let made = tenant.post(&format!("/clients/{}/secrets", app.client), json!({"name": "first"})).await;
        app.secret = Some(text(&made, "secret"));
        app
    }

    async fn new(
        gateway: &Gateway,
        tenant: &Tenant,
        mut settings: serde_json::Value,
        endpoints: &[&str],
    ) -> Self {
        let redirect_uri = "https://app.example/callback".to_owned();
        settings["redirect_uris"] = json!([redirect_uri]);
        let client = text(&tenant.post("/clients", settings).await, "id");
        for endpoint in endpoints {
            let path = format!("{}/clients/{client}/endpoints/{endpoint}", tenant.base);
            tenant.admin.put(&path, json!({})).await.unwrap();
        }
        Self {
            client,
            secret: None,
            redirect_uri,
            slug: tenant.slug.clone(),
            url: format!("{}/t/{}", gateway.auth_url, tenant.slug),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// Where it sends people: path and query at the authorization servers' origin. `other` adds parameters, or changes what they would
    /// be; one without a value is left out.
    #[must_use]
    pub fn ask(&self, resource: &str, other: &[(&str, &str)]) -> String {
        let own = [
            ("response_type", "code"),
            ("client_id", &self.client),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", resource),
            ("state", "the state"),
        ];
        let own = own.into_iter().filter(|(name, _)| other.iter().all(|(other, _)| name != other));
        let all = own.chain(other.iter().copied()).filter(|(_, value)| !value.is_empty());
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        format!("/t/{}/authorize?{query}", self.slug)
    }

    /// Sends a form to an endpoint of the issuer as this client.
    pub async fn post(&self, endpoint: &str, form: &[(&str, &str)]) -> Answered {
        let request = self.http.post(format!("{}/{endpoint}", self.url));
        match &self.secret {
            Some(secret) => send(request.basic_auth(&self.client, Some(secret)).form(form)).await,
            None => send(request.form(&[&[("client_id", self.client.as_str())], form].concat())).await,
        }
    }

    /// Gives a code in; `other` as in [`Self::ask`].
    pub async fn exchange(&self, code: &str, other: &[(&str, &str)]) -> Answered {
        let own = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let own = own.into_iter().filter(|(name, _)| other.iter().all(|(other, _)| name != other));
        let all: Vec<_> = own.chain(other.iter().copied()).filter(|(_, value)| !value.is_empty()).collect();
        self.post("token", &all).await
    }

    /// Gives a refresh token in.
    pub async fn refresh(&self, token: &str, more: &[(&str, &str)]) -> Answered {
        let own = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("token", &[&own, more].concat()).await
    }

    /// Whether the issuer says that the token is good. The application has to have a secret.
    pub async fn is_active(&self, token: &str) -> bool {
        let answered = self.post("introspect", &[("token", token)]).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        if answered.body["active"] == false {
            assert_eq!(answered.body, json!({"active": false}), "nothing else is said of it");
        }
        answered.body["active"].as_bool().unwrap()
    }
}

/// What the client is told in a redirect to it; it has to be one.
#[must_use]
pub fn told(shown: &Shown) -> BTreeMap<String, String> {
    assert_eq!(shown.status, 303, "{shown:?}");
    let location: url::Url = shown.location().parse().unwrap();
    location.query_pairs().into_owned().collect()
}

impl Person {
    /// Follows `path` to the authorization endpoint: signs in if that is asked, agrees if that is, and stops where the client is told
    /// something.
    pub async fn follow(&self, path: &str) -> Shown {
        let mut shown = self.get(path).await;
        if shown.page.contains("name=\"password\"") {
            let signed_in = self.sign_in(path).await;
            assert_eq!(signed_in.status, 303, "{signed_in:?}");
            shown = self.get(&signed_in.location()).await;
        }
        if shown.page.contains("value=\"allow\"") {
            shown = self.submit(path, &shown, &[("act", "allow")]).await;
        }
        shown
    }

    /// A code for the application at the endpoint with this resource identifier.
    pub async fn code(&self, app: &App, resource: &str, scopes: &[&str]) -> String {
        let scope = scopes.join(" ");
        let told = told(&self.follow(&app.ask(resource, &[("scope", &scope)])).await);
        told.get("code").unwrap_or_else(|| panic!("no code: {told:?}")).clone()
    }

    /// Lets the application act: signs in, agrees, and has the code given in.
    pub async fn authorize(&self, app: &App, resource: &str, scopes: &[&str]) -> Tokens {
        let code = self.code(app, resource, scopes).await;
        Tokens::of(&app.exchange(&code, &[]).await)
    }
}
