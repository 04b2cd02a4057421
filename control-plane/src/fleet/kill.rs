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

/// Sets on their way to a proxy. Each holds all that those before it did: while this one is unread those that follow are one.
const QUEUE: usize = 1;
/// How long a proxy may leave a set unread. Then it may come back and read.
const UNREAD: Duration = Duration::from_secs(10);
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
            nonce: 0,
            sent: VecDeque::new(),
            acknowledged,
        };
        self.core.tasks.spawn("kill acknowledgements", store(self.core.clone(), proxy, storing));
        self.core.tasks.spawn("kill stream", session.run(request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

struct Session {
    core: Core,
    peers: Peers,
    named: Named,
    sets: watch::Receiver<Option<Arc<Signed>>>,
    nonce: u64,
    /// Not acknowledged yet: nonce, serial and epoch.
    sent: VecDeque<(u64, u64, u64)>,
    /// Epoch and time of the last acknowledgement.
    acknowledged: watch::Sender<(u64, Timestamp)>,
}

impl Session {
    async fn run(
        mut self,
        mut inbound: Streaming<v1::KillAck>,
        sender: mpsc::Sender<Result<v1::KillSet, Status>>,
    ) {
        let stopping = self.core.tasks.stopping();
        let (proxy, peers) = (self.named.proxy, self.peers.clone());
        let mut out = std::pin::pin!(peers.until_out(self.named));
        self.core.kills.connected(proxy);
        // Before it is sent the first set, which replaces what it gives back. It says so as it opens the stream.
        if let Ok(Ok(Some(greeting))) = tokio::time::timeout(GREETING, inbound.message()).await {
            self.given_back(&greeting).await;
        }
        self.sets.mark_changed();
        let mut unsent = false;
        let mut unread = std::pin::pin!(tokio::time::sleep(UNREAD));
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                () = sender.closed() => break,
                // It holds what it was told, and hears of no more kills from here.
                status = &mut out => {
                    tracing::warn!(portcullis.proxy.id = %proxy, reason = status.message(), "kill stream ended by us");
                    let _gone = sender.try_send(Err(status));
                    break;
                }
                changed = self.sets.changed() => match changed {
                    Ok(()) if unsent => {}
                    Ok(()) => {
                        unsent = true;
                        unread.set(tokio::time::sleep(UNREAD));
                    }
                    Err(_) => break,
                },
                place = sender.reserve(), if unsent => {
                    let Ok(place) = place else { break };
                    if let Some(set) = self.present() {
                        place.send(Ok(set));
                    }
                    unsent = false;
                }
                () = &mut unread, if unsent => {
                    tracing::warn!(portcullis.proxy.id = %proxy, "kill sets are not being read; the stream is ended");
                    break;
                }
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

    /// The present set, under a nonce of its own.
    fn present(&mut self) -> Option<v1::KillSet> {
        let signed = self.sets.borrow_and_update().clone()?;
        self.nonce += 1;
        if self.sent.len() == UNACKNOWLEDGED {
            // The later one covers it.
            self.sent.pop_front();
        }
        self.sent.push_back((self.nonce, signed.serial, signed.epoch));
        Some(v1::KillSet { nonce: self.nonce, ..signed.set.clone() })
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
