//! The only coupling between the planes: the generated protocol types, the canonical forms and digests of
//! what is pushed, what endpoints are called in
//! tokens, the two ends of the configuration stream as state machines without I/O, and the kill set.

mod defaults;
pub mod global;
pub mod identifier;
pub mod kill;
pub mod record;
mod redacted;
pub mod snapshot;
pub mod stream;

/// The one DNS name in the control plane's certificate for proxies. They verify it under the CA they were enrolled with,
/// whatever address they dial: the name says which role the peer has, the CA says whose.
pub const CONTROL_NAME: &str = "control.portcullis.internal";

/// A proxy's URI SAN is this and its id.
pub const PROXY_SPIFFE_PREFIX: &str = "spiffe://portcullis/proxy/";

/// Common name of an authority of the fleet, which is all of its subject: this and the first 16 hexadecimal digits of the SHA-256 of
/// its SubjectPublicKeyInfo. A proxy that knows an authority by that hash alone can ask the control plane for a certificate of it.
pub const AUTHORITY_NAME_PREFIX: &str = "Portcullis fleet CA ";

/// What a renewal's proof signs, before the CSR.
pub const RENEWAL_CONTEXT: &[u8] = b"portcullis renew v1\0";

/// Largest message of any service, in bytes: a snapshot of 16 MiB with its envelope.
pub const MAX_MESSAGE: usize = 17 << 20;

/// Messages and services generated from `proto/portcullis/v1`.
#[expect(clippy::all, clippy::allow_attributes, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("portcullis.v1");
}
