//! `/v1/tenants/{tenant}/revisions/watch`.

use ids::TenantId;

use super::{queries, types::Revision};
use crate::{
    db::StoreError,
    http::{
        prelude::*,
        watch::{self, EVENTS, Event, Feed, LastEventId, not_given_out},
    },
};

struct Revisions {
    tenant: TenantId,
    /// `None`: begin with the revision that there is.
    after: Option<i64>,
}

/// The tenant's revisions as they are made, as server-sent events `revision` whose data is a revision and whose id its
/// number. Begins with the newest, or after `Last-Event-ID`, with those of them that are kept: the last 50.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/revisions/watch", operation_id = "watch_revisions", tag = "revisions",
    params(TenantPath, LastEventId),
    responses((status = 200, description = "Events, until the token ends", body = String, content_type = "text/event-stream"),
        Problems),
    security(("token" = ["revisions:read"])))]
pub async fn watch(
    caller: InTenant<RevisionsRead>,
    State(core): State<Core>,
    LastEventId(last): LastEventId,
) -> Result<Response, ApiError> {
    let number = |id: String| id.parse().ok().filter(|rev| *rev >= 0).ok_or_else(not_given_out);
    let feed = Revisions { tenant: caller.tenant, after: last.map(number).transpose()? };
    watch::answer(&core, caller.tenant, caller.caller, feed)
}

impl Feed for Revisions {
    async fn look(&mut self, core: &Core) -> Result<Vec<Event>, StoreError> {
        let mut tx = core.store.tenant(self.tenant).await?;
        let found = match self.after {
            Some(after) => queries::after(&mut tx, after, EVENTS).await?,
            None => queries::list(&mut tx, i64::MAX, 1).await?,
        };
        if let Some(last) = found.last() {
            self.after = Some(last.rev.cast_signed());
        }
        found.iter().map(event).collect()
    }
}

fn event(revision: &Revision) -> Result<Event, StoreError> {
    Event::new("revision", &revision.rev.to_string(), revision)
}
