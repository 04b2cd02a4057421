//! A proxy's batch, read: what goes into the log, and what cannot.

use bytes::Bytes;
use ids::{ProxyId, Uuid};
use prost::Message as _;
use seams::Timestamp;
use tonic::Status;
use wire::v1;

use crate::audit::AuditRow;

/// Version of the record this build reads.
const VERSION: u32 = 4;
/// Records of one batch.
const MAX_RECORDS: usize = 20_000;

/// Versions after this build's that are taken for a newer proxy's and not for nonsense.
const NEWER: std::ops::RangeInclusive<u32> = VERSION + 1..=VERSION + 1_000;

/// Why a batch as a whole is not taken. The proxy keeps it and comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoBatch {
    /// No proxy sends such a one.
    #[error("batch is empty, too large or without a boot id")]
    Shape,
    /// The next version of the control plane will read it.
    #[error("records are of a newer version: upgrade the control plane")]
    Newer,
}

impl From<NoBatch> for Status {
    fn from(no_batch: NoBatch) -> Self {
        match no_batch {
            NoBatch::Shape => Self::invalid_argument(no_batch.to_string()),
            NoBatch::Newer => Self::failed_precondition(no_batch.to_string()),
        }
    }
}

/// Why a record cannot stand in the log. It is set aside with its bytes, so that it neither is lost nor holds up those
/// behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not in canonical form: damaged, or with something this build does not know.
    Form,
    /// Another proxy's or another run's.
    Foreign,
    /// Its sequence number does not rise.
    Order,
    /// Of a tenant that the proxy does not serve.
    Tenant,
    /// The database does not take it.
    Unstorable,
}

impl Fault {
    /// As stored and shown.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Form => "not_canonical",
            Self::Foreign => "foreign",
            Self::Order => "out_of_order",
            Self::Tenant => "tenant_not_served",
            Self::Unstorable => "not_storable",
        }
    }
}

/// Records of one run of a proxy, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) boot: Vec<u8>,
    /// Who recorded: the proxy that uploads, or the one whose spool it found.
    pub(super) recorder: Uuid,
    pub(super) rows: Vec<AuditRow>,
    pub(super) set_aside: Vec<(Fault, Bytes)>,
    /// The last record's number, as far as the proxy knows it.
    pub(super) last_seq: i64,
    /// Bytes in the proxy's spool, as it says.
    pub(super) spool_bytes: u64,
}

impl Batch {
    /// Reads what `uploader` sent. Its first record that can be read says whose the batch is.
    pub(super) fn read(message: v1::AuditBatch, uploader: ProxyId, now: Timestamp) -> Result<Self, NoBatch> {
        if message.boot.len() != 16 || !(1..=MAX_RECORDS).contains(&message.records.len()) {
            return Err(NoBatch::Shape);
        }
        let mut batch = Self {
            boot: message.boot,
            recorder: Uuid::nil(),
            rows: Vec::with_capacity(message.records.len()),
            set_aside: Vec::new(),
            last_seq: i64::try_from(message.last_seq).unwrap_or(0),
            spool_bytes: message.spool_bytes,
        };
        for bytes in message.records {
            let record = v1::AuditRecord::decode(bytes.clone());
            if record.as_ref().is_ok_and(|record| NEWER.contains(&record.version)) {
                return Err(NoBatch::Newer);
            }
            match record.map_err(|_| Fault::Form).and_then(|record| batch.row(&record, bytes.clone(), now)) {
                Ok(row) => {
                    batch.recorder = row.proxy_id;
                    batch.last_seq = batch.last_seq.max(row.seq);
                    batch.rows.push(row);
                }
                Err(fault) => batch.set_aside.push((fault, bytes)),
            }
        }
        if batch.recorder.is_nil() {
            batch.recorder = uploader.uuid();
        }
        Ok(batch)
    }

    fn row(&self, record: &v1::AuditRecord, bytes: Bytes, now: Timestamp) -> Result<AuditRow, Fault> {
        // Exactly: a field this build does not know would be signed for without being understood.
        let no_kind = record.credential == 0
            && record.issuer_id.is_empty()
            && record.subject_hash.is_empty()
            && record.certificate_digest.is_empty();
        let known = match record.version {
            1 => record.token_id.is_empty() && record.member_id.is_empty() && no_kind,
            2 => record.member_id.is_empty() && no_kind,
            3 => no_kind,
            version => version == VERSION,
        };
        if !known || record.encode_to_vec() != bytes {
            return Err(Fault::Form);
        }
        let known_enums = v1::Phase::try_from(record.phase)
            .is_ok_and(|phase| phase != v1::Phase::Unspecified)
            && v1::Decision::try_from(record.decision).is_ok()
            && v1::CredentialKind::try_from(record.credential).is_ok();
        if !known_enums || record.phase == i32::from(v1::Phase::Act) {
            return Err(Fault::Form);
        }
        if record.boot != self.boot {
            return Err(Fault::Foreign);
        }
        let row = AuditRow::from_record(record, bytes, now).map_err(|_| Fault::Form)?;
        if row.proxy_id.is_nil() || (!self.recorder.is_nil() && row.proxy_id != self.recorder) {
            return Err(Fault::Foreign);
        }
        // An act on the installation is the control plane's to record.
        if row.tenant_id.is_nil() {
            return Err(Fault::Tenant);
        }
        match self.rows.last() {
            Some(before) if before.seq >= row.seq => Err(Fault::Order),
            _ => Ok(row),
        }
    }

    /// Sets aside the rows of which `fault` says something.
    pub(super) fn sift(&mut self, fault: impl Fn(&AuditRow) -> Option<Fault>) {
        for row in std::mem::take(&mut self.rows) {
            match fault(&row) {
                None => self.rows.push(row),
                Some(fault) => self.set_aside.push((fault, row.body)),
            }
        }
    }

    /// Ranges missing between `stored`, the last number that had arrived, and the batch's end. What was set aside has
    /// arrived.
    pub(super) fn gaps(&self, stored: i64) -> Vec<(i64, i64)> {
        let aside = self.set_aside.iter().filter_map(|(_, bytes)| number_of(bytes));
        let mut numbers: Vec<i64> = self.rows.iter().map(|row| row.seq).chain(aside).collect();
        numbers.sort_unstable();
        let mut expected = stored.saturating_add(1);
        let mut gaps = Vec::new();
        for number in numbers.into_iter().filter(|number| *number <= self.last_seq) {
            if number > expected {
                gaps.push((expected, number - 1));
            }
            expected = expected.max(number.saturating_add(1));
        }
        if expected <= self.last_seq && stored < self.last_seq && self.last_seq < i64::MAX {
            gaps.push((expected, self.last_seq));
        }
        gaps
    }
}

/// The number in a record that is otherwise no good.
fn number_of(bytes: &Bytes) -> Option<i64> {
    let record = v1::AuditRecord::decode(bytes.clone()).ok()?;
    i64::try_from(record.seq).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests;
