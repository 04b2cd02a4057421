//! What DNS says, asked anew each time: for proofs, and for what the control plane itself fetches (`fetch.rs`). Upstreams are resolved by
//! proxies.
//!
//! By TCP alone, which every resolver has to speak (RFC 7766 section 5): whoever is not on the way cannot answer in the
//! resolver's place, and no answer is cut short.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use futures_util::future::select;
use ids::TenantId;
use parking_lot::Mutex;
use seams::Entropy;
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, SimpleDnsError, TYPE, rdata::RData,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// For one server.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same, for somebody who has other things to do in the same few seconds.
const QUICK: Duration = Duration::from_millis(1_500);
/// For the addresses of the other family, once there are some (RFC 8305 section 3).
const OTHER_FAMILY: Duration = Duration::from_millis(250);
/// Of the system's servers, so many are asked, one after the other; as many as the system's own resolver asks (resolv.conf(5)).
const SERVERS: usize = 3;
/// Look-ups at once; of one tenant, one. A server that does not answer keeps a place for as long as everybody's patience lasts.
const PLACES: usize = 32;
const SYSTEM: &str = "/etc/resolv.conf";
const PORT: u16 = 53;

/// The way to DNS.
#[derive(Debug)]
pub struct Dns {
    server: Option<SocketAddr>,
    /// Whose look-ups are under way.
    asking: Mutex<HashSet<TenantId>>,
}

/// A tenant's place, until it is dropped.
struct Place<'a> {
    asking: &'a Mutex<HashSet<TenantId>>,
    tenant: TenantId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.asking.lock().remove(&self.tenant);
    }
}

/// DNS did not answer, so nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The tenant's former question is not answered yet, or too many others' are not.
    #[error("too many look-ups are under way")]
    Busy,
    /// Nobody can be asked.
    #[error("no DNS server is configured")]
    NoServer,
    /// The system's configuration cannot be read.
    #[error("cannot read {SYSTEM}")]
    System(#[source] io::Error),
    /// The server cannot be reached, or breaks off.
    #[error("the DNS server cannot be reached")]
    Server(#[from] io::Error),
    /// It took too long.
    #[error("the DNS server did not answer in time")]
    Time,
    /// Question or answer is not DNS.
    #[error("not a DNS message")]
    Malformed(#[from] SimpleDnsError),
    /// The answer is to another question.
    #[error("the DNS server answered another question")]
    Other,
    /// The server knows of a failure, its own or of the domain's servers.
    #[error("the DNS server answered {0:?}")]
    Failed(RCODE),
}

impl Dns {
    /// Asks the server at this address; `None`: those that the system asks.
    #[must_use]
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { server, asking: Mutex::default() }
    }

    fn place(&self, tenant: TenantId) -> Result<Place<'_>, LookUpError> {
        let mut asking = self.asking.lock();
        if asking.len() >= PLACES || !asking.insert(tenant) {
            return Err(LookUpError::Busy);
        }
        Ok(Place { asking: &self.asking, tenant })
    }

    /// The texts of a name's TXT records, none where there is no such name or record.
    ///
    /// # Errors
    /// [`LookUpError`] where nothing is known: what the last server led to.
    pub async fn texts(
        &self,
        tenant: TenantId,
        name: &str,
        entropy: &dyn Entropy,
    ) -> Result<Vec<String>, LookUpError> {
        let _place = self.place(tenant)?;
        let records = self.records(name, TYPE::TXT, entropy, PATIENCE).await?;
        Ok(records.into_iter().filter_map(Record::text).collect())
    }

    /// A name's addresses, none where there is no such name or address. Whoever calls bounds how many call.
    ///
    /// # Errors
    /// [`LookUpError`] where no address is known: what the last server led to.
    pub async fn addresses(&self, name: &str, entropy: &dyn Entropy) -> Result<Vec<IpAddr>, LookUpError> {
        let of = |family| self.records(name, family, entropy, QUICK);
        let (v4, v6) = (pin!(of(TYPE::A)), pin!(of(TYPE::AAAA)));
        let (first, other) = select(v4, v6).await.factor_first();
        let second = match &first {
            Ok(records) if !records.is_empty() => {
                tokio::time::timeout(OTHER_FAMILY, other).await.unwrap_or(Err(LookUpError::Time))
            }
            _ => other.await,
        };
        let (records, failed) = match (first, second) {
            (Ok(first), Ok(second)) => ([first, second].concat(), None),
            (Ok(known), Err(error)) | (Err(error), Ok(known)) => (known, Some(error)),
            (Err(error), Err(_)) => return Err(error),
        };
        let mut addresses: Vec<_> = records.into_iter().filter_map(Record::address).collect();
        // Whichever answer came first.
        addresses.sort_by_key(IpAddr::is_ipv6);
        // Where the other family's are not known, having none is not known either.
        failed.filter(|_| addresses.is_empty()).map_or(Ok(addresses), Err)
    }

    async fn records(
        &self,
        name: &str,
        kind: TYPE,
        entropy: &dyn Entropy,
        patience: Duration,
    ) -> Result<Vec<Record>, LookUpError> {
        let servers = match self.server {
            Some(server) => vec![server],
            None => system(&tokio::fs::read_to_string(SYSTEM).await.map_err(LookUpError::System)?),
        };
        let mut failed = LookUpError::NoServer;
        for server in servers {
            let asking = ask(server, name, kind, u16::from_be_bytes(entropy.bytes()));
            match tokio::time::timeout(patience, asking).await {
                Ok(Ok(records)) => return Ok(records),
                Ok(Err(error)) => failed = error,
                Err(_elapsed) => failed = LookUpError::Time,
            }
        }
        Err(failed)
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Record {
    Text(String),
    Address(IpAddr),
}

impl Record {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Address(_) => None,
        }
    }

    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Text(_) => None,
        }
    }
}

