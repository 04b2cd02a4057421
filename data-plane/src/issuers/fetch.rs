//! One key set: a GET, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::{
    snapshot::index::ExternalIssuerIndex,
    upstream::{self, Break, Fault, Origin, Resolver, UpstreamError, Waiting},
};

/// For everything: resolving, connecting, the request and all of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For the connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Bytes of a key set: a hundred keys with their certificates.
const MOST: usize = 128 * 1024;
/// Bytes of the answer's head.
const MAX_HEAD: usize = 16 * 1024;
/// How long a set is kept whose server does not say so, and within which bounds it may.
const AGE: Duration = Duration::from_secs(5 * 60);
const LEAST_AGE: Duration = Duration::from_secs(60);
const MOST_AGE: Duration = Duration::from_secs(60 * 60);

/// The document, and how long it may be kept.
pub(super) async fn fetch(
    issuer: &ExternalIssuerIndex,
    rules: &egress::Rules,
    resolver: &dyn Resolver,
) -> Result<(Bytes, Duration), UpstreamError> {
    let fetching = async {
        let origin = Origin::of_document(&issuer.jwks_uri, &issuer.ca_der)?;
        let connected = upstream::connect(&origin, rules, resolver, None, CONNECT).await?;
        let io = TokioIo::new(connected.io);
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(MAX_HEAD).handshake(io).await.map_err(Break::from)?;
        let request = Request::get(origin.target())
            .header(header::HOST, origin.host_header())
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|_| UpstreamError::Url)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(Break::from)?;
            let (head, body) = response.into_parts();
            // Redirects too: whoever trusts an issuer names where its keys are.
            if head.status != StatusCode::OK {
                return Err(Fault::Status(head.status.as_u16()).into());
            }
            if !is_json(&head.headers) {
                return Err(Fault::ContentType.into());
            }
            let body = Limited::new(body, MOST).collect().await.map_err(|_| UpstreamError::TooLarge)?;
            Ok((body.to_bytes(), age(&head.headers)))
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            done = &mut exchange => done,
            // The connection may be over before its last bytes are read here.
            _ended = connection => exchange.await,
        }
    };
    tokio::time::timeout(PATIENCE, fetching).await.unwrap_or(Err(UpstreamError::Timeout(Waiting::Total)))
}

/// `application/json`, or `application/…+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let suffixed = essence.strip_prefix("application/").is_some_and(|rest| rest.ends_with("+json"));
    (essence == "application/json" || suffixed) && !headers.contains_key(header::CONTENT_ENCODING)
}

/// As its server says (RFC 9111), within what is ours to say.
fn age(headers: &HeaderMap) -> Duration {
    let mut said: Option<u64> = None;
    for value in headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()) {
        for directive in value.split(',').map(|directive| directive.trim().to_ascii_lowercase()) {
            let (name, argument) = directive.split_once('=').unwrap_or((&directive, ""));
            let new = match name {
                "max-age" => argument.trim_matches('"').parse().unwrap_or(0),
                "no-store" | "no-cache" => 0,
                _ => continue,
            };
            said = Some(said.map_or(new, |old| old.min(new)));
        }
    }
    let spent = headers.get(header::AGE).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let said = said.map(|said| Duration::from_secs(said.saturating_sub(spent)));
    said.unwrap_or(AGE).clamp(LEAST_AGE, MOST_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_kept_as_long_as_its_server_says_within_bounds() {
        let kept = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            age(&map).as_secs()
        };
        assert_eq!(kept(&[]), 300);
        assert_eq!(kept(&[("cache-control", "public, max-age=1200")]), 1_200);
        assert_eq!(kept(&[("cache-control", "max-age=1")]), 60);
        assert_eq!(kept(&[("cache-control", "no-store")]), 60);
        assert_eq!(kept(&[("cache-control", "max-age=9999999")]), 3_600);
        assert_eq!(kept(&[("cache-control", "max-age=600"), ("age", "500")]), 100);
        assert_eq!(kept(&[("cache-control", "max-age=600"), ("cache-control", "Max-Age=120")]), 120);
    }
}
