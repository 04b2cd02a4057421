//! The bytes of an audit record, made in two steps: whoever saw what happened writes a [`Draft`], and the spool, which alone
//! knows the record's number, completes it. The result is byte for byte the encoding of the whole message.

use prost::{
    Message as _,
    encoding::{bytes, uint64},
};

use crate::v1::AuditRecord;

/// Bytes of an id.
const ID: usize = 16;

/// Who writes records: field 3 and 4 of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The proxy's id.
    pub proxy: [u8; ID],
    /// Names this run of its process.
    pub boot: [u8; ID],
}

/// A record without `proxy_id`, `boot` and `seq`, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    tenant: [u8; ID],
    bytes: Vec<u8>,
    /// Where the missing fields belong.
    split: usize,
}

impl Draft {
    /// Of a record; what it says of its author and number does not count.
    #[must_use]
    pub fn of(record: &AuditRecord) -> Self {
        let tenant = record.tenant_id.as_slice().try_into().unwrap_or_default();
        let head = AuditRecord { version: record.version, ..AuditRecord::default() }.encoded_len();
        let tenant_len =
            if record.tenant_id.is_empty() { 0 } else { bytes::encoded_len(2, &record.tenant_id) };
        let mut draft =
            Self { tenant, bytes: Vec::with_capacity(record.encoded_len()), split: head + tenant_len };
        if record.proxy_id.is_empty() && record.boot.is_empty() && record.seq == 0 {
            // A vector grows as needed, so encoding into it cannot fail.
            let _ = record.encode(&mut draft.bytes);
        } else {
            let (proxy_id, boot) = (Vec::new(), Vec::new());
            let _ = AuditRecord { proxy_id, boot, seq: 0, ..record.clone() }.encode(&mut draft.bytes);
        }
        draft
    }

    /// Whose record it is; zeros when the record names nobody.
    #[must_use]
    pub const fn tenant(&self) -> [u8; ID] {
        self.tenant
    }

    /// Bytes that [`Self::complete`] will append.
    #[must_use]
    pub fn completed_len(&self, seq: u64) -> usize {
        // Tag and length of a 16-byte field take a byte each.
        let author = 2 * (2 + ID);
        self.bytes.len() + author + if seq == 0 { 0 } else { uint64::encoded_len(5, &seq) }
    }

    /// Appends the whole record.
    pub fn complete(&self, author: &Author, seq: u64, out: &mut Vec<u8>) {
        let (head, tail) = self.bytes.split_at(self.split.min(self.bytes.len()));
        out.extend_from_slice(head);
        for (tag, id) in [(3, &author.proxy), (4, &author.boot)] {
            prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, out);
            out.push(ID as u8);
            out.extend_from_slice(id);
        }
        if seq != 0 {
            uint64::encode(5, &seq, out);
        }
        out.extend_from_slice(tail);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_completed_draft_is_the_encoded_record(
            version in prop_oneof![Just(0_u32), Just(1), Just(300)],
            tenant in prop_oneof![Just(Vec::new()), any::<[u8; 16]>().prop_map(Vec::from)],
            seq in prop_oneof![Just(0_u64), Just(1), any::<u64>()],
            proxy: [u8; 16],
            boot: [u8; 16],
            at_micros: u64,
            method in "[a-z/]{0,200}",
            had_author: bool,
        ) {
            let record = AuditRecord {
                version,
                tenant_id: tenant,
                at_micros,
                method,
                policies: vec!["gr_1".to_owned(), String::new()],
                cut: true,
                ..AuditRecord::default()
            };
            let whole = AuditRecord { proxy_id: proxy.to_vec(), boot: boot.to_vec(), seq, ..record.clone() };
            let draft = Draft::of(if had_author { &whole } else { &record });
            let mut out = Vec::new();
            draft.complete(&Author { proxy, boot }, seq, &mut out);
            prop_assert_eq!(draft.completed_len(seq), out.len());
            let owner = whole.tenant_id.as_slice().try_into().unwrap_or([0; 16]);
            prop_assert_eq!(draft.tenant(), owner);
            prop_assert_eq!(out, whole.encode_to_vec());
        }
    }
}
