//! What was fetched, for as long as it may be kept, and what could not be.
//!
//! By tenant: what one tenant may reach another may not, and nobody learns from an answer's haste what others have asked for. By kind,
//! and what failed apart from what came: whoever asks for what there is not, or for much, leaves the room of other things alone.

use std::time::Duration;

use parking_lot::Mutex;
use seams::Monotonic;

use super::{Asked, Document, FetchError, kind::Kind, shelf::Shelf};

/// How long what failed is not tried again.
const FAILED_FOR: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Kept([Mutex<OfKind>; Kind::ALL.len()]);

#[derive(Debug)]
struct OfKind {
    documents: Shelf<Document>,
    failures: Shelf<FetchError>,
}

impl Default for Kept {
    fn default() -> Self {
        Self(Kind::ALL.map(|kind| {
            let (documents, failures) = (Shelf::new(kind.room()), Shelf::new(kind.room()));
            Mutex::new(OfKind { documents, failures })
        }))
    }
}

impl Kept {
    fn of(&self, asked: &Asked) -> &Mutex<OfKind> {
        &self.0[asked.kind.place()]
    }

    /// What is known, if that is enough.
    pub(super) fn known(
        &self,
        asked: &Asked,
        anew_after: Option<Duration>,
        now: Monotonic,
    ) -> Option<Result<Document, FetchError>> {
        let mut kept = self.of(asked).lock();
        let lacking = |document: &Document| anew_after.is_some_and(|anew| now.since(document.at) >= anew);
        if let Some(document) = kept.documents.get(asked, now).filter(|document| !lacking(document)) {
            return Some(Ok(document));
        }
        kept.failures.get(asked, now).map(Err)
    }

    /// The document that is kept.
    pub(super) fn document(&self, asked: &Asked, now: Monotonic) -> Option<Document> {
        self.of(asked).lock().documents.get(asked, now)
    }

    /// Keeps what came, or that nothing did.
    pub(super) fn keep(&self, asked: &Asked, result: &Result<Document, FetchError>, now: Monotonic) {
        let mut kept = self.of(asked).lock();
        match result {
            Ok(document) => kept.documents.put(asked, document.clone(), document.age, now),
            Err(error) => kept.failures.put(asked, error.clone(), FAILED_FOR, now),
        }
    }
}
