//! A token endpoint of somebody else's: real HTTP on loopback, told by a test how to answer, and it keeps what it was asked.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use parking_lot::Mutex;
use serde_json::json;

/// A request for a token.
#[derive(Debug, Clone)]
pub struct Asked {
    /// All headers.
    pub headers: HeaderMap,
    /// The form.
    pub form: HashMap<String, String>,
}

/// Status, headers and body that are answered instead of a token.
pub type Instead = (u16, Vec<(&'static str, String)>, Bytes);

#[derive(Default)]
struct Shared {
    asked: Vec<Asked>,
    given: u32,
    life: u64,
    after: Duration,
    instead: Option<Instead>,
    metadata: Option<String>,
}

/// The running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct TokenServer {
    addr: SocketAddr,
    /// Begins every token that it gives.
    name: &'static str,
    shared: Arc<Mutex<Shared>>,
}

impl std::fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl TokenServer {
    /// Gives tokens `{name}-1`, `{name}-2` … of five minutes at `/token`.
    pub async fn start(name: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Self { addr, name, shared: Arc::default() };
        server.shared.lock().life = 300;
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it gives tokens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// Every request for a token so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// From now on tokens live so many seconds.
    pub fn set_life(&self, seconds: u64) {
        self.shared.lock().life = seconds;
    }

    /// From now on an answer takes so long.
    pub fn set_after(&self, after: Duration) {
        self.shared.lock().after = after;
    }

    /// From now on it answers this; `None`: tokens again.
    pub fn set_instead(&self, instead: Option<Instead>) {
        self.shared.lock().instead = instead;
    }

    /// The issuer that its metadata names.
    pub fn set_metadata(&self, issuer: &str) {
        self.shared.lock().metadata = Some(issuer.to_owned());
    }
}

async fn answer(State(server): State<TokenServer>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if uri.path() == "/.well-known/oauth-authorization-server" {
        let Some(issuer) = server.shared.lock().metadata.clone() else {
            return StatusCode::NOT_FOUND.into_response();
        };
        return axum::Json(json!({"issuer": issuer, "token_endpoint": server.endpoint()})).into_response();
    }
    if uri.path() != "/token" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let (after, instead, life, number) = {
        let mut shared = server.shared.lock();
        shared.asked.push(Asked { headers, form });
        if shared.instead.is_none() {
            shared.given += 1;
        }
        (shared.after, shared.instead.clone(), shared.life, shared.given)
    };
    tokio::time::sleep(after).await;
    if let Some((status, headers, body)) = instead {
        let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        return response;
    }
    let token = format!("{}-{number}", server.name);
    axum::Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": life})).into_response()
}
