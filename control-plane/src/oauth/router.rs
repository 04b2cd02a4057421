//! Every route of the authorization servers' origin, and nothing else.

use axum::{
    Router,
    routing::{get, post},
};

use super::{
    authorize, cors, device, introspect, metadata,
    registration::{dynamic, manage},
    revoke, token,
};
use crate::{
    app::Core,
    http::pages,
    people::{account, company, invitation},
};

/// The routes. The issuer is `{origin}/t/{tenant}`; where its metadata is looked for depends on who looks.
pub fn routes() -> Router<Core> {
    cors::open(for_clients())
        // People.
        .route("/t/{tenant}/device", get(device::page::show).post(device::page::act))
        .route("/t/{tenant}/authorize", get(authorize::show).post(authorize::act))
        .route("/t/{tenant}/sign-in/{provider}", get(company::begin))
        .route("/t/{tenant}/sign-in/{provider}/callback", get(company::callback))
        .route("/account", get(account::show).post(account::act))
        .route("/invitations/{invitation}", get(invitation::show).post(invitation::accept))
        // Errors point there.
        .route("/errors/{slug}", get(pages::error_page))
}

/// What clients call, also those that are pages of another origin.
fn for_clients() -> Router<Core> {
    Router::new()
        .route(
            "/.well-known/oauth-authorization-server/t/{tenant}",
            get(metadata::metadata).options(cors::preflight),
        )
        .route(
            "/.well-known/openid-configuration/t/{tenant}",
            get(metadata::metadata).options(cors::preflight),
        )
        .route(
            "/t/{tenant}/.well-known/oauth-authorization-server",
            get(metadata::metadata).options(cors::preflight),
        )
        .route(
            "/t/{tenant}/.well-known/openid-configuration",
            get(metadata::metadata).options(cors::preflight),
        )
        .route("/t/{tenant}/jwks.json", get(metadata::keys).options(cors::preflight))
        .route("/t/{tenant}/assertions/jwks.json", get(metadata::assertion_keys).options(cors::preflight))
        .route("/t/{tenant}/token", post(token::token).options(cors::preflight))
        .route("/t/{tenant}/revoke", post(revoke::revoke).options(cors::preflight))
        .route("/t/{tenant}/introspect", post(introspect::introspect).options(cors::preflight))
        .route("/t/{tenant}/device_authorization", post(device::authorize).options(cors::preflight))
        .route("/t/{tenant}/register", post(dynamic::register).options(cors::preflight))
        .route(
            "/t/{tenant}/register/{client}",
            get(manage::read).put(manage::update).delete(manage::delete).options(cors::preflight),
        )
}
