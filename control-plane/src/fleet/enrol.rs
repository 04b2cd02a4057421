//! Joining the fleet, and new certificates for those in it.

use std::{net::IpAddr, sync::Arc};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use crypto::{KeyKind, Presented, digest, key};
use errors::ErrorCode;
use ids::ProxyId;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use wire::v1;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    FleetError,
    authorities::Authorities,
    build_name,
    ca::{Csr, Issued},
    peer::{Named, named, revoked},
    queries::{self, NewProxy, Standing},
    tls::unix_time,
};
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
    publish::commit,
};

pub(super) struct EnrolService {
    core: Core,
    authorities: watch::Receiver<Arc<Authorities>>,
}

impl EnrolService {
    pub(super) const fn new(core: Core, authorities: watch::Receiver<Arc<Authorities>>) -> Self {
        Self { core, authorities }
    }

    fn authorities(&self) -> Arc<Authorities> {
        Arc::clone(&self.authorities.borrow())
    }

    /// The id of the join token if it is the one stored. Unknown tokens cost as much as wrong ones.
    async fn known_token(&self, presented: &Presented<'_>) -> Result<Option<ids::Uuid>, FleetError> {
        let stored = queries::join_token(&mut self.core.store.auth().await?, presented.lookup).await?;
        Ok(match stored {
            Some((id, hash)) => self.core.secrets.verify_token(presented, &hash).then_some(id),
            None => {
                self.core.secrets.dummy_token(presented);
                None
            }
        })
    }

    /// Uses up the token and writes down the proxy, in one transaction. `None` when the token is used or has ended.
    async fn redeem(
        &self,
        token: ids::Uuid,
        csr: &Csr,
        build: &str,
        address: Option<IpAddr>,
    ) -> Result<Option<Joined>, FleetError> {
        let core = &self.core;
        let now = core.clock.now();
        let proxy = ProxyId::from_parts(now.millis(), core.entropy.bytes());
        let mut tx = core.store.operator().await?;
        let Some(pool) = queries::use_join_token(&mut tx, token, now).await? else { return Ok(None) };
        let issued = self.authorities().issuing().issue_proxy(csr, proxy, now, &*core.entropy)?;
        let (fingerprint, authority, not_after) = (issued.fingerprint(), issued.authority, issued.not_after);
        let build = build_name(build);
        let row = NewProxy { id: proxy, pool: pool.id, build: &build, fingerprint, authority, not_after };
        queries::insert_proxy(&mut tx, &row, token, now).await?;
        let act = Act {
            actor: Actor::Proxy(proxy),
            operation: "fleet.enrol",
            target: proxy.to_string(),
            address,
            request_id: None,
            ending: Ending::Commit,
        };
        commit::commit_operator(tx, core, &act, None).await?;
        tracing::info!(portcullis.proxy.id = %proxy, pool = pool.slug, "proxy enrolled");
        Ok(Some(Joined { proxy, pool: pool.slug, issued }))
    }

