//! The kill stream: the whole signed set, and again whenever it changes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ids::ProxyId;
use seams::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1;

use super::{Peers, peer::Named};
use crate::{app::Core, kills::Signed};

/// Sets a proxy may leave unread. Each holds all that those before it did, so there is no use for more.
const QUEUE: usize = 4;
/// Sets a proxy may leave unacknowledged before it is sent only the latest.
const UNACKNOWLEDGED: usize = 64;
/// How long the first set waits for what opens the stream.
const GREETING: Duration = Duration::from_millis(500);
/// Between attempts to store what a proxy said.
const STORE_AGAIN: Duration = Duration::from_millis(500);

pub(super) struct KillService {
    core: Core,
    peers: Peers,
}

impl KillService {
    pub(super) fn new(core: Core) -> Self {
        Self { peers: Peers::new(core.clone()), core }
    }
}

#[tonic::async_trait]
impl v1::kill_server::Kill for KillService {
    type WatchStream = ReceiverStream<Result<v1::KillSet, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<v1::KillAck>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let named = self.peers.admit_to_kills(&request).await?;
        let proxy = named.proxy;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (acknowledged, storing) = watch::channel((0, Timestamp::default()));
        let session = Session {
            sets: self.core.kills.subscribe(),
            core: self.core.clone(),
            peers: self.peers.clone(),
            named,
            sender,
            nonce: 0,
            sent: VecDeque::new(),
            acknowledged,
        };
        self.core.tasks.spawn("kill acknowledgements", store(self.core.clone(), proxy, storing));
        self.core.tasks.spawn("kill stream", session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

struct Session {
    core: Core,
    peers: Peers,
    named: Named,
    sets: watch::Receiver<Option<Arc<Signed>>>,
    sender: mpsc::Sender<Result<v1::KillSet, Status>>,
    nonce: u64,
    /// Not acknowledged yet: nonce, serial and epoch.
    sent: VecDeque<(u64, u64, u64)>,
    /// Epoch and time of the last acknowledgement.
    acknowledged: watch::Sender<(u64, Timestamp)>,
}

impl Session {
    async fn run(mut self, mut inbound: Streaming<v1::KillAck>) {
        let stopping = self.core.tasks.stopping();
        let (proxy, peers) = (self.named.proxy, self.peers.clone());
        let mut out = std::pin::pin!(peers.until_out(self.named));
        self.core.kills.connected(proxy);
        // Before it is sent the first set, which replaces what it gives back. It says so as it opens the stream.
        if let Ok(Ok(Some(greeting))) = tokio::time::timeout(GREETING, inbound.message()).await {
            self.given_back(&greeting).await;
        }
        self.sets.mark_changed();
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                () = self.sender.closed() => break,
                // It holds what it was told, and hears of no more kills from here.
                status = &mut out => {
                    tracing::warn!(portcullis.proxy.id = %proxy, reason = status.message(), "kill stream ended by us");
                    let _gone = self.sender.try_send(Err(status));
                    break;
                }
                changed = self.sets.changed() => if changed.is_err() || !self.send() {
                    break;
                },
                message = inbound.message() => match message {
                    Ok(Some(ack)) => {
                        // On a slow way it comes after the first set, and it is the proxy's only copy all the same.
                        self.given_back(&ack).await;
                        self.take(&ack);
                    }
                    Ok(None) | Err(_) => break,
                },
            }
        }
        self.core.kills.gone(proxy);
        tracing::debug!(portcullis.proxy.id = %proxy, "kill stream closed");
    }

    async fn given_back(&self, ack: &v1::KillAck) {
        self.core.kills.given_back(&ack.unsaved, &ack.unsaved_signature, self.core.clock.now()).await;
    }

    /// Sends the present set. `false`: the proxy does not read.
    fn send(&mut self) -> bool {
        let Some(signed) = self.sets.borrow_and_update().clone() else { return true };
        self.nonce += 1;
        if self.sent.len() == UNACKNOWLEDGED {
            // The later one covers it.
            self.sent.pop_front();
        }
        self.sent.push_back((self.nonce, signed.serial, signed.epoch));
        let set = v1::KillSet { nonce: self.nonce, ..signed.set.clone() };
        let sent = self.sender.try_send(Ok(set)).is_ok();
        if !sent {
            tracing::warn!(portcullis.proxy.id = %self.named.proxy, "kill sets are not being read; the stream is ended");
        }
        sent
    }

    /// What was sent up to this nonce is in force there. What was never sent is no acknowledgement.
    fn take(&mut self, ack: &v1::KillAck) {
        let Some(place) = self.sent.iter().position(|(nonce, ..)| *nonce == ack.nonce) else { return };
        let Some((_, serial, epoch)) = self.sent.drain(..=place).next_back() else { return };
        let now = self.core.clock.now();
        self.core.kills.acknowledged(self.named.proxy, serial, now);
        self.acknowledged.send_replace((epoch, now));
    }
}

/// Stores acknowledgements as they come, and after Postgres was away the last of them.
async fn store(core: Core, proxy: ProxyId, mut acknowledged: watch::Receiver<(u64, Timestamp)>) {
    let stopping = core.tasks.stopping();
    while acknowledged.changed().await.is_ok() {
        loop {
            let (epoch, at) = *acknowledged.borrow_and_update();
            match core.kills.store_acknowledgement(&core, proxy, epoch, at).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(portcullis.proxy.id = %proxy, error.cause = %error, "acknowledgement was not stored");
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(STORE_AGAIN) => {}
            }
        }
    }
}
