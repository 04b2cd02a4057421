//! New keys.

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair},
};
use seams::Entropy;
use zeroize::Zeroizing;

use super::{Algorithm, PrivateKey, PublicKey};

/// A key that cannot be made, or cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing key cannot be used")]
pub struct SignError;

/// A new key. Only of EdDSA the randomness is the caller's; the library draws the others' itself.
///
/// # Errors
/// [`SignError`] if the library gives none.
pub fn generate(algorithm: Algorithm, entropy: &dyn Entropy) -> Result<(PrivateKey, PublicKey), SignError> {
    let (pkcs8, public) = match algorithm {
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| SignError)?;
            let der = pair.as_der().map_err(|_| SignError)?;
            (Zeroizing::new(der.as_ref().to_vec()), pair.public_key().as_ref().to_vec())
        }
        Algorithm::Es256 => {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).map_err(|_| SignError)?;
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref()).map_err(|_| SignError)?;
            (Zeroizing::new(der.as_ref().to_vec()), pair.public_key().as_ref().to_vec())
        }
        Algorithm::EdDsa => {
            let seed: Zeroizing<[u8; 32]> = Zeroizing::new(entropy.bytes());
            let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| SignError)?;
            let der = pair.to_pkcs8v1().map_err(|_| SignError)?;
            (Zeroizing::new(der.as_ref().to_vec()), pair.public_key().as_ref().to_vec())
        }
    };
    let public = PublicKey::new(algorithm, &public).map_err(|_| SignError)?;
    Ok((PrivateKey::new(algorithm, pkcs8), public))
}

/// What stands before an `RSAPrivateKey` of 2048 bits in PKCS#8, but for the two lengths: version 0, rsaEncryption.
const RSA_INFO: [u8; 18] = [2, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

/// The `RSAPrivateKey` inside a PKCS#8: what the library for tokens signs with.
pub(super) fn rsa_inside(pkcs8: &[u8]) -> Option<&[u8]> {
    let rest = pkcs8.strip_prefix(&[0x30, 0x82])?.get(2..)?;
    rest.strip_prefix(&RSA_INFO)?.strip_prefix(&[4, 0x82])?.get(2..)
}
