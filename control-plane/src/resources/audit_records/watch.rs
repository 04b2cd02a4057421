//! `/v1/tenants/{tenant}/audit-records/watch`.

use ids::{TenantId, Uuid};
use prost::Message as _;
use seams::Timestamp;
use time::OffsetDateTime;
use wire::v1;

use super::{
    queries::{self, Stored},
    types::AuditRecord,
};
use crate::{
    db::{StoreError, Unreadable},
    http::{
        page,
        prelude::*,
        watch::{self, EVENTS, Event, Feed, LastEventId, not_given_out},
    },
};

/// A place in the order in which records are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) xact: i64,
    pub(super) at: OffsetDateTime,
    pub(super) proxy_id: Uuid,
    pub(super) boot: Vec<u8>,
    pub(super) seq: i64,
}

struct Records {
    tenant: TenantId,
    after: Place,
}

/// What the ids of these events are good for.
const CONTEXT: &str = "audit-records/watch";

/// The tenant's audit records as they are stored, each once, as server-sent events `record`: calls when a proxy has handed
/// them in, which may be later than they were. Nothing that is sealed in them is opened. A record can be held up by a
/// transaction of the database that has run longer, and is never left out.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit-records/watch", operation_id = "watch_audit_records", tag = "audit",
    params(TenantPath, LastEventId),
    responses((status = 200, description = "Events, until the token ends", body = String, content_type = "text/event-stream"),
        Problems),
    security(("token" = ["audit:read"])))]
pub async fn watch(
    caller: InTenant<AuditRead>,
    State(core): State<Core>,
    LastEventId(last): LastEventId,
) -> Result<Response, ApiError> {
    let tenant = caller.tenant;
    let after = match last {
        Some(id) => page::open_handle(&core, CONTEXT, tenant, &id)
            .and_then(|bytes| Place::from_bytes(&bytes))
            .ok_or_else(not_given_out)?,
        None => Place::before(queries::settled(&mut core.store.audit_reader(tenant).await?).await?),
    };
    watch::answer(&core, tenant, caller.caller, Records { tenant, after })
}

impl Feed for Records {
    async fn look(&mut self, core: &Core) -> Result<Vec<Event>, StoreError> {
        let mut tx = core.store.audit_reader(self.tenant).await?;
        // Before the records: whatever was settled then is among them.
        let settled = queries::settled(&mut tx).await?;
        let found = queries::stored_after(&mut tx, self.tenant, &self.after, EVENTS).await?;
        drop(tx);
        let is_all = found.len() < EVENTS.unsigned_abs() as usize;
        let mut events = Vec::with_capacity(found.len());
        let mut after = None;
        for Stored { xact, row } in found {
            let body =
                v1::AuditRecord::decode(row.body.as_slice()).map_err(|_| Unreadable("audit record"))?;
            let place =
                Place { xact, at: row.at, proxy_id: row.proxy_id, boot: row.boot.clone(), seq: row.seq };
            let id = page::handle(core, CONTEXT, self.tenant, &place.to_bytes());
            events.push(Event::new("record", &id, &AuditRecord::of(row, body, None))?);
            after = Some(place);
        }
        // What could not be made into events is looked at again, with all before it.
        self.after = after.unwrap_or(self.after.clone());
        if is_all {
            self.after = self.after.clone().past(settled);
        }
        Ok(events)
    }
}

impl Place {
    /// Before everything that transactions from `xact` on store.
    fn before(xact: i64) -> Self {
        Self { xact, at: OffsetDateTime::UNIX_EPOCH, proxy_id: Uuid::nil(), boot: Vec::new(), seq: -1 }
    }

    /// After all that was settled, too: the next look does not go through what was seen to be nothing.
    fn past(self, settled: i64) -> Self {
        if settled > self.xact { Self::before(settled) } else { self }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let at = Timestamp::from_offset(self.at).micros().to_be_bytes();
        let fixed = [self.xact.to_be_bytes(), at, self.seq.to_be_bytes()].concat();
        [fixed.as_slice(), self.proxy_id.as_bytes(), &self.boot].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (xact, rest) = bytes.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (proxy_id, boot) = rest.split_first_chunk()?;
        Some(Self {
            xact: i64::from_be_bytes(*xact),
            at: Timestamp::from_micros(u64::from_be_bytes(*at)).to_offset(),
            proxy_id: Uuid::from_bytes(*proxy_id),
            boot: boot.to_vec(),
            seq: i64::from_be_bytes(*seq),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_moves_on_with_what_is_settled_and_never_back() {
        let seen = Place { xact: 10, seq: 3, ..Place::before(0) };
        assert_eq!(seen.clone().past(11), Place::before(11));
        assert_eq!(seen.clone().past(10), seen, "more of this transaction was seen than nothing");
        assert_eq!(seen.clone().past(9), seen);
    }

    #[test]
    fn a_place_survives_its_id() {
        let place = Place {
            xact: 7_000_000_001,
            at: Timestamp::from_micros(1_795_600_000_123_456).to_offset(),
            proxy_id: Uuid::from_u128(7),
            boot: vec![3; 16],
            seq: 42,
        };
        assert_eq!(Place::from_bytes(&place.to_bytes()), Some(place));
        assert_eq!(Place::from_bytes(&[0; 39]), None);
    }
}
