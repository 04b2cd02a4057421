//! Every route of the authorization servers' origin, and nothing else.

use axum::{
    Router,
    routing::{get, post},
};

use super::{introspect, metadata, revoke, token};
use crate::{
    app::Core,
    http::pages,
    people::{account, invitation},
};

/// The routes. The issuer is `{origin}/t/{tenant}`; where its metadata is looked for depends on who looks.
pub fn routes() -> Router<Core> {
    Router::new()
        .route("/.well-known/oauth-authorization-server/t/{tenant}", get(metadata::metadata))
        .route("/.well-known/openid-configuration/t/{tenant}", get(metadata::metadata))
        .route("/t/{tenant}/.well-known/oauth-authorization-server", get(metadata::metadata))
        .route("/t/{tenant}/.well-known/openid-configuration", get(metadata::metadata))
        .route("/t/{tenant}/jwks.json", get(metadata::keys))
        .route("/t/{tenant}/token", post(token::token))
        .route("/t/{tenant}/revoke", post(revoke::revoke))
        .route("/t/{tenant}/introspect", post(introspect::introspect))
        // People.
        .route("/account", get(account::show).post(account::act))
        .route("/invitations/{invitation}", get(invitation::show).post(invitation::accept))
        // Errors point there.
        .route("/errors/{slug}", get(pages::error_page))
}
