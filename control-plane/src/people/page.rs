//! Pages that people see at the authorization servers' origin: no script, nothing of a third party, in no frame, kept by nobody.

use std::{sync::LazyLock, time::Duration};

use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::digest;
use errors::{ErrorCode, Level};
use http::{HeaderValue, StatusCode, header};
use url::{Host, Url};

use super::html::Html;
use crate::{db::StoreError, hashing::HashingError, http::problem::ApiError, oauth::error::OAuthError};

/// The pages' style. Its hash is in their policy, so nothing else can style them.
const STYLE: &str = include_str!("page.css");
static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(digest::sha256(STYLE.as_bytes())));

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) body: Html,
    /// Where else than here its form may lead in the end: browsers hold the redirects that follow a form against it too.
    pub(crate) leads_to: Option<String>,
    /// Cookies that it sets.
    pub(crate) cookies: Vec<HeaderValue>,
}

impl Page {
    /// A page that leads nowhere.
    pub(crate) fn new(title: &'static str, body: Html) -> Self {
        Self { status: StatusCode::OK, title, body, leads_to: None, cookies: Vec::new() }
    }

    fn policy(&self) -> String {
        let also = self.leads_to.as_deref().map(|source| format!(" {source}")).unwrap_or_default();
        format!(
            "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{also}; frame-ancestors 'none'; base-uri 'none'",
            *STYLE_HASH
        )
    }
}

/// The source expression for where a redirect URI leads, as narrow as the policy's grammar can say it.
pub(crate) fn source_of(redirect_uri: &str) -> Option<String> {
    let url = Url::parse(redirect_uri).ok()?;
    let scheme = url.scheme();
    let plain = |host: &str| host.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'.');
    match url.host() {
        // What has characters that could be read as another directive, or no form in the grammar, is said by its scheme alone.
        Some(Host::Domain(_) | Host::Ipv4(_)) if matches!(scheme, "http" | "https") => {
            let host = url.host_str().filter(|host| plain(host));
            Some(match (host, url.port()) {
                (Some(host), Some(port)) => format!("{scheme}://{host}:{port}"),
                (Some(host), None) => format!("{scheme}://{host}"),
                (None, _) => format!("{scheme}:"),
            })
        }
        _ => Some(format!("{scheme}:")),
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let policy = HeaderValue::try_from(self.policy());
        let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let mut html = Html::default();
        html.markup("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>")
            .markup(self.title)
            .markup("</title><meta name=\"viewport\" content=\"width=device-width\"><style>")
            .markup(STYLE)
            .markup("</style></head><body><main><h1>")
            .markup(self.title)
            .markup("</h1>")
            .piece(&self.body)
            .markup("</main></body></html>");
        let mut response = (self.status, html.into_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        for cookie in self.cookies {
            headers.append(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// Sends the browser on with a GET, whatever it has sent itself: what was in a form goes no further (never 307).
pub(crate) fn see_other(location: &str, cookies: Vec<HeaderValue>) -> Result<Response, PageError> {
    let location = HeaderValue::try_from(location).map_err(PageError::internal)?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// What a person is told who cannot have the page that they asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// What was sent is not what a page of ours sends, or that page is too old.
    #[error("form is not of a page shown here lately")]
    Form,
    /// There is no such invitation any more.
    #[error("invitation is not good")]
    Invitation,
    /// What an application has sent them here for cannot be, and where to send them back to is not known.
    #[error("{0}")]
    Authorization(&'static str),
    /// A company's provider lets nobody in.
    #[error("{0}")]
    Company(&'static str),
    /// The document that is to describe an application is not there, or not good.
    #[error("{0}")]
    Document(&'static str),
    /// Too many attempts.
    #[error("too many attempts to sign in")]
    Limited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// What the issuer, or reading the form, says.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// As [`PageError::Api`].
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// Postgres.
    #[error("store")]
    Store(#[from] StoreError),
}

impl PageError {
    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Api(ApiError::internal(cause))
    }

    /// Its code.
    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Form => ErrorCode::FormRefused,
            Self::Invitation => ErrorCode::InvitationInvalid,
            Self::Authorization(_) => ErrorCode::AuthorizationRefused,
            Self::Company(_) => ErrorCode::CompanySignInRefused,
            Self::Document(_) => ErrorCode::OauthClientDocumentInvalid,
            Self::Limited { .. } => ErrorCode::SignInLimited,
            Self::Api(error) => error.code(),
            Self::OAuth(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }

    fn log(&self) {
        let entry = self.code().entry();
        let cause = std::error::Error::source(self).map(ToString::to_string).unwrap_or_default();
        match entry.level {
            Level::Debug | Level::Info => {
                tracing::info!(error.code = entry.slug, error.cause = cause, "page refused");
            }
            Level::Warn => tracing::warn!(error.code = entry.slug, error.cause = cause, "page refused"),
            Level::Error => tracing::error!(error.code = entry.slug, error.cause = cause, "page failed"),
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        self.log();
        let entry = self.code().entry();
        let mut body = Html::default();
        body.markup("<p class=\"wrong\">")
            .text(entry.title)
            .markup(".</p><p>")
            .text(entry.remedy)
            .markup("</p>");
        if let Self::Authorization(detail) | Self::Company(detail) | Self::Document(detail) = self {
            body.markup("<p>").text(detail).markup("</p>");
        }
        body.markup("<p><code>").text(entry.slug).markup("</code></p>");
        let mut page = Page::new("This cannot be shown", body);
        page.status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = page.into_response();
        if let Self::Limited { retry_after } = self {
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<HashingError> for PageError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Crowded => Self::Limited { retry_after: HashingError::RETRY_AFTER },
            error @ HashingError::Ended(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_where_a_form_may_lead_and_nothing_else() {
        for (uri, source) in [
            ("https://app.example/cb?x=1", "https://app.example"),
            ("https://app.example:8443/cb", "https://app.example:8443"),
            ("http://127.0.0.1:7777/cb", "http://127.0.0.1:7777"),
            ("http://[::1]:7777/cb", "http:"),
            ("com.example.app:/cb", "com.example.app:"),
            ("com.example.app://host/cb", "com.example.app:"),
            ("https://a.example;script-src/cb", "https:"),
            ("https://a.example,b.example/cb", "https:"),
        ] {
            assert_eq!(source_of(uri).as_deref(), Some(source), "{uri}");
        }
    }
}
