//! The authority and the handshakes that rest on it, without a database.

use std::sync::Arc;

use crypto::FileKek;
use ids::ProxyId;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use seams::{Clock, Entropy, SeededEntropy, SystemClock, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    authorities::Authorities,
    ca::{Authority, Csr, make},
    peer::named,
    tls::ServerCertificate,
};

fn kek() -> FileKek {
    FileKek::from_bytes(&FileKek::generate_file(&SeededEntropy::new(1))).expect("a key file")
}

fn authority() -> Authority {
    let [authority, _] = twice();
    authority
}

/// The same authority, opened twice.
fn twice() -> [Authority; 2] {
    let row = make(&kek(), SystemClock.now(), &SeededEntropy::new(2)).expect("a CA");
    [(); 2].map(|()| Authority::open(&kek(), &row).expect("opens"))
}

fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
}

struct Member {
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
}

fn member(authority: &Authority, proxy: ProxyId, now: Timestamp) -> Member {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let csr = Csr::verify(&csr(&key)).expect("a good request");
    let issued = authority.issue_proxy(&csr, proxy, now, &SeededEntropy::new(3)).expect("issues");
    Member { key, chain: issued.chain }
}

fn client(authority: &Authority, member: Option<&Member>, tls12: bool) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).expect("a root");
    let versions = if tls12 { vec![&rustls::version::TLS12] } else { vec![&rustls::version::TLS13] };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&versions)
        .expect("versions")
        .with_root_certificates(roots);
    match member {
        Some(member) => {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(member.key.serialize_der()));
            builder.with_client_auth_cert(member.chain.clone(), key).expect("a client certificate")
        }
        None => builder.with_no_client_auth(),
    }
}

/// Whether a byte gets through and back: with TLS 1.3 a client learns of its refusal only when it reads.
async fn connects(server: Arc<rustls::ServerConfig>, client: ClientConfig) -> bool {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serving = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await.ok()?;
        let byte = stream.read_u8().await.ok()?;
        stream.write_u8(byte).await.ok()?;
        stream.shutdown().await.ok()
    };
    let calling = async {
        let name = ServerName::try_from(wire::CONTROL_NAME).expect("a name");
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, near).await.ok()?;
        stream.write_u8(7).await.ok()?;
        stream.read_u8().await.ok()
    };
    let (_, echoed) = tokio::join!(serving, calling);
    echoed == Some(7)
}

/// Of a fleet with these authorities, oldest first.
fn certificate(trusted: Vec<Authority>) -> Arc<ServerCertificate> {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SeededEntropy::new(4)));
    let trusted = Authorities::new(trusted, SystemClock.now()).expect("a fleet");
    let (_, trusted) = tokio::sync::watch::channel(Arc::new(trusted));
    ServerCertificate::issue(trusted, clock, entropy).expect("server certificates")
}

#[test]
fn the_authority_opens_with_its_master_key_only() {
    let row = make(&kek(), SystemClock.now(), &SeededEntropy::new(2)).expect("a CA");
    let opened = Authority::open(&kek(), &row).expect("opens");
    assert_eq!(opened.key_hash, row.spki_sha256);
    let other = FileKek::from_bytes(&FileKek::generate_file(&SeededEntropy::new(9))).expect("a key file");
    assert!(Authority::open(&other, &row).is_err());
    let mut moved = make(&kek(), SystemClock.now(), &SeededEntropy::new(5)).expect("another CA");
    moved.sealed_key.clone_from(&row.sealed_key);
    assert!(Authority::open(&kek(), &moved).is_err(), "sealed for another row");
}

#[test]
fn a_certificate_names_the_proxy_and_nothing_the_request_asked_for() {
    let (authority, proxy, now) = (authority(), ProxyId::from_parts(1, [1; 10]), SystemClock.now());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let mut params = CertificateParams::default();
    let forged = format!("{}{}", wire::PROXY_SPIFFE_PREFIX, ProxyId::from_parts(1, [2; 10]));
    params.subject_alt_names = vec![SanType::URI(forged.try_into().expect("a URI"))];
    let request = params.serialize_request(&key).expect("a request");
    let csr = Csr::verify(request.der()).expect("a good request");
    let issued = authority.issue_proxy(&csr, proxy, now, &SeededEntropy::new(3)).expect("issues");
    let named = named(&issued.chain[0]).expect("a name");
    assert_eq!(named.proxy, proxy);
    assert_eq!(named.not_after.secs(), now.secs() + 3600);
}

#[test]
fn requests_with_a_foreign_signature_or_another_kind_of_key_are_refused() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let mut forged = csr(&key);
    let last = forged.len() - 3;
    forged[last] ^= 1;
    assert!(Csr::verify(&forged).is_none());
    let other = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    assert!(Csr::verify(&csr(&other)).is_none());
    assert!(Csr::verify(b"").is_none());
}

