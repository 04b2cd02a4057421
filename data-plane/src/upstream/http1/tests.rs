//! Exchanges with servers that write what they like, byte by byte.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::upstream::received::{Content, Inbound};

const HEAD: &str = "POST / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Both ends of a connection.
async fn pair() -> (Rc<Connection>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let far = far.unwrap().0;
    far.set_nodelay(true).unwrap();
    (Connection::new(Io::Plain(near.unwrap()), address), far)
}

async fn exchange(connection: &Rc<Connection>, body: &[u8]) -> Result<(Received, Body), Unanswered> {
    let body = Bytes::copy_from_slice(body);
    let write = |head: &mut Vec<u8>| {
        head.extend_from_slice(HEAD.as_bytes());
        Ok(())
    };
    connection.exchange(write, &body).await
}

async fn read(body: Body) -> Result<Bytes, Break> {
    Inbound::One(body).collect().await.map(|body| body.to_bytes())
}

/// The status and body of an answer that a server writes in pieces of so many bytes.
async fn answered(answer: &str, piece: usize) -> Result<(u16, Bytes, Rc<Connection>), String> {
    let (near, mut far) = pair().await;
    let serving = async {
        let mut request = vec![0; HEAD.len()];
        far.read_exact(&mut request).await.unwrap();
        for piece in answer.as_bytes().chunks(piece) {
            if far.write_all(piece).await.is_err() {
                break;
            }
            // Long enough, where all is one thread, for the piece to be read before the next is written.
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        far.shutdown().await.ok();
    };
    let calling = async {
        let (received, body) = exchange(&near, b"").await.map_err(|error| causes(&error))?;
        let body = read(body).await.map_err(|error| causes(&error))?;
        Ok((received.status.as_u16(), body))
    };
    let (_, answer) = tokio::join!(serving, calling);
    answer.map(|(status, body)| (status, body, near))
}

fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(|error| format!("{error}; ")).collect()
}

#[tokio::test]
async fn an_answer_is_the_same_in_whatever_pieces_it_comes() {
    for (answer, status, content, reusable) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, "hello", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nx: y\r\n\r\n",
            200,
            "hello",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", false),
        (
            "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
            202,
            "",
            true,
        ),
        ("HTTP/1.1 204 None\r\n\r\n", 204, "", true),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 200, "ok", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok", false),
    ] {
        for piece in [1, 2, 7, 4096] {
            let (got, body, connection) = answered(answer, piece).await.unwrap();
            assert_eq!((got, &*body), (status, content.as_bytes()), "{answer} in pieces of {piece}");
            assert_eq!(connection.is_reusable(), reusable, "{answer} in pieces of {piece}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_and_never_half_an_answer() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(usize::from(MAX_INTERIM) + 1);
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD + 1));
    let empty = "\r\n".repeat(usize::from(MAX_PIECES) * 4);
    for (answer, piece, error) in [
        ("", 1, "closed before the end"),
        ("HTTP/1.1 200 OK\r\ncontent-le", 4096, "closed before the end"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell", 4096, "closed before the end"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n", 4096, "closed before the end"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello",
            4096,
            "body is not framed properly",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 4096, "not HTTP"),
        (&interim, 4096, "not HTTP"),
        (&endless, 4096, "not HTTP"),
        (&empty, 2, "not HTTP"),
    ] {
        let got = answered(answer, piece).await.map(|(status, ..)| status).unwrap_err();
        assert!(got.contains(error), "{got} is not {error}");
    }
}

#[tokio::test]
async fn a_connection_with_something_left_on_it_is_not_used_again() {
    let (near, mut far) = pair().await;
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n").await.unwrap();
    let (_, body) = exchange(&near, b"").await.unwrap();
    assert!(!near.is_reusable());
    assert_eq!(&*read(body).await.unwrap(), b"ok");
    assert!(!near.is_reusable());

    let (near, mut far) = pair().await;
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    exchange(&near, b"").await.unwrap();
    assert!(near.is_reusable() && near.is_quiet());
    far.write_all(b"H").await.unwrap();
    until(|| !near.is_quiet()).await;

    let (near, mut far) = pair().await;
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    exchange(&near, b"").await.unwrap();
    drop(far);
    until(|| !near.is_quiet()).await;
}

/// A body that nobody read to its end leaves the connection in the middle of an exchange.
#[tokio::test]
async fn a_body_that_is_dropped_ends_its_connection() {
    let (near, mut far) = pair().await;
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
    let (_, body) = exchange(&near, b"").await.unwrap();
    drop(body);
    assert!(!near.is_reusable());
    drop(near);
    let mut rest = Vec::new();
    // The request, and then the end.
    far.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, HEAD.as_bytes());
}

#[tokio::test]
async fn a_large_request_arrives_whole_and_an_early_answer_is_heard() {
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let (near, mut far) = pair().await;
    let serving = async {
        let mut got = vec![0; HEAD.len() + sent.len()];
        far.read_exact(&mut got).await.unwrap();
        far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        got
    };
    let (got, answer) = tokio::join!(serving, exchange(&near, &sent));
    assert_eq!(answer.unwrap().0.status.as_u16(), 200);
    assert!(got[HEAD.len()..] == sent[..] && near.is_reusable());

    // The server answers without reading on: its answer counts, the connection does not. More than sockets hold.
    let sent = vec![0; 64 * 1024 * 1024];
    let (near, mut far) = pair().await;
    let answer = b"HTTP/1.1 413 x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    far.write_all(answer).await.unwrap();
    let (received, body) = exchange(&near, &sent).await.unwrap();
    assert_eq!((received.status.as_u16(), received.fields.content()), (413, Content::Json));
    assert_eq!(&*read(body).await.unwrap(), b"{}");
    assert!(!near.is_reusable());
}

#[tokio::test]
async fn large_answers_come_in_one_piece_and_leave_no_large_buffer() {
    let (near, mut far) = pair().await;
    let content = vec![b'x'; 700_000];
    let serving = async {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len());
        far.write_all(head.as_bytes()).await.unwrap();
        far.write_all(&content).await.unwrap();
    };
    let calling = async {
        let (_, mut body) = exchange(&near, b"").await.unwrap();
        while !body.gather().await.unwrap() {}
        let data = std::future::poll_fn(|cx| body.poll_data(cx)).await.unwrap().unwrap();
        (data, body.is_done())
    };
    let (_, (data, done)) = tokio::join!(serving, calling);
    assert!(data == content && done && near.is_reusable());
    near.rest();
    assert_eq!((near.inner.borrow().input.capacity(), near.inner.borrow().largest), (0, 0));
}

/// Each waits for the other otherwise: the server for the rest of the request, the caller for the rest of the answer.
#[tokio::test]
async fn a_server_that_answers_while_it_reads_is_sent_the_rest() {
    let sent = vec![1; 64 * 1024 * 1024];
    let (near, mut far) = pair().await;
    let serving = async {
        far.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await.unwrap();
        let mut got = vec![0; HEAD.len() + sent.len()];
        far.read_exact(&mut got).await.unwrap();
        far.write_all(b"data: read\n\n").await.unwrap();
        far.shutdown().await.unwrap();
        got
    };
    let calling = async {
        let (_, body) = exchange(&near, &sent).await.unwrap();
        body.slow_down();
        read(body).await.unwrap()
    };
    let (got, heard) = tokio::join!(serving, calling);
    assert!(got[HEAD.len()..] == sent[..]);
    assert_eq!(&*heard, b"data: read\n\n");
    assert!(!near.is_reusable());
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true");
}
