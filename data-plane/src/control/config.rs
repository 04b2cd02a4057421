//! The driver of the configuration stream: carries out what `wire::stream::client` says.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use errors::ErrorCode;
use futures_util::future::BoxFuture;
use seams::Clock;
use telemetry::metric;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinHandle},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use wire::{
    MAX_MESSAGE,
    stream::{
        Context,
        client::{Client, HangupReason, Input, Output, Refused, Ticket, Told},
        server::QUEUE,
    },
    v1::{self, config_client::ConfigClient},
};

use super::{ServerClock, Shared, error::is_revocation};
use crate::{
    ready::Readiness,
    snapshot::{
        archive::Archive,
        decode::DecodeError,
        store::{Applied, Snapshots},
    },
    tally::Tallies,
};

type Opened = (Streaming<v1::ControlMessage>, mpsc::Sender<v1::ProxyMessage>);

/// A change to be made; they are made one after the other, in order.
#[derive(Debug)]
enum Change {
    Learn(v1::Definitions),
    Apply(Ticket, v1::Replace),
    Amend(Ticket, v1::Delta),
    Remove(Ticket),
}

/// What the rest of the proxy hears of the stream.
pub(super) struct Says {
    pub(super) ready: watch::Sender<bool>,
    pub(super) connected: watch::Sender<bool>,
    pub(super) live_proxies: watch::Sender<u32>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) archive: Arc<Archive>,
    pub(super) tallies: Arc<Tallies>,
}

pub(super) struct Driver {
    shared: Shared,
    server_clock: Arc<ServerClock>,
    boot: [u8; 16],
    build: String,
    machine: Client,
    snapshots: Arc<Snapshots>,
    says: Says,
    connecting: Option<BoxFuture<'static, Result<Opened, Status>>>,
    inbound: Option<Streaming<v1::ControlMessage>>,
    outbound: Option<mpsc::Sender<v1::ProxyMessage>>,
    changes: VecDeque<Change>,
    changing: Option<JoinHandle<Input>>,
    /// The last attempt failed and was logged: the next failures are not.
    failing: bool,
    /// The control plane says that this proxy was revoked.
    revoked: bool,
}

impl Driver {
    pub(super) fn new(
        shared: Shared,
        server_clock: Arc<ServerClock>,
        boot: [u8; 16],
        build: String,
        snapshots: Arc<Snapshots>,
        says: Says,
    ) -> Self {
        Self {
            machine: Client::new(boot, build.clone(), snapshots.versions()),
            boot,
            build,
            shared,
            server_clock,
            snapshots,
            says,
            connecting: None,
            inbound: None,
            outbound: None,
            changes: VecDeque::new(),
            changing: None,
            failing: false,
            revoked: false,
        }
    }

    pub(super) async fn run(mut self) {
        let stopping = self.shared.tasks.token();
        let mut channel = self.shared.channel.clone();
        let identified = tokio::select! {
            () = stopping.cancelled() => return,
            identified = channel.wait_for(Option::is_some) => identified.is_ok(),
        };
        if !identified {
            return;
        }
        channel.mark_unchanged();
        let mut input = Input::Tick;
        loop {
            self.step(input);
            if std::mem::take(&mut self.revoked) {
                self.forget().await;
                // Nothing more is to be had with this identity.
                channel.mark_unchanged();
                tokio::select! {
                    () = stopping.cancelled() => return,
                    another = another(&mut channel) => if another.is_none() {
                        return;
                    },
                }
            }
            self.change_next();
            let tick = self.machine.wake_at().since(self.shared.clock.monotonic());
            input = tokio::select! {
                () = stopping.cancelled() => return,
                changed = channel.changed() => match changed {
                    Ok(()) => self.identity(channel.borrow_and_update().is_some()),
                    Err(_) => return,
                },
                opened = some(&mut self.connecting) => self.opened(opened),
                message = received(&mut self.inbound) => self.message(message),
                changed = some(&mut self.changing) => self.changed(changed),
                () = tokio::time::sleep(tick) => Input::Tick,
            };
        }
    }

    /// Without one, it was taken from the proxy.
    fn identity(&mut self, is_there: bool) -> Input {
        self.revoked |= !is_there;
        if is_there { Input::IdentityRenewed } else { Input::Disconnected }
    }

