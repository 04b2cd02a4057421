//! The driver of a proxy's configuration stream: carries out what `wire::stream::server` says.

mod load;
mod places;
mod queries;

use std::{sync::Arc, time::Duration};

use errors::ErrorCode;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use ids::TenantId;
use telemetry::metric;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::{
    stream::{
        Context,
        server::{CloseReason, Input, Output, QUEUE, Server, Turn},
    },
    v1,
};

use super::{
    Peer, Peers,
    peer::{not_enrolled, revoked},
    progress::{Of, Pending, Progress, Run, Said, Written},
};
use crate::{
    app::Core,
    db::StoreError,
    publish::hub::{Change, Hub, News, Subscription},
};
use load::Loader;
use places::{Answer, Place, Places};

/// Characters kept of why a proxy refused a snapshot.
const MAX_DETAIL: usize = 1_000;
/// Between attempts to write what a proxy said.
const WRITE_AGAIN: Duration = Duration::from_millis(500);

pub(super) struct ConfigService {
    core: Core,
    hub: Arc<Hub>,
    peers: Peers,
    loader: Arc<Loader>,
    places: Arc<Places>,
    control_id: String,
}

impl ConfigService {
    pub(super) fn new(core: Core, hub: Arc<Hub>) -> Self {
        let control_id = crypto::digest::hex(&core.entropy.bytes::<8>());
        Self {
            peers: Peers::new(core.clone()),
            loader: Loader::new(core.clone()),
            places: Places::new(core.clock.clone()),
            core,
            hub,
            control_id,
        }
    }
}

#[tonic::async_trait]
impl v1::config_server::Config for ConfigService {
    type StreamStream = ReceiverStream<Result<v1::ControlMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::ProxyMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (peer, stream) = self.peers.begin_stream(&request).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let session = Session {
            news: self.hub.subscribe(peer.pool, peer.proxy),
            core: self.core.clone(),
            hub: self.hub.clone(),
            loader: self.loader.clone(),
            places: self.places.clone(),
            place: None,
            turn: None,
            machine: Server::new(self.control_id.clone(), context(&self.core)),
            of: Of { proxy: peer.proxy, stream },
            peer,
            sender,
            loading: FuturesUnordered::new(),
            pending: Pending::default(),
            writing: None,
        };
        self.core.tasks.spawn("configuration stream", session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn context(core: &Core) -> Context<'_> {
    Context { now: core.clock.monotonic(), wall: core.clock.now(), entropy: &*core.entropy }
}

type Loading = BoxFuture<'static, Input>;
type Writing = BoxFuture<'static, (Pending, Result<Written, StoreError>)>;

/// Why the driver stops.
enum End {
    /// The proxy went, or this replica stops.
    Quiet,
    Told(Status),
}

struct Session {
    core: Core,
    hub: Arc<Hub>,
    peer: Peer,
    of: Of,
    news: Subscription,
    loader: Arc<Loader>,
    places: Arc<Places>,
    /// This proxy's place among those that are given everything,
    place: Option<Place>,
    /// or its turn to have one.
    turn: Option<BoxFuture<'static, Place>>,
    machine: Server,
    sender: mpsc::Sender<Result<v1::ControlMessage, Status>>,
    loading: FuturesUnordered<Loading>,
    pending: Pending,
    writing: Option<Writing>,
}

impl Session {
    async fn run(mut self, mut inbound: Streaming<v1::ProxyMessage>) {
        let proxy = self.peer.proxy;
        metrics::gauge!(metric::PROXIES_CONNECTED).increment(1.0);
        tracing::info!(portcullis.proxy.id = %proxy, "configuration stream opened");
        let end = self.serve(&mut inbound).await;
        if let End::Told(status) = end {
            tracing::warn!(portcullis.proxy.id = %proxy, reason = status.message(), "configuration stream ended by us");
            let _gone = self.sender.try_send(Err(status));
        } else {
            tracing::info!(portcullis.proxy.id = %proxy, "configuration stream closed");
        }
        self.settle().await;
        metrics::gauge!(metric::PROXIES_CONNECTED).decrement(1.0);
    }

