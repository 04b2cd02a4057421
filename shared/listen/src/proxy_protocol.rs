//! The PROXY protocol, versions 1 and 2: what a load balancer writes before a connection's own bytes, to say whose it is
//! (haproxy.org/download/3.0/doc/proxy-protocol.txt).
//!
//! Read only from networks that an operator has declared, and from them only this: what is no such header ends the connection.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of the longest header that is read: addresses, and what balancers add to them.
pub const MAX: usize = 1024;
/// The same of version 1, its line's end included (section 2.1).
const MAX_V1: usize = 107;
/// How version 2 begins (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before version 2's addresses.
const FIXED: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose the connection is; `None`: the balancer's own, such as its health check.
    pub source: Option<SocketAddr>,
    /// Whether that one speaks TLS to the balancer; `None` where it does not say.
    pub tls: Option<bool>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither version begins like this.
    #[error("no PROXY protocol header")]
    None,
    /// It is longer than any that says only what it should.
    #[error("PROXY protocol header is too long")]
    TooLong,
    /// It breaks the format.
    #[error("PROXY protocol header is malformed")]
    Broken,
    /// It does not say whose the connection is.
    #[error("PROXY protocol header names no TCP address")]
    NoAddress,
}

/// How much has been read of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// At least so many bytes more are needed; none of them belongs to what follows the header.
    More(usize),
    /// All of it.
    Whole(Header),
}

/// Reads a header from the beginning of a connection, and nothing of what follows it.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] with [`Malformed`], and those of `stream`.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Header> {
    let mut bytes = Vec::with_capacity(MAX_V1);
    loop {
        match parse(&bytes) {
            Ok(Parsed::Whole(header)) => return Ok(header),
            Ok(Parsed::More(missing)) => {
                let had = bytes.len();
                bytes.resize(had + missing, 0);
                stream.read_exact(bytes.get_mut(had..).unwrap_or_default()).await?;
            }
            Err(malformed) => return Err(io::Error::new(io::ErrorKind::InvalidData, malformed)),
        }
    }
}

/// Parses what has been read of a header. `bytes` end where the header does, or before.
///
/// # Errors
/// [`Malformed`], as soon as it is.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(a, b)| a == b);
    match bytes.len() {
        short if short < SIGNATURE.len() && (begins(SIGNATURE) || begins(b"PROXY ")) => {
            // The shortest of version 1 has three bytes more.
            Ok(Parsed::More(SIGNATURE.len() - short))
        }
        _ if begins(SIGNATURE) => v2(bytes),
        _ if begins(b"PROXY ") => v1(bytes),
        _ => Err(Malformed::None),
    }
}

fn v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if bytes.len() > MAX_V1 {
        return Err(Malformed::TooLong);
    }
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        return match bytes.iter().position(|&byte| byte == b'\r') {
            Some(at) if at + 1 < bytes.len() => Err(Malformed::Broken),
            _ if bytes.len() == MAX_V1 => Err(Malformed::TooLong),
            Some(_) => Ok(Parsed::More(1)),
            // Its end is two bytes.
            None => Ok(Parsed::More(2.min(MAX_V1 - bytes.len()))),
        };
    };
    if line.contains(&b'\r') || line.contains(&b'\n') {
        return Err(Malformed::Broken);
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Broken)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(Malformed::Broken)?;
    if family == "UNKNOWN" {
        return Err(Malformed::NoAddress);
    }
    let [source, destination, from, to] = [(); 4].map(|()| words.next().unwrap_or_default());
    if words.next().is_some() {
        return Err(Malformed::Broken);
    }
    let address = |text: &str| -> Result<IpAddr, Malformed> {
        match family {
            "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| Malformed::Broken),
            "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| Malformed::Broken),
            _ => Err(Malformed::Broken),
        }
    };
    let (source, _destination) = (address(source)?, address(destination)?);
    let (from, _to) = (port(from)?, port(to)?);
    Ok(Parsed::Whole(Header { source: Some(somebody(source, from)?), tls: None }))
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed::Broken)
}

fn v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Parsed::More(FIXED.saturating_sub(bytes.len())));
    };
    let [.., version_command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > MAX {
        return Err(Malformed::TooLong);
    }
    if rest.len() < length {
        return Ok(Parsed::More(length - rest.len()));
    }
    if rest.len() > length {
        return Err(Malformed::Broken);
    }
    match version_command {
        // LOCAL: whatever else it says is to be ignored.
        0x20 => return Ok(Parsed::Whole(Header { source: None, tls: None })),
        0x21 => {}
        _ => return Err(Malformed::Broken),
    }
    let (source, more) = match family {
        0x11 => {
            let (pair, more) = rest.split_first_chunk::<12>().ok_or(Malformed::Broken)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *pair;
            (somebody(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))?, more)
        }
        0x21 => {
            let (pair, more) = rest.split_first_chunk::<36>().ok_or(Malformed::Broken)?;
            let (source, ports) = pair.split_first_chunk::<16>().ok_or(Malformed::Broken)?;
            let port = match *ports {
                [.., high, low, _, _] => u16::from_be_bytes([high, low]),
                _ => return Err(Malformed::Broken),
            };
            (somebody(Ipv6Addr::from(*source).into(), port)?, more)
        }
        _ => return Err(Malformed::NoAddress),
    };
    Ok(Parsed::Whole(Header { source: Some(source), tls: tls(more)? }))
}

/// Who came over TLS, by what follows the addresses: `PP2_TYPE_SSL` (section 2.2.6). All of it has to be in order.
fn tls(mut more: &[u8]) -> Result<Option<bool>, Malformed> {
    const SSL: u8 = 0x20;
    /// `PP2_CLIENT_SSL`.
    const OVER_TLS: u8 = 1;
    let mut tls = None;
    while let Some((&[kind, high, low], rest)) = more.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::Broken)?;
        if kind == SSL {
            let client = value.first_chunk::<5>().ok_or(Malformed::Broken)?;
            if tls.replace(client[0] & OVER_TLS != 0).is_some() {
                return Err(Malformed::Broken);
            }
        }
        more = rest;
    }
    if more.is_empty() { Ok(tls) } else { Err(Malformed::Broken) }
}

/// An address that somebody can come from.
fn somebody(address: IpAddr, port: u16) -> Result<SocketAddr, Malformed> {
    let address = address.to_canonical();
    let nobody = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    if nobody || address.is_unspecified() || address.is_multicast() {
        return Err(Malformed::NoAddress);
    }
    Ok(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests;
