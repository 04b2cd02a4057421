//! What is sent twice, and what is not.

use std::{cell::Cell, rc::Rc, sync::Arc};

use ::mcp::{Method, Revision};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::LocalSet,
};
use wire::v1::{ToolClass, resource::Body};

use super::super::{
    Dispatch, Passage,
    forward::send,
    testing::{Scripted, dispatch, pool, world},
};
use crate::{
    audit::testing::{Log, facts},
    drain::Drain,
    testing::World,
};

/// A server that answers the first request on each connection, reads the second, and closes without a word; and how many requests
/// it has read. `half`: with the beginning of one.
async fn closing(half: bool) -> (std::net::SocketAddr, Rc<Cell<usize>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counted = Rc::new(Cell::new(0));
    let counting = Rc::clone(&counted);
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counting = Rc::clone(&counting);
            tokio::task::spawn_local(async move {
                let mut buffer = [0; 4096];
                for nth in 0.. {
                    if !stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        return;
                    }
                    counting.set(counting.get() + 1);
                    if nth == 1 {
                        if half {
                            stream.write_all(b"HTTP/1.1 20").await.unwrap();
                        }
                        return;
                    }
                    let is_list = buffer.windows(12).any(|part| part == b"\"tools/list\"");
                    let result = if is_list { r#"{"tools":[]}"# } else { "{}" };
                    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
                    let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, counted)
}

async fn of_class(world: &World, method: Method) -> Dispatch {
    let mut call = dispatch(world, Revision::V2025_11_25, method);
    let tenant = world.tenant();
    let upstream = tenant.upstreams.values().next().unwrap();
    let tool = upstream.tools.values().next().filter(|_| method == Method::ToolsCall).map(Arc::clone);
    call.passage =
        Passage::begin(upstream, tool.as_ref(), None, &seams::SystemClock, &Drain::new()).await.unwrap();
    call
}

/// How many requests the server reads of two calls, and whether the second is answered.
async fn two_calls(method: Method, class: ToolClass, half: bool) -> (usize, bool) {
    let (address, counted) = closing(half).await;
    let mut world = world(&format!("http://{address}/"), Some(address), |_| {});
    world.edit(|body| {
        if let Body::Tool(tool) = body {
            tool.class = class.into();
        }
    });
    let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
    let mut answered = false;
    for _ in 0..2 {
        let log = Log::new();
        let intent = log.pen().intent(facts(&world, b""), false).await.unwrap();
        answered = send(&pool, of_class(&world, method).await, intent).await.is_ok();
    }
    (counted.get(), answered)
}

#[tokio::test]
async fn only_what_changes_nothing_is_sent_again_when_its_connection_closes_without_an_answer() {
    let case = async {
        for class in [ToolClass::Write, ToolClass::Destructive, ToolClass::Unclassified] {
            assert_eq!(two_calls(Method::ToolsCall, class, false).await, (2, false), "{class:?}");
        }
        assert_eq!(two_calls(Method::ToolsCall, ToolClass::Read, false).await, (3, true));
        for method in [Method::Ping, Method::ToolsList, Method::ResourcesRead] {
            assert_eq!(two_calls(method, ToolClass::Write, false).await, (3, true), "{method}");
        }
        for method in [Method::Initialize, Method::TasksCancel, Method::LoggingSetLevel] {
            assert_eq!(two_calls(method, ToolClass::Read, false).await, (2, false), "{method}");
        }
        // A part of an answer is an answer that broke off.
        assert_eq!(two_calls(Method::ToolsCall, ToolClass::Read, true).await, (2, false));
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn what_is_sent_twice_has_a_budget() {
    let case = async {
        let (address, counted) = closing(false).await;
        let world = world(&format!("http://{address}/"), Some(address), |_| {});
        let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
        let (mut failed, mut answered) = (0, 0);
        for _ in 0..40 {
            let log = Log::new();
            let intent = log.pen().intent(facts(&world, b""), false).await.unwrap();
            match send(&pool, of_class(&world, Method::ToolsList).await, intent).await {
                Ok(_) => answered += 1,
                Err(_) => failed += 1,
            }
        }
        // One without having saved for it, one of ten, and one for each second this takes.
        let twice = counted.get() - 40;
        assert!((4..=8).contains(&twice), "{twice}");
        assert!(failed > 8 && answered + failed == 40, "{failed}");
    };
    LocalSet::new().run_until(case).await;
}
