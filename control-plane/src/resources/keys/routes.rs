//! `/v1/tenants/{tenant}/clients/{client}/keys`.

use std::time::Duration;

use crypto::{ExposeSecret, KeyKind, SecretString, key};
use ids::{ClientId, KeyId};
use wire::kill::Credential;

use super::{
    queries,
    types::{Key, KeyMade, KeyNew, KeyRotation, KeySettings},
};
use crate::{
    data_keys,
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    publish::commit::{commit, commit_revoking},
    resources::{
        clients,
        fields::{check_not_after, check_overlap},
    },
};

/// The client's keys, revoked and expired ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/keys", operation_id = "list_keys", tag = "keys",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<Key>), Problems),
    security(("token" = ["keys:read"])))]
pub async fn list(
    caller: InTenant<KeysRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    clients::client(&mut tx, client).await?;
    let keys = queries::list(&mut tx, client, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, keys, |key| key.id)
}

/// Makes a key. Its secret is in this answer and nowhere else. A client may have many.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/clients/{client}/keys", operation_id = "create_key", tag = "keys",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), Wait), request_body = KeyNew,
    responses((status = 201, description = "Made", body = KeyMade), Problems), security(("token" = ["keys:write"])))]
pub async fn create(
    caller: InTenant<KeysWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(wait): Query<Wait>,
    Json(new): Json<KeyNew>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    clients::client(&mut tx, client).await?;
    let (made, secret) = mint(&mut tx, &core, client, new.into()).await?;
    let published = commit(tx, &core, &caller.act("create_key", made.id)).await?;
    let body = KeyMade { made, key: secret.expose_secret().to_owned() };
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::secret(&body, "key")?).await
}

/// A key.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/keys/{key}", operation_id = "get_key", tag = "keys",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("key" = String, Path, description = "Id (`key_…`)")),
    responses((status = 200, description = "The key", body = Key), Problems), security(("token" = ["keys:read"])))]
pub async fn get(
    caller: InTenant<KeysRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<KeyId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, client, id).await?)
}

/// Changes a key: its name, its end, from where and when it is accepted. Streams that it may no longer have open end.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/clients/{client}/keys/{key}", operation_id = "update_key",
    tag = "keys", params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("key" = String, Path, description = "Id (`key_…`)"), Wait),
    request_body(content = KeySettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Key), Problems),
    security(("token" = ["keys:write"])))]
pub async fn update(
    caller: InTenant<KeysWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<KeyId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, client, id).await?;
    if_match.check(&present)?;
    if present.is_over(now) {
        return Err(ApiError::Conflict("the key was revoked or has ended; make a new one instead"));
    }
    let settings = patch.apply(&present.settings)?;
    settings.check()?;
    if settings.not_after != present.settings.not_after {
        check_not_after(settings.not_after, now)?;
    }
    if present.rotated_to.is_some() && settings.not_after.is_none() {
        return Err(ApiError::invalid("/not_after", "is needed: the key was rotated, and ends"));
    }
    queries::update(&mut tx, id, &settings).await?;
    let key = Key { settings, ..present };
    let published = commit(tx, &core, &caller.act("update_key", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&key)?).await
}

/// Makes a key that takes this one's place, accepted from where and when this one is. Both work until the overlap ends.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/clients/{client}/keys/{key}/rotate", operation_id = "rotate_key",
    tag = "keys", params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("key" = String, Path, description = "Id (`key_…`)"), Wait),
    request_body = KeyRotation, responses((status = 201, description = "Made", body = KeyMade), Problems),
    security(("token" = ["keys:write"])))]
pub async fn rotate(
    caller: InTenant<KeysWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<KeyId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    Json(rotation): Json<KeyRotation>,
) -> Result<Response, ApiError> {
    check_overlap(rotation.overlap_seconds)?;
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let old = queries::lock(&mut tx, client, id).await?;
    if_match.check(&old)?;
    if old.is_over(now) || old.rotated_to.is_some() {
        return Err(ApiError::Conflict(
            "the key was revoked, has ended or was rotated; make a new one instead",
        ));
    }
    let settings = KeySettings { not_after: rotation.not_after, ..old.settings };
    let (made, secret) = mint(&mut tx, &core, client, settings).await?;
    let deadline = now.plus(Duration::from_secs(rotation.overlap_seconds.into()));
    queries::supersede(&mut tx, id, made.id, deadline.to_offset()).await?;
    let act = caller.act("rotate_key", format_args!("{id} {}", made.id));
    let published = commit(tx, &core, &act).await?;
    let body = KeyMade { made, key: secret.expose_secret().to_owned() };
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::secret(&body, "key")?).await
}

/// Revokes a key at once: it is dead within the kill switch's bound, with the streams it opened.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/clients/{client}/keys/{key}", operation_id = "revoke_key",
    tag = "keys", params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("key" = String, Path, description = "Id (`key_…`)"), Wait),
    responses((status = 204, description = "Revoked"), Problems), security(("token" = ["keys:write"])))]
pub async fn revoke(
    caller: InTenant<KeysWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<KeyId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, client, id).await?)?;
    queries::revoke(&mut tx, id, core.clock.now().to_offset()).await?;
    let dead = Credential::Key(caller.tenant, id);
    let published = commit_revoking(tx, &core, &caller.act("revoke_key", id), Some(dead)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// A new key of the client, stored as a hash under the tenant's current data key.
async fn mint(
    tx: &mut TenantTx,
    core: &Core,
    client: ClientId,
    settings: KeySettings,
) -> Result<(Key, SecretString), ApiError> {
    let now = core.clock.now();
    settings.check()?;
    check_not_after(settings.not_after, now)?;
    let data_key = data_keys::current(tx, core).await?;
    let minted = key::mint(KeyKind::ApiKey, &*core.entropy);
    let presented = key::parse(KeyKind::ApiKey, minted.text.expose_secret()).map_err(ApiError::internal)?;
    let hash = data_key.key_hasher().hash(&presented);
    let key = Key {
        id: KeyId::from_parts(now.millis(), core.entropy.bytes()),
        client_id: client,
        settings,
        lookup: minted.lookup,
        created_at: now.to_offset(),
        revoked_at: None,
        rotated_to: None,
    };
    queries::insert(tx, &key, &hash, data_key.id).await?;
    Ok((key, minted.text))
}
