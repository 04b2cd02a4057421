//! A client of the admin API, as the CLI and the tests use it.

use std::{path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// A client with one token.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    token: SecretString,
}

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The control plane could not be reached, or its answer not be read.
    #[error("request to the control plane failed")]
    Transport(#[from] reqwest::Error),
    /// The file with the trusted CA could not be read.
    #[error("cannot read the CA file")]
    CaFile(#[from] std::io::Error),
    /// The control plane refused; `problem` is its RFC 9457 document.
    #[error("{method} {path}: {status}: {}", problem.get("detail").or(problem.get("title")).and_then(Value::as_str).unwrap_or("no detail"))]
    Refused {
        /// HTTP method.
        method: Method,
        /// Path below the base URL.
        path: String,
        /// HTTP status.
        status: StatusCode,
        /// The problem document, or null.
        problem: Value,
    },
}

impl Rest {
    /// A client of the API at `base` (no trailing slash). `ca_file`: PEM roots to trust instead of the system's.
    pub fn new(base: &str, token: SecretString, ca_file: Option<&Path>) -> Result<Self, RestError> {
        Ok(Self { http: http_client(ca_file)?, base: base.to_owned(), token })
    }

    /// The same connection pool with another token.
    #[must_use]
    pub fn with_token(&self, token: SecretString) -> Self {
        Self { token, ..self.clone() }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Value, RestError> {
        self.send(Method::GET, path, None).await
    }
    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, RestError> {
        self.send(Method::POST, path, Some(body)).await
    }
    /// PUT with a JSON body, whatever the state it meets.
    pub async fn put(&self, path: &str, body: Value) -> Result<Value, RestError> {
        self.send(Method::PUT, path, Some(body)).await
    }
    /// PATCH with a JSON merge patch (RFC 7396), whatever the state it meets.
    pub async fn patch(&self, path: &str, body: Value) -> Result<Value, RestError> {
        self.send(Method::PATCH, path, Some(body)).await
    }
    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<Value, RestError> {
        self.send(Method::DELETE, path, None).await
    }

    /// Any request; an empty answer is null.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, RestError> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            let media =
                if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
            request = request.header("content-type", media).body(body.to_string());
            // Meant for whatever state there is.
            if method == Method::PATCH || method == Method::PUT {
                request = request.header("if-match", "*");
            }
        }
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        Err(RestError::Refused { method, path: path.to_owned(), status, problem: value })
    }
}

/// An HTTP client that trusts `ca_file`, or the public roots.
pub fn http_client(ca_file: Option<&Path>) -> Result<reqwest::Client, RestError> {
    let mut builder = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy();
    if let Some(path) = ca_file {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?);
    }
    Ok(builder.build()?)
}
