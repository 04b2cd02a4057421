//! A small DNS server, which knows TXT records and addresses and is asked by TCP.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use simple_dns::{CLASS, Packet, QTYPE, RCODE, ResourceRecord, TYPE, rdata::RData};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

type Records = Arc<Mutex<Known>>;

#[derive(Debug, Default)]
struct Known {
    texts: HashMap<String, Vec<String>>,
    /// Each answer is the next of these; the last stays.
    addresses: HashMap<String, VecDeque<Vec<IpAddr>>>,
    /// What goes wrong where one family of a name's addresses is asked for.
    broken: HashMap<(String, Family), Broken>,
    asked: usize,
}

/// Of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Its servers fail.
    Fails,
    /// There is no answer.
    Silent,
}

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
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        self.records.lock().texts.insert(name.to_owned(), texts);
    }

    /// The name is no more.
    pub fn remove(&self, name: &str) {
        self.records.lock().texts.remove(name);
    }

    /// A name's addresses: those of the first answer, then those of the next, and so on.
    pub fn set_addresses(&self, name: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().map(|addresses| addresses.to_vec()).collect();
        self.records.lock().addresses.insert(name.to_owned(), answers);
    }

    /// Whoever asks for these addresses of a name gets none, or no answer, from now on.
    pub fn set_broken(&self, name: &str, family: Family, broken: Broken) {
        self.records.lock().broken.insert((name.to_owned(), family), broken);
    }

    /// How often IPv4 addresses were asked for.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.records.lock().asked
    }
}

impl Known {
    /// The records of one family; who asks for IPv4 gets the next answer.
    fn addresses(&mut self, name: &str, v4: bool) -> Option<Vec<RData<'static>>> {
        let answers = self.addresses.get_mut(name)?;
        let addresses = answers.front()?.clone();
        if v4 {
            self.asked += 1;
            if answers.len() > 1 {
                answers.pop_front();
            }
        }
        let of_family = addresses.into_iter().filter(|address| address.is_ipv4() == v4);
        Some(
            of_family
                .map(|address| match address {
                    IpAddr::V4(v4) => RData::A(v4.into()),
                    IpAddr::V6(v6) => RData::AAAA(v6.into()),
                })
                .collect(),
        )
    }
}

async fn serve(mut stream: TcpStream, records: Records) -> Option<()> {
    loop {
        let mut query = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut query).await.ok()?;
        let mut answer = Packet::parse(&query).ok()?.into_reply();
        let (name, asked) = (answer.questions.first()?.qname.clone(), answer.questions.first()?.qtype);
        let found = match asked {
            QTYPE::TYPE(TYPE::TXT) => records.lock().texts.get(&name.to_string()).cloned().map(|texts| {
                texts
                    .iter()
                    .filter_map(|text| Some(RData::TXT(text.as_str().try_into().ok()?).into_owned()))
                    .collect()
            }),
            kind => {
                let v4 = kind == QTYPE::TYPE(TYPE::A);
                let family = if v4 { Family::V4 } else { Family::V6 };
                let broken = records.lock().broken.get(&(name.to_string(), family)).copied();
                match broken {
                    Some(Broken::Silent) => std::future::pending().await,
                    Some(Broken::Fails) => {
                        *answer.rcode_mut() = RCODE::ServerFailure;
                        Some(Vec::new())
                    }
                    None => records.lock().addresses(&name.to_string(), v4),
                }
            }
        };
        match found {
            None => *answer.rcode_mut() = RCODE::NameError,
            Some(data) if data.is_empty() && asked == QTYPE::TYPE(TYPE::TXT) => {
                *answer.rcode_mut() = RCODE::ServerFailure;
            }
            Some(data) => {
                let records =
                    data.into_iter().map(|data| ResourceRecord::new(name.clone(), CLASS::IN, 60, data));
                answer.answers.extend(records);
            }
        }
        let answer = answer.build_bytes_vec().ok()?;
        stream.write_u16(answer.len().try_into().ok()?).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}
