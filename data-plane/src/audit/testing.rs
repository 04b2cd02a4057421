//! A recorder over a directory that goes away, and what it wrote.

use std::{net::IpAddr, path::Path, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use ids::{CallId, ClientId, ProxyId};
use prost::Message as _;
use seams::{Monotonic, SeededEntropy, SystemClock};
use wire::v1::AuditRecord;

use super::{
    CallFacts, Pen, Recorder,
    spool::{Config, Spool},
};
use crate::testing::World;

/// A recorder of its own.
pub(crate) struct Log {
    pub(crate) recorder: Recorder,
    pub(crate) spool: Arc<Spool>,
    dir: tempfile::TempDir,
}

impl Log {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config {
            dir: dir.path().join("spool"),
            proxy: ProxyId::from_parts(1, [1; 10]),
            boot: [7; 16],
            quota_bytes: 1 << 24,
            tenant_quota_bytes: 1 << 23,
            segment_bytes: 1 << 20,
            sync_within: Duration::from_millis(50),
        };
        let spool = Spool::open(config, Arc::new(SystemClock)).expect("a spool");
        let entropy = Arc::new(SeededEntropy::new(5));
        let recorder = Recorder::start(spool.clone(), Arc::new(SystemClock), entropy).expect("a thread");
        Self { recorder, spool, dir }
    }

    /// A directory that goes with it; the spool is below.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A pen of one more worker.
    pub(crate) fn pen(&self) -> Rc<Pen> {
        Pen::new(self.recorder.clone())
    }

    /// Everything written so far.
    pub(crate) fn records(&self) -> Vec<AuditRecord> {
        let mut reader = self.spool.reader();
        let mut records = Vec::new();
        while let Some(batch) = reader.next_batch(1 << 20).expect("a readable spool") {
            records.extend(
                batch.records.iter().map(|bytes| AuditRecord::decode(bytes.clone()).expect("a record")),
            );
        }
        records
    }

    /// The last record.
    pub(crate) fn last(&self) -> AuditRecord {
        self.records().pop().expect("a record")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.recorder.shutdown();
    }
}

/// Facts of a call of `add`.
pub(crate) fn facts(world: &World, arguments: &'static [u8]) -> CallFacts {
    let tenant = world.tenant();
    let client = tenant.clients.keys().next().copied();
    let endpoint = tenant.endpoints.values().next().expect("an endpoint").id;
    let upstream = tenant.upstreams.keys().next().copied();
    CallFacts {
        member: None,
        call: CallId::from_parts(1, [3; 10]),
        client: client.or(Some(ClientId::from_parts(1, [4; 10]))),
        key: None,
        token: None,
        shown_by: None,
        external: None,
        certificate: None,
        address: IpAddr::from([198, 51, 100, 7]),
        endpoint,
        upstream,
        method: "tools/call".into(),
        target: "add".to_owned(),
        tool: None,
        policies: vec!["gr_1".to_owned()],
        arguments: Bytes::from_static(arguments),
        protocol_version: "2025-11-25",
        request_id: "req_1".to_owned(),
        bytes_in: 100,
        began: seams::Timestamp::from_micros(0),
        started: Monotonic::from_nanos(0),
        tenant,
    }
}
