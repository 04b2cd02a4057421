use std::{fs, net::Ipv4Addr, path::Path};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use seams::{ManualClock, Timestamp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// 2027-01-15.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Made {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

fn made(names: &[&str], last_year: i32) -> Made {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    let signed = params.self_signed(&key).unwrap();
    Made { chain: signed.pem(), key: key.serialize_pem(), der: signed.der().clone() }
}

fn files(dir: &Path, name: &str) -> CertificateFiles {
    CertificateFiles { chain: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
}

fn write(files: &CertificateFiles, made: &Made) {
    fs::write(&files.chain, &made.chain).unwrap();
    fs::write(&files.key, &made.key).unwrap();
}

fn open(certificates: Vec<CertificateFiles>, floor: Floor) -> Result<Arc<Followed>, TlsError> {
    Followed::open(&Tls { certificates, floor }, Arc::new(ManualClock::at(NOW)))
}

/// What a client that asks for `name` is shown, in a real handshake; `None` if there is none.
async fn shown(followed: &Followed, name: &str, trusted: &[&Made]) -> Option<CertificateDer<'static>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(followed.config());
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_ok()
    };
    let mut roots = RootCertStore::empty();
    for made in trusted {
        roots.add(made.der.clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let asking = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.first()?.clone().into_owned())
    };
    tokio::join!(serving, asking).1
}

#[tokio::test]
async fn the_certificate_for_the_name_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (made(&["a.example.com", "127.0.0.1"], 2099), made(&["*.example.org"], 2099));
    let pairs = [files(dir.path(), "one"), files(dir.path(), "two")];
    write(&pairs[0], &one);
    write(&pairs[1], &two);
    let followed = open(pairs.to_vec(), Floor::Tls13).unwrap();
    let all = [&one, &two];
    assert_eq!(shown(&followed, "a.example.com", &all).await.as_ref(), Some(&one.der));
    assert_eq!(shown(&followed, "b.example.org", &all).await.as_ref(), Some(&two.der));
    assert_eq!(shown(&followed, "127.0.0.1", &all).await.as_ref(), Some(&one.der), "no name is asked for");
    assert_eq!(shown(&followed, "other.example.com", &all).await, None);
}

#[tokio::test]
async fn files_that_change_are_shown_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let pair = files(dir.path(), "site");
    let (old, new) = (made(&["a.example.com"], 2099), made(&["a.example.com"], 2098));
    write(&pair, &old);
    let followed = open(vec![pair.clone()], Floor::Tls13).unwrap();
    assert_eq!(followed.look(), Look::Same);
    let all = [&old, &new];
    let is_shown = async |made: &Made| {
        assert_eq!(shown(&followed, "a.example.com", &all).await.as_ref(), Some(&made.der));
    };

    // Between the two writes of a renewal; and looking again says nothing new.
    fs::write(&pair.chain, &new.chain).unwrap();
    assert_eq!(followed.look(), Look::Refused);
    assert_eq!(followed.look(), Look::Same);
    is_shown(&old).await;
    fs::write(&pair.key, &new.key).unwrap();
    assert_eq!(followed.look(), Look::Loaded);
    is_shown(&new).await;

    for broken in ["", "no PEM", &new.chain[..new.chain.len() / 2], &"x".repeat(2 * 1024 * 1024)] {
        fs::write(&pair.chain, broken).unwrap();
        assert_eq!(followed.look(), Look::Refused, "{} bytes", broken.len());
        is_shown(&new).await;
    }
    write(&pair, &made(&["a.example.com"], 2020));
    assert_eq!(followed.look(), Look::Refused, "expired");
    fs::remove_file(&pair.key).unwrap();
    assert_eq!(followed.look(), Look::Refused);
    is_shown(&new).await;
    write(&pair, &old);
    assert_eq!(followed.look(), Look::Loaded);
    is_shown(&old).await;
}

#[tokio::test]
async fn a_running_listener_finds_them_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let pair = files(dir.path(), "site");
    let (old, new) = (made(&["a.example.com"], 2099), made(&["a.example.com"], 2098));
    write(&pair, &old);
    let followed = open(vec![pair.clone()], Floor::Tls13).unwrap();
    let stop = CancellationToken::new();
    let following = followed.clone().follow(stop.clone());
    let changing = async {
        write(&pair, &new);
        while shown(&followed, "a.example.com", &[&old, &new]).await.as_ref() != Some(&new.der) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.cancel();
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(following, changing) }).await.unwrap();
}

