//! Streams through the whole way out.

use std::{
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use ::mcp::{Method, Revision};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::LocalSet};

use super::super::{
    Body, Dispatch, Outgoing, Passage, Pool, Priority,
    forward::send,
    testing::{Scripted, Server, dispatch, events, pool, session, world_of},
};
use crate::{
    audit::testing::{Log, facts},
    testing::World,
};

const ANSWER: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
const TOLD: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n";

struct Streaming {
    server: Server,
    senders: Arc<Mutex<Vec<mpsc::UnboundedSender<String>>>>,
    world: World,
    pool: Rc<Pool>,
    log: Log,
    bodies_dropped: Arc<AtomicUsize>,
}

impl Streaming {
    async fn new() -> Self {
        let senders: Arc<Mutex<Vec<_>>> = Arc::default();
        let bodies_dropped = Arc::new(AtomicUsize::new(0));
        let (kept, dropped) = (senders.clone(), bodies_dropped.clone());
        let server = Server::start(move |_| {
            let (sender, answer) = events(&dropped);
            kept.lock().push(sender);
            async move { answer }
        })
        .await;
        let world = world_of(&server);
        let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
        Self { server, senders, world, pool, log: Log::new(), bodies_dropped }
    }

    async fn open(&self, dispatch: Dispatch) -> http::Response<Body> {
        let intent = self.log.pen().intent(facts(&self.world, b""), false).await.unwrap();
        send(&self.pool, dispatch, intent).await.unwrap()
    }

    fn say(&self, text: &str) {
        self.senders.lock().last().unwrap().send(text.to_owned()).unwrap();
    }

    fn dropped(&self) -> usize {
        self.bodies_dropped.load(std::sync::atomic::Ordering::SeqCst)
    }
}

async fn next(body: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.expect("in time")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn messages_come_as_they_are_said_and_the_connection_is_used_again() {
    let case = async {
        let streaming = Streaming::new().await;
        for _ in 0..3 {
            let call = dispatch(&streaming.world, Revision::V2026_07_28, Method::ToolsCall);
            let response = streaming.open(call).await;
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            assert_eq!(response.headers()["x-accel-buffering"], "no");
            let mut body = response.into_body();
            streaming.say(TOLD);
            assert_eq!(next(&mut body).await.as_deref(), Some(TOLD));
            streaming.say(ANSWER);
            assert_eq!(next(&mut body).await.as_deref(), Some(ANSWER));
            streaming.senders.lock().clear();
            assert_eq!(next(&mut body).await, None);
            assert!(!streaming.log.last().cut);
        }
        assert_eq!(streaming.server.connections(), 1);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_closes_the_upstreams_stream_without_a_word() {
    let case = async {
        let streaming = Streaming::new().await;
        for (number, revision) in [Revision::V2026_07_28, Revision::V2025_11_25].into_iter().enumerate() {
            let call = dispatch(&streaming.world, revision, Method::ToolsCall);
            let mut body = streaming.open(call).await.into_body();
            streaming.say(TOLD);
            next(&mut body).await.unwrap();
            drop(body);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(streaming.dropped(), number + 1);
            assert!(streaming.log.last().cut);
        }
        // Up to 2025-11-25 going away is no cancellation: nothing but the two calls was sent.
        assert_eq!(streaming.server.seen.lock().len(), 2);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_stream_of_the_servers_own_resumes_where_it_was() {
    let case = async {
        let streaming = Streaming::new().await;
        let listen = |last: Option<&str>| {
            let mut call = dispatch(&streaming.world, Revision::V2025_11_25, Method::Ping);
            call.outgoing = Outgoing::Listen;
            call.session = Some(session(None));
            call.body = bytes::Bytes::new();
            if let Some(last) = last {
                let handles = crate::mcp::testing::handles(&streaming.world);
                handles.open_event_id(last, &mut call.opened).unwrap();
            }
            call
        };
        // A call's stream breaks off after an id.
        let call = dispatch(&streaming.world, Revision::V2025_11_25, Method::ToolsList);
        let mut body = streaming.open(call).await.into_body();
        streaming.say("id: first\ndata:\n\n");
        let event = next(&mut body).await.unwrap();
        let last = event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
        streaming.senders.lock().clear();
        assert_eq!(next(&mut body).await, None);

        let mut body = streaming.open(listen(Some(&last))).await.into_body();
        let seen = streaming.server.last();
        assert_eq!(
            (seen.method, &seen.headers["last-event-id"]),
            (http::Method::GET, &"first".parse().unwrap())
        );
        // What comes now is treated as the list it is.
        streaming
            .say("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"unknown\"}]}}\n\n");
        let event = next(&mut body).await.unwrap();
        assert!(event.contains(r#""tools":[]"#), "{event}");
        drop(body);

        // A stream that answers nothing passes no response.
        let mut body = streaming.open(listen(None)).await.into_body();
        streaming.say(ANSWER);
        streaming.say(TOLD);
        assert_eq!(next(&mut body).await.as_deref(), Some(TOLD));
    };
    LocalSet::new().run_until(case).await;
}

/// Each question that is not passed on is answered beside the stream, on a connection of its own: how many a server asks
/// must not decide how many connections there are.
#[tokio::test]
async fn a_server_that_asks_a_thousand_questions_is_not_given_a_thousand_connections() {
    let case = async {
        let streaming = Streaming::new().await;
        let body = streaming.open(dispatch(&streaming.world, Revision::V2025_11_25, Method::ToolsList)).await;
        let asked = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"no/such\"}\n\n".repeat(1000);
        streaming.say(&asked);
        let mut body = body.into_body();
        let _ = tokio::time::timeout(Duration::from_millis(500), body.frame()).await;
        assert!((2..=8).contains(&streaming.server.connections()), "{}", streaming.server.connections());
    };
    LocalSet::new().run_until(case).await;
}

/// Its place at the server, and its connection, are free a second after its time is over, although nobody asks for the rest.
#[tokio::test]
async fn a_caller_that_does_not_read_keeps_nothing_of_the_server_after_the_calls_time() {
    let case = async {
        let mut streaming = Streaming::new().await;
        streaming.world.edit(|body| {
            if let wire::v1::resource::Body::Upstream(upstream) = body {
                upstream.total_timeout_ms = 150;
                upstream.concurrency =
                    Some(wire::v1::UpstreamConcurrency { max: 1, queue: 0, wait_ms: 1, adaptive: false });
            }
        });
        let tenant = streaming.world.tenant();
        let upstream = tenant.upstreams.values().next().unwrap();
        let begin = || async {
            let (clock, drain) = (seams::SystemClock, crate::drain::Drain::new());
            Passage::begin(upstream, None, Some(Priority::Read), &clock, &drain).await
        };
        let mut call = dispatch(&streaming.world, Revision::V2026_07_28, Method::ToolsCall);
        call.passage = begin().await.unwrap();
        let response = streaming.open(call).await;
        streaming.say(TOLD);
        assert!(begin().await.is_err());
        tokio::time::sleep(Duration::from_millis(1_400)).await;
        assert!(begin().await.is_ok());
        // The server learns of it with the next thing it says.
        for _ in 0..100 {
            let sender = streaming.senders.lock().last().unwrap().clone();
            if streaming.dropped() == 1 || sender.send(TOLD.to_owned()).is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(streaming.dropped(), 1);
        // Whoever reads after all is told why.
        let mut body = response.into_body();
        let mut rest = String::new();
        while let Some(more) = next(&mut body).await {
            rest.push_str(&more);
        }
        assert!(rest.contains("upstream_timeout"), "{rest}");
    };
    LocalSet::new().run_until(case).await;
}
