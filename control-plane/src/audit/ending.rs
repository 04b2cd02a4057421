//! How the transaction of an act ends. Its handler does not know: the request says so, in one place for all.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::db::AuditTx;

/// What becomes of the transaction when everything is done but the commit.
#[derive(Debug, Clone, Default)]
pub enum Ending {
    /// It is committed.
    #[default]
    Commit,
    /// It is rolled back: a dry run.
    RollBack,
    /// It stays open, because the answer is to be stored in it.
    Keep(Kept),
}

/// Where a transaction waits for its answer.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<Option<Open>>>);

/// A transaction in which everything is done, and what its commit is followed by.
#[derive(Debug)]
pub struct Open {
    /// The transaction.
    pub audit: AuditTx,
    /// Afterwards.
    pub after: After,
}

/// What follows a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// Every replica looks for what is new.
    Wake,
    /// The kill set goes out.
    Kill,
}

impl Ending {
    /// Whether nothing of the act will be.
    #[must_use]
    pub const fn is_roll_back(&self) -> bool {
        matches!(self, Self::RollBack)
    }
}

impl Kept {
    /// Puts a transaction here; gives it back if there is one already.
    pub(crate) fn keep(&self, open: Open) -> Result<(), Open> {
        let mut place = self.0.lock();
        if place.is_some() {
            return Err(open);
        }
        *place = Some(open);
        Ok(())
    }

    /// Takes out what waits here.
    pub(crate) fn take(&self) -> Option<Open> {
        self.0.lock().take()
    }
}
