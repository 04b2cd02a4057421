//! Members who administer by themselves: a session at this origin stands for a token with the scopes of their role.
//!
//! A browser sends its cookie by itself, so more is asked of it than of a token: what is read comes from this origin or from nowhere
//! else, what is written names this origin and carries what only a page that may read it knows, and what is dangerous is done by
//! somebody who has just signed in.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, request::Parts},
};
use crypto::secret::ct_eq;
use ids::TenantId;

use super::{Authenticated, Caller, address, ending, request_id};
use crate::{
    app::Core,
    audit::Actor,
    db::StoreError,
    http::{ending::is_write, problem::ApiError, scope::Scopes},
    people::{
        admin::{self, AdminSession, Asking, Standing},
        cookie::{Cookie, Value, check_origin},
        session::FRESH,
    },
};

/// What a write by cookie carries: see [`csrf_token`].
const CSRF: HeaderName = HeaderName::from_static("portcullis-csrf");

/// What shows that a page of this origin has asked who it is (`GET /v1/session`).
pub(crate) fn csrf_token(session: &AdminSession) -> String {
    session.value.derive("csrf", "")
}

/// Whether a browser comes in by its cookie: what shows a token is asked for that alone.
pub(super) fn cookie(parts: &Parts, core: &Core) -> Option<Value> {
    let shows_token = parts.headers.contains_key(http::header::AUTHORIZATION);
    Cookie::Admin.read(core, &parts.headers).filter(|_| !shows_token)
}

pub(super) async fn present(parts: &Parts, core: &Core, value: Value) -> Result<Authenticated, ApiError> {
    let address = address(parts);
    let Some(Standing { session, role, .. }) = admin::find(core, &value, Asking::Used).await? else {
        let limited = |retry_after| ApiError::AddressLimited { retry_after };
        core.may_authenticate(address).map_err(limited)?;
        core.authentication_failed(address);
        return Err(ApiError::Unauthenticated);
    };
    check_source(parts, core, &session)?;
    let scopes = role.scopes().iter().map(|scope| (*scope).to_owned()).collect();
    let (tenant, slug) = (session.tenant, session.slug.clone());
    let caller = Caller {
        actor: Actor::Member(session.member),
        scopes: Scopes::from_stored(scopes),
        not_after: None,
        address,
        request_id: request_id(parts),
        ending: ending(parts),
        browser: Some(Arc::new(session)),
    };
    Ok(Authenticated::Admin { tenant, slug, caller })
}

/// Whether a page of this origin has sent it.
fn check_source(parts: &Parts, core: &Core, session: &AdminSession) -> Result<(), ApiError> {
    if !is_write(&parts.method) {
        let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let elsewhere = site.is_some_and(|site| site != b"same-origin" && site != b"none");
        return if elsewhere { Err(ApiError::CrossSite) } else { Ok(()) };
    }
    check_origin(&core.config.urls.control, &parts.headers).map_err(|_| ApiError::CrossSite)?;
    let mut given = parts.headers.get_all(CSRF).iter();
    let own = csrf_token(session);
    match (given.next(), given.next()) {
        (Some(given), None) if ct_eq(given.as_bytes(), own.as_bytes()) => Ok(()),
        _ => Err(ApiError::CrossSite),
    }
}

/// Whether the member's session still is one; asked again by what goes on for long.
pub(super) async fn is_live(core: &Core, tenant: TenantId, caller: &Caller) -> Result<bool, StoreError> {
    let Some(browser) = &caller.browser else { return Ok(false) };
    Ok(browser.tenant == tenant && admin::find(core, &browser.value, Asking::LeftOpen).await?.is_some())
}

impl Caller {
    /// What is dangerous is not done with a session that was left open. A token is asked nothing here: nobody leaves one open.
    ///
    /// # Errors
    /// [`ApiError::SignInTooOld`].
    pub(crate) fn just_signed_in(&self, core: &Core) -> Result<(), ApiError> {
        match &self.browser {
            Some(browser) if core.clock.now().since(browser.signed_in_at) > FRESH => {
                Err(ApiError::SignInTooOld)
            }
            _ => Ok(()),
        }
    }

    /// The session, of somebody who came in by one.
    pub(crate) fn browser(&self) -> Option<&AdminSession> {
        self.browser.as_deref()
    }
}

/// Somebody who came in by a cookie.
#[derive(Debug, Clone)]
pub(crate) struct Browsing(pub(crate) Arc<AdminSession>);

impl FromRequestParts<Core> for Browsing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        let authenticated = super::authenticate(parts, core).await?;
        authenticated.caller().browser.clone().map(Self).ok_or(ApiError::Unauthenticated)
    }
}

/// Anybody who is known, and in which tenant; `None`: an operator.
#[derive(Debug, Clone)]
pub struct Anyone {
    /// Who.
    pub caller: Caller,
    /// Id and slug.
    pub tenant: Option<(TenantId, String)>,
}

impl FromRequestParts<Core> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        Ok(match super::authenticate(parts, core).await? {
            Authenticated::Operator(caller) => Self { caller, tenant: None },
            Authenticated::Admin { tenant, slug, caller } => Self { caller, tenant: Some((tenant, slug)) },
        })
    }
}
