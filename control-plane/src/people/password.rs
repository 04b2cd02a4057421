//! Which passwords people may have: long ones, that are not among the first that anybody tries (NIST SP 800-63B section 3.1.1).

use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use crypto::Zeroizing;

use super::{email::Email, page::PageError};
use crate::app::Core;

/// Characters at least.
const SHORTEST: usize = 12;
/// Bytes at most: what a form may carry of one.
const LONGEST: usize = 256;
/// Different characters at least.
const DIFFERENT: usize = 5;

/// Stands for the hash of whoever has no account: to check against it takes as long as against any other.
pub(super) const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgb3duIHNhbA$bm9ib2R5J3MgcGFzc3dvcmQ6IDMyIGJ5dGVzIGhlcmU";

/// Passwords that everybody knows, of those that are long enough.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Whether the person with this address may have this password.
///
/// # Errors
/// What is wrong with it, as a sentence for them.
pub(super) fn check(password: &str, email: &Email) -> Result<(), &'static str> {
    if password.chars().count() < SHORTEST {
        return Err("The password has to have at least 12 characters.");
    }
    if password.len() > LONGEST {
        return Err("The password is too long.");
    }
    let lower = password.to_lowercase();
    let different: BTreeSet<char> = lower.chars().collect();
    if different.len() < DIFFERENT || COMMON.contains(lower.as_str()) {
        return Err("This password is one of the first that anybody would try. Choose another.");
    }
    if lower.contains(email.as_str()) {
        return Err("The password must not contain the e-mail address.");
    }
    Ok(())
}

/// What is stored of a password, made when it is its turn.
pub(super) async fn hash(core: &Core, password: &str) -> Result<String, PageError> {
    let (password, entropy) = (Zeroizing::new(password.to_owned()), core.entropy.clone());
    let hashing = move || crypto::password::hash(password.as_bytes(), &*entropy);
    core.sign_ins.hashing.run(hashing).await?.map_err(PageError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_not_everybodys() {
        let ann = Email::parse("ann@example.com").unwrap();
        for good in ["violet tractor", "Tr0ub4dor&3-x", "\u{e4}\u{f6}\u{fc}\u{df}abcdefgh"] {
            assert_eq!(check(good, &ann), Ok(()), "{good}");
        }
        for wrong in [
            "short",
            "elevenchars",
            "aaaaaaaaaaaaaaaa",
            "Password1234",
            "CORRECTHORSEBATTERYSTAPLE",
            "my ann@example.com",
            &"violet ".repeat(40),
        ] {
            assert!(check(wrong, &ann).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nobodys_hash_is_like_any_other() {
        assert_eq!(crypto::password::verify(b"anything", NOBODYS), Ok(false));
        let other = crypto::password::hash(b"x", &seams::SeededEntropy::new(1)).unwrap();
        let cost = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(cost(NOBODYS), cost(&other), "the same cost");
        assert_eq!(NOBODYS.len(), other.len());
    }
}
