//! Sign-in providers: by which companies' own people sign in to their tenant (OpenID Connect).

mod admission;
pub(crate) mod queries;
pub mod routes;
pub mod types;