/// The servers of a resolv.conf(5).
fn system(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver")
            && let Some(address) = words.next().and_then(|address| address.parse().ok())
        {
            servers.push(SocketAddr::new(address, PORT));
        }
    }
    servers.truncate(SERVERS);
    servers
}

async fn ask(server: SocketAddr, name: &str, kind: TYPE, id: u16) -> Result<Vec<Record>, LookUpError> {
    let mut stream = TcpStream::connect(server).await?;
    let question = question(name, kind, id)?;
    stream.write_all(&question).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    read(&answer, name, kind, id)
}

/// With its length before it (RFC 1035 section 4.2.2).
fn question(name: &str, kind: TYPE, id: u16) -> Result<Vec<u8>, LookUpError> {
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(Question::new(Name::new(name)?, kind.into(), CLASS::IN.into(), false));
    let query = query.build_bytes_vec()?;
    let length = u16::try_from(query.len()).map_err(|_| LookUpError::Other)?;
    Ok([&length.to_be_bytes(), &query[..]].concat())
}

/// The server follows aliases, so a record may have another name than was asked for. Texts that are none are left out.
fn read(answer: &[u8], name: &str, kind: TYPE, id: u16) -> Result<Vec<Record>, LookUpError> {
    let answer = Packet::parse(answer)?;
    let [asked] = &answer.questions[..] else { return Err(LookUpError::Other) };
    let same = asked.qname.to_string().eq_ignore_ascii_case(name) && asked.qtype == QTYPE::TYPE(kind);
    if !(same && answer.id() == id && answer.has_flags(PacketFlag::RESPONSE)) {
        return Err(LookUpError::Other);
    }
    match answer.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(LookUpError::Failed(other)),
    }
    let records = answer.answers.into_iter().filter_map(|record| match record.rdata {
        RData::TXT(text) => String::try_from(text).ok().map(Record::Text),
        RData::A(v4) => Some(Record::Address(Ipv4Addr::from(v4.address).into())),
        RData::AAAA(v6) => Some(Record::Address(Ipv6Addr::from(v6.address).into())),
        _ => None,
    });
    Ok(records.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_servers_are_those_of_its_file() {
        let text = "# a comment\nsearch acme.example\nnameserver 192.0.2.1\n nameserver 2001:db8::1\nnameserver none\n\
            nameserver 192.0.2.2\nnameserver 192.0.2.3\noptions edns0\n";
        let servers: Vec<_> = system(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert!(system("").is_empty());
    }

    #[test]
    fn a_tenant_asks_one_thing_at_a_time_and_all_of_them_a_bounded_number() {
        let dns = Dns::new(None);
        let tenant = |n: u8| TenantId::from_parts(1, [n; 10]);
        let first = dns.place(tenant(0)).unwrap();
        assert!(matches!(dns.place(tenant(0)), Err(LookUpError::Busy)));
        let mut others: Vec<_> = (1..PLACES as u8).map(|n| dns.place(tenant(n)).unwrap()).collect();
        assert!(matches!(dns.place(tenant(99)), Err(LookUpError::Busy)));
        others.pop();
        drop(first);
        assert!(dns.place(tenant(0)).is_ok());
    }

    /// The question's message with `change` made to its answer.
    fn answered(change: impl FnOnce(&mut Packet<'_>)) -> Result<Vec<Record>, LookUpError> {
        let asked = question("_portcullis.acme.example", TYPE::TXT, 7).unwrap();
        assert_eq!(usize::from(u16::from_be_bytes([asked[0], asked[1]])), asked.len() - 2);
        let mut answer = Packet::parse(&asked[2..]).unwrap().into_reply();
        change(&mut answer);
        let bytes = answer.build_bytes_vec().unwrap();
        read(&bytes, "_portcullis.acme.example", TYPE::TXT, 7)
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        assert_eq!(answered(|_| {}).unwrap(), Vec::<Record>::new());
        assert_eq!(answered(|answer| *answer.rcode_mut() = RCODE::NameError).unwrap(), Vec::<Record>::new());
        let failed = answered(|answer| *answer.rcode_mut() = RCODE::ServerFailure);
        assert!(matches!(failed, Err(LookUpError::Failed(RCODE::ServerFailure))));
        assert!(matches!(answered(|answer| answer.set_id(8)), Err(LookUpError::Other)));
        assert!(matches!(answered(|answer| answer.questions.clear()), Err(LookUpError::Other)));
        let echo = answered(|answer| answer.remove_flags(PacketFlag::RESPONSE));
        assert!(matches!(echo, Err(LookUpError::Other)));
        let other = answered(|answer| answer.questions[0].qname = Name::new_unchecked("other.example"));
        assert!(matches!(other, Err(LookUpError::Other)));
        assert!(matches!(read(&[1, 2, 3], "a.example", TYPE::TXT, 7), Err(LookUpError::Malformed(_))));
    }
}
