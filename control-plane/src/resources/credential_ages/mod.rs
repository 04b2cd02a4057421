//! How old a tenant's credentials are, when they were used last, and when they are to be replaced (R58).

mod queries;
pub mod routes;
pub mod types;
pub mod uses;
