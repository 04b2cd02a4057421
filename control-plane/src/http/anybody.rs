//! Callers of the operations that are open to anybody.

use std::{convert::Infallible, net::IpAddr};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::auth;
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
};

/// Whoever it is.
#[derive(Debug, Clone)]
pub struct Anybody {
    /// Where from.
    pub address: Option<IpAddr>,
    request_id: String,
    ending: Ending,
}

impl Anybody {
    /// What they did.
    pub fn act(&self, operation: &'static str, target: impl ToString) -> Act {
        Act {
            actor: Actor::Stranger,
            operation,
            target: target.to_string(),
            address: self.address,
            request_id: Some(self.request_id.clone()),
            ending: self.ending.clone(),
        }
    }
}

impl FromRequestParts<Core> for Anybody {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _core: &Core) -> Result<Self, Infallible> {
        Ok(Self {
            address: auth::address(parts),
            request_id: auth::request_id(parts),
            ending: auth::ending(parts),
        })
    }
}