    async fn serve(&mut self, inbound: &mut Streaming<v1::ProxyMessage>) -> End {
        let stopping = self.core.tasks.stopping();
        let peers = Peers::new(self.core.clone());
        let mut out = std::pin::pin!(peers.until_out(self.peer.named()));
        loop {
            self.begin_writing();
            self.place.take_if(|place| place.is_over());
            let tick = self.machine.wake_at().since(self.core.clock.monotonic());
            let input = tokio::select! {
                () = stopping.cancelled() => return End::Quiet,
                () = self.sender.closed() => return End::Quiet,
                status = &mut out => return End::Told(status),
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        self.pending.run = Run::of(&message).or(self.pending.run.take());
                        let said = Said::of(&message, self.core.clock.now());
                        self.pending.said = said.or(self.pending.said);
                        Input::Received(message)
                    }
                    Ok(None) | Err(_) => return End::Quiet,
                },
                news = self.news.next() => match news {
                    News::Whole(list) => Input::Sources(list),
                    News::One(Change::Current(tenant, version)) => Input::Changed(tenant, version),
                    News::One(Change::Vanished(tenant)) => Input::Vanished(tenant),
                    News::Live(count) => Input::Live(count),
                },
                Some(loaded) = self.loading.next() => loaded,
                place = some(&mut self.turn) => {
                    (self.turn, self.place) = (None, Some(place));
                    Input::FullSync(Turn::Now)
                }
                written = some(&mut self.writing) => match self.written(written) {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                () = tokio::time::sleep(tick) => Input::Tick,
            };
            if let Err(end) = self.step(input) {
                return end;
            }
        }
    }

    fn step(&mut self, input: Input) -> Result<(), End> {
        let mut outputs = Vec::new();
        self.machine.handle(context(&self.core), input, &mut outputs);
        for output in outputs {
            match output {
                Output::Send(mut message) => {
                    if let Some(v1::control_message::Body::Beat(beat)) = &mut message.body {
                        beat.unread_micros = self.hub.unread().as_micros() as u64;
                    }
                    count(&message);
                    // The queue holds all that the machine gives out unasked, so a full one is a proxy that does not read.
                    self.sender
                        .try_send(Ok(message))
                        .map_err(|_| End::Told(Status::resource_exhausted("messages are not being read")))?;
                }
                Output::Load(what) => {
                    let loading = self.loader.clone().load(self.peer.pool, what);
                    self.loading.push(Box::pin(loading));
                }
                Output::FullSync => {
                    let turn = match self.places.ask(self.of.proxy, &*self.core.entropy) {
                        Answer::Now(place) => {
                            self.place = Some(place);
                            Turn::Now
                        }
                        Answer::Wait(turn) => {
                            self.turn = Some(Box::pin(turn));
                            Turn::Later
                        }
                        Answer::ComeBack(after) => Turn::Nowhere(after),
                    };
                    self.step(Input::FullSync(turn))?;
                }
                Output::Synced => (self.place, self.turn) = (None, None),
                Output::Heard => self.pending.heard = true,
                Output::Claimed(tenant, version) => {
                    self.pending.note(tenant, Progress::Claimed(version));
                }
                Output::Applied(tenant, Some(version)) => {
                    self.pending.note(tenant, Progress::Applied(version));
                }
                Output::Applied(tenant, None) => {
                    self.pending.note(tenant, Progress::Removed);
                }
                Output::Rejected { tenant, version, at_rev, code, detail } => {
                    let detail: String = detail.chars().take(MAX_DETAIL).collect();
                    tracing::error!(
                        portcullis.proxy.id = %self.peer.proxy,
                        portcullis.tenant.id = %tenant,
                        portcullis.config.rev = version.rev,
                        error.code = code.slug(),
                        detail,
                        "proxy refused a snapshot"
                    );
                    let rejected = Progress::Rejected { rev: version.rev, at_rev, code, detail };
                    self.pending.note(tenant, rejected);
                }
                Output::Misfit { tenant, version, detail } => {
                    let detail: String = detail.chars().take(MAX_DETAIL).collect();
                    self.resync("misfit", tenant, version.rev, &detail);
                }
                Output::Repaired(tenant) => self.resync("apart", tenant, 0, "the proxy holds something else"),
                Output::Close(reason) => return Err(End::Told(closing(reason))),
            }
        }
        Ok(())
    }

