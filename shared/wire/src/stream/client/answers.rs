//! Changes offered, their answers, and what is said when the ends have come apart.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Buckets, Client, ErrorCode, KEEPS_DEFINITIONS, Output, Refused, TenantId, Ticket, Timestamp, Told,
    Version, send, tenant_id, version,
};
use crate::{
    snapshot::{MAX_BYTES, MAX_DEFINITION},
    v1::{self, proxy_message},
};

/// Buckets told of after one beat: the others come after the next ones.
const REPAIRED_AT_ONCE: usize = 16;

impl Client {
    /// `None` for more than one snapshot can have, and for what no snapshot may have: such ones are not sent on their own.
    pub(super) fn learn(&mut self, new: v1::Definitions, out: &mut Vec<Output>) -> Option<()> {
        self.learnt += new.definitions.iter().map(Bytes::len).sum::<usize>();
        let fits = new.definitions.iter().all(|definition| definition.len() <= MAX_DEFINITION);
        if self.protocol < KEEPS_DEFINITIONS || self.learnt > MAX_BYTES || !fits {
            return None;
        }
        out.push(Output::Learn(new));
        Some(())
    }

    pub(super) fn replace(&mut self, replace: v1::Replace, out: &mut Vec<Output>) -> Option<()> {
        let tenant = tenant_id(&replace.tenant_id)?;
        let offered = version(replace.rev, &replace.digest)?;
        let ticket = self.ticket(tenant, replace.nonce, replace.rev);
        if self.at.get(&tenant).is_some_and(|at| offered.rev < at.rev) {
            let refused = Refused {
                code: ErrorCode::SnapshotInvalid,
                detail: "rev: older than the enforced one".into(),
            };
            self.answer(ticket, self.nack(ticket, refused), out);
        } else {
            out.push(Output::Apply(ticket, replace));
        }
        Some(())
    }

    pub(super) fn amend(&mut self, delta: v1::Delta, out: &mut Vec<Output>) -> Option<()> {
        let tenant = tenant_id(&delta.tenant_id)?;
        let (from, to) = (version(delta.from_rev, &delta.from_digest)?, version(delta.rev, &delta.digest)?);
        let ticket = self.ticket(tenant, delta.nonce, delta.rev);
        if self.at.get(&tenant) == Some(&from) && to.rev > from.rev {
            out.push(Output::Amend(ticket, delta));
        } else {
            self.answer(ticket, need(ticket, "another revision is enforced".to_owned()), out);
        }
        Some(())
    }

    fn ticket(&mut self, tenant: TenantId, nonce: u64, rev: u64) -> Ticket {
        self.applying += 1;
        self.learnt = 0;
        Ticket { tenant, connection: self.connection, nonce, rev }
    }

    pub(super) fn applied(&mut self, ticket: Ticket, held: Option<Version>, out: &mut Vec<Output>) {
        let before = match held {
            Some(version) => self.at.insert(ticket.tenant, version),
            None => self.at.remove(&ticket.tenant),
        };
        self.buckets.change(ticket.tenant, before, held);
        self.answer(ticket, ack(ticket, held), out);
    }

    pub(super) fn nack(&self, ticket: Ticket, refused: Refused) -> proxy_message::Body {
        proxy_message::Body::Nack(v1::Nack {
            nonce: ticket.nonce,
            tenant_id: ticket.tenant.uuid().as_bytes().to_vec(),
            rejected_rev: ticket.rev,
            at_rev: self.at.get(&ticket.tenant).map_or(0, |at| at.rev),
            code: refused.code.slug().to_owned(),
            detail: refused.detail,
        })
    }

    pub(super) fn answer(&mut self, ticket: Ticket, body: proxy_message::Body, out: &mut Vec<Output>) {
        if ticket.connection != self.connection {
            self.late = self.late.saturating_sub(1);
        } else if self.is_connected() {
            self.applying = self.applying.saturating_sub(1);
            self.answered += 1;
            send(out, body);
            self.become_ready(out);
        }
    }

    /// `None` when the buckets are not as many as there are.
    pub(super) fn beat(&mut self, beat: &v1::Beat, out: &mut Vec<Output>) -> Option<()> {
        out.push(Output::Told(Told {
            server_time: Timestamp::from_micros(beat.time_micros),
            round_trip: None,
            live_proxies: (beat.live_proxies > 0).then_some(beat.live_proxies),
        }));
        // With an answer still under way, the control plane speaks of a moment that is over.
        if beat.buckets.is_empty() || beat.answered != self.answered {
            return Some(());
        }
        for place in self.buckets.differing(&beat.buckets)?.into_iter().take(REPAIRED_AT_ONCE) {
            let held: BTreeMap<_, _> =
                self.at.iter().filter(|(tenant, _)| Buckets::place(**tenant) == place).collect();
            let have = held.into_iter().map(|(tenant, version)| have(*tenant, *version)).collect();
            send(out, proxy_message::Body::Holds(v1::Holds { bucket: u32::from(place), have }));
        }
        Some(())
    }
}

pub(super) fn have(tenant: TenantId, version: Version) -> v1::Have {
    v1::Have {
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        rev: version.rev,
        digest: version.digest.to_vec(),
    }
}

fn ack(ticket: Ticket, held: Option<Version>) -> proxy_message::Body {
    proxy_message::Body::Ack(v1::Ack {
        nonce: ticket.nonce,
        tenant_id: ticket.tenant.uuid().as_bytes().to_vec(),
        rev: held.map_or(0, |held| held.rev),
        digest: held.map_or_else(Vec::new, |held| held.digest.to_vec()),
    })
}

pub(super) fn need(ticket: Ticket, detail: String) -> proxy_message::Body {
    proxy_message::Body::Need(v1::Need {
        nonce: ticket.nonce,
        tenant_id: ticket.tenant.uuid().as_bytes().to_vec(),
        detail,
    })
}
