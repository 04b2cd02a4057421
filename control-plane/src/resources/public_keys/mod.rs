//! Public keys of clients: with the private half a client signs what it presents to its tenant's issuer (RFC 7523).

mod queries;
pub mod routes;
pub mod types;
