//! The three accounts of what was called — the callers', the upstream's, the audit log — and whether they agree.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use prost::Message as _;
use sqlx::{PgPool, Row as _};
use wire::v1::{AuditRecord, Phase};

use crate::load::Seen;

/// What the audit log holds of one call, by the name the caller gave it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Logged {
    intents: u32,
    outcomes: u32,
}

/// Compares the accounts. Every call whose response reached its caller was made once and has one intent and one outcome;
/// no call reached the upstream without an intent, or twice; nothing is missing from the log or lies beside it.
pub(crate) async fn agree(database_url: &str, seen: &Seen, ledger: &[String]) {
    let database = PgPool::connect(database_url).await.unwrap();
    let logged = logged(&database).await;
    let mut reached: HashMap<&str, u32> = HashMap::new();
    for name in ledger {
        *reached.entry(name).or_default() += 1;
    }
    let twice: Vec<_> = reached.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "made more than once: {twice:?}");
    let once = Logged { intents: 1, outcomes: 1 };
    let lost: Vec<_> = seen
        .answered
        .iter()
        .map(|name| {
            (name, reached.contains_key(name.as_str()), logged.get(name).copied().unwrap_or_default())
        })
        .filter(|(_, made, logged)| !made || *logged != once)
        .collect();
    assert!(lost.is_empty(), "{} answered calls are not on record as they should be: {lost:?}", lost.len());
    let unannounced: Vec<_> =
        reached.keys().filter(|name| logged.get(**name).is_none_or(|logged| logged.intents != 1)).collect();
    assert!(unannounced.is_empty(), "reached the upstream without one intent: {unannounced:?}");
    let doubled: Vec<_> =
        logged.iter().filter(|(_, logged)| logged.intents > 1 || logged.outcomes > 1).collect();
    assert!(doubled.is_empty(), "recorded more than once: {doubled:?}");
    let gaps: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_gaps").fetch_one(&database).await.unwrap();
    assert_eq!(gaps, 0, "numbers are missing from the log");
}

/// Records of a load's calls, by name. Other calls have none.
async fn logged(database: &PgPool) -> HashMap<String, Logged> {
    let mut rows = sqlx::query("SELECT body FROM audit_records WHERE method = 'tools/call'").fetch(database);
    let mut logged: HashMap<String, Logged> = HashMap::new();
    while let Some(row) = rows.try_next().await.unwrap() {
        let record = AuditRecord::decode(row.get::<&[u8], _>("body")).unwrap();
        if record.request_id.is_empty() {
            continue;
        }
        let (phase, of_call) = (record.phase(), logged.entry(record.request_id).or_default());
        match phase {
            Phase::Intent => of_call.intents += 1,
            Phase::Outcome => of_call.outcomes += 1,
            other => panic!("a call has no {other:?}"),
        }
    }
    logged
}
