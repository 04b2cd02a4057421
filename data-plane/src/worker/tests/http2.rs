//! Clients that do not keep to what HTTP/2 means, frame by frame (RFC 9113 section 4.1).

use listen::{http as bound, tls::Floor};
use rustls::version;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    tls::{Site, tcp},
    *,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header field that enters no table (RFC 7541 section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127, "one byte of length");
        field.push(u8::try_from(text.len()).unwrap());
        field.extend(text.as_bytes());
    }
    field
}

/// The head of a call that has a credential; its body is missing, so that it waits.
fn head(workers: &Workers) -> Vec<u8> {
    let mut block = field(":method", "POST");
    block.extend(field(":scheme", "https"));
    block.extend(field(":path", PATH));
    block.extend(field(":authority", "localhost"));
    for (name, value) in workers.post().headers().iter().filter(|(name, _)| *name != "host") {
        block.extend(field(name.as_str(), value.to_str().unwrap()));
    }
    block
}

/// Streams of a client have odd numbers.
fn stream(index: u32) -> u32 {
    2 * index + 1
}

struct Frames<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    async fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        self.0.write_all(&frames.concat()).await?;
        self.0.flush().await
    }

    /// Kind, stream and payload of the next frame; `None` when the connection has ended, however.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, _flags, s, t, u, v] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((kind, u32::from_be_bytes([s, t, u, v]), payload))
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("a frame, or the end")
    }

    /// The code with which the server says that this connection is over.
    async fn goaway(&mut self) -> u32 {
        while let Some((kind, _, payload)) = self.next().await {
            if kind == GOAWAY {
                return u32::from_be_bytes(payload[4..8].try_into().unwrap());
            }
        }
        panic!("ended without a word");
    }
}

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// Runs `client` against workers, on a connection that has agreed on HTTP/2.
async fn run(change: impl FnOnce(&mut Bounds), client: impl AsyncFnOnce(&Workers, Frames<Stream>)) {
    let case = async {
        let site = Site::new();
        let server = Server::start(|_| async { result("{}") }).await;
        let mut world = world_of(&server);
        unlimited(&mut world);
        let workers = Workers::start(world, |shared| {
            shared.tls = Some(site.acceptor(Floor::Tls13));
            change(&mut shared.bounds);
        });
        let stream = site.connect(tcp(&workers).await, b"h2", &[&version::TLS13]).await.unwrap();
        let mut frames = Frames(stream);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frames.send(&[preface, frame(SETTINGS, 0, 0, &[])]).await.unwrap();
        client(&workers, frames).await;
        // Others are served as before.
        let stream = site.connect(tcp(&workers).await, b"http/1.1", &[&version::TLS13]).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        assert_eq!(sender.send_request(workers.post()).await.unwrap().status(), 200);
        drop(sender);
        workers.shared.drain.enter(Phase::Ending);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn streams_opened_only_to_be_reset_end_the_connection() {
    run(
        |_| {},
        async |workers, mut client| {
            let block = head(workers);
            let both = |i| {
                let cancel = CANCEL.to_be_bytes();
                [frame(HEADERS, END_HEADERS, stream(i), &block), frame(RST_STREAM, 0, stream(i), &cancel)]
            };
            let _cut = client.send(&(0..200).flat_map(both).collect::<Vec<_>>()).await;
            assert_eq!(client.goaway().await, ENHANCE_YOUR_CALM);
        },
    )
    .await;
}

#[tokio::test]
async fn streams_that_make_the_server_reset_them_end_the_connection() {
    run(
        |_| {},
        async |workers, mut client| {
            let block = head(workers);
            let most = u32::try_from(bound::ERROR_RESETS).unwrap();
            // A window that grows too large is an error of that stream alone.
            let broken = |i| {
                let most = 0x7fff_ffff_u32.to_be_bytes();
                [frame(HEADERS, END_HEADERS, stream(i), &block), frame(WINDOW_UPDATE, 0, stream(i), &most)]
            };
            client.send(&(0..most).flat_map(broken).collect::<Vec<_>>()).await.unwrap();
            let mut resets = 0;
            while resets < most {
                let (kind, ..) = client.next().await.expect("as many as may be");
                assert_ne!(kind, GOAWAY);
                resets += u32::from(kind == RST_STREAM);
            }
            let _cut = client.send(&(most..most + 2).flat_map(broken).collect::<Vec<_>>()).await;
            assert_eq!(client.goaway().await, ENHANCE_YOUR_CALM);
        },
    )
    .await;
}

#[tokio::test]
async fn so_many_streams_are_open_at_once_and_no_more() {
    run(
        |_| {},
        async |workers, mut client| {
            let block = head(workers);
            let above = 12;
            let open = |i| frame(HEADERS, END_HEADERS, stream(i), &block);
            client.send(&(0..bound::STREAMS + above).map(open).collect::<Vec<_>>()).await.unwrap();
            let mut refused = Vec::new();
            while refused.len() < above as usize {
                let (kind, stream, payload) = client.next().await.expect("the connection goes on");
                if kind == RST_STREAM {
                    assert_eq!(u32::from_be_bytes(payload[..].try_into().unwrap()), REFUSED_STREAM);
                    refused.push(stream);
                }
            }
            let last: Vec<_> = (bound::STREAMS..bound::STREAMS + above).map(stream).collect();
            assert_eq!(refused, last);
            // One that may be open gets its answer all the same.
            client.send(&[frame(DATA, END_STREAM, stream(0), ADD.as_bytes())]).await.unwrap();
            while let Some((kind, answered, _)) = client.next().await {
                if kind == HEADERS {
                    assert_eq!(answered, stream(0));
                    return;
                }
            }
            panic!("no answer");
        },
    )
    .await;
}

#[tokio::test]
async fn a_head_without_an_end_is_not_collected() {
    run(
        |_| {},
        async |workers, mut client| {
            client.send(&[frame(HEADERS, 0, stream(0), &head(workers))]).await.unwrap();
            let more: Vec<u8> = (0..100).flat_map(|i| field(&format!("x-{i}"), &"v".repeat(100))).collect();
            // A few times what a head may have.
            for _ in 0..64 {
                if client.send(&[frame(CONTINUATION, 0, stream(0), &more)]).await.is_err() {
                    break;
                }
            }
            assert_ne!(client.goaway().await, 0);
        },
    )
    .await;
}

/// A connection on which only frames for the connection come is idle, however busy it looks.
async fn noise_does_not_keep_it_open(noise: Vec<u8>) {
    let short = |bounds: &mut Bounds| bounds.header_timeout = Duration::from_millis(500);
    run(short, async |_, client| {
        let (mut reading, mut writing) = tokio::io::split(client.0);
        let make = async {
            while writing.write_all(&noise).await.is_ok() && writing.flush().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let take = async { while matches!(reading.read(&mut [0; 4096]).await, Ok(1..)) {} };
        let both = futures_util::future::join(make, take);
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("closed by the worker");
    })
    .await;
}

#[tokio::test]
async fn pings_do_not_keep_a_connection_open() {
    noise_does_not_keep_it_open(frame(PING, 0, 0, &[7; 8]).repeat(64)).await;
}

#[tokio::test]
async fn settings_do_not_keep_a_connection_open() {
    noise_does_not_keep_it_open(frame(SETTINGS, 0, 0, &[]).repeat(64)).await;
}
