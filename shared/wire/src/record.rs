//! The bytes of an audit record, made in two steps: whoever saw what happened writes a [`Draft`], and the spool, which alone
//! knows the record's number, completes it. The result is byte for byte the encoding of the whole message.
//!
//! Two records are made of each call, so their fields are written by hand: a message would be filled, measured and encoded.

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

    /// Begins a record of this tenant's: its fields follow, in the order of their numbers, from 6 on. `room` is how many
    /// bytes they take, as far as is known.
    #[must_use]
    pub fn begin(version: u32, tenant: [u8; ID], room: usize) -> Self {
        let mut draft = Self { tenant, bytes: Vec::with_capacity(room + 32), split: 0 };
        draft.number(1, version.into());
        draft.field(2, &tenant);
        draft.split = draft.bytes.len();
        draft
    }

    /// A number or an enumeration's value; nothing where it is 0.
    pub fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
    }

    /// Bytes or text; nothing where there is none.
    pub fn field(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.element(field, value);
        }
    }

    /// One of a repeated field's values, which are written where they are empty too.
    pub fn element(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Bytes that `append` writes, exactly `len` of them.
    ///
    /// # Errors
    /// As `append`, or when it wrote another number of bytes; the field is left out then.
    pub fn written<E>(
        &mut self,
        field: u32,
        len: usize,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Option<E>> {
        let before = self.bytes.len();
        self.varint(u64::from(field) << 3 | 2);
        self.varint(len as u64);
        let start = self.bytes.len();
        let result = append(&mut self.bytes).map_err(Some);
        let result = result.and_then(|()| if self.bytes.len() == start + len { Ok(()) } else { Err(None) });
        if result.is_err() {
            self.bytes.truncate(before);
        }
        result
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
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
        fn written_fields_are_the_encoded_record(
            tenant: [u8; 16],
            at_micros: u64,
            phase in 0..3_i32,
            method in "[a-z/]{0,200}",
            policies in prop::collection::vec("[a-z]{0,3}", 0..3),
            digest in prop::collection::vec(any::<u8>(), 0..300),
            cut: bool,
            rev: u64,
        ) {
            let mut draft = Draft::begin(7, tenant, 0);
            draft.number(6, at_micros);
            draft.number(7, u64::from(phase.unsigned_abs()));
            draft.field(15, method.as_bytes());
            policies.iter().for_each(|policy| draft.element(20, policy.as_bytes()));
            let sealed = draft.written(21, digest.len() + 1, |out| {
                out.push(1);
                out.extend_from_slice(&digest);
                Ok::<_, ()>(())
            });
            prop_assert_eq!(sealed, Ok(()));
            // What fails, or is of another length, leaves nothing behind.
            let failed = draft.written(22, 2, |out| {
                out.push(1);
                Err(())
            });
            prop_assert_eq!(failed, Err(Some(())));
            prop_assert_eq!(draft.written(22, 2, |_| Ok::<_, ()>(())), Err(None));
            draft.field(24, &digest);
            draft.number(32, cut.into());
            draft.number(33, rev);
            let sealed_arguments = [&[1], &*digest].concat();
            let record = AuditRecord {
                version: 7,
                tenant_id: tenant.to_vec(),
                at_micros,
                phase,
                method,
                policies,
                sealed_arguments,
                response_digest: digest,
                cut,
                rev,
                ..AuditRecord::default()
            };
            prop_assert_eq!(draft, Draft::of(&record));
        }

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
