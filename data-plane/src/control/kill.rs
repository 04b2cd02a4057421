//! The kill stream: takes every set, and says so when it is in force.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::{
    MAX_MESSAGE,
    v1::{self, kill_client::KillClient},
};

use super::{Shared, backoff::Backoff};
use crate::kills::Kills;

/// Acknowledgements on their way; each covers those before.
const QUEUE: usize = 16;

type Opened = (Streaming<v1::KillSet>, mpsc::Sender<v1::KillAck>);

/// Follows the stream until shutdown.
pub(super) async fn run(shared: Shared, kills: Arc<Kills>) {
    let stopping = shared.tasks.token();
    tokio::select! {
        () = stopping.cancelled() => {}
        () = watch(&shared, &kills) => {}
    }
}

async fn watch(shared: &Shared, kills: &Kills) {
    let mut channel = shared.channel.clone();
    let mut waits = Backoff::default();
    loop {
        let current = channel.borrow_and_update().clone();
        let opened = match current {
            Some(channel) => open(channel, kills.greeting()).await,
            None => Err(Status::unavailable("no certificate")),
        };
        if let Ok(opened) = opened {
            waits.reset();
            tokio::select! {
                () = follow(opened, kills) => {}
                // With the new certificate.
                changed = channel.changed() => if changed.is_ok() {
                    continue;
                },
            }
        }
        tokio::select! {
            () = tokio::time::sleep(waits.next(&*shared.entropy)) => {}
            changed = channel.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn open(channel: tonic::transport::Channel, greeting: v1::KillAck) -> Result<Opened, Status> {
    let (acks, queued) = mpsc::channel(QUEUE);
    // There is room for the first.
    let _sent = acks.try_send(greeting);
    let mut client = KillClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    Ok((client.watch(ReceiverStream::new(queued)).await?.into_inner(), acks))
}

async fn follow((mut sets, acks): Opened, kills: &Kills) {
    while let Ok(Some(set)) = sets.message().await {
        if kills.follow(&set).await
            && acks
                .send(v1::KillAck { nonce: set.nonce, epoch: kills.epoch(), ..v1::KillAck::default() })
                .await
                .is_err()
        {
            return;
        }
    }
}
