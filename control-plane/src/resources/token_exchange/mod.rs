//! Which clients may exchange tokens for other endpoints of the tenant.

pub mod routes;
