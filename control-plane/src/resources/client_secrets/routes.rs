//! `/v1/tenants/{tenant}/clients/{client}/secrets`.

use std::time::Duration;

use crypto::{
    ExposeSecret, KeyKind, SecretString, key,
    password::{self, PasswordError},
};
use ids::{ClientId, ClientSecretId};
use time::OffsetDateTime;

use super::{
    queries,
    types::{ClientSecret, ClientSecretMade, ClientSecretNew, ClientSecretRotation},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    oauth::keys::ensure,
    publish::commit::commit,
    resources::{
        clients,
        fields::{Name, check_not_after, check_overlap},
    },
};

/// Secrets of a client that are good at once.
const MAX_LIVE: i64 = 16;

/// The client's secrets, revoked and expired ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/secrets", operation_id = "list_client_secrets", tag = "client_secrets",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<ClientSecret>), Problems),
    security(("token" = ["client_secrets:read"])))]
pub async fn list(
    caller: InTenant<ClientSecretsRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    clients::client(&mut tx, client).await?;
    let secrets = queries::list(&mut tx, client, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, secrets, |secret| secret.id)
}

/// Makes a secret. It is in this answer and nowhere else. A client may have sixteen that are good.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/clients/{client}/secrets", operation_id = "create_client_secret", tag = "client_secrets",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), Wait), request_body = ClientSecretNew,
    responses((status = 201, description = "Made", body = ClientSecretMade), Problems), security(("token" = ["client_secrets:write"])))]
pub async fn create(
    caller: InTenant<ClientSecretsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(wait): Query<Wait>,
    Json(new): Json<ClientSecretNew>,
) -> Result<Response, ApiError> {
    let minted = mint(&core).await?;
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    clients::may_prove_itself(&mut tx, client).await?;
    let made = store(&mut tx, &core, client, (&minted, new.name), new.not_after).await?;
    let published = commit(tx, &core, &caller.act("create_client_secret", made.id)).await?;
    let body = ClientSecretMade { made, secret: minted.text.expose_secret().to_owned() };
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::secret(&body, "secret")?).await
}

/// A client secret.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/secrets/{client_secret}", operation_id = "get_client_secret", tag = "client_secrets",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("client_secret" = String, Path, description = "Id (`sec_…`)")),
    responses((status = 200, description = "The secret", body = ClientSecret), Problems), security(("token" = ["client_secrets:read"])))]
pub async fn get(
    caller: InTenant<ClientSecretsRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<ClientSecretId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, client, id).await?)
}

/// Makes a secret that takes this one's place. Both work until the overlap ends.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/clients/{client}/secrets/{client_secret}/rotate", operation_id = "rotate_client_secret",
    tag = "client_secrets", params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("client_secret" = String, Path, description = "Id (`sec_…`)"), Wait),
    request_body = ClientSecretRotation, responses((status = 201, description = "Made", body = ClientSecretMade), Problems),
    security(("token" = ["client_secrets:write"])))]
pub async fn rotate(
    caller: InTenant<ClientSecretsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<ClientSecretId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    Json(rotation): Json<ClientSecretRotation>,
) -> Result<Response, ApiError> {
    check_overlap(rotation.overlap_seconds)?;
    let minted = mint(&core).await?;
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let old = queries::lock(&mut tx, client, id).await?;
    if_match.check(&old)?;
    let over = old.revoked_at.is_some() || old.not_after.is_some_and(|end| end <= now.to_offset());
    if over || old.rotated_to.is_some() {
        return Err(ApiError::Conflict(
            "the secret was revoked, has ended or was rotated; make a new one instead",
        ));
    }
    let made = store(&mut tx, &core, client, (&minted, old.name), rotation.not_after).await?;
    let deadline = now.plus(Duration::from_secs(rotation.overlap_seconds.into()));
    queries::supersede(&mut tx, id, made.id, deadline.to_offset()).await?;
    let act = caller.act("rotate_client_secret", format_args!("{id} {}", made.id));
    let published = commit(tx, &core, &act).await?;
    let body = ClientSecretMade { made, secret: minted.text.expose_secret().to_owned() };
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::secret(&body, "secret")?).await
}

/// Revokes a secret at once. Tokens that were given for it live on until they expire: disable the client, or revoke them, to end these.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/clients/{client}/secrets/{client_secret}",
    operation_id = "revoke_client_secret", tag = "client_secrets",
    params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("client_secret" = String, Path, description = "Id (`sec_…`)"), Wait),
    responses((status = 204, description = "Revoked"), Problems), security(("token" = ["client_secrets:write"])))]
pub async fn revoke(
    caller: InTenant<ClientSecretsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<ClientSecretId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, client, id).await?)?;
    queries::revoke(&mut tx, id, core.clock.now().to_offset()).await?;
    let published = commit(tx, &core, &caller.act("revoke_client_secret", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// A secret of a client, and its hash. Made before the transaction: hashing is slow on purpose.
pub(crate) struct Minted {
    pub(crate) text: SecretString,
    lookup: String,
    hash: String,
}

pub(crate) async fn mint(core: &Core) -> Result<Minted, ApiError> {
    let entropy = core.entropy.clone();
    let making = move || {
        let minted = key::mint(KeyKind::ClientSecret, &*entropy);
        let hash = password::hash(minted.text.expose_secret().as_bytes(), &*entropy)?;
        Ok::<_, PasswordError>(Minted { text: minted.text, lookup: minted.lookup, hash })
    };
    core.hashing.run(making).await?.map_err(ApiError::internal)
}

/// Stores the secret of a client that was made just now.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    core: &Core,
    client: ClientId,
    (minted, name): (&Minted, Name),
) -> Result<(), ApiError> {
    store(tx, core, client, (minted, name), None).await.map(drop)
}

/// Stores it, and sees to it that the tenant's issuer has a key to sign with.
async fn store(
    tx: &mut TenantTx,
    core: &Core,
    client: ClientId,
    (minted, name): (&Minted, Name),
    not_after: Option<OffsetDateTime>,
) -> Result<ClientSecret, ApiError> {
    let now = core.clock.now();
    check_not_after(not_after, now)?;
    if queries::live(tx, client, now.to_offset()).await? >= MAX_LIVE {
        return Err(ApiError::Conflict("the client has sixteen secrets that are good; revoke some"));
    }
    ensure(tx, core).await?;
    let secret = ClientSecret {
        id: ClientSecretId::from_parts(now.millis(), core.entropy.bytes()),
        client_id: client,
        name,
        lookup: minted.lookup.clone(),
        created_at: now.to_offset(),
        not_after,
        revoked_at: None,
        rotated_to: None,
        last_used_at: None,
    };
    queries::insert(tx, &secret, &minted.hash).await?;
    Ok(secret)
}
