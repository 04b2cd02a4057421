//! `/v1/session`.

use super::types::{Session, SessionMember, SessionTenant};
use crate::{
    http::{
        auth::{Anyone, csrf_token},
        prelude::*,
    },
    people::{
        self,
        admin::{self, Asking},
    },
};

/// Who is calling, in which tenant, and what they may.
#[utoipa::path(get, path = "/v1/session", operation_id = "get_session", tag = "session",
    responses((status = 200, description = "The caller", body = Session), Problems), security(("token" = [])))]
pub async fn get(anyone: Anyone, State(core): State<Core>) -> Result<Reply, ApiError> {
    let Anyone { caller, tenant } = anyone;
    let member = match caller.browser() {
        None => None,
        Some(browser) => {
            let standing =
                admin::find(&core, &browser.value, Asking::Used).await?.ok_or(ApiError::Unauthenticated)?;
            let mut tenants = people::tenants(&core, browser.account).await?;
            tenants.retain(|(id, _)| browser.only.is_none_or(|only| only == *id));
            Some(SessionMember {
                id: browser.member,
                email: standing.email,
                admin_role: standing.role,
                signed_in_at: browser.signed_in_at.to_offset(),
                csrf_token: csrf_token(browser),
                tenants: tenants.into_iter().map(|(id, slug)| SessionTenant { id, slug }).collect(),
            })
        }
    };
    let tenant = tenant.map(|(id, slug)| SessionTenant { id, slug });
    let scopes = caller.scopes.names().to_vec();
    Reply::resource(&Session { actor: caller.actor.to_string(), tenant, scopes, member })
}
