//! Who is calling and what they may do. Authorization is in a handler's signature: [`Operator`] for the installation,
//! [`InTenant`] with a scope for one tenant.

mod member;
mod urgent;

pub(crate) use self::member::{Browsing, csrf_token};
pub use self::{member::Anyone, urgent::UrgentOperator};

use std::{marker::PhantomData, net::IpAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequestParts, RawPathParams},
    http::request::Parts,
};
use crypto::{KeyKind, Presented, key};
use ids::{AdminTokenId, TenantId};
use time::OffsetDateTime;

use super::{
    known::{self, Whose},
    middleware::RequestId,
    problem::ApiError,
    queries, quota,
};
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
    db::{INSTALLATION, StoreError},
    http::scope::{Scope, Scopes},
    http::serve::Peer,
    people::admin::AdminSession,
};

/// A verified caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// For the audit log.
    pub actor: Actor,
    /// What it may do.
    pub scopes: Scopes,
    /// When the credential ends.
    not_after: Option<OffsetDateTime>,
    address: Option<IpAddr>,
    request_id: String,
    ending: Ending,
    /// Of a member who came in by a cookie.
    browser: Option<Arc<AdminSession>>,
}

impl Caller {
    /// An act of this caller. `operation`: the OpenAPI operation id; `target`: id of what it is about.
    pub fn act(&self, operation: &'static str, target: impl ToString) -> Act {
        Act {
            actor: self.actor,
            operation,
            target: target.to_string(),
            address: self.address,
            request_id: Some(self.request_id.clone()),
            ending: self.ending.clone(),
        }
    }
}

/// The caller holds an operator token.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Who.
    pub caller: Caller,
}

/// The caller may do `S` in the tenant that the path names. Operators may do everything; an admin token what its scopes
/// say, in its own tenant: for it every other tenant does not exist.
#[derive(Debug, Clone)]
pub struct InTenant<S> {
    /// The tenant.
    pub tenant: TenantId,
    /// Who.
    pub caller: Caller,
    scope: PhantomData<S>,
}

impl Operator {
    /// An act of this caller; see [`Caller::act`].
    pub fn act(&self, operation: &'static str, target: impl ToString) -> Act {
        self.caller.act(operation, target)
    }
}

impl<S> InTenant<S> {
    /// Whether the caller is an operator, who may do more than the tenant's own tokens.
    #[must_use]
    pub const fn is_operator(&self) -> bool {
        matches!(self.caller.actor, Actor::Operator(_))
    }

    /// Whether a token made by this caller may have `scope`: nobody gives more than they have.
    #[must_use]
    pub fn may_give(&self, scope: &str) -> bool {
        self.caller.scopes.contain(scope)
    }

    /// Whether a token made by this caller may last until `end` (`None`: for ever): nobody gives longer than they have.
    #[must_use]
    pub fn may_give_until(&self, end: Option<OffsetDateTime>) -> bool {
        match (self.caller.not_after, end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(end)) => end <= own,
        }
    }

    /// An act of this caller; see [`Caller::act`].
    pub fn act(&self, operation: &'static str, target: impl ToString) -> Act {
        self.caller.act(operation, target)
    }
}

/// As [`InTenant`], and for operators also a tenant that was deleted, by its id: its audit log outlives it.
#[derive(Debug, Clone)]
pub struct InTenantOrGone<S>(pub InTenant<S>);

/// Whether a deleted tenant may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleted {
    NotFound,
    Allowed,
}

pub(super) fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.address.ip())
}

pub(super) fn request_id(parts: &Parts) -> String {
    parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default()
}

/// What of its transaction the request wants; see [`super::ending`].
pub(super) fn ending(parts: &Parts) -> Ending {
    parts.extensions.get::<Ending>().cloned().unwrap_or_default()
}

/// Whose credential it is.
#[derive(Debug, Clone)]
pub(super) enum Authenticated {
    Operator(Caller),
    Admin { tenant: TenantId, slug: String, caller: Caller },
}

impl Authenticated {
    /// Who.
    pub(super) const fn caller(&self) -> &Caller {
        match self {
            Self::Operator(caller) | Self::Admin { caller, .. } => caller,
        }
    }