#[test]
fn what_cannot_be_shown_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let pair = files(dir.path(), "site");
    let refused = || open(vec![pair.clone()], Floor::Tls13).unwrap_err();
    assert!(matches!(open(Vec::new(), Floor::Tls13).unwrap_err(), TlsError::NoCertificate));
    assert!(matches!(refused(), TlsError::Read { .. }));
    let good = made(&["a.example.com"], 2099);
    let because = |chain: &str, key: &str| {
        fs::write(&pair.chain, chain).unwrap();
        fs::write(&pair.key, key).unwrap();
        match refused() {
            TlsError::Certificate { source, .. } => source,
            other => panic!("{other}"),
        }
    };
    assert!(matches!(because("", &good.key), CertificateError::Empty));
    assert!(matches!(because(&good.chain, "no key"), CertificateError::Pem(_)));
    let other = made(&["a.example.com"], 2099);
    assert!(matches!(because(&good.chain, &other.key), CertificateError::Unusable(_)));
    let nameless = made(&[], 2099);
    assert!(matches!(because(&nameless.chain, &nameless.key), CertificateError::Nameless));
    write(&pair, &made(&["a.example.com"], 2020));
    assert!(open(vec![pair.clone()], Floor::Tls13).is_ok(), "the clock may be wrong");
}

/// A hello of TLS 1.2 (RFC 5246 section 7.4.1.2) that offers these suites alone.
fn hello(suites: &[[u8; 2]]) -> Vec<u8> {
    let list = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let extension = |kind: u16, content: &[u8]| [&kind.to_be_bytes(), &list(content)[..]].concat();
    let extensions = [
        extension(0, &list(&[&[0], &list(b"a.example.com")[..]].concat())),
        extension(10, &list(&[0, 29, 0, 23])),
        extension(11, &[1, 0]),
        extension(13, &list(&[4, 3, 8, 4, 4, 1])),
        extension(23, &[]),
    ]
    .concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &list(&suites.concat()), &[1, 0], &list(&extensions)].concat();
    let message = [&[1, 0][..], &list(&body)].concat();
    [&[22, 3, 1][..], &list(&message)].concat()
}

/// Type of the first record that comes back, and its last byte: an alert's is what it says.
async fn answer(followed: &Followed, hello: &[u8]) -> (u8, u8) {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(followed.config());
    let serving = async { drop(acceptor.accept(server).await) };
    let asking = async {
        client.write_all(hello).await.unwrap();
        let mut record = [0; 7];
        client.read_exact(&mut record).await.unwrap();
        drop(client);
        (record[0], record[6])
    };
    tokio::join!(serving, asking).1
}

#[tokio::test]
async fn weak_suites_are_not_agreed_on_and_old_versions_are_not_spoken() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const ACCESS_DENIED: u8 = 49;
    const PROTOCOL_VERSION: u8 = 70;
    let dir = tempfile::tempdir().unwrap();
    let pair = files(dir.path(), "site");
    write(&pair, &made(&["a.example.com"], 2099));
    let older = open(vec![pair.clone()], Floor::Tls12).unwrap();
    // No certificate fits them, which is the first thing that is noticed. ECDHE with AES-CBC, RSA key exchange, 3DES, RC4, and no encryption at all.
    let weak = [[0xc0, 0x09], [0xc0, 0x13], [0xc0, 0x23], [0, 0x2f], [0, 0x9c], [0, 0x0a], [0, 0x05], [0, 0]];
    assert_eq!(answer(&older, &hello(&weak)).await, (ALERT, ACCESS_DENIED));
    let strong = [[0xc0, 0x2b]];
    assert_eq!(answer(&older, &hello(&strong)).await.0, HANDSHAKE);
    let strict = open(vec![pair], Floor::default()).unwrap();
    assert_eq!(answer(&strict, &hello(&strong)).await, (ALERT, PROTOCOL_VERSION));
    assert_eq!(strict.config().max_early_data_size, 0);
}

/// Asked for by a signal, files are read again at once; nothing waits for the next look.
#[tokio::test]
async fn a_hangup_puts_in_force_what_files_hold() {
    let dir = tempfile::tempdir().unwrap();
    let own = files(dir.path(), "own");
    let (first, second) = (made(&["gw.example.com"], 2030), made(&["gw.example.com"], 2030));
    write(&own, &first);
    let followed = open(vec![own.clone()], Floor::Tls13).unwrap();
    let stopping = CancellationToken::new();
    let following = followed.clone().follow_every(Duration::from_secs(3600), stopping.clone());
    let case = async {
        assert_eq!(shown(&followed, "gw.example.com", &[&first, &second]).await, Some(first.der.clone()));
        write(&own, &second);
        assert_eq!(shown(&followed, "gw.example.com", &[&first, &second]).await, Some(first.der.clone()));
        let own_id = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-HUP", &own_id]).status().unwrap();
        assert!(sent.success());
        let new = async {
            while shown(&followed, "gw.example.com", &[&first, &second]).await != Some(second.der.clone()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), new).await.expect("read again");
        stopping.cancel();
    };
    tokio::join!(following, case);
}
