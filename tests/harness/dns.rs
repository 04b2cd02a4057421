//! A small DNS server, which knows TXT records alone and is asked by TCP.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use simple_dns::{CLASS, Packet, RCODE, ResourceRecord, rdata::RData};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

type Records = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// A DNS server. What it has not been told does not exist; it goes with its runtime.
#[derive(Debug, Clone)]
pub struct Dns {
    address: SocketAddr,
    records: Records,
}

impl Dns {
    /// On any free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dns = Self { address: listener.local_addr().unwrap(), records: Records::default() };
        let records = dns.records.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, records.clone()));
            }
        });
        dns
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whatever a name has is now this; no texts at all stand for a failure of its servers.
    pub fn set_texts(&self, name: &str, texts: &[&str]) {
        self.records.lock().insert(name.to_owned(), texts.iter().map(|&text| text.to_owned()).collect());
    }

    /// The name is no more.
    pub fn remove(&self, name: &str) {
        self.records.lock().remove(name);
    }
}

async fn serve(mut stream: TcpStream, records: Records) -> Option<()> {
    loop {
        let mut query = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut query).await.ok()?;
        let mut answer = Packet::parse(&query).ok()?.into_reply();
        let name = answer.questions.first()?.qname.clone();
        let found = records.lock().get(&name.to_string()).cloned();
        match found.as_deref() {
            None => *answer.rcode_mut() = RCODE::NameError,
            Some([]) => *answer.rcode_mut() = RCODE::ServerFailure,
            Some(texts) => {
                for text in texts {
                    let text = RData::TXT(text.as_str().try_into().ok()?);
                    answer.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, text.into_owned()));
                }
            }
        }
        let answer = answer.build_bytes_vec().ok()?;
        stream.write_u16(answer.len().try_into().ok()?).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}
