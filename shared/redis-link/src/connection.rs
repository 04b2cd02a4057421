//! A connection to whatever the address names: one server, the master of some sentinels, a cluster.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::task::JoinSet;

use crate::{
    address::{Address, Kind, Sentinels},
    slots::Slot,
};

/// For TCP, TLS and the password together; for all of what a cluster needs, too.
const CONNECT: Duration = Duration::from_secs(2);
/// For one sentinel. One that is silent must not stand before those that know.
const SENTINEL: Duration = Duration::from_millis(500);

/// A connection. Clones share it.
#[derive(Clone)]
pub enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To a cluster: to each of its nodes, as commands need them.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: &Address) -> RedisResult<Self> {
        match &address.kind {
            Kind::One(url) => one(&address.client(url)?, CONNECT).await.map(Self::One),
            Kind::Cluster(urls) => {
                let client = address.cluster(urls)?;
                in_time(CONNECT, client.get_async_connection()).await.map(Self::Cluster)
            }
            Kind::Sentinel(sentinels) => {
                let (host, port) = master(address, sentinels).await?;
                let mut connection = one(&address.client(&sentinels.data(&host, port))?, CONNECT).await?;
                // Sentinels may not have noticed yet, or this server may not: where it is no master it takes no writes.
                let role: Vec<Value> =
                    in_time(CONNECT, redis::cmd("ROLE").query_async(&mut connection)).await?;
                let role =
                    role.into_iter().next().and_then(|role| redis::from_redis_value::<String>(role).ok());
                if role.as_deref() != Some("master") {
                    return Err(RedisError::from((
                        ErrorKind::Client,
                        "the sentinels name a server that is no master",
                    )));
                }
                Ok(Self::One(connection))
            }
        }
    }

    /// Where the sentinels say that the master is; `None` without sentinels, or if too few of them agree.
    pub(crate) async fn master(address: &Address) -> Option<(String, u16)> {
        let Kind::Sentinel(sentinels) = &address.kind else { return None };
        master(address, sentinels).await.ok()
    }

    /// Sends a ping: to the server, to any of the cluster's nodes, or to the one that has `slot`.
    pub(crate) async fn ping(&mut self, slot: Option<Slot>) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::One(connection) => ping.query_async(connection).await,
            Self::Cluster(connection) => {
                let route = slot.map(|slot| Route::with_slot(slot, SlotAddr::Master));
                let node = route.map_or(SingleNodeRoutingInfo::Random, SingleNodeRoutingInfo::SpecificNode);
                connection.route_command(ping, RoutingInfo::SingleNode(node)).await.map(drop)
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Where more than half of the sentinels there are say that the master is. One that was cut off with a server nobody uses any more,
/// or that watches something else under the same name, does not decide.
async fn master(address: &Address, sentinels: &Sentinels) -> RedisResult<(String, u16)> {
    let mut asked = JoinSet::new();
    for sentinel in 0..sentinels.urls.len() {
        let (address, sentinels) = (address.clone(), sentinels.clone());
        asked.spawn(async move { in_time(SENTINEL, ask(&address, &sentinels, sentinel)).await });
    }
    let mut said: Vec<(String, u16)> = Vec::new();
    let mut failed = None;
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(Some(master))) => {
                said.push(master);
                let agreed = said
                    .iter()
                    .find(|one| 2 * said.iter().filter(|other| other == one).count() > sentinels.urls.len());
                if let Some(master) = agreed {
                    return Ok(master.clone());
                }
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        RedisError::from((ErrorKind::Client, "more than half of the sentinels name no master together"))
    }))
}

/// What one of them says; `None` where it does not know the master's name.
async fn ask(
    address: &Address,
    sentinels: &Sentinels,
    sentinel: usize,
) -> RedisResult<Option<(String, u16)>> {
    let Some(url) = sentinels.urls.get(sentinel) else { return Ok(None) };
    let mut connection = one(&address.client(url)?, SENTINEL).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinels.master);
    question.query_async(&mut connection).await
}

async fn one(client: &redis::Client, time: Duration) -> RedisResult<MultiplexedConnection> {
    // Late answers are judged by who asked: the connection itself waits on, or answers would be mistaken.
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(time)).set_response_timeout(None);
    // The password's turn is not covered by the time for connecting.
    in_time(time, client.get_multiplexed_async_connection_with_config(&config)).await
}

async fn in_time<T>(time: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    tokio::time::timeout(time, work)
        .await
        .unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "no answer in time"))))
}
