//! Every route of the API, and nothing else.

use axum::routing::{get, post};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::pages;
use crate::{
    app::Core,
    people::admin::pages as admin,
    resources::{
        admin_tokens, assertion_keys, audit_records, authorities, client_authorities, client_secrets,
        clients, consents, credential_ages, domains, endpoints, external_issuers, global, grants,
        initial_access_tokens, invitations, join_tokens, keys, kills, leaks, limits, members, pools, proxies,
        public_keys, registration, revisions, roles, scopes, session, sign_in_providers, signing_keys,
        tenants, token_exchange, tools, trusted_issuers, upstream_assertions, upstream_oauth, upstreams,
    },
};

/// The routes, with their part of the API's description.
pub fn routes() -> OpenApiRouter<Core> {
    OpenApiRouter::default()
        // Open to anybody.
        .routes(routes!(pages::error_page))
        .routes(routes!(pages::openapi))
        .routes(routes!(pages::reference))
        .routes(routes!(leaks::routes::report))
        .routes(routes!(leaks::routes::format))
        // Browsers on their way in and out.
        .route("/session/sign-in", get(admin::begin))
        .route("/session/callback", get(admin::callback))
        .route("/session/sign-out", post(admin::sign_out))
        // Anybody who is known.
        .routes(routes!(session::routes::get))
        // Operators.
        .routes(routes!(tenants::routes::list, tenants::routes::create))
        .routes(routes!(pools::routes::list, pools::routes::create))
        .routes(routes!(pools::routes::get))
        .routes(routes!(proxies::routes::list))
        .routes(routes!(proxies::routes::get, proxies::routes::revoke))
        .routes(routes!(proxies::routes::tenants))
        .routes(routes!(proxies::routes::audit_gaps))
        .routes(routes!(authorities::routes::list, authorities::routes::create))
        .routes(routes!(authorities::routes::get, authorities::routes::retire))
        .routes(routes!(join_tokens::routes::list, join_tokens::routes::create))
        .routes(routes!(join_tokens::routes::delete))
        .routes(routes!(audit_records::routes::list_installation))
        .routes(routes!(kills::operator::list, kills::operator::create))
        .routes(routes!(kills::operator::get))
        .routes(routes!(kills::operator::lift))
        .routes(routes!(global::routes::get, global::routes::update))
        .routes(routes!(global::routes::revisions))
        .routes(routes!(global::rollout::get, global::rollout::update))
        .routes(routes!(global::rollout::promote))
        .routes(routes!(global::rollout::halt))
        .routes(routes!(global::rollout::revert))
        // A tenant.
        .routes(routes!(tenants::routes::get, tenants::routes::update, tenants::routes::delete))
        .routes(routes!(admin_tokens::routes::list, admin_tokens::routes::create))
        .routes(routes!(admin_tokens::routes::get, admin_tokens::routes::revoke))
        .routes(routes!(upstreams::routes::list, upstreams::routes::create))
        .routes(routes!(upstreams::routes::get, upstreams::routes::update, upstreams::routes::delete))
        .routes(routes!(upstreams::credentials::list, upstreams::credentials::create))
        .routes(routes!(upstreams::credentials::replace, upstreams::credentials::delete))
        .routes(routes!(
            upstream_assertions::routes::get,
            upstream_assertions::routes::replace,
            upstream_assertions::routes::delete
        ))
        .routes(routes!(
            upstream_oauth::routes::get,
            upstream_oauth::routes::replace,
            upstream_oauth::routes::delete
        ))
        .routes(routes!(endpoints::routes::list, endpoints::routes::create))
        .routes(routes!(endpoints::routes::get, endpoints::routes::update, endpoints::routes::delete))
        .routes(routes!(endpoints::attachments::list, endpoints::attachments::create))
        .routes(routes!(endpoints::attachments::get, endpoints::attachments::delete))
        .routes(routes!(domains::routes::list, domains::routes::create))
        .routes(routes!(domains::routes::get, domains::routes::delete))
        .routes(routes!(domains::routes::verify))
        .routes(routes!(domains::certificate::replace, domains::certificate::delete))
        .routes(routes!(clients::routes::list, clients::routes::create))
        .routes(routes!(clients::routes::get, clients::routes::update, clients::routes::delete))
        .routes(routes!(clients::endpoints::list))
        .routes(routes!(clients::endpoints::allow, clients::endpoints::disallow))
        .routes(routes!(keys::routes::list, keys::routes::create))
        .routes(routes!(keys::routes::get, keys::routes::update, keys::routes::revoke))
        .routes(routes!(keys::routes::rotate))
        .routes(routes!(client_secrets::routes::list, client_secrets::routes::create))
        .routes(routes!(client_secrets::routes::get, client_secrets::routes::revoke))
        .routes(routes!(client_secrets::routes::rotate))
        .routes(routes!(public_keys::routes::list, public_keys::routes::create))
        .routes(routes!(public_keys::routes::get, public_keys::routes::delete))
        .routes(routes!(registration::routes::get, registration::routes::update))
        .routes(routes!(credential_ages::routes::list))
        .routes(routes!(credential_ages::routes::schedule, credential_ages::routes::update_schedule))
        .routes(routes!(initial_access_tokens::routes::list, initial_access_tokens::routes::create))
        .routes(routes!(initial_access_tokens::routes::delete))
        .routes(routes!(token_exchange::routes::get))
        .routes(routes!(token_exchange::routes::allow, token_exchange::routes::disallow))
        .routes(routes!(client_authorities::routes::list, client_authorities::routes::create))
        .routes(routes!(
            client_authorities::routes::get,
            client_authorities::routes::update,
            client_authorities::routes::delete
        ))
        .routes(routes!(external_issuers::routes::list, external_issuers::routes::create))
        .routes(routes!(
            external_issuers::routes::get,
            external_issuers::routes::update,
            external_issuers::routes::delete
        ))
        .routes(routes!(trusted_issuers::routes::list, trusted_issuers::routes::create))
        .routes(routes!(
            trusted_issuers::routes::get,
            trusted_issuers::routes::update,
            trusted_issuers::routes::delete
        ))
        .routes(routes!(sign_in_providers::routes::list, sign_in_providers::routes::create))
        .routes(routes!(
            sign_in_providers::routes::get,
            sign_in_providers::routes::update,
            sign_in_providers::routes::delete
        ))
        .routes(routes!(roles::routes::list, roles::routes::create))
        .routes(routes!(roles::routes::get, roles::routes::update, roles::routes::delete))
        .routes(routes!(roles::routes::of_client))
        .routes(routes!(roles::routes::assign, roles::routes::unassign))
        .routes(routes!(members::routes::list))
        .routes(routes!(members::routes::get, members::routes::update, members::routes::delete))
        .routes(routes!(members::password::create))
        .routes(routes!(members::roles::list))
        .routes(routes!(members::roles::assign, members::roles::unassign))
        .routes(routes!(consents::routes::list))
        .routes(routes!(consents::routes::delete))
        .routes(routes!(invitations::routes::list, invitations::routes::create))
        .routes(routes!(invitations::routes::get, invitations::routes::delete))
        .routes(routes!(grants::of_role::get, grants::of_role::replace))
        .routes(routes!(grants::routes::list, grants::routes::create))
        .routes(routes!(grants::routes::get, grants::routes::update, grants::routes::delete))
        .routes(routes!(scopes::routes::list, scopes::routes::create))
        .routes(routes!(scopes::routes::get, scopes::routes::update, scopes::routes::delete))
        .routes(routes!(tools::routes::list))
        .routes(routes!(tools::review::review))
        .routes(routes!(tools::routes::get, tools::routes::update))
        .routes(routes!(tools::routes::approve))
        .routes(routes!(tools::routes::reject))
        .routes(routes!(tools::discovery::discover))
        .routes(routes!(tools::discovery::command))
        .routes(routes!(limits::routes::list, limits::routes::create))
        .routes(routes!(limits::routes::get, limits::routes::update, limits::routes::delete))
        .routes(routes!(limits::usage::of_limit))
        .routes(routes!(limits::usage::of_client))
        .routes(routes!(signing_keys::routes::list, signing_keys::routes::rotate))
        .routes(routes!(signing_keys::routes::get, signing_keys::routes::revoke))
        .routes(routes!(assertion_keys::routes::list, assertion_keys::routes::rotate))
        .routes(routes!(assertion_keys::routes::get, assertion_keys::routes::revoke))
        .routes(routes!(revisions::routes::list))
        .routes(routes!(revisions::watch::watch))
        .routes(routes!(revisions::routes::get))
        .routes(routes!(audit_records::routes::list))
        .routes(routes!(audit_records::watch::watch))
        .routes(routes!(kills::routes::list, kills::routes::create))
        .routes(routes!(kills::routes::get))
        .routes(routes!(kills::routes::lift))
}
