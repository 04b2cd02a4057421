//! A proxy without anything behind it: the real state machine and the real wire, and a place that takes every revision at once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use seams::{Clock, Entropy, Monotonic, SystemClock, SystemEntropy};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use wire::{
    MAX_MESSAGE,
    stream::{
        Context, Version,
        client::{Client, HangupReason, Input, Output},
        server::QUEUE,
    },
    v1::{
        self, commands_client::CommandsClient, config_client::ConfigClient, kill_client::KillClient,
        proxy_message::Body,
    },
};

type Opened = (Streaming<v1::ControlMessage>, mpsc::Sender<v1::ProxyMessage>);

/// What all stubs have done so far.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Acknowledgements of revisions.
    pub(crate) acks: AtomicU64,
    /// Bytes of whole tenants and of changes that came.
    pub(crate) bytes: AtomicU64,
    /// Stubs whose stream is open and has brought everything.
    pub(crate) synced: AtomicUsize,
    /// Times a stub was told to come back later.
    pub(crate) busy: AtomicU64,
    /// Moments at which streams were welcomed, since the last look.
    welcomed: Mutex<Vec<Monotonic>>,
}

impl Board {
    /// Moments at which streams were welcomed since this was last asked.
    pub(crate) fn take_welcomed(&self) -> Vec<Monotonic> {
        std::mem::take(&mut *self.welcomed.lock())
    }
}

/// One stub.
pub(crate) struct Stub {
    machine: Client,
    channel: Channel,
    board: Arc<Board>,
    connecting: Option<BoxFuture<'static, Result<Opened, Status>>>,
    inbound: Option<Streaming<v1::ControlMessage>>,
    outbound: Option<mpsc::Sender<v1::ProxyMessage>>,
    was_connected: bool,
    was_synced: bool,
}

impl Stub {
    pub(crate) fn new(channel: Channel, board: Arc<Board>) -> Self {
        let entropy: &dyn Entropy = &SystemEntropy;
        Self {
            machine: Client::new(entropy.bytes(), "stub".to_owned(), BTreeMap::new()),
            channel,
            board,
            connecting: None,
            inbound: None,
            outbound: None,
            was_connected: false,
            was_synced: false,
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(mut self) {
        let mut input = Input::Tick;
        loop {
            self.step(input);
            let tick = self.machine.wake_at().since(SystemClock.monotonic());
            input = tokio::select! {
                opened = some(&mut self.connecting) => self.opened(opened),
                message = received(&mut self.inbound) => match message {
                    Ok(Some(message)) => Input::Received(message),
                    Ok(None) | Err(_) => Input::Disconnected,
                },
                () = tokio::time::sleep(tick) => Input::Tick,
            };
        }
    }

    fn opened(&mut self, opened: Result<Opened, Status>) -> Input {
        self.connecting = None;
        let Ok((inbound, outbound)) = opened else { return Input::Disconnected };
        (self.inbound, self.outbound) = (Some(inbound), Some(outbound));
        Input::Connected
    }

    fn step(&mut self, input: Input) {
        let (clock, entropy) = (SystemClock, SystemEntropy);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            let context = Context { now: clock.monotonic(), wall: clock.now(), entropy: &entropy };
            self.machine.handle(context, input, &mut outputs);
            for output in outputs {
                inputs.extend(self.carry_out(output));
            }
        }
        self.note();
    }

    /// What follows from it at once.
    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Connect => self.connect(),
            Output::Send(message) => {
                if matches!(message.body, Some(Body::Ack(_))) {
                    self.board.acks.fetch_add(1, Ordering::Relaxed);
                }
                if self.outbound.as_ref().is_some_and(|outbound| outbound.try_send(message).is_err()) {
                    return Some(Input::Disconnected);
                }
            }
            Output::Learn(new) => {
                let size = new.definitions.iter().map(bytes::Bytes::len).sum::<usize>();
                self.board.bytes.fetch_add(size as u64, Ordering::Relaxed);
            }
            Output::Apply(ticket, replace) => {
                self.board.bytes.fetch_add(replace.snapshot.len() as u64, Ordering::Relaxed);
                return Some(match version(replace.rev, &replace.digest) {
                    Some(version) => Input::Applied(ticket, version),
                    None => Input::Misfit(ticket, "no digest".to_owned()),
                });
            }
            Output::Amend(ticket, delta) => {
                let size = delta.changes.as_ref().map_or(0, wire::snapshot::delta::size);
                self.board.bytes.fetch_add(size as u64, Ordering::Relaxed);
                return Some(match version(delta.rev, &delta.digest) {
                    Some(version) => Input::Applied(ticket, version),
                    None => Input::Misfit(ticket, "no digest".to_owned()),
                });
            }
            Output::Remove(ticket) => return Some(Input::Removed(ticket)),
            Output::Hangup(reason) => {
                (self.connecting, self.inbound, self.outbound) = (None, None, None);
                if reason == HangupReason::Busy {
                    self.board.busy.fetch_add(1, Ordering::Relaxed);
                }
            }
            Output::Ready | Output::Told(_) => {}
        }
        None
    }

    fn note(&mut self) {
        let connected = self.machine.is_connected();
        if connected && !self.was_connected {
            self.board.welcomed.lock().push(SystemClock.monotonic());
        }
        self.was_connected = connected;
        let synced = self.machine.is_synced();
        match (self.was_synced, synced) {
            (false, true) => _ = self.board.synced.fetch_add(1, Ordering::SeqCst),
            (true, false) => _ = self.board.synced.fetch_sub(1, Ordering::SeqCst),
            _ => {}
        }
        self.was_synced = synced;
    }

    fn connect(&mut self) {
        let channel = self.channel.clone();
        self.connecting = Some(Box::pin(async move {
            let (outbound, queued) = mpsc::channel(QUEUE);
            let mut client = ConfigClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE);
            let inbound = client.stream(ReceiverStream::new(queued)).await?.into_inner();
            Ok((inbound, outbound))
        }));
    }
}

