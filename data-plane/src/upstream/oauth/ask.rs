//! Asking an issuer for a token: one request, over a connection that passes the guard of calls, without redirects, bounded in size and
//! time.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use seams::Monotonic;
use serde::Deserialize;
use serde_json::json;
use url::{Host, Url, form_urlencoded};

use super::{
    super::{connect, error::UpstreamError, origin::Origin, tls::TlsOptions},
    At, Means, Settings, Shown, TokenError, after,
};

/// All of it: where the endpoint is, too.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;
/// Bytes of a token.
const MAX_TOKEN: usize = 16 * 1024;
/// How long metadata is believed.
const FOUND_FOR: Duration = Duration::from_secs(60 * 60);
/// The life of a token whose issuer does not say, and the longest that is believed.
const UNSAID_LIFE: u64 = 300;
const LONGEST_LIFE: u64 = 24 * 60 * 60;
/// Seconds for which what the gateway signs is good.
const ASSERTION_LIFE: u64 = 60;

/// A token as it was given.
pub(super) struct Given {
    pub(super) value: HeaderValue,
    pub(super) life: Duration,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// The errors that are told on (RFC 6749 section 5.2, RFC 8707): whatever else is said is the issuer's own affair.
const TOLD: [&str; 7] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
];

pub(super) async fn ask(
    settings: &Settings,
    found: &mut Option<(Url, Monotonic)>,
    means: &Means,
) -> Result<Given, TokenError> {
    let asked = async {
        let endpoint = match &settings.at {
            At::Endpoint(url) => url.clone(),
            At::Issuer(issuer) => endpoint_of(issuer, settings, found, means).await?,
        };
        let request = request(settings, &endpoint, means)?;
        let (status, body) = send(&endpoint, settings, request, means).await?;
        read(status, &body)
    };
    tokio::time::timeout(WITHIN, Box::pin(asked)).await.unwrap_or(Err(TokenError::Late))
}

/// The token endpoint that the issuer's metadata names.
async fn endpoint_of(
    issuer: &str,
    settings: &Settings,
    found: &mut Option<(Url, Monotonic)>,
    means: &Means,
) -> Result<Url, TokenError> {
    let now = means.clock.monotonic();
    if let Some((url, until)) = found
        && now < *until
    {
        return Ok(url.clone());
    }
    let base: Url = issuer.parse().map_err(|_| TokenError::Metadata)?;
    let path = base.path().trim_end_matches('/');
    // RFC 8414 section 3.1, and where OpenID Connect looks.
    let places = [
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ];
    let mut failed = TokenError::Metadata;
    for place in places {
        let mut url = base.clone();
        url.set_path(&place);
        url.set_query(None);
        let get = Request::new(Full::default());
        match send(&url, settings, get, means).await {
            Ok((StatusCode::OK, body)) => {
                let said: Metadata = serde_json::from_slice(&body).map_err(|_| TokenError::Metadata)?;
                // Byte for byte: otherwise one issuer could send the gateway's secret to another's endpoint.
                if said.issuer != issuer {
                    return Err(TokenError::Metadata);
                }
                let endpoint: Url = said.token_endpoint.parse().map_err(|_| TokenError::Metadata)?;
                *found = Some((endpoint.clone(), after(now, FOUND_FOR)));
                return Ok(endpoint);
            }
            Ok((status, _)) if status.is_client_error() => {}
            Ok((status, _)) => failed = TokenError::Status(status.as_u16()),
            Err(error) => return Err(error),
        }
    }
    Err(failed)
}

/// What is sent to the token endpoint.
fn request(settings: &Settings, endpoint: &Url, means: &Means) -> Result<Request<Full<Bytes>>, TokenError> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", &settings.scope), ("resource", &settings.resource)] {
        if !value.is_empty() {
            form.append_pair(name, value);
        }
    }
    let mut authorization = None;
    match &settings.shown {
        Shown::Basic(secret) => {
            let encoded = |part: &[u8]| form_urlencoded::byte_serialize(part).collect::<String>();
            let pair = format!("{}:{}", encoded(settings.client_id.as_bytes()), encoded(secret));
            let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
            let mut value = value.map_err(|_| TokenError::Secret)?;
            value.set_sensitive(true);
            authorization = Some(value);
        }
        Shown::Post(secret) => {
            form.append_pair("client_id", &settings.client_id);
            form.append_pair("client_secret", std::str::from_utf8(secret).map_err(|_| TokenError::Secret)?);
        }
        Shown::Key(kid, key) => {
            let now = means.clock.now().micros() / 1_000_000;
            let audience = match &settings.at {
                At::Issuer(issuer) => &**issuer,
                At::Endpoint(_) => endpoint.as_str(),
            };
            let claims = json!({
                "iss": &*settings.client_id, "sub": &*settings.client_id, "aud": audience, "iat": now,
                "exp": now + ASSERTION_LIFE, "jti": URL_SAFE_NO_PAD.encode(means.entropy.bytes::<16>()),
            });
            let assertion = key.sign(kid, "JWT", &claims).map_err(|_| TokenError::Secret)?;
            form.append_pair("client_id", &settings.client_id);
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            form.append_pair("client_assertion_type", kind);
            form.append_pair("client_assertion", &assertion);
        }
        Shown::Nothing => return Err(TokenError::Secret),
    }
    let mut request = Request::new(Full::new(Bytes::from(form.finish())));
    *request.method_mut() = Method::POST;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, form);
    if let Some(authorization) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, authorization);
    }
    Ok(request)
}

