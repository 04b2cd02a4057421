//! `--tls`: certificates for 127.0.0.1 and localhost from a CA that exists only in `.portcullis`.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::places::Places;
use crate::files;

/// The files of a local certificate.
#[derive(Debug, Clone)]
pub struct LocalTls {
    /// The CA's certificate, PEM; clients trust it.
    pub ca: PathBuf,
    /// Server certificate, PEM.
    pub certificate: PathBuf,
    /// Server key, PEM.
    pub key: PathBuf,
}

/// Makes the CA and a server certificate, or finds those of an earlier run.
pub fn ensure(places: &Places) -> anyhow::Result<LocalTls> {
    let files = LocalTls {
        ca: places.root.join("ca.pem"),
        certificate: places.root.join("tls.pem"),
        key: places.secret("tls.key"),
    };
    if files.ca.exists() && files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let ca_key = KeyPair::generate().context("make the local CA's key")?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Portcullis local CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_certificate = ca.self_signed(&ca_key).context("sign the local CA")?;
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate().context("make the server's key")?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned()]).context("name the server")?;
    server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = server.signed_by(&key, &issuer).context("sign the server's certificate")?;

    // The CA's key is dropped here: nobody can make another certificate that these clients trust.
    files::write_private(&files.key, key.serialize_pem().as_bytes())?;
    files::write_private(&files.certificate, certificate.pem().as_bytes())?;
    files::write_private(&files.ca, ca_certificate.pem().as_bytes())?;
    Ok(files)
}