fn version(rev: u64, digest: &[u8]) -> Option<Version> {
    Some(Version { rev, digest: digest.try_into().ok()? })
}

/// The kill stream beside it: every set is in force as soon as it comes. Runs for ever.
pub(crate) async fn follow_kills(channel: Channel) {
    let mut failures = 0;
    loop {
        let (acks, queued) = mpsc::channel(16);
        let _there_is_room = acks.try_send(v1::KillAck::default());
        let mut client = KillClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        if let Ok(sets) = client.watch(ReceiverStream::new(queued)).await {
            failures = 0;
            let mut sets = sets.into_inner();
            while let Ok(Some(set)) = sets.message().await {
                let epoch = <v1::KillBody as prost::Message>::decode(set.body.as_slice())
                    .map_or(0, |body| body.epoch);
                if acks.send(v1::KillAck { nonce: set.nonce, epoch, ..v1::KillAck::default() }).await.is_err()
                {
                    break;
                }
            }
        }
        pause(&mut failures).await;
    }
}

/// The stream of commands beside it, none of which is followed. Runs for ever.
pub(crate) async fn watch_commands(channel: Channel) {
    let entropy: &dyn Entropy = &SystemEntropy;
    let boot: [u8; 16] = entropy.bytes();
    let mut failures = 0;
    loop {
        let request = v1::WatchRequest { boot: boot.to_vec() };
        if let Ok(commands) = CommandsClient::new(channel.clone()).watch(request).await {
            failures = 0;
            let mut commands = commands.into_inner();
            while let Ok(Some(_)) = commands.message().await {}
        }
        pause(&mut failures).await;
    }
}

/// As a proxy waits: uniform between nothing and a bound that doubles.
async fn pause(failures: &mut u32) {
    let entropy: &dyn Entropy = &SystemEntropy;
    let most =
        Duration::from_millis(100).saturating_mul(1 << (*failures).min(20)).min(Duration::from_secs(30));
    *failures = failures.saturating_add(1);
    let share = f64::from(u32::from_le_bytes(entropy.bytes())) / f64::from(u32::MAX);
    tokio::time::sleep(most.mul_f64(share)).await;
}

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