#[tokio::test]
async fn the_proxy_port_takes_certificates_of_its_own_authority_only() {
    let ([ours, served], theirs) = (twice(), authority());
    let (proxy, now) = (ProxyId::from_parts(1, [1; 10]), SystemClock.now());
    let server = certificate(vec![served]).mutual_config().expect("a configuration");
    let enrolled = member(&ours, proxy, now);
    assert!(connects(server.clone(), client(&ours, Some(&enrolled), false)).await);
    assert!(!connects(server.clone(), client(&ours, None, false)).await, "no certificate");
    assert!(!connects(server.clone(), client(&ours, Some(&enrolled), true)).await, "TLS 1.2");
    let foreign = member(&theirs, proxy, now);
    assert!(!connects(server.clone(), client(&ours, Some(&foreign), false)).await, "another fleet's");
    let ended = member(&ours, proxy, Timestamp::from_secs(now.secs() - 2 * 3600));
    assert!(!connects(server.clone(), client(&ours, Some(&ended), false)).await, "run out");
    assert!(!connects(server, client(&theirs, Some(&enrolled), false)).await, "the proxy checks too");
}

/// Proxies that know one authority, the other or both, while there are two.
#[tokio::test]
async fn with_two_authorities_everybody_meets() {
    let (proxy, now) = (ProxyId::from_parts(1, [1; 10]), SystemClock.now());
    // Keys are made at random, whatever the seed: one of each, opened as often as needed.
    let rows = [8, 9].map(|seed| make(&kek(), now, &SeededEntropy::new(seed)).expect("a CA"));
    let [old, new] = rows.each_ref().map(|row| move || Authority::open(&kek(), row).expect("opens"));
    let server = certificate(vec![old(), new()]).mutual_config().expect("a configuration");
    for shown in [old(), new()] {
        let enrolled = member(&shown, proxy, now);
        // Says nothing of whom it trusts: shown the oldest.
        assert!(connects(server.clone(), client(&old(), Some(&enrolled), false)).await);
        assert!(!connects(server.clone(), client(&new(), Some(&enrolled), false)).await);
        for trusted in [vec![old()], vec![new()], vec![old(), new()]] {
            assert!(connects(server.clone(), asking(&trusted, &enrolled)).await, "{trusted:?}");
        }
    }
    // The old one is retired.
    let server = certificate(vec![new()]).mutual_config().expect("a configuration");
    assert!(!connects(server.clone(), asking(&[old(), new()], &member(&old(), proxy, now))).await);
    assert!(!connects(server.clone(), asking(&[old()], &member(&new(), proxy, now))).await);
    assert!(connects(server, asking(&[old(), new()], &member(&new(), proxy, now))).await);
}

/// A proxy that says whom it trusts.
fn asking(trusted: &[Authority], member: &Member) -> ClientConfig {
    #[derive(Debug)]
    struct Asking(Arc<rustls::client::WebPkiServerVerifier>, Vec<rustls::DistinguishedName>);

    impl rustls::client::danger::ServerCertVerifier for Asking {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            server_name: &ServerName<'_>,
            ocsp_response: &[u8],
            now: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls12_signature(message, certificate, signature)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls13_signature(message, certificate, signature)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.supported_verify_schemes()
        }
        fn root_hint_subjects(&self) -> Option<&[rustls::DistinguishedName]> {
            Some(&self.1)
        }
    }

    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(authority.certificate().clone()).expect("a root");
    }
    let subjects = roots.subjects();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .expect("a verifier");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(member.key.serialize_der()));
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Asking(verifier, subjects)))
        .with_client_auth_cert(member.chain.clone(), key)
        .expect("a client certificate")
}

#[tokio::test]
async fn a_servers_certificate_does_not_make_a_proxy_nor_the_reverse() {
    let [authority, served] = twice();
    let now = SystemClock.now();
    let (issued, key) = authority.issue_server(now, &SeededEntropy::new(3)).expect("issues");
    assert!(named(&issued.chain[0]).is_none());
    let posing = Member { key, chain: issued.chain };
    let server = certificate(vec![served]).mutual_config().expect("a configuration");
    assert!(!connects(server, client(&authority, Some(&posing), false)).await);
}

#[tokio::test]
async fn the_enrolment_port_asks_for_no_certificate_and_shows_its_authority() {
    let [authority, served] = twice();
    let server = certificate(vec![served]).enrol_config().expect("a configuration");
    assert!(connects(server, client(&authority, None, false)).await);
}

#[tokio::test]
async fn who_finds_no_place_waits_for_one() {
    use tokio::{net::TcpListener, sync::mpsc, time::timeout};
    const SOON: std::time::Duration = std::time::Duration::from_millis(500);

    let [authority, served] = twice();
    let tls = certificate(vec![served]).enrol_config().expect("a configuration");
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let tasks = crate::tasks::Tasks::new();
    let (sender, mut connections) = mpsc::channel(8);
    tasks.spawn("port", super::server::accept(tasks.clone(), listener, TlsAcceptor::from(tls), 2, sender));
    let connect = async || {
        let name = ServerName::try_from(wire::CONTROL_NAME).expect("a name");
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        TlsConnector::from(Arc::new(client(&authority, None, false)))
            .connect(name, stream)
            .await
            .expect("a handshake")
    };
    let (_one, _two) = (connect().await, connect().await);
    let first = connections.recv().await;
    let _second = connections.recv().await;
    assert!(timeout(SOON, connect()).await.is_err(), "a third found a place");
    drop(first);
    timeout(SOON, connect()).await.expect("the place is free again");
    assert!(tasks.shutdown(SOON).await, "waiting for a place does not hold up the end");
}