    /// Whose token it is; `None`: an operator's.
    pub(super) const fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Operator(_) => None,
            Self::Admin { tenant, .. } => Some(*tenant),
        }
    }
}

impl FromRequestParts<Core> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        match authenticate(parts, core).await? {
            Authenticated::Operator(caller) => Ok(Self { caller }),
            Authenticated::Admin { .. } => Err(ApiError::Forbidden { scope: "operator" }),
        }
    }
}

impl<S: Scope> FromRequestParts<Core> for InTenant<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        enter(parts, core, Deleted::NotFound).await
    }
}

impl<S: Scope> FromRequestParts<Core> for InTenantOrGone<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        enter(parts, core, Deleted::Allowed).await.map(Self)
    }
}

async fn enter<S: Scope>(parts: &mut Parts, core: &Core, deleted: Deleted) -> Result<InTenant<S>, ApiError> {
    let authenticated = authenticate(parts, core).await?;
    let params = RawPathParams::from_request_parts(parts, core).await.map_err(|_| ApiError::NotFound)?;
    let wanted = params.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value);
    // No slug has a NUL, and Postgres takes none.
    let wanted = wanted.filter(|wanted| !wanted.contains('\0')).ok_or(ApiError::NotFound)?;
    let (tenant, caller) = match authenticated {
        Authenticated::Operator(caller) => {
            let mut tx = core.store.operator().await?;
            let tenant = queries::tenant_by_name(&mut tx, wanted.parse().ok(), wanted).await?;
            drop(tx);
            let tenant = match tenant {
                None if deleted == Deleted::Allowed => gone(core, wanted).await?,
                tenant => tenant,
            };
            (tenant.ok_or(ApiError::NotFound)?, caller)
        }
        Authenticated::Admin { tenant, slug, caller } => {
            if wanted != slug && wanted.parse() != Ok(tenant) {
                return Err(ApiError::NotFound);
            }
            if !caller.scopes.contain(S::NAME) {
                return Err(ApiError::Forbidden { scope: S::NAME });
            }
            if S::JUST_SIGNED_IN {
                caller.just_signed_in(core)?;
            }
            (tenant, caller)
        }
    };
    Ok(InTenant { tenant, caller, scope: PhantomData })
}

/// The tenant of which nothing but its audit log is left. Every tenant has at least the act that made it.
async fn gone(core: &Core, wanted: &str) -> Result<Option<TenantId>, StoreError> {
    let Ok(id) = wanted.parse::<TenantId>() else { return Ok(None) };
    if id == INSTALLATION {
        return Ok(None);
    }
    let mut tx = core.store.audit_reader(id).await?;
    Ok(queries::has_records(&mut tx, id).await?.then_some(id))
}

/// Who is calling. Found out once for each request, whoever asks first.
pub(super) async fn authenticate(parts: &mut Parts, core: &Core) -> Result<Authenticated, ApiError> {
    if let Some(known) = parts.extensions.get::<Authenticated>() {
        return Ok(known.clone());
    }
    let authenticated = match member::cookie(parts, core) {
        Some(value) => member::present(parts, core, value).await?,
        None => present(parts, core).await?,
    };
    quota::count(core, parts, authenticated.caller().actor, authenticated.tenant())?;
    parts.extensions.insert(authenticated.clone());
    Ok(authenticated)
}

async fn present(parts: &Parts, core: &Core) -> Result<Authenticated, ApiError> {
    let presented = bearer(parts)?;
    let address = address(parts);
    let token = known::token(&presented);
    if let Some(whose) = token.and_then(|token| core.known.whose(&core.secrets, &token)) {
        quota::look(core, parts, whose)?;
    }
    // Only what is no token of ours: who guesses behind the same address locks out nobody.
    if let Err(retry_after) = core.may_authenticate(address)
        && !known::is_ours(core, token).await?
    {
        return Err(ApiError::AddressLimited { retry_after });
    }
    let identified = identify(parts, core, &presented, address).await;
    known::learn(core, address, token.as_ref(), &identified);
    identified
}

