//! What every listener of both planes has in common: TLS as it is spoken, the certificates that are shown, how long a
//! handshake may take, and what one connection may ask for.
#![forbid(unsafe_code)]

pub mod callers;
pub mod certificate;
pub mod files;
pub mod front;
pub mod handshakes;
pub mod headers;
pub mod http;
pub mod proxy_protocol;
pub mod table;
pub mod tls;
