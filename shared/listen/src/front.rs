//! What stands in front of a listener: load balancers that an operator has declared, and how they say whose a request is.
//!
//! A declared balancer has to say it: where it does not, or says it in two ways, the request is refused, since everything
//! that goes by an address (allow lists, limits, audit) would go by a wrong one. Nobody else is believed.

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// Hops that are looked at; what passed more is refused.
const MAX_HOPS: usize = 32;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How a balancer says whose a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// By a header of the PROXY protocol before each connection.
    ProxyProtocol,
    /// By `Forwarded` (RFC 7239).
    Forwarded,
    /// By `X-Forwarded-For` and `X-Forwarded-Proto`.
    XForwardedFor,
}

/// `proxy-protocol`, `forwarded` or `x-forwarded-for`.
impl FromStr for Tells {
    type Err = UnknownWay;

    fn from_str(text: &str) -> Result<Self, UnknownWay> {
        match text {
            "proxy-protocol" => Ok(Self::ProxyProtocol),
            "forwarded" => Ok(Self::Forwarded),
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            _ => Err(UnknownWay),
        }
    }
}

/// Not a way to say whose a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("balancers can say whose a request is by proxy-protocol, forwarded or x-forwarded-for")]
pub struct UnknownWay;

/// The declared balancers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    networks: Box<[IpNet]>,
    tells: Tells,
    ends_tls: bool,
}

/// Why a declaration cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontError {
    /// Nobody would be believed.
    #[error("declare the networks of the load balancers in front")]
    Nobody,
    /// Everybody would be.
    #[error("every address there is cannot be a load balancer: declare their own networks")]
    Everybody,
}

/// Whose a request is could not be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// The balancer did not say it, or in a way that can be read as several.
    #[error("the load balancer does not say, or not clearly, where the request comes from")]
    Address,
    /// It came to the balancer over plain HTTP.
    #[error("the request came to the load balancer over plain HTTP")]
    Plain,
}

impl Front {
    /// `ends_tls`: callers speak TLS to the balancer; what it sends on may be plain HTTP.
    ///
    /// # Errors
    /// [`FrontError`].
    pub fn new(networks: Vec<IpNet>, tells: Tells, ends_tls: bool) -> Result<Self, FrontError> {
        if networks.is_empty() {
            return Err(FrontError::Nobody);
        }
        if networks.iter().any(|network| network.prefix_len() == 0) {
            return Err(FrontError::Everybody);
        }
        Ok(Self { networks: networks.into(), tells, ends_tls })
    }

    /// Whether this is a declared balancer's address.
    #[must_use]
    pub fn declares(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// How they say whose a request is.
    #[must_use]
    pub fn tells(&self) -> Tells {
        self.tells
    }

    /// Whether TLS ends at them: then nobody may connect past them.
    #[must_use]
    pub fn ends_tls(&self) -> bool {
        self.ends_tls
    }

    /// Whether a connection from there may be.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.ends_tls || self.declares(address)
    }

    /// Whose a request is that a declared balancer has passed on: the last address of its trail that is no balancer's. What
    /// stands before that was written by whoever has this address.
    ///
    /// # Errors
    /// [`Untold`].
    pub fn client(&self, headers: &HeaderMap) -> Result<IpAddr, Untold> {
        let (name, read): (_, fn(&str) -> Option<Hop<'_>>) = match self.tells {
            Tells::ProxyProtocol => return Err(Untold::Address),
            Tells::Forwarded => (header::FORWARDED, forwarded),
            Tells::XForwardedFor => (X_FORWARDED_FOR, |text| Some(Hop { from: text, proto: None })),
        };
        let mut trail = Vec::new();
        for line in headers.get_all(name) {
            let line = line.to_str().map_err(|_| Untold::Address)?;
            trail.extend(elements(line).take(MAX_HOPS + 1));
        }
        if trail.len() > MAX_HOPS {
            return Err(Untold::Address);
        }
        for element in trail.iter().rev() {
            let hop = read(element).ok_or(Untold::Address)?;
            let address = node(hop.from).ok_or(Untold::Address)?;
            if !self.declares(address) {
                if self.ends_tls {
                    let proto = if self.tells == Tells::Forwarded { hop.proto } else { proto(headers) };
                    match proto {
                        Some(proto) if proto.eq_ignore_ascii_case("https") => {}
                        Some(proto) if proto.eq_ignore_ascii_case("http") => return Err(Untold::Plain),
                        _ => return Err(Untold::Address),
                    }
                }
                return Ok(address);
            }
        }
        Err(Untold::Address)
    }
}

/// `X-Forwarded-Proto`, said once.
fn proto(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(X_FORWARDED_PROTO).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

#[derive(Debug)]
struct Hop<'a> {
    from: &'a str,
    proto: Option<&'a str>,
}

/// The elements of a list, without regard to commas in quotes: none of what is believed has any.
fn elements(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(str::trim)
}

/// One element of `Forwarded` (RFC 7239 section 4): each parameter once, and where it is from among them.
fn forwarded(element: &str) -> Option<Hop<'_>> {
    let (mut from, mut proto) = (None, None);
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\']))?,
            None if value.contains('"') => return None,
            None => value,
        };
        let place = if name.eq_ignore_ascii_case("for") {
            &mut from
        } else if name.eq_ignore_ascii_case("proto") {
            &mut proto
        } else {
            continue;
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    Some(Hop { from: from?, proto })
}

/// An address, with a port or without (RFC 7239 section 6). `unknown` and made-up names are none.
fn node(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (inner, port) = bracketed.split_once(']')?;
            let v6: std::net::Ipv6Addr = inner.parse().ok()?;
            return (port.is_empty() || is_port(port.strip_prefix(':')?))
                .then_some(IpAddr::V6(v6).to_canonical());
        }
        None => text,
    };
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (v4, port) = bare.split_once(':')?;
    let v4: std::net::Ipv4Addr = v4.parse().ok()?;
    is_port(port).then_some(IpAddr::V4(v4))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests;