async fn identify(
    parts: &Parts,
    core: &Core,
    presented: &str,
    address: Option<IpAddr>,
) -> Result<Authenticated, ApiError> {
    let request_id = request_id(parts);
    let now = core.clock.now().to_offset();

    if let Ok(token) = key::parse(KeyKind::OperatorToken, presented) {
        let mut tx = core.store.auth().await?;
        let found = queries::operator_token(&mut tx, token.lookup).await?;
        drop(tx);
        let found = found.map(|found| (found.hash, Whose::Operator(found.id), found.id));
        let id = verified(core, &token, found)?;
        let mut tx = core.store.operator().await?;
        if !queries::operator_token_is_live(&mut tx, id, now).await? {
            return Err(ApiError::Unauthenticated);
        }
        let actor = Actor::Operator(id);
        return Ok(Authenticated::Operator(Caller {
            actor,
            scopes: Scopes::all(),
            not_after: None,
            address,
            request_id,
            ending: ending(parts),
            browser: None,
        }));
    }

    let token = key::parse(KeyKind::AdminToken, presented).map_err(|_| ApiError::Unauthenticated)?;
    let mut tx = core.store.auth().await?;
    let found = queries::admin_token(&mut tx, token.lookup).await?;
    drop(tx);
    let found = found.map(|found| {
        let whose = Whose::Admin(TenantId::from_uuid(found.tenant_id), found.id);
        (found.hash, whose, (found.tenant_id, found.id))
    });
    let (tenant, id) = verified(core, &token, found)?;
    let mut tx = core.store.tenant(TenantId::from_uuid(tenant)).await?;
    let live = queries::live_admin_token(&mut tx, id, now).await?.ok_or(ApiError::Unauthenticated)?;
    let actor = Actor::AdminToken(AdminTokenId::from_uuid(id));
    let scopes = Scopes::from_stored(live.scopes);
    let (not_after, ending) = (live.not_after, ending(parts));
    let caller = Caller { actor, scopes, not_after, address, request_id, ending, browser: None };
    Ok(Authenticated::Admin { tenant: TenantId::from_uuid(tenant), slug: live.slug, caller })
}

/// Whether that with which a caller came in still is good: asked again by what goes on for long.
pub(super) async fn is_live(core: &Core, tenant: TenantId, caller: &Caller) -> Result<bool, StoreError> {
    let now = core.clock.now().to_offset();
    match caller.actor {
        Actor::Operator(id) => {
            let mut tx = core.store.operator().await?;
            Ok(queries::operator_token_is_live(&mut tx, id, now).await?
                && queries::tenant_by_name(&mut tx, Some(tenant), "").await?.is_some())
        }
        Actor::AdminToken(id) => {
            let mut tx = core.store.tenant(tenant).await?;
            Ok(queries::live_admin_token(&mut tx, id.uuid(), now).await?.is_some())
        }
        Actor::Member(_) => member::is_live(core, tenant, caller).await,
        Actor::Proxy(_) | Actor::Client(_) | Actor::Stranger | Actor::System => Ok(false),
    }
}

/// What `found` carries, if its hash is this token's. Takes as long when nothing was found.
fn verified<T>(
    core: &Core,
    token: &Presented<'_>,
    found: Option<(Vec<u8>, Whose, T)>,
) -> Result<T, ApiError> {
    let Some((hash, whose, carried)) = found else {
        core.secrets.dummy_token(token);
        return Err(ApiError::Unauthenticated);
    };
    let hash: [u8; 32] =
        hash.try_into().map_err(|_| ApiError::internal("a stored token hash is not 32 bytes"))?;
    if !core.secrets.verify_token(token, &hash) {
        return Err(ApiError::Unauthenticated);
    }
    core.known.note(token, hash, whose);
    Ok(carried)
}

/// The token of exactly one `Authorization: Bearer …`.
fn bearer(parts: &Parts) -> Result<crypto::Zeroizing<String>, ApiError> {
    let mut values = parts.headers.get_all(http::header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::Unauthenticated);
    };
    let text = value.to_str().map_err(|_| ApiError::Unauthenticated)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(crypto::Zeroizing::new(token.trim().to_owned()))
        }
        _ => Err(ApiError::Unauthenticated),
    }
}
