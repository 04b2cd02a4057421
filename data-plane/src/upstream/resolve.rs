//! Names to addresses. A seam, so that tests can let a name change its mind.

use std::{fmt, future::Future, io, net::IpAddr, pin::Pin};

/// Addresses of a name, or why there are none.
pub(crate) type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Resolves names. Asked anew for every connection; nothing is cached here.
pub(crate) trait Resolver: Send + Sync + fmt::Debug {
    /// All addresses of `host`, in order of preference.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            // The port is the caller's business; 0 stands in.
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
