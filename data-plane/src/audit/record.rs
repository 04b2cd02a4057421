//! The records of a call. Two share the call's id: the intent, which carries the arguments, and the outcome. A refused
//! call has one, which carries both.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use crypto::{Aad, Sealer};
use errors::ErrorCode;
use ids::{
    CallId, ClientId, DataKeyId, EndpointId, ExternalIssuerId, KeyId, MemberId, TokenId, ToolId, UpstreamId,
    Uuid,
};
use seams::{Entropy, Monotonic, Timestamp};
use wire::{
    record::Draft,
    v1::{AuditRecord, CredentialKind, Decision, Phase},
};

use super::digest::Sent;
use crate::snapshot::index::TenantIndex;

/// Version of the record's layout; of one that names an access token the next, of one that names a member the one after, and of one that
/// says how the caller showed who it is the fourth, so that a control plane that does not know the field leaves it in the spool.
const VERSION: u32 = 1;
/// Bytes of arguments that are sealed into a record; of longer ones the beginning. Their hash covers all of them.
const MAX_ARGUMENTS: usize = 4 * 1024;
/// Bytes of a record beside its texts of any length, about.
const ROOM: usize = 480;
/// Bytes of a name or URI that are kept.
const MAX_TARGET: usize = 2 * 1024;

/// What the records of one call have in common.
#[derive(Debug, Clone)]
pub(crate) struct CallFacts {
    /// The tenant as configured when the call was decided.
    pub(crate) tenant: Arc<TenantIndex>,
    /// Names the call.
    pub(crate) call: CallId,
    /// Who called.
    pub(crate) client: Option<ClientId>,
    /// For whom.
    pub(crate) member: Option<MemberId>,
    /// With which key.
    pub(crate) key: Option<KeyId>,
    /// Or access token.
    pub(crate) token: Option<TokenId>,
    /// How it was shown, where these do not say so.
    pub(crate) shown_by: Option<CredentialKind>,
    /// Which issuer of others says so, and of whom, as the tenant's audit key hides it.
    pub(crate) external: Option<(ExternalIssuerId, Option<[u8; 32]>)>,
    /// SHA-256 of the certificate that was shown instead.
    pub(crate) certificate: Option<[u8; 32]>,
    /// From where.
    pub(crate) address: IpAddr,
    /// At which endpoint.
    pub(crate) endpoint: EndpointId,
    /// For which MCP server.
    pub(crate) upstream: Option<UpstreamId>,
    /// JSON-RPC method, or the HTTP method of a request that carries none.
    pub(crate) method: Cow<'static, str>,
    /// The MCP server's own name of the tool or prompt, or the resource's URI.
    pub(crate) target: String,
    /// The tool, where it is one of the catalogue.
    pub(crate) tool: Option<ToolId>,
    /// Grants that decided.
    pub(crate) policies: Vec<String>,
    /// Raw bytes of the arguments; empty when there are none.
    pub(crate) arguments: Bytes,
    /// MCP revision spoken.
    pub(crate) protocol_version: &'static str,
    /// The HTTP request's id.
    pub(crate) request_id: String,
    /// Bytes of the request's body.
    pub(crate) bytes_in: u64,
    /// When the request's headers had come, by both of the clock's times.
    pub(crate) began: Timestamp,
    pub(crate) started: Monotonic,
}

/// How a call ended, where the caller of the recorder has the whole response at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    /// Why it failed or was refused.
    pub(crate) code: Option<ErrorCode>,
    /// HTTP status sent.
    pub(crate) status: u16,
    /// Body sent.
    pub(crate) body: &'a [u8],
    /// The caller went away first, or the gateway ended the call.
    pub(crate) cut: bool,
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Conclusion<'a> {
    pub(super) decision: Decision,
    pub(super) code: Option<ErrorCode>,
    pub(super) status: u16,
    pub(super) sent: Sent<'a>,
    pub(super) cut: bool,
}

impl CallFacts {
    const fn version(&self) -> u32 {
        match (self.token, self.member, self.shown_by) {
            (None, None, None) => VERSION,
            (Some(_), None, None) => VERSION + 1,
            (_, Some(_), None) => VERSION + 2,
            (_, _, Some(_)) => VERSION + 3,
        }
    }

    /// How long the call runs at this moment.
    pub(super) fn elapsed(&self, now: Monotonic) -> Duration {
        now.since(self.started)
    }

    /// The record written before the MCP server is called.
    pub(super) fn intent(&self, now: Monotonic, entropy: &dyn Entropy) -> Draft {
        self.record((self.began.plus(self.elapsed(now)), now), None, entropy)
    }

    /// The record written when the call has ended.
    pub(super) fn outcome(&self, now: Monotonic, end: &Conclusion<'_>, entropy: &dyn Entropy) -> Draft {
        self.record((self.began.plus(self.elapsed(now)), now), Some(end), entropy)
    }

    /// The same of a call that may have lasted for hours: the wall clock may have been set meanwhile.
    pub(super) fn outcome_at(
        &self,
        (at, now): (Timestamp, Monotonic),
        end: &Conclusion<'_>,
        entropy: &dyn Entropy,
    ) -> Draft {
        self.record((at, now), Some(end), entropy)
    }