    /// Nothing this proxy holds is its to enforce any more, now or after a restart.
    async fn forget(&mut self) {
        tracing::error!(
            error.code = ErrorCode::ProxyRevoked.slug(),
            "proxy was revoked; its configuration is dropped"
        );
        self.says.ready.send_replace(false);
        self.says.readiness.unset();
        self.changes.clear();
        if let Some(changing) = self.changing.take() {
            let _ended = changing.await;
        }
        (self.connecting, self.inbound, self.outbound) = (None, None, None);
        self.snapshots.clear();
        let archive = Arc::clone(&self.says.archive);
        let _panicked = self.shared.tasks.runtime().spawn_blocking(move || archive.wipe()).await;
        self.machine = Client::new(self.boot, self.build.clone(), self.snapshots.versions());
        self.note_state();
    }

    fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        let (clock, entropy) = (self.server_clock.clone(), self.shared.entropy.clone());
        // What is told to the control plane is the machine's own time: that is how it sees which clock is wrong.
        let context = Context { now: clock.monotonic(), wall: clock.own().now(), entropy: &*entropy };
        self.machine.handle(context, input, &mut outputs);
        let mut overrun = false;
        for output in outputs {
            match output {
                Output::Connect => self.connect(),
                Output::Send(mut message) => {
                    self.fill_in(&mut message);
                    overrun |=
                        self.outbound.as_ref().is_some_and(|outbound| outbound.try_send(message).is_err());
                }
                Output::Learn(new) => self.changes.push_back(Change::Learn(new)),
                Output::Apply(ticket, replace) => self.changes.push_back(Change::Apply(ticket, replace)),
                Output::Amend(ticket, delta) => self.changes.push_back(Change::Amend(ticket, delta)),
                Output::Remove(ticket) => self.changes.push_back(Change::Remove(ticket)),
                Output::Told(told) => self.told(&told),
                Output::Ready => {
                    self.says.readiness.confirm();
                    tracing::info!(tenants = self.snapshots.load().len(), "whole configuration applied");
                    self.says.ready.send_replace(true);
                }
                Output::Hangup(reason) => self.hang_up(reason),
            }
        }
        self.note_state();
        if overrun {
            // The queue holds all that the machine gives out unasked: the connection does not move.
            self.step(Input::Disconnected);
        }
    }

    /// What the machine does not know.
    fn fill_in(&self, message: &mut v1::ProxyMessage) {
        match &mut message.body {
            Some(v1::proxy_message::Body::Hello(hello)) => hello.definitions = self.snapshots.definitions(),
            Some(v1::proxy_message::Body::Beat(beat)) => {
                let sum = self.says.tallies.sum();
                (beat.answers, beat.refusals, beat.failures) = (sum.answers, sum.refusals, sum.failures);
                beat.turned_away = sum.turned_away;
            }
            _ => {}
        }
    }

    fn note_state(&mut self) {
        let connected = self.machine.is_connected();
        if connected {
            self.failing = false;
        }
        self.says.connected.send_if_modified(|current| std::mem::replace(current, connected) != connected);
        metrics::gauge!(metric::CONTROL_CONNECTED).set(if connected { 1.0 } else { 0.0 });
    }

    fn told(&self, told: &Told) {
        self.server_clock.learn(told);
        if let Some(live) = told.live_proxies {
            self.says.live_proxies.send_if_modified(|current| std::mem::replace(current, live) != live);
        }
    }

    fn connect(&mut self) {
        let channel = self.shared.channel.borrow().clone();
        self.connecting = Some(Box::pin(async move {
            let channel = channel.ok_or_else(|| Status::unavailable("no certificate"))?;
            let (outbound, queued) = mpsc::channel(QUEUE);
            let mut client = ConfigClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE);
            let inbound = client.stream(ReceiverStream::new(queued)).await?.into_inner();
            Ok((inbound, outbound))
        }));
    }

    fn hang_up(&mut self, reason: HangupReason) {
        (self.connecting, self.inbound, self.outbound) = (None, None, None);
        match reason {
            HangupReason::IdentityRenewed => tracing::debug!("connecting anew with the new certificate"),
            HangupReason::Busy => tracing::info!("control plane has no place for one more; coming back"),
            HangupReason::Silent => tracing::warn!("control plane is silent; connecting anew"),
            HangupReason::ProtocolViolation => tracing::error!("control plane sent a message out of place"),
            HangupReason::Lost => {}
        }
    }

    fn opened(&mut self, opened: Result<Opened, Status>) -> Input {
        self.connecting = None;
        match opened {
            Ok((inbound, outbound)) => {
                (self.inbound, self.outbound) = (Some(inbound), Some(outbound));
                Input::Connected
            }
            Err(status) => self.lost(&status),
        }
    }

    fn lost(&mut self, status: &Status) -> Input {
        self.revoked |= is_revocation(status);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                grpc.code = ?status.code(),
                reason = status.message(),
                "configuration stream ended; serving what was applied"
            );
        }
        Input::Disconnected
    }

    fn message(&mut self, message: Result<Option<v1::ControlMessage>, Status>) -> Input {
        match message {
            Ok(Some(message)) => {
                if self.machine.is_synced()
                    && let Some(v1::control_message::Body::Beat(beat)) = &message.body
                {
                    self.says.readiness.confirm_as_of(Duration::from_micros(beat.unread_micros));
                }
                Input::Received(message)
            }
            Ok(None) => self.lost(&Status::unavailable("closed by the control plane")),
            Err(status) => self.lost(&status),
        }
    }

    /// Decoding and indexing a large tenant takes long enough to keep it off the threads that serve streams.
    fn change_next(&mut self) {
        if self.changing.is_some() {
            return;
        }
        let Some(change) = self.changes.pop_front() else { return };
        let (snapshots, clock) = (self.snapshots.clone(), self.shared.clock.clone());
        self.changing = Some(self.shared.tasks.runtime().spawn_blocking(move || match change {
            Change::Learn(new) => {
                snapshots.learn(&new);
                Input::Tick
            }
            Change::Remove(ticket) => {
                snapshots.remove(ticket.tenant);
                tracing::info!(portcullis.tenant.id = %ticket.tenant, "tenant removed");
                Input::Removed(ticket)
            }
            Change::Apply(ticket, replace) => {
                answer(ticket, replace.rev, timed(&*clock, || snapshots.apply(&replace)))
            }
            Change::Amend(ticket, delta) => {
                answer(ticket, delta.rev, timed(&*clock, || snapshots.amend(&delta)))
            }
        }));
    }

    fn changed(&mut self, changed: Result<Input, JoinError>) -> Input {
        self.changing = None;
        changed.unwrap_or_else(|error| {
            // Applying catches panics itself; what gets here is the runtime going down.
            tracing::error!(error.cause = %error, "applying did not end");
            Input::Disconnected
        })
    }
}

