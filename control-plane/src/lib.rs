//! The control plane: Postgres, the REST API, compiling configuration, and serving it to proxies.

pub mod app;
pub mod assertions;
pub mod audit;
pub mod config;
pub mod data_keys;
pub mod db;
pub mod dns;
pub mod fetch;
pub mod fleet;
pub mod global;
pub mod hashing;
pub mod http;
pub mod kills;
pub mod looks;
pub mod oauth;
pub mod people;
pub mod publish;
pub mod resources;
pub mod secrets;
pub mod tasks;
