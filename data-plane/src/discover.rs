//! Discovery: what tools an upstream has. Only proxies dial upstreams, so the control plane asks one to look.
//!
//! [`client`] is the small MCP client that looks, [`watch`] looks again when callers' traffic shows a change.

mod client;
#[cfg(test)]
mod tests;
mod watch;

use std::{sync::Arc, time::Duration};

use errors::ErrorCode;
use futures_util::future::BoxFuture;
use seams::{Clock, Entropy};
use wire::v1::{CatalogueReport, ToolDefinition};

use crate::{
    control::Discoverer,
    snapshot::index::{TenantIndex, UpstreamIndex},
    upstream::{Means, Proof, Resolver, UpstreamError},
};

pub(crate) use watch::watch;

/// Longest time one discovery may take, all pages included.
const WITHIN: Duration = Duration::from_secs(60);
/// Pages of one list.
const MAX_PAGES: usize = 200;
/// Tools of one upstream.
const MAX_TOOLS: usize = 10_000;
/// Bytes of all definitions of one upstream.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Why an upstream's tools could not be discovered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoverError {
    /// It could not be asked, or did not answer as MCP says.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// It answered with a JSON-RPC error; its code.
    #[error("the server refused with JSON-RPC error {0}")]
    Refused(i64),
    /// More pages, tools or bytes than the gateway takes.
    #[error("the list of tools is larger than the gateway takes")]
    TooLarge,
    /// It took longer than [`WITHIN`].
    #[error("the server took too long to list its tools")]
    TooLong,
}

impl DiscoverError {
    const fn code(&self) -> ErrorCode {
        match self {
            Self::Upstream(error) => error.code(),
            Self::Refused(_) => ErrorCode::UpstreamProtocol,
            Self::TooLarge => ErrorCode::ResponseTooLarge,
            Self::TooLong => ErrorCode::UpstreamTimeout,
        }
    }
}

/// What a server said of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    protocol_version: String,
    server_name: String,
    server_version: String,
    tools: Vec<ToolDefinition>,
}

/// Discovers upstreams' tools.
#[derive(Debug)]
pub(crate) struct Discovery {
    resolver: Arc<dyn Resolver>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Discovery {
    /// With the resolver to ask for every connection.
    pub(crate) const fn new(
        resolver: Arc<dyn Resolver>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { resolver, clock, entropy }
    }

    fn means(&self, tenant: &TenantIndex) -> Means {
        Means {
            rules: tenant.egress.clone(),
            resolver: self.resolver.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        }
    }

    /// Looks. A failure is part of the report.
    pub(crate) async fn look(&self, tenant: &TenantIndex, upstream: &UpstreamIndex) -> CatalogueReport {
        let (clock, entropy) = (&*self.clock, &*self.entropy);
        let looking = async {
            let token = match &upstream.auth.oauth {
                Some(oauth) => Some(oauth.token(&self.means(tenant)).await.map_err(UpstreamError::from)?),
                None => None,
            };
            let proof = Proof { tenant, upstream, stated: None, token: token.as_deref(), clock, entropy };
            client::discover(proof, &*self.resolver).await
        };
        let found = tokio::time::timeout(WITHIN, looking).await.unwrap_or(Err(DiscoverError::TooLong));
        let mut report = CatalogueReport {
            tenant_id: tenant.id.uuid().as_bytes().to_vec(),
            upstream_id: upstream.id.uuid().as_bytes().to_vec(),
            ..CatalogueReport::default()
        };
        match found {
            Ok(found) => {
                report.complete = true;
                report.protocol_version = found.protocol_version;
                report.server_name = found.server_name;
                report.server_version = found.server_version;
                report.tools = found.tools;
                tracing::info!(upstream.id = %upstream.id, tools.count = report.tools.len(), "upstream discovered");
            }
            Err(error) => {
                let code = error.code();
                code.slug().clone_into(&mut report.error_code);
                report.error_detail = chain(&error);
                tracing::warn!(
                    upstream.id = %upstream.id,
                    error.code = code.slug(),
                    error = %report.error_detail,
                    "upstream not discovered"
                );
            }
        }
        report
    }
}

impl Discoverer for Discovery {
    fn discover(
        &self,
        tenant: Arc<TenantIndex>,
        upstream: Arc<UpstreamIndex>,
    ) -> BoxFuture<'_, CatalogueReport> {
        Box::pin(async move { self.look(&tenant, &upstream).await })
    }
}

/// An error with its causes, for the tenant's administrators.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
