//! What was fetched, for as long as it may be kept; and who is fetching what.
//!
//! By tenant: what one tenant may reach another may not, and nobody learns from an answer's haste what others have asked for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ids::TenantId;
use parking_lot::Mutex;
use seams::Monotonic;
use tokio::sync::MutexGuard;

use super::{Document, FetchError, Kind, Wanted};

/// Documents kept; of one tenant.
const MOST: usize = 1_024;
const OF_TENANT: usize = 64;
/// How long what failed is not tried again.
const FAILED_FOR: Duration = Duration::from_secs(15);

type Key = (TenantId, Kind, Box<str>);

/// Documents by tenant and URL.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<HashMap<Key, Arc<Place>>>);

/// One document's place.
#[derive(Debug, Default)]
pub(super) struct Place {
    known: Mutex<Known>,
    /// Held by whoever fetches it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The last that came.
    document: Option<Document>,
    /// The last that did not come, since then.
    failed: Option<(Monotonic, FetchError)>,
    /// When somebody asked last.
    asked: Monotonic,
}

impl Kept {
    /// Its place, made where there is none; whoever has not been asked for longest gives theirs up.
    pub(super) fn place(&self, wanted: &Wanted<'_>, now: Monotonic) -> Arc<Place> {
        let key = (wanted.tenant, wanted.kind, wanted.url.as_str().into());
        let mut places = self.0.lock();
        if let Some(place) = places.get(&key) {
            place.known.lock().asked = now;
            return Arc::clone(place);
        }
        let own = places.keys().filter(|(tenant, ..)| *tenant == wanted.tenant).count();
        let full = |tenant: &TenantId| own < OF_TENANT || *tenant == wanted.tenant;
        if own >= OF_TENANT || places.len() >= MOST {
            let candidates = places.iter().filter(|((tenant, ..), _)| full(tenant));
            let oldest = candidates.min_by_key(|(_, place)| place.known.lock().asked);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                places.remove(&oldest);
            }
        }
        let place = Arc::new(Place::default());
        place.known.lock().asked = now;
        places.insert(key, Arc::clone(&place));
        place
    }
}

impl Place {
    /// Until the guard is dropped nobody else fetches it.
    pub(super) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.fetching.lock().await
    }

    /// What is known, if that is enough.
    pub(super) fn known(&self, wanted: &Wanted<'_>, now: Monotonic) -> Option<Result<Document, FetchError>> {
        let known = self.known.lock();
        let lately = known.failed.as_ref().filter(|(at, _)| now.since(*at) < FAILED_FOR);
        let fresh = known.document.as_ref().filter(|document| now.since(document.at) < document.age);
        match (fresh, lately) {
            // What is missing in it may be there by now; but where it could not be fetched a moment ago, this is what there is.
            (Some(document), None)
                if wanted.anew_after.is_some_and(|anew| now.since(document.at) >= anew) =>
            {
                None
            }
            (Some(document), _) => Some(Ok(document.clone())),
            (None, Some((_, error))) => Some(Err(error.clone())),
            (None, None) => None,
        }
    }

    /// Keeps what came, or that nothing did; gives what is to be used.
    pub(super) fn keep(
        &self,
        result: Result<Document, FetchError>,
        now: Monotonic,
    ) -> Result<Document, FetchError> {
        let mut known = self.known.lock();
        match result {
            Ok(document) => {
                (known.document, known.failed) = (Some(document.clone()), None);
                Ok(document)
            }
            Err(error) => {
                known.failed = Some((now, error.clone()));
                let fresh = known.document.as_ref().filter(|document| now.since(document.at) < document.age);
                fresh.cloned().ok_or(error)
            }
        }
    }
}
