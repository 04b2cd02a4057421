//! `{issuer}/sign-in/{provider}`: people sign in to a tenant by their company's OpenID provider (OpenID Connect Core section 3.1, with PKCE).
//!
//! What comes back is bound to the browser by one cookie that nobody else has: `state`, `nonce` and the code's verifier are made of it, of
//! the provider, and of where the browser is to go on to, so nothing is stored for somebody who only sets out.

mod claims;
mod provider;
mod queries;
mod who;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::secret::ct_eq;
use ids::SignInProviderId;

use self::provider::Provider;
use super::{
    cookie::{Cookie, Value, check_navigation},
    html::Html,
    page::{PageError, see_other},
    session::{self, Made},
    visitor::Visitor,
};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
    oauth::{
        authorize::{admin::challenge, after_sign_in, asks_anew},
        client::Origin,
        form::Form,
        issuer::{self, Issuer},
    },
    resources::sign_in_providers,
};

/// Bytes of a query.
const MAX_QUERY: usize = 16 * 1024;
/// Bytes of where to go on to: it goes to the provider and back. What is longer is begun anew by whoever sent the person.
const MAX_PLACE: usize = 3 * 1024;
/// Where whoever cannot go on to anything is.
const ACCOUNT: &str = "/account";

/// A provider as it stands on the page of sign-in.
#[derive(Debug, Clone)]
pub(crate) struct Company {
    pub(crate) id: SignInProviderId,
    pub(crate) name: String,
}

/// Those of the tenant that are switched on.
pub(crate) async fn of(tx: &mut TenantTx, core: &Core) -> Result<Box<[Company]>, StoreError> {
    let all = sign_in_providers::queries::list(tx, core, ids::Uuid::nil(), 100).await?;
    let enabled = all.into_iter().filter(|one| one.settings.enabled);
    Ok(enabled.map(|one| Company { id: one.id, name: one.settings.name.as_str().to_owned() }).collect())
}

/// Where the provider sends people back to.
pub(crate) fn redirect_uri(core: &Core, slug: &str, provider: SignInProviderId) -> String {
    format!("{}/sign-in/{provider}/callback", issuer::url(&core.config.urls.auth, slug))
}

/// The links by which one sets out from the page at `place`.
pub(crate) fn links(body: &mut Html, issuer: &Issuer, place: &str) {
    for company in &issuer.companies {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("to", place).finish();
        body.markup("<p><a href=\"").text(&format!("/t/{}/sign-in/{}?{query}", issuer.slug, company.id));
        body.markup("\">Sign in with ").text(&company.name).markup("</a></p>");
    }
}

/// Sends the browser to the provider.
pub(crate) async fn begin(
    State(core): State<Core>,
    Path((slug, id)): Path<(String, String)>,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    check_navigation(&headers)?;
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let form = query(&uri)?;
    let to = place(&issuer, form.get("to").unwrap_or_default());
    // Nobody has shown anything yet, and each asks of the provider what is kept for a while.
    let limited = |retry_after| PageError::Limited { retry_after };
    core.sign_ins.unknown(origin.address, core.clock.monotonic()).map_err(limited)?;
    let provider = Provider::find(&core, &issuer, &id).await?;
    let start = Value::new(&core);
    let what = context(&provider, &to);
    let mut location = provider.metadata.authorization_endpoint.clone();
    location
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &provider.settings.client_id)
        .append_pair("redirect_uri", &provider.redirect_uri)
        .append_pair("scope", "openid email profile")
        .append_pair("state", &format!("{}.{}", start.derive("state", &what), URL_SAFE_NO_PAD.encode(&to)))
        .append_pair("nonce", &start.derive("nonce", &what))
        .append_pair("code_challenge", &challenge(&start.derive("verifier", &what)))
        .append_pair("code_challenge_method", "S256");
    if asks_anew(&to) {
        location.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
    }
    see_other(location.as_str(), vec![Cookie::Company.set(&core, &start)?])
}

/// Takes what the provider says, and goes on.
pub(crate) async fn callback(
    State(core): State<Core>,
    Path((slug, id)): Path<(String, String)>,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let form = query(&uri)?;
    let start = Cookie::Company.read(&core, &headers).ok_or(PageError::Form)?;
    let (state, to) = form.get("state").and_then(|state| state.split_once('.')).ok_or(PageError::Form)?;
    let to =
        URL_SAFE_NO_PAD.decode(to).ok().and_then(|to| String::from_utf8(to).ok()).ok_or(PageError::Form)?;
    let limited = |retry_after| PageError::Limited { retry_after };
    core.sign_ins.unknown(origin.address, core.clock.monotonic()).map_err(limited)?;
    let provider = Provider::find(&core, &issuer, &id).await?;
    let what = context(&provider, &to);
    if !ct_eq(state.as_bytes(), start.derive("state", &what).as_bytes()) {
        return Err(PageError::Form);
    }
    let nonce = start.derive("nonce", &what);
    let said = match provider.answered(&form) {
        Ok(code) => provider.exchange(&core, code, &start.derive("verifier", &what)).await,
        Err(refused) => Err(refused),
    };
    let said = match said {
        Ok(token) => provider.read(&core, &token, (&nonce, asks_anew(&to))).await,
        Err(refused) => Err(refused),
    };
    let said = said.map_err(|refused| refused.page(&provider))?;
    let visitor = Visitor::of(&core, &headers, &origin).await?;
    let account = who::admit(&core, (&issuer, &provider), &said, (visitor.session.as_ref(), &origin)).await?;
    let before = visitor.session.as_ref().map(|session| &session.value);
    let made = Made { at: said.signed_in_at, only: Some(issuer.tenant) };
    let value = session::begin(&core, account, made, before).await?;
    let cookies =
        vec![Cookie::Session.set(&core, &value)?, Cookie::Visit.clear(&core)?, Cookie::Company.clear(&core)?];
    see_other(&after_sign_in(&to)?, cookies)
}

/// What the cookie's secrets are for.
fn context(provider: &Provider, to: &str) -> String {
    format!("{} {to}", provider.id)
}

/// Where to go on to: pages of this tenant's issuer, and one's account.
fn place(issuer: &Issuer, to: &str) -> String {
    let pages = ["authorize", "device"].map(|page| format!("/t/{}/{page}", issuer.slug));
    let own = pages.iter().any(|page| {
        to.strip_prefix(page.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
    });
    let plain = to.len() <= MAX_PLACE && to.bytes().all(|c| c.is_ascii_graphic() && c != b'\\');
    if own && plain { to.to_owned() } else { ACCOUNT.to_owned() }
}

fn query(uri: &Uri) -> Result<Form, PageError> {
    let query = uri.query().unwrap_or_default();
    if query.len() > MAX_QUERY {
        return Err(PageError::Form);
    }
    Form::of_query(query).map_err(|_| PageError::Form)
}
