//! Asking the host's resolvers about names outside the cluster.

use crate::cache::Cache;
use crate::resolv::{Resolvers, Upstreams};
use hickory_proto::op::{Edns, Message, Query};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// For one server; the client's own patience is about five seconds.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// What we can take over UDP without fragments on usual links.
const PAYLOAD: u16 = 1232;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody to ask.
    #[error("no resolver is configured for names outside the cluster")]
    Nobody,
    /// The question does not go into a message.
    #[error("could not encode the question")]
    Encode(#[source] hickory_proto::ProtoError),
    /// None answered.
    #[error("none of the resolvers {0:?} answered")]
    Unanswered(Vec<SocketAddr>),
}

/// Asks, and remembers the answers for a little while.
pub(crate) struct Forwarder {
    resolvers: Resolvers,
    cache: Cache,
}

impl Forwarder {
    pub(crate) fn new(upstreams: Upstreams, own: Vec<SocketAddr>) -> Self {
        Self { resolvers: Resolvers::new(upstreams, own), cache: Cache::default() }
    }

    /// What is known already.
    pub(crate) fn remembered(&self, query: &Query, dnssec: bool) -> Option<Message> {
        self.cache.get(query, dnssec, Instant::now())
    }

    /// The whole answer of the first resolver that gives one.
    pub(crate) async fn ask(&self, query: &Query, dnssec: bool) -> Result<Message, Error> {
        let servers = self.resolvers.current();
        if servers.is_empty() {
            return Err(Error::Nobody);
        }
        for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
            let mut question = Message::query();
            question.metadata.recursion_desired = true;
            question.add_query(query.clone());
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD).set_dnssec_ok(dnssec);
            question.set_edns(edns);
            let bytes = question.to_vec().map_err(Error::Encode)?;
            match timeout(PATIENCE, exchange(*server, &question, &bytes)).await {
                Ok(Ok(answer)) => {
                    self.cache.put(query, dnssec, &answer, Instant::now());
                    return Ok(answer);
                }
                Ok(Err(cause)) => tracing::debug!(%server, %cause, "resolver failed"),
                Err(_) => tracing::debug!(%server, "resolver did not answer in time"),
            }
        }
        Err(Error::Unanswered(servers))
    }
}

async fn exchange(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let answer = over_udp(server, question, bytes).await?;
    if answer.metadata.truncation { over_tcp(server, question, bytes).await } else { Ok(answer) }
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A socket of its own per question: its random port and the random id have to be guessed together.
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What does not match may be forged; the real answer may still come.
        if let Some(answer) = matching(&buffer[..length], question) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    matching(&buffer, question).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn matching(bytes: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    (answer.metadata.id == question.metadata.id && answer.queries == question.queries).then_some(answer)
}
