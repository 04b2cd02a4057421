//! What the master key file gives: wrapping of data keys, stored hashes of tokens, authentication of cursors.

use crypto::{
    FileKek, Kek, KekError, KeyHasher, MasterPurpose, Presented, Sealer, Zeroizing, digest, jwt::dpop::Nonces,
};
use ids::TenantId;

/// Keys of the installation. Shows nothing of them in `Debug`.
#[derive(Debug)]
pub struct Secrets {
    kek: FileKek,
    hashers: Vec<KeyHasher>,
    newest: KeyHasher,
    cursor: CursorKey,
    answers: AnswerKeys,
    nonces: Nonces,
}

struct CursorKey([u8; 32]);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

struct AnswerKeys(Vec<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for AnswerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerKeys(…)")
    }
}

/// Bytes of a cursor's authentication code.
pub const CURSOR_MAC: usize = 16;

impl Secrets {
    /// From the bytes of a master key file.
    ///
    /// # Errors
    /// If the file is not of a format this version knows.
    pub fn from_master_key(file: &[u8]) -> Result<Self, KekError> {
        let kek = FileKek::from_bytes(file)?;
        let hashers = kek.token_hashers().into_iter().map(|(_, hasher)| hasher).collect();
        let newest = KeyHasher::new(kek.derive(MasterPurpose::TokenHash));
        let cursor = CursorKey(kek.derive(MasterPurpose::Cursor));
        let answers = AnswerKeys(kek.derive_all(MasterPurpose::Answer));
        let nonces = Nonces::new(kek.derive_all(MasterPurpose::ProofNonce).iter().map(|key| &**key));
        Ok(Self { kek, hashers, newest, cursor, answers, nonces })
    }

    /// Wraps and unwraps data keys.
    #[must_use]
    pub fn kek(&self) -> &dyn Kek {
        &self.kek
    }

    /// What is stored of an admin, operator or join token.
    #[must_use]
    pub fn hash_token(&self, presented: &Presented<'_>) -> [u8; 32] {
        self.newest.hash(presented)
    }

    /// Whether `stored` is this token's hash, under the present master key or, while a rotation lasts, the one before.
    #[must_use]
    pub fn verify_token(&self, presented: &Presented<'_>, stored: &[u8; 32]) -> bool {
        // No early exit: which key fits must not show in the duration.
        self.hashers.iter().fold(false, |fits, hasher| fits | hasher.verify(presented, stored))
    }

    /// The work of [`Self::verify_token`] for a token that is not known.
    pub fn dummy_token(&self, presented: &Presented<'_>) {
        for hasher in &self.hashers {
            hasher.dummy(presented);
        }
    }

    /// By which clients' proofs of possession show that they are new.
    #[must_use]
    pub const fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// Seeds of the keys that sign kill sets: the first signs; proxies accept sets by any of them while a rotation lasts.
    #[must_use]
    pub fn kill_seeds(&self) -> Vec<Zeroizing<[u8; 32]>> {
        self.kek.derive_all(MasterPurpose::KillSet)
    }

    /// What seals the reasons of kills that have no row yet, as [`Self::answer_sealers`].
    #[must_use]
    pub fn unsaved_kill_sealers(&self) -> Vec<Sealer> {
        self.kek.derive_all(MasterPurpose::UnsavedKill).into_iter().map(Sealer::new).collect()
    }

    /// What seals the private halves of issuers' signing keys, which no proxy is given, as [`Self::answer_sealers`].
    #[must_use]
    pub fn signing_key_sealers(&self) -> Vec<Sealer> {
        self.kek.derive_all(MasterPurpose::SigningKey).into_iter().map(Sealer::new).collect()
    }

    /// What seals the stored answer to a request with this idempotency key: neither the database nor the master key opens
    /// it without the key. The first seals, every one opens while a rotation lasts.
    #[must_use]
    pub fn answer_sealers(&self, lookup: &[u8; 32], key: &str) -> Vec<Sealer> {
        let derive = |master: &Zeroizing<[u8; 32]>| digest::hmac_sha256(master, &[lookup, key.as_bytes()]);
        self.answers.0.iter().map(|master| Sealer::new(derive(master))).collect()
    }

    /// What the refresh token after `token` is made of: the same each time, and known to nobody who has the token alone, or the
    /// database. The first is the one to be made; while a rotation lasts, what was made before is one of the others.
    #[must_use]
    pub fn refresh_successors(&self, token: &str) -> Vec<Zeroizing<[u8; 32]>> {
        let keys = self.kek.derive_all(MasterPurpose::RefreshToken);
        keys.iter().map(|key| Zeroizing::new(digest::hmac_sha256(key, &[token.as_bytes()]))).collect()
    }

    /// What is stored of a code that a person types for a device: too short for a hash that anybody could compute.
    #[must_use]
    pub fn user_code_mac(&self, tenant: TenantId, code: &str) -> [u8; CURSOR_MAC] {
        let context = digest::sha256(&[b"device user code\0", &tenant.uuid().as_bytes()[..]].concat());
        self.cursor_mac(&context, code.as_bytes())
    }

    /// Authentication code of a cursor. `context` says which list it belongs to.
    #[must_use]
    pub fn cursor_mac(&self, context: &[u8; 32], position: &[u8]) -> [u8; CURSOR_MAC] {
        let full = digest::hmac_sha256(&self.cursor.0, &[context, position]);
        let mut mac = [0; CURSOR_MAC];
        mac.copy_from_slice(&full[..CURSOR_MAC]);
        mac
    }
}