fn timed<T>(clock: &dyn Clock, apply: impl FnOnce() -> T) -> T {
    let started = clock.monotonic();
    let applied = apply();
    metrics::histogram!(metric::SNAPSHOT_APPLY).record(clock.monotonic().since(started).as_secs_f64());
    applied
}

fn answer(ticket: Ticket, rev: u64, applied: Result<Applied, DecodeError>) -> Input {
    let result = applied.as_ref().map_or_else(|error| error.code().slug(), |_| "applied");
    metrics::counter!(metric::SNAPSHOTS_APPLIED, "result" => result).increment(1);
    match applied {
        Ok(applied) => Input::Applied(ticket, applied.version),
        Err(DecodeError::Misfit(misfit)) => {
            tracing::warn!(
                portcullis.tenant.id = %ticket.tenant,
                portcullis.config.rev = rev,
                detail = %misfit,
                "what came leans on what is not held; asking for the whole tenant"
            );
            Input::Misfit(ticket, misfit.to_string())
        }
        Err(error) => {
            tracing::error!(
                portcullis.tenant.id = %ticket.tenant,
                portcullis.config.rev = rev,
                error.code = error.code().slug(),
                detail = %error,
                "snapshot refused; the former one stays"
            );
            Input::Rejected(ticket, Refused { code: error.code(), detail: error.to_string() })
        }
    }
}

/// Waits for another identity. `None` at the end.
async fn another(channel: &mut watch::Receiver<Option<Channel>>) -> Option<()> {
    loop {
        channel.changed().await.ok()?;
        if channel.borrow_and_update().is_some() {
            return Some(());
        }
    }
}

/// Resolves when there is something and it is done.
async fn some<F: Future + Unpin>(pending: &mut Option<F>) -> F::Output {
    match pending {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn received(
    inbound: &mut Option<Streaming<v1::ControlMessage>>,
) -> Result<Option<v1::ControlMessage>, Status> {
    match inbound {
        Some(inbound) => inbound.message().await,
        None => std::future::pending().await,
    }
}
