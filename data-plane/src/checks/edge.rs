//! Row 1, edge: nothing is read before it is bounded.
//!
//! Header count and bytes, no encoded bodies, no credentials in the query string; and the bounded, timed read of the
//! body, which runs only once the caller is known. hyper bounds what it buffers (a little above these limits) and
//! rejects ambiguous framing (RFC 9112 section 6.3) before a request gets here.

use std::{future::poll_fn, net::IpAddr, sync::Arc, task::Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header, request::Parts, uri::Authority};
use http_body::Body;
use http_body_util::BodyExt;
use limits::{Concurrency, Lease};

use crate::{
    config::Bounds,
    limiter::Counted,
    refuse::{LimitName, Refusal},
};

/// Query parameters by which credentials are sent elsewhere (RFC 6750 section 2.3 and common practice).
const CREDENTIAL_PARAMETERS: [&str; 9] =
    ["access_token", "api_key", "api-key", "apikey", "auth", "authorization", "bearer", "key", "token"];

/// Headers that carry what nobody but their receiver may know.
const SECRET: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
    ::mcp::headers::SESSION_ID,
];

/// Evidence: a request head within bounds, and where it came from.
#[derive(Debug)]
pub(crate) struct Exchange {
    head: Parts,
    address: IpAddr,
}

impl Exchange {
    pub(crate) fn head(&self) -> &Parts {
        &self.head
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The caller's address; IPv4 also where it arrived mapped into IPv6.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// The one host the request names (RFC 9112 section 3.2): in its target, or in `Host`. None, several, or two that
    /// differ are refused: an intermediary and this gateway could read them differently.
    pub(crate) fn host(&self) -> Result<&str, Refusal> {
        let mut values = self.head.headers.get_all(header::HOST).iter();
        let named =
            values.next().map(|value| value.to_str().map_err(|_| Refusal::HostRefused)).transpose()?;
        let target = self.head.uri.authority().map(Authority::as_str);
        let host = match (target, named) {
            (Some(target), Some(named)) if !target.eq_ignore_ascii_case(named) => None,
            (target, named) => target.or(named),
        };
        host.filter(|host| values.next().is_none() && !host.is_empty() && host.bytes().all(is_host_byte))
            .ok_or(Refusal::HostRefused)
    }

    /// The caller's headers, for forwarding.
    pub(crate) fn into_headers(self) -> HeaderMap {
        self.head.headers
    }
}

/// Checks the head.
pub(crate) fn check(mut head: Parts, address: IpAddr, bounds: &Bounds) -> Result<Exchange, Refusal> {
    let target = head.uri.path().len() + head.uri.query().map_or(0, str::len);
    let mut bytes = target;
    for (name, value) in &head.headers {
        bytes += name.as_str().len() + value.len();
    }
    if head.headers.len() > bounds.headers || bytes > bounds.header_bytes {
        return Err(Refusal::HeadersTooLarge);
    }
    if head.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::ContentEncoding);
    }
    if head.uri.query().is_some_and(carries_credential) {
        return Err(Refusal::QueryToken);
    }
    for (name, value) in &mut head.headers {
        // Values so marked are not shown by `Debug`, wherever these headers get to.
        value.set_sensitive(SECRET.contains(name));
    }
    Ok(Exchange { head, address: address.to_canonical() })
}

/// Names, IPv4 and bracketed IPv6 addresses, a port; no user information, no percent-encoding.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

fn carries_credential(query: &str) -> bool {
    query.contains("pck_")
        || url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
            CREDENTIAL_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
                || value.contains("pck_")
        })
}

/// Evidence: a body that was read whole, within its cap and its time. Its bytes count as held as long as this lives.
#[derive(Debug)]
pub(crate) struct ReadBody {
    bytes: Bytes,
    waited_for: bool,
    _held: Option<Lease>,
}

impl ReadBody {
    /// Of a request that carries none.
    pub(crate) fn empty() -> Self {
        Self { bytes: Bytes::new(), waited_for: false, _held: None }
    }

    /// Whether it came later than its head.
    pub(crate) fn was_waited_for(&self) -> bool {
        self.waited_for
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Of a refused body so much is read and dropped: a caller that is still sending when the connection closes never sees
/// why it was refused.
const DISCARDED: u64 = 4 * 1024 * 1024;

/// Reads a body whole. The cap holds for chunked bodies too: nothing over it is kept. What is kept is added to `held`, which
/// the caller's other requests share: they are not counted otherwise before they are read.
pub(crate) async fn read<B>(
    body: B,
    limit: usize,
    held: &Arc<Concurrency>,
    bounds: &Bounds,
) -> Result<ReadBody, Refusal>
where
    B: Body<Data = Bytes>,
{
    // An announced length far over the cap is refused without reading anything of it.
    if body.size_hint().lower() > limit as u64 + DISCARDED {
        return Err(Refusal::RequestTooLarge);
    }
    let mut reading = std::pin::pin!(collect(body, limit, held.lease(), bounds.client_body_bytes));
    // Most bodies have come with their head: no timer is made for them.
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
        return read;
    }
    let read = tokio::time::timeout(bounds.body_timeout, reading).await;
    let read = read.unwrap_or(Err(Refusal::RequestTimeout))?;
    Ok(ReadBody { waited_for: true, ..read })
}

async fn collect<B>(body: B, limit: usize, mut held: Lease, max_held: u32) -> Result<ReadBody, Refusal>
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        // Trailers carry nothing that MCP knows; they are dropped.
        let Ok(data) = frame.map_err(|_| Refusal::BodyBroken)?.into_data() else { continue };
        total += data.len();
        if total > limit {
            drop((first, rest, data, held));
            return discard(body, Refusal::RequestTooLarge).await;
        }
        if !u32::try_from(data.len()).is_ok_and(|bytes| held.try_grow(bytes, max_held)) {
            drop((first, rest, data, held));
            let refusal = Refusal::ConcurrencyLimited {
                limit: LimitName::ClientBodyBytes,
                allowed: max_held,
                counted: Counted::Here,
            };
            return discard(body, refusal).await;
        }
        // Most bodies arrive in one piece, which is then used as it is.
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(head) => {
                rest.reserve(head.len() + data.len());
                rest.extend_from_slice(&head);
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(ReadBody { bytes: first.unwrap_or_else(|| rest.freeze()), waited_for: false, _held: Some(held) })
}

async fn discard<B>(mut body: std::pin::Pin<&mut B>, refusal: Refusal) -> Result<ReadBody, Refusal>
where
    B: Body<Data = Bytes>,
{
    let mut dropped = 0_u64;
    while let Some(Ok(frame)) = body.frame().await {
        dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
        if dropped > DISCARDED {
            break;
        }
    }
    Err(refusal)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::Ipv6Addr, time::Duration};

