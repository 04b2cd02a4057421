//! The checks a request passes, one file each. `pipeline.rs` calls them in order and is the only file that sees all:
//! no check calls another, and none knows `upstream`. The evidence each returns is listed here, because later checks
//! take it as an argument; nothing but the check itself can make it.

pub(crate) mod address_limit;
pub(crate) mod authenticate;
pub(crate) mod authorize;
pub(crate) mod edge;
pub(crate) mod endpoint;
pub(crate) mod kill;
pub(crate) mod limit;
pub(crate) mod network;
pub(crate) mod protocol;
pub(crate) mod public;
pub(crate) mod session;
pub(crate) mod tool_pin;

pub(crate) use address_limit::Counted;
pub(crate) use authenticate::{Principal, Proofs, Scheme, Still, Tokens};
pub(crate) use authorize::{Grounds, Permit};
pub(crate) use edge::{Exchange, ReadBody};
pub(crate) use endpoint::{EndpointEvidence, METADATA};
pub(crate) use limit::{Cost, Reservation};
pub(crate) use network::Reached;
pub(crate) use protocol::{Call, Kind, Verb};
pub(crate) use session::BoundSession;
pub(crate) use tool_pin::PinnedCall;
