//! What the API manages. A resource is a folder: `types` (what goes in and out), `queries` (the only SQL), `routes`.

pub mod admin_tokens;
pub mod audit_records;
pub mod authorities;
pub mod client_secrets;
pub mod clients;
pub mod domains;
pub mod endpoints;
pub mod fields;
pub mod global;
pub mod grants;
pub mod invitations;
pub mod join_tokens;
pub mod keys;
pub mod kills;
pub mod limits;
pub mod members;
pub mod pools;
pub mod proxies;
pub mod public_keys;
pub mod revisions;
pub mod roles;
pub mod scopes;
pub mod signing_keys;
pub mod tenants;
pub mod tools;
pub mod upstreams;
