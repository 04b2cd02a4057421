//! `/v1/tenants/{tenant}/sign-in-providers`.

use crypto::{Aad, ExposeSecret as _, Purpose, SecretString, digest};
use http::StatusCode;
use ids::{SignInProviderId, TenantId};

use super::{
    admission,
    queries::{self, Sealed},
    types::{SignInProvider, SignInProviderSettings},
};
use crate::{
    data_keys,
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    publish::commit::commit_unpublished,
    resources::members::routes::may_make,
};

/// Sign-in providers of a tenant.
const MOST: i64 = 16;

/// All sign-in providers, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sign-in-providers", operation_id = "list_sign_in_providers", tag = "sign_in_providers",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<SignInProvider>), Problems),
    security(("token" = ["sign_in_providers:read"])))]
pub async fn list(
    caller: InTenant<SignInProvidersRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let providers = queries::list(&mut tx, &core, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, providers, |provider| provider.id)
}

/// Lets the tenant's own people sign in by an OpenID provider (authorization code with PKCE). Accounts that come of it are at home in
/// the tenant, and what it says opens nothing of other tenants, whatever the account is a member of.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sign-in-providers", operation_id = "create_sign_in_provider", tag = "sign_in_providers",
    params(TenantPath), request_body = SignInProviderSettings,
    responses((status = 201, description = "Made", body = SignInProvider), Problems),
    security(("token" = ["sign_in_providers:write"])))]
pub async fn create(
    caller: InTenant<SignInProvidersWrite>,
    State(core): State<Core>,
    Json(settings): Json<SignInProviderSettings>,
) -> Result<Reply, ApiError> {
    check(&caller, &settings)?;
    let secret = settings.client_secret.as_ref().ok_or(ApiError::invalid("/client_secret", "is missing"))?;
    let now = core.clock.now();
    let id = SignInProviderId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if queries::count(&mut tx).await? >= MOST {
        return Err(ApiError::Conflict("the tenant has 16 sign-in providers; delete some"));
    }
    let sealed = seal(&mut tx, &core, caller.tenant, id, secret).await?;
    queries::insert(&mut tx, id, &settings, &sealed, now.to_offset()).await?;
    let made = queries::get(&mut tx, &core, id).await?;
    commit_unpublished(tx, &core, &caller.act("create_sign_in_provider", id)).await?;
    Reply::with(StatusCode::CREATED, &made)
}

/// Nobody lets a group administer what they may not do themselves.
fn check(caller: &InTenant<SignInProvidersWrite>, settings: &SignInProviderSettings) -> Result<(), ApiError> {
    admission::check(settings)?;
    settings.rules.iter().filter_map(|rule| rule.admin_role).try_for_each(|role| may_make(caller, role))
}

/// A sign-in provider.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sign-in-providers/{sign_in_provider}", operation_id = "get_sign_in_provider",
    tag = "sign_in_providers", params(TenantPath, ("sign_in_provider" = String, Path, description = "Id (`sip_…`)")),
    responses((status = 200, description = "The provider", body = SignInProvider), Problems),
    security(("token" = ["sign_in_providers:read"])))]
pub async fn get(
    caller: InTenant<SignInProvidersRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<SignInProviderId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, &core, id).await?)
}

/// Changes a sign-in provider. Who has signed in by it stays so until their session ends.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/sign-in-providers/{sign_in_provider}", operation_id = "update_sign_in_provider",
    tag = "sign_in_providers", params(TenantPath, IfMatch, ("sign_in_provider" = String, Path, description = "Id (`sip_…`)")),
    request_body(content = SignInProviderSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = SignInProvider), Problems),
    security(("token" = ["sign_in_providers:write"])))]
pub async fn update(
    caller: InTenant<SignInProvidersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<SignInProviderId>,
    if_match: IfMatch,
    patch: MergePatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, &core, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    check(&caller, &settings)?;
    let sealed = match &settings.client_secret {
        Some(secret) => Some(seal(&mut tx, &core, caller.tenant, id, secret).await?),
        None => None,
    };
    let now = core.clock.now().to_offset();
    queries::update(&mut tx, &present, &settings, sealed.as_ref(), now).await?;
    let changed = queries::get(&mut tx, &core, id).await?;
    commit_unpublished(tx, &core, &caller.act("update_sign_in_provider", id)).await?;
    Reply::resource(&changed)
}

/// Deletes a sign-in provider. Members who came by it stay, and need an invitation, or another password, to sign in.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/sign-in-providers/{sign_in_provider}", operation_id = "delete_sign_in_provider",
    tag = "sign_in_providers", params(TenantPath, IfMatch, ("sign_in_provider" = String, Path, description = "Id (`sip_…`)")),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["sign_in_providers:write"])))]
pub async fn delete(
    caller: InTenant<SignInProvidersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<SignInProviderId>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, &core, id).await?)?;
    queries::delete(&mut tx, id).await?;
    commit_unpublished(tx, &core, &caller.act("delete_sign_in_provider", id)).await?;
    Ok(Reply::nothing())
}

async fn seal(
    tx: &mut TenantTx,
    core: &Core,
    tenant: TenantId,
    id: SignInProviderId,
    secret: &SecretString,
) -> Result<Sealed, ApiError> {
    let key = data_keys::current(tx, core).await?;
    let row = id.uuid();
    let aad = Aad { tenant, table: "sign_in_providers", column: "sealed", row: row.as_bytes() };
    let plain = secret.expose_secret().as_bytes();
    let sealed = key.sealer().seal(&aad, plain, &*core.entropy).map_err(ApiError::internal)?;
    let mac =
        digest::hmac_sha256(&key.derive(Purpose::AuditMac), &[b"client secret fingerprint v1\0", plain]);
    Ok(Sealed { data_key: key.id, sealed, fingerprint: digest::hex(&mac[..8]) })
}
