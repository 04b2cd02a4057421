//! One GET, and what comes back.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use crypto::Zeroizing;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Body as _, client::conn::http1};
use hyper_util::rt::TokioIo;
use url::Url;

use super::{
    Detail, FetchError,
    connect::Stream,
    counted::is_excess,
    kind::{Ages, Kind},
};

/// Bytes of the answer's head.
const MAX_HEAD: usize = 16 * 1024;

/// The document, and how long it may be kept.
pub(super) async fn get(
    stream: Stream,
    request: Request<Full<Bytes>>,
    kind: Kind,
) -> Result<(Bytes, Duration), FetchError> {
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(FetchError::Status(head.status.as_u16()));
        }
        if !is_json(&head.headers) {
            return Err(FetchError::Type);
        }
        let most = kind.most();
        if body.size_hint().lower() > most as u64 {
            return Err(FetchError::Size);
        }
        let body = Limited::new(body, most).collect().await.map_err(|error| broken(&*error))?;
        Ok((body.to_bytes(), age(&head.headers, kind.ages())))
    };
    // The connection is driven here, and goes with the exchange.
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        done = &mut exchange => done,
        _ended = connection => exchange.await,
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> FetchError {
    if error.is::<LengthLimitError>() || is_excess(error) {
        FetchError::Size
    } else {
        FetchError::Exchange(Detail::of(error))
    }
}

/// A form that is sent, and who says to be whom in it. Shows nothing in `Debug`.
pub struct Sent {
    body: Bytes,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sent(…)")
    }
}

impl Sent {
    /// A form, by this client with this secret (RFC 6749 section 2.3.1).
    #[must_use]
    pub fn form(body: Bytes, client: Option<(&str, &str)>) -> Self {
        let authorization = client.and_then(|(id, secret)| {
            let encode =
                |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let both = Zeroizing::new(format!("{}:{}", encode(id), encode(secret)));
            let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(both.as_bytes())));
            let mut value = HeaderValue::try_from(text.as_str()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self { body, authorization }
    }
}

/// What is sent to the URL's server.
pub(super) fn post(url: &Url, sent: Sent) -> Result<Request<Full<Bytes>>, FetchError> {
    let (mut parts, _) = request(url)?.into_parts();
    parts.method = Method::POST;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    parts.headers.insert(header::CONTENT_TYPE, form);
    if let Some(authorization) = sent.authorization {
        parts.headers.insert(header::AUTHORIZATION, authorization);
    }
    Ok(Request::from_parts(parts, Full::new(sent.body)))
}

/// What is asked of the URL's server.
pub(super) fn request(url: &Url) -> Result<Request<Full<Bytes>>, FetchError> {
    let host = url.host().ok_or(FetchError::Url)?;
    let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
    let path = url.path();
    let target = url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Request::get(target)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .body(Full::default())
        .map_err(|_| FetchError::Url)
}

/// One type, `application/json` or `application/…+json`, and no encoding.
fn is_json(headers: &HeaderMap) -> bool {
    let only = |name| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        value.filter(|_| values.next().is_none())
    };
    let essence = only(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let json = essence == "application/json"
        || essence.strip_prefix("application/").is_some_and(|rest| rest.ends_with("+json"));
    let plain = !headers.contains_key(header::CONTENT_ENCODING)
        || only(header::CONTENT_ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case("identity"));
    json && plain
}

/// As its server says (RFC 9111), within what is ours to say.
fn age(headers: &HeaderMap, ages: Ages) -> Duration {
    let mut said = None;
    for value in headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()) {
        for directive in value.split(',').map(|directive| directive.trim().to_ascii_lowercase()) {
            let (name, argument) = directive.split_once('=').unwrap_or((&directive, ""));
            let new = match name {
                "max-age" => argument.trim_matches('"').parse().unwrap_or(0),
                // With names of headers too, which is less, but nobody writes it of a document that may be kept.
                "no-store" | "no-cache" => 0,
                _ => continue,
            };
            said = Some(said.map_or(new, |old: u64| old.min(new)));
        }
    }
    let spent = headers.get(header::AGE).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let said = said.map(|said| Duration::from_secs(said.saturating_sub(spent)));
    said.unwrap_or(ages.default).clamp(ages.least, ages.most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_as_long_as_its_server_says_within_bounds() {
        let kept = |headers: &[(&'static str, &'static str)], kind: Kind| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            age(&map, kind.ages()).as_secs()
        };
        let control = |value| kept(&[("cache-control", value)], Kind::ClientMetadata);
        assert_eq!(kept(&[], Kind::ClientMetadata), 3_600);
        assert_eq!(kept(&[], Kind::ClientKeys), 300);
        assert_eq!(control("public, max-age=7200"), 7_200);
        assert_eq!(control("max-age=7200, no-cache=\"set-cookie, x\""), 60);
        assert_eq!((control("max-age=1"), control("max-age=x"), control("no-store")), (60, 60, 60));
        assert_eq!(control("max-age=99999999"), 86_400);
        assert_eq!(kept(&[("cache-control", "max-age=99999999")], Kind::IssuerKeys), 3_600);
        assert_eq!(kept(&[("cache-control", "max-age=600"), ("age", "500")], Kind::IssuerKeys), 100);
        let twice = [("cache-control", "max-age=600"), ("cache-control", "Max-Age=\"120\"")];
        assert_eq!(kept(&twice, Kind::IssuerKeys), 120);
    }
}
