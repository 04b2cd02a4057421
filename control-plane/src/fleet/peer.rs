//! Who is at the other end of a connection: what its certificate says, and whether the fleet still knows it.

use std::{net::IpAddr, time::Duration};

use errors::ErrorCode;
use ids::{PoolId, ProxyId};
use rustls::pki_types::CertificateDer;
use seams::Timestamp;
use telemetry::metric;
use tonic::{
    Request, Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::queries::{self, Standing};
use crate::{app::Core, db::OperatorTx};

/// The wall clock may be set: how often those that wait for a moment on it look again.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);

/// A proxy that may speak now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// By its certificate.
    pub(crate) proxy: ProxyId,
    /// Whose tenants it serves.
    pub(crate) pool: PoolId,
    /// When its certificate ends.
    not_after: Timestamp,
    /// Where it is.
    pub(crate) address: Option<IpAddr>,
}

/// What a certificate of the fleet's CA says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) proxy: ProxyId,
    pub(crate) not_after: Timestamp,
}

impl Peer {
    /// As its certificate names it.
    pub(crate) const fn named(&self) -> Named {
        Named { proxy: self.proxy, not_after: self.not_after }
    }
}

/// The proxy a certificate names. Whether the CA signed it has been checked before.
pub(super) fn named(certificate: &CertificateDer<'_>) -> Option<Named> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names[..] else { return None };
    let proxy = uri.strip_prefix(wire::PROXY_SPIFFE_PREFIX)?.parse().ok()?;
    let not_after = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(Named { proxy, not_after: Timestamp::from_secs(not_after) })
}

/// Unknown and out of date are not told apart.
pub(super) fn not_enrolled() -> Status {
    Status::unauthenticated("not an enrolled proxy")
}

fn certified<T>(request: &Request<T>) -> Result<Named, Status> {
    let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    let certificates = info.and_then(TlsConnectInfo::peer_certs).ok_or_else(not_enrolled)?;
    certificates.first().and_then(named).ok_or_else(not_enrolled)
}

/// Told only to the proxy itself, which has shown that it has the key: it has to drop what it holds.
pub(super) fn revoked() -> Status {
    Status::permission_denied(ErrorCode::ProxyRevoked.slug())
}

/// Admits proxies to the mutual-TLS port's services.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    core: Core,
}

impl Peers {
    pub(crate) const fn new(core: Core) -> Self {
        Self { core }
    }

    /// The proxy behind a request, unless its certificate has run out since the connection was made, or the proxy is
    /// unknown: these are told nothing more; or revoked, which it is told.
    pub(crate) async fn admit<T>(&self, request: &Request<T>) -> Result<Peer, Status> {
        let named = certified(request)?;
        let pool = self.pool(named).await?;
        let address = request.remote_addr().map(|address| address.ip());
        Ok(Peer { proxy: named.proxy, pool, not_after: named.not_after, address })
    }

    /// As [`Self::admit`], and numbers the configuration stream that begins.
    pub(crate) async fn begin_stream<T>(&self, request: &Request<T>) -> Result<(Peer, i64), Status> {
        let named = certified(request)?;
        let mut tx = self.transaction(named).await?;
        let Some((pool, stream)) = queries::begin_stream(&mut tx, named.proxy).await? else {
            return Err(match queries::standing(&mut tx, named.proxy).await? {
                Standing::Revoked => revoked(),
                Standing::Member(_) | Standing::Unknown => not_enrolled(),
            });
        };
        tx.commit().await?;
        let address = request.remote_addr().map(|address| address.ip());
        Ok((Peer { proxy: named.proxy, pool, not_after: named.not_after, address }, stream))
    }

    /// As [`Self::admit`], but while Postgres is away by the certificate alone: for what only ever stops calls.
    pub(crate) async fn admit_to_kills<T>(&self, request: &Request<T>) -> Result<Named, Status> {
        let named = certified(request)?;
        match tokio::time::timeout(self.core.kills.patience(), self.pool(named)).await {
            Ok(Err(status)) if status.code() != tonic::Code::Unavailable => Err(status),
            Ok(_) | Err(_) if named.not_after > self.core.clock.now() => Ok(named),
            _ => Err(not_enrolled()),
        }
    }

    /// Whether a proxy that was admitted still would be: for streams that stay open.
    pub(crate) async fn still(&self, peer: Peer) -> Result<(), Status> {
        let pool = self.pool(peer.named()).await?;
        if pool == peer.pool { Ok(()) } else { Err(not_enrolled()) }
    }

    async fn pool(&self, named: Named) -> Result<PoolId, Status> {
        let mut tx = self.transaction(named).await?;
        match queries::standing(&mut tx, named.proxy).await? {
            Standing::Member(pool) => Ok(pool),
            Standing::Revoked => Err(revoked()),
            Standing::Unknown => Err(not_enrolled()),
        }
    }

    /// In which the proxy is looked up, if it may be at all.
    async fn transaction(&self, named: Named) -> Result<OperatorTx, Status> {
        if named.not_after <= self.core.clock.now() {
            return Err(not_enrolled());
        }
        self.core.store.admission().await?.ok_or_else(|| {
            metrics::counter!(metric::ADMISSIONS_CROWDED).increment(1);
            Status::unavailable("too many proxies come at once; come back")
        })
    }

    /// Resolves when the proxy has been revoked or the certificate it showed has ended, with what it is told: for streams that
    /// stay open.
    pub(crate) async fn until_out(&self, named: Named) -> Status {
        tokio::select! {
            () = self.core.revocations.until(named.proxy) => revoked(),
            () = self.until(named.not_after) => not_enrolled(),
        }
    }

    async fn until(&self, moment: Timestamp) {
        loop {
            let left = moment.since(self.core.clock.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_AT_CLOCK)).await;
        }
    }
}
