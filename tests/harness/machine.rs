//! A client of a tenant's issuer that is a machine: it asks for tokens over HTTP.

use std::net::IpAddr;

use crypto::jwt::{Algorithm, Jwk, PrivateKey, generate};
use reqwest::header::HeaderMap;
use seams::{Clock as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};

use crate::{gateway::Gateway, tenant::Tenant, values::text};

/// The client, and the secret that it was given.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its id.
    pub client: String,
    /// Its secret's id.
    pub secret_id: String,
    /// Its secret.
    pub secret: String,
    /// Where the issuer listens; it is called [`Machine::issuer`].
    pub url: String,
    /// The issuer, as in tokens.
    pub issuer: String,
    /// By what it speaks.
    pub http: reqwest::Client,
}

/// What an endpoint of the issuer answered.
#[derive(Debug)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// JSON, or null where there is none.
    pub body: Value,
}

impl Answered {
    /// The error's code, by the page that its `error_uri` names.
    #[must_use]
    pub fn code(&self) -> String {
        text(&self.body, "error_uri").rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// The error's name.
    #[must_use]
    pub fn error(&self) -> String {
        text(&self.body, "error")
    }
}

impl Machine {
    /// A client named `name` with one secret, which may use these endpoints.
    pub async fn new(gateway: &Gateway, tenant: &Tenant, name: &str, endpoints: &[&str]) -> Self {
        let client = text(&tenant.post("/clients", json!({"name": name})).await, "id");
        for endpoint in endpoints {
            let path = format!("{}/clients/{client}/endpoints/{endpoint}", tenant.base);
            tenant.admin.put(&path, json!({})).await.unwrap();
        }
        let made = tenant.post(&format!("/clients/{client}/secrets"), json!({"name": "first"})).await;
        Self {
            client,
            secret_id: text(&made, "id"),
            secret: text(&made, "secret"),
            url: format!("{}/t/{}", gateway.auth_url, tenant.slug),
            issuer: format!("http://127.0.0.1:2/t/{}", tenant.slug),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// The same, coming from another address of this machine.
    #[must_use]
    pub fn from(&self, address: [u8; 4]) -> Self {
        let http = reqwest::Client::builder().no_proxy().local_address(IpAddr::from(address));
        Self { http: http.build().unwrap(), ..self.clone() }
    }

    /// A POST to an endpoint of the issuer, to be completed.
    pub fn request(&self, endpoint: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}/{endpoint}", self.url))
    }

    /// Sends a form to an endpoint with the secret as `Authorization: Basic`.
    pub async fn basic(&self, endpoint: &str, form: &[(&str, &str)]) -> Answered {
        send(self.request(endpoint).basic_auth(&self.client, Some(&self.secret)).form(form)).await
    }

    /// Sends a form to an endpoint with nothing added.
    pub async fn bare(&self, endpoint: &str, form: &[(&str, &str)]) -> Answered {
        send(self.request(endpoint).form(form)).await
    }

    /// Asks for a token with the secret in the form, and `more`.
    pub async fn ask(&self, more: &[(&str, &str)]) -> Answered {
        let own = [
            ("grant_type", "client_credentials"),
            ("client_id", &*self.client),
            ("client_secret", &*self.secret),
        ];
        self.bare("token", &[&own, more].concat()).await
    }

    /// Where tokens are asked for, as the metadata has it.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.issuer)
    }

    /// As [`Self::ask`], with a proof of possession.
    pub async fn prove(&self, proof: &str, more: &[(&str, &str)]) -> Answered {
        let form = [&[("grant_type", "client_credentials")], more].concat();
        let request = self.request("token").basic_auth(&self.client, Some(&self.secret));
        send(request.header("dpop", proof).form(&form)).await
    }

    /// A token, which there must be.
    pub async fn token(&self) -> String {
        let answered = self.ask(&[]).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        text(&answered.body, "access_token")
    }

    /// Makes a key, makes its public half known for this client, and gives the private one.
    pub async fn key(&self, tenant: &Tenant, algorithm: Algorithm, kid: &str) -> PrivateKey {
        let (private, public) = generate(algorithm, &SystemEntropy).unwrap();
        let key = json!({"name": kid, "key": Jwk::new(kid, &public)});
        tenant.post(&format!("/clients/{}/public-keys", self.client), key).await;
        private
    }

    /// What an assertion of this client claims that is good for a minute.
    #[must_use]
    pub fn claims(&self, jti: &str) -> Value {
        let exp = SystemClock.now().micros() / 1_000_000 + 60;
        json!({"iss": self.client, "sub": self.client, "aud": self.issuer, "exp": exp, "jti": jti})
    }

    /// Asks for a token with a signed assertion.
    pub async fn assert(&self, assertion: &str) -> Answered {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", kind),
            ("client_assertion", assertion),
        ];
        self.bare("token", &form).await
    }
}

/// Requests with a form as their body.
pub trait FormBody {
    /// With these parameters, in this order.
    #[must_use]
    fn form(self, parameters: &[(&str, &str)]) -> Self;
}

impl FormBody for reqwest::RequestBuilder {
    fn form(self, parameters: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }
}

/// Sends a request and reads the answer.
pub async fn send(request: reqwest::RequestBuilder) -> Answered {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null);
    Answered { status, headers, body }
}
