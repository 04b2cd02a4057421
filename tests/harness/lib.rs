//! What every test starts from: real servers, both planes in process, a scriptable MCP server, a caller.

pub mod admin;
pub mod app;
pub mod caller;
pub mod clock;
pub mod control;
pub mod dns;
pub mod forge;
pub mod gateway;
pub mod machine;
pub mod member;
pub mod orders;
mod outage;
pub mod person;
pub mod processes;
pub mod prover;
pub mod redis;
pub mod servers;
pub mod site;
pub mod tenant;
pub mod token_server;
pub mod upstream;
mod values;
pub mod web;

pub use app::{App, Tokens};
pub use caller::{Answer, Caller};
pub use gateway::Gateway;
pub use machine::{Answered, Machine};
pub use person::Person;
pub use site::Site;
pub use tenant::{Endpoint, Tenant};
pub use token_server::TokenServer;
pub use upstream::{Behaviour, Upstream, tool};
pub use values::{eventually, text};
pub use web::{Framing, Page, Web};
