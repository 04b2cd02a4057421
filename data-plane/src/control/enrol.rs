//! Getting a certificate: by a join token the first time, by the old key afterwards.

use std::sync::Arc;

use crypto::{ExposeSecret as _, SecretString, join};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};
use rustls::pki_types::CertificateDer;
use seams::{Clock, Timestamp};
use wire::v1::{self, enrol_client::EnrolClient};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Config, ControlError, channel, identity::Identity, tls};

/// Joins: the token goes out only to a server whose certificate the CA named in the token has signed.
pub(super) async fn join(
    config: &Config,
    token: &SecretString,
    clock: &Arc<dyn Clock>,
) -> Result<Identity, ControlError> {
    let token = join::parse(token.expose_secret())?;
    let tls = tls::joining(token.ca_key_hash, clock)?;
    let (key, csr_der) = new_key()?;
    let request =
        v1::EnrolRequest { join_token: token.token_text().to_owned(), csr_der, build: config.build.clone() };
    let channel = channel::lazy(&config.enrol_url, tls);
    let response = EnrolClient::new(channel).enrol(request).await.map_err(ControlError::of)?.into_inner();
    let identity = read(response, key, clock.now())?;
    if identity.ca.iter().any(|ca| tls::key_hash(ca) == Some(token.ca_key_hash)) {
        Ok(identity)
    } else {
        Err(ControlError::Identity("the CA is not the one named in the join token"))
    }
}

/// A new key and certificate for the same proxy.
pub(super) async fn renew(
    config: &Config,
    identity: &Identity,
    clock: &Arc<dyn Clock>,
) -> Result<Identity, ControlError> {
    let tls = tls::renewing(identity, clock)?;
    let (key, csr_der) = new_key()?;
    let signed = [wire::RENEWAL_CONTEXT, &csr_der].concat();
    let request = v1::RenewRequest {
        certificate_der: identity.chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default(),
        proof: identity.key.sign(&signed)?,
        csr_der,
        build: config.build.clone(),
    };
    let channel = channel::lazy(&config.enrol_url, tls);
    let response = EnrolClient::new(channel).renew(request).await.map_err(ControlError::of)?.into_inner();
    let renewed = read(response, key, clock.now())?;
    if renewed.proxy == identity.proxy {
        Ok(renewed)
    } else {
        Err(ControlError::Identity("the renewed certificate is another proxy's"))
    }
}

fn new_key() -> Result<(KeyPair, Vec<u8>), ControlError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    // The control plane names the certificate; the request carries the key and nothing else.
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key)?.der().to_vec();
    Ok((key, csr))
}

fn read(response: v1::EnrolResponse, key: KeyPair, now: Timestamp) -> Result<Identity, ControlError> {
    let proxy = ids::Uuid::from_slice(&response.proxy_id).map_err(|_| ControlError::Identity("proxy id"))?;
    let identity = Identity {
        proxy: ids::ProxyId::from_uuid(proxy),
        pool: response.pool,
        key,
        chain: response.certificate_chain_der.into_iter().map(CertificateDer::from).collect(),
        ca: response.ca_der.into_iter().map(CertificateDer::from).collect(),
        issued: now,
        not_after: Timestamp::from_micros(response.not_after_micros),
    };
    identity.check()?;
    Ok(identity)
}

/// Whether a certificate is over this key.
pub(super) fn is_over(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw())
}
