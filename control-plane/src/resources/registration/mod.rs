//! How clients may come to the tenant's issuer that nobody has made.

mod hosts;
pub(crate) mod queries;
pub mod routes;
pub mod types;
