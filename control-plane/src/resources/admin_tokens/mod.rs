//! Admin tokens: automation's credentials for one tenant's part of the API.

mod queries;
pub mod routes;
pub mod types;
