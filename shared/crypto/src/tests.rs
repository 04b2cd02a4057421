//! Golden vectors and properties. A golden text that changes breaks every stored or carried value of its format: a new
//! version of the format is needed then, not a new vector.

mod archive;
mod handles;
mod keys;
mod rest;

use ids::{ClientId, DataKeyId, EndpointId, TenantId, UpstreamId, Uuid};
use seams::SeededEntropy;

use crate::{DataKey, SessionKey};

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 + n)
}

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(uuid(n))
}

fn endpoint(n: u128) -> EndpointId {
    EndpointId::from_uuid(uuid(n))
}

fn client(n: u128) -> ClientId {
    ClientId::from_uuid(uuid(n))
}

fn upstream(n: u128) -> UpstreamId {
    UpstreamId::from_uuid(uuid(n))
}

fn entropy() -> SeededEntropy {
    SeededEntropy::new(7)
}

fn data_key(n: u8) -> DataKey {
    DataKey::new(DataKeyId::from_uuid(uuid(u128::from(n))), [n; 32])
}

fn session_keys() -> [SessionKey; 2] {
    [data_key(1).session_key(), data_key(2).session_key()]
}
