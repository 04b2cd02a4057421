//! `{api origin}/session/…`: where a member comes to the API's origin from their tenant's issuer, and where they leave.
//!
//! What is to come back from the issuer is bound to the browser by one cookie that nobody else has: `state` and the code's verifier are
//! made of it and of the tenant, so nothing is stored for somebody who only sets out.

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use crypto::{digest, secret::ct_eq};
use http::{HeaderValue, StatusCode, header};
use ids::Slug;

use super::queries;
use crate::{
    app::Core,
    http::{auth::Browsing, problem::ApiError},
    oauth::{
        authorize::admin::{self, challenge},
        client::Origin,
        form::Form,
        issuer,
    },
    people::{
        cookie::{Cookie, Value, check_navigation},
        html::Html,
        log,
        page::{Page, PageError, see_other, source_of},
        session, sign_in,
    },
};

/// Bytes of a query.
const MAX_QUERY: usize = 2 * 1024;

/// Sends a browser to the issuer of the tenant that it names, or asks for one.
pub(crate) async fn begin(
    State(core): State<Core>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    // No other site sends somebody into another tenant than the one that they are in.
    check_navigation(&headers)?;
    let form = query(&uri)?;
    let Some(slug) = form.get("tenant").map(str::trim) else { return Ok(ask(&core)) };
    if slug.parse::<Slug>().is_err() {
        return Err(PageError::Form);
    }
    let start = Value::new(&core);
    let mut location = url::Url::parse(&format!("{}/authorize", issuer::url(&core.config.urls.auth, slug)))
        .map_err(PageError::internal)?;
    location
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", admin::CLIENT)
        .append_pair("redirect_uri", &admin::redirect_uri(&core))
        .append_pair("state", &start.derive("state", slug))
        .append_pair("code_challenge", &challenge(&start.derive("verifier", slug)))
        .append_pair("code_challenge_method", "S256");
    for name in ["prompt", "max_age"] {
        if let Some(value) = form.get(name) {
            location.query_pairs_mut().append_pair(name, value);
        }
    }
    see_other(location.as_str(), vec![Cookie::Start.set(&core, &start)?])
}

/// Asks for which tenant.
fn ask(core: &Core) -> Response {
    let mut body = Html::default();
    body.markup("<form method=\"get\" action=\"/session/sign-in\">");
    sign_in::organisation(&mut body, "");
    body.markup("<button>Go on</button></form>");
    let mut page = Page::new("Sign in", body);
    page.leads_to = source_of(core.config.urls.auth.as_str());
    page.into_response()
}

/// Takes what the issuer gives.
pub(crate) async fn callback(
    State(core): State<Core>,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let form = query(&uri)?;
    let start = Cookie::Start.read(&core, &headers).ok_or(PageError::Form)?;
    // Who answers (RFC 9207) is who was asked: the state is of that tenant alone.
    let issuers = issuer::url(&core.config.urls.auth, "");
    let slug = form.get("iss").and_then(|iss| iss.strip_prefix(issuers.as_str())).ok_or(PageError::Form)?;
    let state = form.get("state").unwrap_or_default();
    if !ct_eq(state.as_bytes(), start.derive("state", slug).as_bytes()) {
        return Err(PageError::Form);
    }
    let issuer = issuer::find(&core, slug, origin.address).await?;
    let code = digest::sha256(form.get("code").ok_or(PageError::Form)?.as_bytes());
    let value = Value::new(&core);
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let verifier = start.derive("verifier", slug);
    let Some((member, parent)) = super::redeem(&mut tx, &core, (&code, &verifier), &value).await? else {
        // What was used twice has ended.
        tx.commit_unpublished().await?;
        return Err(PageError::Form);
    };
    let mut outside = tx.leave().await?;
    queries::end_others(&mut outside, &parent, &value.digest()).await?;
    let tx = outside.enter(issuer.tenant).await?;
    log::done(tx, &core, &log::act(member, &origin, "begin_admin_session", member.to_string())).await?;
    let mut body = Html::default();
    body.markup("<p>You are signed in to <code>").text(slug);
    body.markup("</code>.</p><p><a href=\"/v1/session\">Who you are and what you may do</a> · <a href=\"/v1/reference\">The API</a></p>");
    let mut page = Page::new("Signed in", body);
    page.cookies = vec![Cookie::Admin.set(&core, &value)?, Cookie::Start.clear(&core)?];
    Ok(page.into_response())
}

/// Ends the session, and the one at the authorization servers' origin that it came of.
pub(crate) async fn sign_out(
    State(core): State<Core>,
    browsing: Browsing,
    origin: Origin,
) -> Result<Response, ApiError> {
    let own = browsing.0;
    log::record(&core, own.account, &origin, "sign_out", None).await?;
    session::end_by_digest(&core, &own.parent).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let cleared: HeaderValue = Cookie::Admin.clear(&core).map_err(ApiError::internal)?;
    response.headers_mut().append(header::SET_COOKIE, cleared);
    Ok(response)
}

fn query(uri: &Uri) -> Result<Form, PageError> {
    let query = uri.query().unwrap_or_default();
    if query.len() > MAX_QUERY {
        return Err(PageError::Form);
    }
    Form::of_query(query).map_err(|_| PageError::Form)
}
