//! What upstreams say, made fit for callers: lists show what may be used, handles are sealed to their principal, streams
//! are passed on message by message.
//!
//! [`handles`] seals and opens, [`answer`] rewrites one message, [`relay`] is a stream of them,
//! [`event`] by event.

mod answer;
mod event;
mod handles;
mod relay;
mod speaker;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use answer::{Request, Said};
pub(crate) use handles::{Handles, Opened};
pub(crate) use relay::{Cut, Ending, Patience, Relay, cancelled};
pub(crate) use speaker::{Speaker, Visible};