/// Sends a request over a connection of its own and reads its answer.
async fn send(
    url: &Url,
    settings: &Settings,
    mut request: Request<Full<Bytes>>,
    means: &Means,
) -> Result<(StatusCode, Bytes), TokenError> {
    if !is_confidential(url) {
        return Err(TokenError::Insecure);
    }
    let tls = TlsOptions { ca_der: &settings.ca_der, ..TlsOptions::default() };
    let origin = Origin::at(url, &tls).map_err(|_| TokenError::Unreachable)?.without_h2();
    let headers = request.headers_mut();
    headers.insert(header::HOST, origin.host_header());
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    *request.uri_mut() = origin.target();
    let connected = connect::connect(&origin, &means.rules, &*means.resolver, None, WITHIN).await;
    let connected = connected.map_err(|error| match error {
        UpstreamError::AddressRefused(_) => TokenError::Address,
        UpstreamError::Timeout(_) => TokenError::Late,
        _ => TokenError::Unreachable,
    })?;
    let broken = |_| TokenError::Unreachable;
    let (mut sender, connection) = http1::handshake(TokioIo::new(connected.io)).await.map_err(broken)?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        // Longer than the limit, or broken: either way there is no answer to read.
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| TokenError::Answer)?;
        Ok((head.status, body.to_bytes()))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may be over before its last bytes are read here.
        ended = connection => match ended {
            Err(_) => Err(TokenError::Unreachable),
            Ok(()) => exchange.await,
        },
    }
}

/// Whether what is sent there is read by nobody on the way: encrypted, or to where an operator has allowed a server inside.
fn is_confidential(url: &Url) -> bool {
    let inside = |address| egress::classify(address) != egress::Class::Public;
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(v4))) => inside(v4.into()),
        ("http", Some(Host::Ipv6(v6))) => inside(v6.into()),
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Given, TokenError> {
    if status != StatusCode::OK {
        let said = serde_json::from_slice::<Refusal>(body).ok();
        let told = said.and_then(|said| TOLD.into_iter().find(|told| *told == said.error));
        return Err(told.map_or(TokenError::Status(status.as_u16()), TokenError::Refused));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| TokenError::Answer)?;
    let token = zeroize(answer.access_token);
    let fits = (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Answer);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", *token)).map_err(|_| TokenError::Answer)?;
    value.set_sensitive(true);
    let life = answer.expires_in.unwrap_or(UNSAID_LIFE).min(LONGEST_LIFE);
    if life == 0 {
        return Err(TokenError::Answer);
    }
    Ok(Given { value, life: Duration::from_secs(life) })
}

fn zeroize(text: String) -> crypto::Zeroizing<String> {
    crypto::Zeroizing::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(status: u16, body: &str) -> Result<(String, u64), TokenError> {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
            .map(|given| (given.value.to_str().unwrap().to_owned(), given.life.as_secs()))
    }

    #[test]
    fn a_token_is_one_that_can_be_sent_as_bearer() {
        let good = r#"{"access_token":"abc","token_type":"bearer","expires_in":60,"other":1}"#;
        assert_eq!(given(200, good), Ok(("Bearer abc".to_owned(), 60)));
        assert_eq!(given(200, r#"{"access_token":"a","token_type":"Bearer"}"#).unwrap().1, 300);
        let long = r#"{"access_token":"a","token_type":"Bearer","expires_in":99999999}"#;
        assert_eq!(given(200, long).unwrap().1, 86_400);
        let large = format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "a".repeat(MAX_TOKEN + 1));
        for bad in [
            "",
            "[]",
            r#"{"access_token":"abc"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":"a b","token_type":"bearer"}"#,
            r#"{"access_token":"a\r\nX-Y: z","token_type":"bearer"}"#,
            r#"{"access_token":"abc","token_type":"DPoP"}"#,
            r#"{"access_token":"abc","token_type":"bearer","expires_in":0}"#,
            r#"{"access_token":"abc","token_type":"bearer","expires_in":-1}"#,
            &large,
        ] {
            assert_eq!(given(200, bad), Err(TokenError::Answer), "{bad}");
        }
        assert_eq!(given(302, good), Err(TokenError::Status(302)));
        assert_eq!(given(201, good), Err(TokenError::Status(201)));
    }

    #[test]
    fn of_a_refusal_only_what_the_standard_knows_is_told_on() {
        assert_eq!(given(401, r#"{"error":"invalid_client"}"#), Err(TokenError::Refused("invalid_client")));
        assert_eq!(given(400, r#"{"error":"secret is hunter2"}"#), Err(TokenError::Status(400)));
        assert_eq!(given(500, "hunter2"), Err(TokenError::Status(500)));
    }

    #[test]
    fn secrets_go_where_nobody_listens() {
        for (url, confidential) in [
            ("https://auth.example.com/token", true),
            ("http://127.0.0.1:9000/token", true),
            ("http://10.0.0.1/token", true),
            ("http://localhost/token", true),
            ("http://auth.example.com/token", false),
            ("http://1.1.1.1/token", false),
            ("ftp://127.0.0.1/", false),
            ("data:text/plain,x", false),
        ] {
            assert_eq!(is_confidential(&url.parse().unwrap()), confidential, "{url}");
        }
    }
}
