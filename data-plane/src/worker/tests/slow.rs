//! Callers that take their time, over plain HTTP.

use socket2::{Domain, Socket, Type};

use super::*;

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let case = async {
        let long = format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(900_000));
        let server = Server::start(move |_| {
            let long = long.clone();
            async move { result(&long) }
        })
        .await;
        let workers = Workers::start(world_of(&server), |shared| {
            shared.bounds.unread_timeout = Duration::from_millis(500);
        });
        let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // A window far smaller than the answer.
        deaf.set_recv_buffer_size(4096).unwrap();
        deaf.connect(&workers.address.into()).unwrap();
        deaf.set_nonblocking(true).unwrap();
        let mut deaf = TcpStream::from_std(deaf.into()).unwrap();
        let request = workers.post();
        let mut head = format!("POST {PATH} HTTP/1.1\r\ncontent-length: {}\r\n", ADD.len());
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        deaf.write_all(format!("{head}\r\n{ADD}").as_bytes()).await.unwrap();
        // Bytes of a next request are answered by a reset once the socket over there is gone.
        let reset = async {
            while deaf.write_all(b"P").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reset).await.expect("the connection was given up");
        workers.shared.drain.enter(Phase::Ending);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn heads_over_the_bound_are_refused_by_the_gateway_itself() {
    let case = async {
        let server = Server::start(|_| async { result("{}") }).await;
        let workers = Workers::start(world_of(&server), |_| {});
        let many: Vec<_> = (0..94).map(|i| (format!("x-{i}"), "v".to_owned())).collect();
        let long = vec![("x-long".to_owned(), "v".repeat(40 * 1024))];
        for lines in [many, long] {
            let mut request = workers.post();
            for (name, value) in lines {
                let name = http::HeaderName::try_from(name).unwrap();
                request.headers_mut().append(name, http::HeaderValue::try_from(value).unwrap());
            }
            let response = workers.connect().await.send_request(request).await.unwrap();
            assert_eq!(response.status(), 431);
            assert_eq!(response.headers()["portcullis-refusal"], "headers_too_large");
        }
        workers.shared.drain.enter(Phase::Ending);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}
