//! Orders signed offline: their text, and what is in it.

use ids::KillId;
use prost::Message as _;
use seams::Timestamp;

use super::{Kill, id};
use crate::v1;

/// Bytes of an order's text; more are not read.
pub const MAX_ORDER: usize = 16 * 1024;
/// Kills that one order may lift.
const MAX_LIFTS: usize = 256;
const HEADER: &str = "portcullis-kill-order v1 ";

/// Why an order is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Not the text of an order.
    #[error("not a kill order of version 1")]
    Format,
    /// Its body is not exactly one this build knows.
    #[error("the order's body is not one this build knows")]
    Body,
    /// Signed by nobody this proxy obeys.
    #[error("the order's signature is not by the configured key")]
    Signature,
    /// Its time is over.
    #[error("the order has expired")]
    Expired,
    /// This proxy was given no key to check orders with.
    #[error("this proxy has no key for orders")]
    NoKey,
    /// There is no room for another kill, or it cannot be kept.
    #[error("the order cannot be kept")]
    Full,
}

/// What an order says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// When it was signed.
    pub issued: Timestamp,
    /// When it is no longer accepted.
    pub expires: Timestamp,
    /// Adds this kill,
    pub kill: Option<Kill>,
    /// and lifts these, which came by order.
    pub lifted: Vec<KillId>,
}

/// An order's text, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// What is signed, after [`super::ORDER_CONTEXT`].
    pub body: Vec<u8>,
    /// 64 bytes.
    pub signature: Vec<u8>,
}

impl Unverified {
    /// Takes a text apart. One line's end may follow.
    ///
    /// # Errors
    /// [`OrderError::Format`].
    pub fn parse(text: &[u8]) -> Result<Self, OrderError> {
        let text = if text.len() <= MAX_ORDER { std::str::from_utf8(text).ok() } else { None };
        let line = text.map(|text| text.strip_suffix('\n').unwrap_or(text));
        let parts = line.and_then(|line| line.strip_prefix(HEADER)?.split_once(' '));
        let (body, signature) = parts.ok_or(OrderError::Format)?;
        let (Some(body), Some(signature)) = (base64(body), base64(signature)) else {
            return Err(OrderError::Format);
        };
        if signature.len() == 64 { Ok(Self { body, signature }) } else { Err(OrderError::Format) }
    }

    /// The text.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{HEADER}{} {}\n", to_base64(&self.body), to_base64(&self.signature))
    }

    /// What it says. Look only after the signature was checked.
    ///
    /// # Errors
    /// [`OrderError::Body`] for a body that does not encode to the same bytes again, or that says nothing; and
    /// [`OrderError::Expired`].
    pub fn read(&self, now: Timestamp) -> Result<Order, OrderError> {
        let order = v1::KillOrder::decode(self.body.as_slice()).map_err(|_| OrderError::Body)?;
        if order.encode_to_vec() != self.body || order.lifted.len() > MAX_LIFTS {
            return Err(OrderError::Body);
        }
        let kill = order.kill.as_ref().map(|kill| Kill::read(kill).ok_or(OrderError::Body)).transpose()?;
        let lifted = order.lifted.iter().map(|bytes| id(bytes)).collect::<Option<Vec<_>>>();
        let lifted = lifted.ok_or(OrderError::Body)?;
        if kill.is_none() && lifted.is_empty() {
            return Err(OrderError::Body);
        }
        let expires = Timestamp::from_micros(order.expires_micros);
        if expires <= now {
            return Err(OrderError::Expired);
        }
        Ok(Order { issued: Timestamp::from_micros(order.issued_micros), expires, kill, lifted })
    }
}

impl Order {
    /// What is to be signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        v1::KillOrder {
            issued_micros: self.issued.micros(),
            expires_micros: self.expires.micros(),
            kill: self.kill.as_ref().map(Kill::write),
            lifted: self.lifted.iter().map(|id| id.uuid().as_bytes().to_vec()).collect(),
        }
        .encode_to_vec()
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(text).ok()
}

fn to_base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
