//! The way out: connections to MCP servers, and the one function that uses them, [`forward`].

mod addresses;
mod aside;
mod attempt;
mod body;
mod connect;
mod document;
mod error;
mod exchange;
mod forward;
mod guard;
mod headers;
mod held;
mod http1;
mod meters;
mod oauth;
mod origin;
mod pins;
mod pool;
mod proof;
mod received;
mod reply;
mod resolve;
mod timeouts;
mod tls;
mod watched;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use body::Body;
pub(crate) use connect::connect;
pub(crate) use error::{Break, Fault, UpstreamError, Waiting};
pub(crate) use forward::{Dispatch, Failed, Outgoing, Session, forward};
pub(crate) use guard::{Breaker, BreakerLimits, GateLimits, Guard};
pub(crate) use guard::{Crowded, Outcome, Passage, Priority, Shut};
pub(crate) use headers::finish;
pub(crate) use oauth::{At, Means, Oauth, Settings as OauthSettings, Shown};
pub(crate) use origin::Origin;
pub(crate) use pool::{Parts, Pool};
pub(crate) use proof::{Proof, Stated};
pub(crate) use resolve::{Resolver, SystemResolver};
pub(crate) use timeouts::{Timeouts, ToolTimeouts};
pub(crate) use watched::{Noticed, Watched};