    fn resync(&self, reason: &'static str, tenant: TenantId, rev: u64, detail: &str) {
        metrics::counter!(metric::CONFIG_RESYNCS, "reason" => reason).increment(1);
        tracing::warn!(
            portcullis.proxy.id = %self.peer.proxy,
            portcullis.tenant.id = %tenant,
            portcullis.config.rev = rev,
            detail,
            "tenant is sent whole again"
        );
    }

    fn begin_writing(&mut self) {
        if self.writing.is_none() && !self.pending.is_empty() {
            let (core, of, pending) = (self.core.clone(), self.of, std::mem::take(&mut self.pending));
            self.writing = Some(Box::pin(async move {
                let result = pending.write(&core, of).await;
                if result.is_err() {
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
                (pending, result)
            }));
        }
    }

    fn written(&mut self, (pending, result): (Pending, Result<Written, StoreError>)) -> Result<(), End> {
        self.writing = None;
        match result {
            Ok(Written::All) => Ok(()),
            Ok(Written::Revoked) => Err(End::Told(revoked())),
            Ok(Written::Unknown) => Err(End::Told(not_enrolled())),
            Ok(Written::Superseded) => Err(End::Told(superseded())),
            Err(error) => {
                tracing::warn!(portcullis.proxy.id = %self.peer.proxy, error.cause = %error, "progress was not stored");
                self.pending.put_back(pending);
                Ok(())
            }
        }
    }

    /// What the proxy said last still counts, once.
    async fn settle(mut self) {
        // Others may wait for what these are reading.
        self.loading.clear();
        if let Some(writing) = self.writing.take() {
            let written = writing.await;
            let _ended = self.written(written);
        }
        if self.pending.has_progress() {
            self.pending.heard = false;
            if let Err(error) = self.pending.write(&self.core, self.of).await {
                tracing::debug!(error.cause = %error, "last progress was not stored; the proxy will say it again");
            }
        }
    }
}

fn count(message: &v1::ControlMessage) {
    let kind = match message.body {
        Some(v1::control_message::Body::Replace(_)) => "whole",
        Some(v1::control_message::Body::Delta(_)) => "delta",
        _ => return,
    };
    metrics::counter!(metric::CONFIG_SENT, "kind" => kind).increment(1);
}

async fn some<T>(waiting: &mut Option<BoxFuture<'static, T>>) -> T {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

/// Told to a stream that its own proxy has left behind, or that somebody opens with a copy of the proxy's identity.
fn superseded() -> Status {
    Status::aborted("this proxy has a newer stream")
}

fn closing(reason: CloseReason) -> Status {
    match reason {
        CloseReason::Silent => Status::deadline_exceeded("nothing was heard for a lease"),
        CloseReason::Aged => Status::unavailable("connect again"),
        CloseReason::SchemaUnsupported => {
            let code = ErrorCode::SchemaUnsupported;
            Status::failed_precondition(format!("{}: no snapshot schema in common", code.slug()))
        }
        CloseReason::Busy => Status::unavailable("too many proxies wait to be given everything; come back"),
        CloseReason::ProtocolViolation => Status::invalid_argument("message out of place"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_schema_has_its_code() {
        let status = closing(CloseReason::SchemaUnsupported);
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert!(status.message().starts_with("schema_unsupported: "), "{status:?}");
    }
}