    use futures_util::stream;
    use http::Request;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn held() -> Arc<Concurrency> {
        Arc::default()
    }

    fn head(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn checked(request: http::request::Builder) -> Result<Exchange, Refusal> {
        check(head(request), IpAddr::from([198, 51, 100, 7]), &Bounds::default())
    }

    #[test]
    fn a_plain_request_passes_with_a_canonical_address() {
        let mapped = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc633, 0x6407));
        let exchange = check(head(Request::post("/a/b/mcp")), mapped, &Bounds::default()).unwrap();
        assert_eq!(exchange.address(), IpAddr::from([198, 51, 100, 7]));
    }

    #[test]
    fn what_is_shown_of_a_request_holds_no_credential() {
        let request = Request::post("/")
            .header("authorization", "Bearer very-secret")
            .header("cookie", "a=very-secret")
            .header("mcp-session-id", "very-secret");
        let shown = format!("{:?}", checked(request).unwrap());
        assert!(shown.contains("authorization") && !shown.contains("very-secret"), "{shown}");
    }

    #[test]
    fn too_many_or_too_long_headers_are_refused() {
        let many = (0..97).fold(Request::post("/"), |request, i| request.header(format!("x-{i}"), "v"));
        assert!(matches!(checked(many), Err(Refusal::HeadersTooLarge)));
        let long = Request::post("/").header("x-long", "v".repeat(32 * 1024));
        assert!(matches!(checked(long), Err(Refusal::HeadersTooLarge)));
    }

    #[test]
    fn an_encoded_body_is_refused_whatever_the_encoding() {
        for encoding in ["gzip", "identity", ""] {
            let refused = checked(Request::post("/").header("content-encoding", encoding));
            assert!(matches!(refused, Err(Refusal::ContentEncoding)), "{encoding}");
        }
    }

    #[test]
    fn credentials_in_the_query_are_refused_by_name_and_by_shape() {
        for query in ["access_token=x", "a=1&API_KEY=x", "toke%6E=x", "x=pck_abc", "x=pck%5Fabc"] {
            let refused = checked(Request::post(format!("/a/b/mcp?{query}")));
            assert!(matches!(refused, Err(Refusal::QueryToken)), "{query}");
        }
        assert!(checked(Request::post("/a/b/mcp?session=1")).is_ok());
    }

    fn chunks(parts: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
        let frames: Vec<_> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn bodies_are_read_whole_up_to_the_cap() {
        let bounds = Bounds::default();
        let whole = read(chunks(&["ab", "cd", "ef"]), 6, &held(), &bounds).await.unwrap();
        assert_eq!(whole.bytes(), "abcdef");
        let empty = read(chunks(&[]), 6, &held(), &bounds).await.unwrap();
        assert!(empty.bytes().is_empty());
    }

    #[tokio::test]
    async fn the_cap_holds_for_announced_and_for_chunked_bodies() {
        let bounds = Bounds::default();
        let announced = read(Full::new(Bytes::from_static(b"abcdefg")), 6, &held(), &bounds).await;
        assert!(matches!(announced, Err(Refusal::RequestTooLarge)));
        let chunked = read(chunks(&["abc", "def", "g"]), 6, &held(), &bounds).await;
        assert!(matches!(chunked, Err(Refusal::RequestTooLarge)));
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_given_up() {
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let bounds = Bounds { body_timeout: Duration::from_millis(5), ..Bounds::default() };
        assert!(matches!(read(never, 6, &held(), &bounds).await, Err(Refusal::RequestTimeout)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let broken = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>(std::io::Error::other("gone"))]));
        assert!(matches!(read(broken, 6, &held(), &Bounds::default()).await, Err(Refusal::BodyBroken)));
    }

    #[tokio::test]
    async fn bodies_of_one_client_share_what_may_be_held() {
        let bounds = Bounds { client_body_bytes: 10, ..Bounds::default() };
        let client = held();
        let first = read(chunks(&["abc", "def"]), 8, &client, &bounds).await.unwrap();
        assert_eq!(client.running(), 6);
        let second = read(chunks(&["abc", "de"]), 8, &client, &bounds).await;
        assert!(matches!(second, Err(Refusal::ConcurrencyLimited { allowed: 10, .. })));
        assert_eq!(client.running(), 6, "a refused body is held no longer");
        assert!(read(chunks(&["abcdef"]), 8, &held(), &bounds).await.is_ok(), "another client");
        drop(first);
        assert!(read(chunks(&["abc", "de"]), 8, &client, &bounds).await.is_ok());
        assert_eq!(client.running(), 0);
    }
}