    /// Every field, in the order of its number (`audit.proto`).
    fn record(
        &self,
        (at, now): (Timestamp, Monotonic),
        end: Option<&Conclusion<'_>>,
        entropy: &dyn Entropy,
    ) -> Draft {
        let (phase, decision) = match end {
            None => (Phase::Intent, Decision::Allowed),
            Some(end) => (Phase::Outcome, end.decision),
        };
        // Those that were refused have one record, which carries both.
        let arguments = if end.is_none() || decision == Decision::Refused { &*self.arguments } else { &[] };
        let excerpt = end.map_or(&[][..], |end| &end.sent.excerpt);
        let target = start_of(&self.target, MAX_TARGET);
        let kept = arguments.len().min(MAX_ARGUMENTS);
        let elapsed = self.elapsed(now);
        let mut draft = Draft::begin(
            self.version(),
            *self.tenant.id.uuid().as_bytes(),
            ROOM + target.len() + kept + excerpt.len(),
        );
        draft.number(6, at.micros());
        draft.number(7, phase as u64);
        draft.field(8, self.call.uuid().as_bytes());
        let mut id = |field, id: Option<Uuid>| {
            if let Some(id) = id {
                draft.field(field, id.as_bytes());
            }
        };
        id(9, self.client.map(|client| client.uuid()));
        id(10, self.key.map(|key| key.uuid()));
        draft.field(12, address_text(self.address).as_bytes());
        draft.field(13, self.endpoint.uuid().as_bytes());
        if let Some(upstream) = self.upstream {
            draft.field(14, upstream.uuid().as_bytes());
        }
        draft.field(15, self.method.as_bytes());
        draft.field(16, target.as_bytes());
        if let Some(tool) = self.tool {
            draft.field(17, tool.uuid().as_bytes());
        }
        draft.number(18, decision as u64);
        if let Some(code) = end.and_then(|end| end.code) {
            draft.field(19, code.slug().as_bytes());
        }
        self.policies.iter().for_each(|policy| draft.element(20, policy.as_bytes()));
        let mut data_key = None;
        if !arguments.is_empty() {
            data_key = self.seal(&mut draft, 21, "sealed_arguments", &arguments[..kept], entropy);
            if let Some(keys) = self.tenant.crypto.current() {
                draft.field(22, &keys.audit_mac.mac(&[arguments]));
            }
        }
        if let Some(end) = end {
            draft.number(23, end.status.into());
            draft.field(24, &end.sent.digest);
            if !excerpt.is_empty() {
                data_key = self.seal(&mut draft, 25, "sealed_excerpt", excerpt, entropy).or(data_key);
            }
        }
        if let Some(data_key) = data_key {
            draft.field(26, data_key.uuid().as_bytes());
        }
        if end.is_some() {
            draft.number(27, elapsed.as_micros() as u64);
        }
        draft.number(28, self.bytes_in);
        draft.number(29, end.map_or(0, |end| end.sent.bytes));
        draft.field(30, self.protocol_version.as_bytes());
        draft.number(32, end.is_some_and(|end| end.cut).into());
        draft.number(33, self.tenant.rev);
        draft.field(34, self.request_id.as_bytes());
        if let Some(token) = self.token {
            draft.field(35, token.uuid().as_bytes());
        }
        if let Some(member) = self.member {
            draft.field(36, member.uuid().as_bytes());
        }
        if let Some(kind) = self.shown_by {
            draft.number(37, kind as u64);
        }
        if let Some((issuer, subject)) = &self.external {
            draft.field(38, issuer.uuid().as_bytes());
            draft.field(39, subject.as_ref().map_or(&[], |subject| subject.as_slice()));
        }
        if let Some(digest) = &self.certificate {
            draft.field(40, digest);
        }
        draft
    }

    /// Seals for this call's row, and says with which key. What cannot be sealed is left out: a record without it is worth
    /// more than none.
    fn seal(
        &self,
        draft: &mut Draft,
        field: u32,
        column: &str,
        bytes: &[u8],
        entropy: &dyn Entropy,
    ) -> Option<DataKeyId> {
        let keys = self.tenant.crypto.current()?;
        let call = self.call.uuid();
        let aad = Aad { tenant: self.tenant.id, table: "audit_records", column, row: call.as_bytes() };
        let sealed = draft.written(field, Sealer::sealed_len(bytes.len()), |out| {
            keys.sealer.seal_onto(out, &aad, bytes, entropy)
        });
        if let Err(error) = sealed {
            tracing::error!(?error, call.id = %self.call, audit.column = column, "audit: cannot seal");
            return None;
        }
        Some(keys.id)
    }
}

/// An address as text; without the machinery of formatting for the common kind.
fn address_text(address: IpAddr) -> String {
    let v4 = match address.to_canonical() {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => return v6.to_string(),
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (place, octet) in v4.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text
}

/// The first bytes of a text, cut between characters.
fn start_of(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A record of refusals counted together.
pub(super) fn aggregate(key: &super::aggregate::Key, count: u64, rev: u64, at: Timestamp) -> AuditRecord {
    AuditRecord {
        version: VERSION,
        tenant_id: key.tenant.uuid().as_bytes().to_vec(),
        at_micros: at.micros(),
        phase: Phase::Aggregate.into(),
        address: key.network.map(|network| network.to_string()).unwrap_or_default(),
        endpoint_id: key.endpoint.uuid().as_bytes().to_vec(),
        decision: Decision::Refused.into(),
        code: key.code.slug().to_owned(),
        status: u32::from(key.code.entry().status),
        count,
        rev,
        ..AuditRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{address_text, start_of};

    #[test]
    fn addresses_are_as_everywhere() {
        for text in ["0.0.0.0", "255.255.255.255", "10.9.100.99", "1.20.203.4", "2001:db8::1"] {
            assert_eq!(address_text(text.parse().unwrap()), text);
        }
        assert_eq!(address_text("::ffff:198.51.100.7".parse().unwrap()), "198.51.100.7");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(start_of("abc", 8), "abc");
        assert_eq!(start_of("aé", 2), "a");
        assert_eq!(start_of("aé", 3), "aé");
        assert_eq!(start_of("", 3), "");
    }
}
