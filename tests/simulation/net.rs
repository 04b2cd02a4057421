//! Messages on a connection: their length in four bytes, then their bytes.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use prost::Message;
use tokio::io::AsyncWriteExt as _;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use turmoil::net::{
    TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};

/// Where control planes listen for configuration streams.
pub(crate) const CONFIG: u16 = 7443;

#[derive(Debug)]
pub(crate) struct Inbound(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

#[derive(Debug)]
pub(crate) struct Outbound(OwnedWriteHalf);

pub(crate) fn split(stream: TcpStream) -> (Inbound, Outbound) {
    let (read, write) = stream.into_split();
    let codec = LengthDelimitedCodec::builder().max_frame_length(wire::MAX_MESSAGE).new_codec();
    (Inbound(FramedRead::new(read, codec)), Outbound(write))
}

impl Inbound {
    /// The next message; `None` when the stream has ended, in whatever way. Dropping the future loses nothing.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Option<M> {
        let frame: BytesMut = self.0.next().await?.ok()?;
        M::decode(Bytes::from(frame)).ok()
    }
}

impl Outbound {
    /// In one piece, so that it arrives whole or not at all.
    pub(crate) async fn send(&mut self, message: &impl Message) -> io::Result<()> {
        let body = message.encode_to_vec();
        let frame = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
        self.0.write_all(&frame).await
    }
}
