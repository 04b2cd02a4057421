//! Clients, and the endpoints they may use.

pub mod endpoints;
mod queries;
pub mod routes;
pub mod types;

use ids::ClientId;

use crate::{db::TenantTx, http::problem::ApiError};

pub(super) use queries::get as client;

/// Refuses a secret or a key for a client that can keep none.
pub(super) async fn may_prove_itself(tx: &mut TenantTx, id: ClientId) -> Result<(), ApiError> {
    match client(tx, id).await?.settings.public {
        true => Err(ApiError::Conflict("the client is public: it can keep neither secrets nor keys")),
        false => Ok(()),
    }
}
