//! API keys.

use std::{fmt, sync::Arc};

use crypto::Presented;
use ids::{DataKeyId, KeyId};
use seams::Timestamp;

use super::{ClientIndex, Restrictions, SubjectLimit, TenantKeys};

/// An API key.
pub struct KeyIndex {
    /// Its id.
    pub id: KeyId,
    /// Who presents it.
    pub client: Arc<ClientIndex>,
    /// Keyed hash of the secret part.
    pub hash: [u8; 32],
    /// Under which data key.
    pub data_key: DataKeyId,
    /// Refused from then on.
    pub not_after: Option<Timestamp>,
    /// From where and when it is accepted.
    pub restrictions: Option<Box<Restrictions>>,
    /// Its own limit.
    pub limit: Option<Arc<SubjectLimit>>,
}

impl KeyIndex {
    /// Whether `presented` is this key. Constant time; whether the key has ended is not looked at.
    #[must_use]
    pub fn verify(&self, keys: &TenantKeys, presented: &Presented<'_>) -> bool {
        keys.get(self.data_key).is_some_and(|keys| keys.hasher.verify(presented, &self.hash))
    }
}

impl fmt::Debug for KeyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyIndex")
            .field("id", &self.id)
            .field("client", &self.client.id)
            .finish_non_exhaustive()
    }
}
