//! What a proxy says of the fleet's configuration, into its row.

mod queries;

use ids::ProxyId;
use seams::Timestamp;

use super::progress::Progress;
use crate::db::{OperatorTx, StoreError};

/// Writes it.
pub(super) async fn store(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    progress: &Progress,
    now: Timestamp,
) -> Result<(), StoreError> {
    match progress {
        Progress::Applied(version) => queries::applied(tx, proxy, *version, now).await,
        Progress::Claimed(version) => queries::claimed(tx, proxy, *version, now).await,
        Progress::Removed => queries::removed(tx, proxy).await,
        Progress::Rejected { rev, code, detail, .. } => {
            queries::rejected(tx, proxy, *rev, code.slug(), &detail.replace('\0', "")).await
        }
    }
}