    /// The proxy named by a certificate of ours whose key made `proof`. A certificate that has run out still proves whose
    /// key it was: a proxy that was away for long comes back by itself, unless it was revoked. Whether it is one of its last two
    /// is asked of the database.
    fn prove(&self, request: &v1::RenewRequest) -> Option<Named> {
        let certificate = CertificateDer::from(request.certificate_der.as_slice());
        let named = named(&certificate)?;
        let at = named.not_after.min(self.core.clock.now());
        self.authorities().verifier().verify_client_cert(&certificate, &[], unix_time(at)).ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        let public_key =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &parsed.public_key().subject_public_key.data);
        let signed = [wire::RENEWAL_CONTEXT, &request.csr_der].concat();
        public_key.verify(&signed, &request.proof).ok()?;
        Some(named)
    }

    /// Why a proxy with a certificate of ours gets no other. That it was revoked is told to it: it has to drop what it holds.
    async fn refused(&self, proxy: ProxyId) -> Result<Status, FleetError> {
        let standing = queries::standing(&mut self.core.store.operator().await?, proxy).await?;
        Ok(match standing {
            Standing::Revoked => revoked(),
            Standing::Member(_) | Standing::Unknown => refused("proxy unknown, or certificate replaced"),
        })
    }

    /// `None` when the proxy is unknown or revoked, or has gone on to other keys since.
    async fn renewed(
        &self,
        proxy: ProxyId,
        presented: &[u8; 32],
        csr: &Csr,
        build: &str,
    ) -> Result<Option<Joined>, FleetError> {
        let core = &self.core;
        let now = core.clock.now();
        let issued = self.authorities().issuing().issue_proxy(csr, proxy, now, &*core.entropy)?;
        let mut tx = core.store.operator().await?;
        let pool = queries::renew_proxy(&mut tx, proxy, presented, &build_name(build), &issued).await?;
        let Some(pool) = pool else { return Ok(None) };
        tx.commit().await?;
        Ok(Some(Joined { proxy, pool, issued }))
    }

    fn response(&self, joined: Joined) -> Response<v1::EnrolResponse> {
        Response::new(v1::EnrolResponse {
            proxy_id: joined.proxy.uuid().as_bytes().to_vec(),
            certificate_chain_der: joined.issued.chain.iter().map(|each| each.to_vec()).collect(),
            ca_der: self.authorities().certificates().map(|each| each.to_vec()).collect(),
            not_after_micros: joined.issued.not_after.micros(),
            pool: joined.pool,
        })
    }
}

struct Joined {
    proxy: ProxyId,
    pool: String,
    issued: Issued,
}

/// Unknown, wrong, used and ended tokens are told apart in the log only.
fn refused(why: &'static str) -> Status {
    tracing::warn!(error.code = ErrorCode::JoinTokenRefused.slug(), reason = why, "enrolment refused");
    Status::unauthenticated(ErrorCode::JoinTokenRefused.slug())
}

fn bad_request() -> Status {
    Status::invalid_argument("not a certificate request signed by a P-256 key")
}

/// Guessing costs look-ups, and the connections for these are few: as at the admin API, an address that failed too often
/// is heard no longer, but for tokens that there are.
fn slow_down() -> Status {
    Status::resource_exhausted(ErrorCode::AddressLimited.slug())
}

#[tonic::async_trait]
impl v1::enrol_server::Enrol for EnrolService {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let address = request.remote_addr().map(|address| address.ip());
        let request = request.into_inner();
        let presented =
            key::parse(KeyKind::JoinToken, &request.join_token).map_err(|_| refused("not a join token"))?;
        // Only what is no token of ours: as at the admin API, who guesses behind the same address locks out nobody.
        if self.core.may_authenticate(address).is_err()
            && !self.core.known.has(&self.core, &presented).await?
        {
            return Err(slow_down());
        }
        let token = self.known_token(&presented).await.map_err(FleetError::into_status)?;
        let token = token.ok_or_else(|| {
            self.core.authentication_failed(address);
            refused("unknown")
        })?;
        let csr = Csr::verify(&request.csr_der).ok_or_else(bad_request)?;
        let joined =
            self.redeem(token, &csr, &request.build, address).await.map_err(FleetError::into_status)?;
        let joined = joined.ok_or_else(|| {
            self.core.authentication_failed(address);
            self.core.known.ended(&presented);
            refused("used, or its time is over")
        })?;
        Ok(self.response(joined))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let named = self.prove(&request).ok_or_else(|| refused("certificate or proof not ours"))?;
        let csr = Csr::verify(&request.csr_der).ok_or_else(bad_request)?;
        let presented = digest::sha256(&request.certificate_der);
        let renewed = self
            .renewed(named.proxy, &presented, &csr, &request.build)
            .await
            .map_err(FleetError::into_status)?;
        match renewed {
            Some(joined) => Ok(self.response(joined)),
            None => Err(self.refused(named.proxy).await.map_err(FleetError::into_status)?),
        }
    }
}
