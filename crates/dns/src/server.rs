//! Questions in, answers out, over UDP and TCP.
//!
//! Questions about the cluster are answered on the spot. Others wait for a resolver in a task of their own; there is
//! a limit to those, and beyond it the answer is SERVFAIL at once.

use crate::answer::{Answer, Zone};
use crate::forward::Forwarder;
use crate::index::Index;
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use parking_lot::RwLock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Questions that wait for a resolver.
const MAX_WAITING: usize = 1000;
/// TCP connections.
const MAX_CONNECTIONS: usize = 256;
const IDLE: Duration = Duration::from_secs(10);
/// Aliases followed for one question.
const MAX_ALIASES: usize = 8;
/// Largest UDP answer, whatever the client claims to take.
const MAX_PAYLOAD: u16 = 4096;
const MIN_PAYLOAD: u16 = 512;

/// Answers messages.
pub(crate) struct Server {
    index: Arc<RwLock<Index>>,
    zone: Zone,
    forwarder: Forwarder,
    synced: AtomicBool,
    turn: AtomicUsize,
    waiting: Arc<Semaphore>,
}

/// What to do about a request.
enum Reaction {
    /// Not a request at all.
    Ignore,
    /// Known.
    Answer(Box<Message>),
    /// The answer so far, and what to ask a resolver.
    Ask(Box<Message>, Query),
}

impl Server {
    pub(crate) fn new(index: Arc<RwLock<Index>>, zone: Zone, forwarder: Forwarder) -> Self {
        let waiting = Arc::new(Semaphore::new(MAX_WAITING));
        Self { index, zone, forwarder, synced: AtomicBool::new(false), turn: AtomicUsize::new(0), waiting }
    }

    /// The index is complete.
    pub(crate) fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    fn react(&self, bytes: &[u8]) -> Reaction {
        let request = match Message::from_vec(bytes) {
            Ok(request) if request.metadata.message_type == MessageType::Query => request,
            Ok(_) => return Reaction::Ignore,
            Err(_) => return malformed(bytes),
        };
        let mut response = blank(&request);
        if let Some(code) = unacceptable(&request) {
            response.metadata.response_code = code;
            if let Some(edns) = &mut response.edns {
                edns.set_rcode_high(code.high());
            }
            return Reaction::Answer(Box::new(response));
        }
        let query = request.queries[0].clone();
        self.resolve(response, query)
    }

    /// Answers from the index, following aliases for as long as they stay in the cluster.
    fn resolve(&self, mut response: Message, mut query: Query) -> Reaction {
        for _ in 0..MAX_ALIASES {
            let Some(answer) = self.zone.answer(&self.index.read(), query.name(), query.query_type()) else {
                return Reaction::Ask(Box::new(response), query);
            };
            response.metadata.authoritative = true;
            if !self.synced.load(Ordering::Acquire) {
                response.metadata.response_code = ResponseCode::ServFail;
                return Reaction::Answer(Box::new(response));
            }
            let alias = alias(&answer, query.query_type());
            self.add(&mut response, answer);
            match alias {
                Some(target) => query = Query::query(target, query.query_type()),
                None => return Reaction::Answer(Box::new(response)),
            }
        }
        response.metadata.response_code = ResponseCode::ServFail;
        Reaction::Answer(Box::new(response))
    }

    fn add(&self, response: &mut Message, mut answer: Answer) {
        // Many clients take the first address, so everyone gets a turn at being it.
        if answer.answers.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % answer.answers.len();
            answer.answers.rotate_left(turn);
        }
        response.metadata.response_code = answer.code;
        response.add_answers(answer.answers);
        response.add_authorities(answer.authorities);
        response.add_additionals(answer.additionals);
    }

    /// Completes an answer with what a resolver says.
    async fn complete(&self, mut response: Message, query: Query) -> Message {
        let dnssec = response.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let answer = match self.forwarder.remembered(&query, dnssec) {
            Some(known) => Ok(known),
            None => self.forwarder.ask(&query, dnssec).await,
        };
        match answer {
            Ok(answer) => {
                response.metadata.response_code = answer.metadata.response_code;
                response.metadata.authentic_data = answer.metadata.authentic_data && response.answers.is_empty();
                response.add_answers(answer.answers);
                response.add_authorities(answer.authorities);
                response.add_additionals(answer.additionals);
            }
            Err(cause) => {
                tracing::debug!(name = %query.name(), %cause, "could not resolve");
                response.metadata.response_code = ResponseCode::ServFail;
            }
        }
        response
    }
}

/// An answer's header and question, without anything in it yet.
fn blank(request: &Message) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata = Metadata::response_from_request(&request.metadata);
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    if let Some(edns) = &request.edns {
        let mut ours = Edns::new();
        ours.set_max_payload(edns.max_payload().clamp(MIN_PAYLOAD, MAX_PAYLOAD));
        ours.set_dnssec_ok(edns.flags().dnssec_ok);
        response.set_edns(ours);
    }
    response
}

fn unacceptable(request: &Message) -> Option<ResponseCode> {
    let [query] = &request.queries[..] else { return Some(ResponseCode::FormErr) };
    match request {
        _ if request.metadata.op_code != OpCode::Query => Some(ResponseCode::NotImp),
        _ if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) => Some(ResponseCode::BADVERS),
        _ if query.query_class() != DNSClass::IN => Some(ResponseCode::Refused),
        _ if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) => Some(ResponseCode::Refused),
        _ => None,
    }
}

/// A message that does not parse gets its id back if it has one and is no response.
fn malformed(bytes: &[u8]) -> Reaction {
    match bytes {
        [a, b, flags, _, _, _, _, _, _, _, _, _, ..] if flags & 0x80 == 0 => {
            let id = u16::from_be_bytes([*a, *b]);
            Reaction::Answer(Box::new(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)))
        }
        _ => Reaction::Ignore,
    }
}

fn alias(answer: &Answer, kind: RecordType) -> Option<Name> {
    match answer.answers.first().map(|record| &record.data) {
        Some(RData::CNAME(target)) if kind != RecordType::CNAME => Some(target.0.clone()),
        _ => None,
    }
}

fn failure(mut response: Message) -> Message {
    response.metadata.response_code = ResponseCode::ServFail;
    response
}

/// The message in bytes, cut to what the client can take.
fn fit(mut response: Message, limit: usize) -> Vec<u8> {
    let encode = |message: &Message| message.to_vec().unwrap_or_default();
    let mut bytes = encode(&response);
    if bytes.len() > limit {
        response.additionals.clear();
        bytes = encode(&response);
    }
    while bytes.len() > limit && !(response.answers.is_empty() && response.authorities.is_empty()) {
        response.metadata.truncation = true;
        response.authorities.clear();
        // About as many as fit; a few rounds at most.
        let fitting = response.answers.len() * limit / bytes.len();
        response.answers.truncate(fitting.min(response.answers.len().saturating_sub(1)));
        bytes = encode(&response);
    }
    bytes
}

fn udp_limit(response: &Message) -> usize {
    response.edns.as_ref().map_or(MIN_PAYLOAD, Edns::max_payload).into()
}

/// Answers on a UDP socket until shutdown.
pub(crate) async fn udp(socket: Arc<UdpSocket>, server: Arc<Server>, shutdown: CancellationToken) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let received = tokio::select! {
            () = shutdown.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        // Errors here are earlier answers' that nobody waited for.
        let Ok((length, client)) = received else { continue };
        match server.react(&buffer[..length]) {
            Reaction::Ignore => {}
            Reaction::Answer(response) => send(&socket, *response, client).await,
            Reaction::Ask(response, query) => match server.waiting.clone().try_acquire_owned() {
                Ok(place) => {
                    let (socket, server) = (socket.clone(), server.clone());
                    tokio::spawn(async move {
                        let response = server.complete(*response, query).await;
                        send(&socket, response, client).await;
                        drop(place);
                    });
                }
                Err(_) => send(&socket, failure(*response), client).await,
            },
        }
    }
}

async fn send(socket: &UdpSocket, response: Message, client: SocketAddr) {
    let limit = udp_limit(&response);
    if let Err(cause) = socket.send_to(&fit(response, limit), client).await {
        tracing::debug!(%client, %cause, "could not send a DNS answer");
    }
}

/// Answers on a TCP socket until shutdown.
pub(crate) async fn tcp(listener: TcpListener, server: Arc<Server>, shutdown: CancellationToken) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        // Beyond the limit, connections are closed: clients try again.
        let Ok(place) = connections.clone().try_acquire_owned() else { continue };
        let (server, until) = (server.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _ = until.run_until_cancelled(converse(stream, &server)).await;
            drop(place);
        });
    }
}

async fn converse(mut stream: TcpStream, server: &Server) -> std::io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut buffer = vec![0; usize::from(length)];
        timeout(IDLE, stream.read_exact(&mut buffer)).await??;
        let response = match server.react(&buffer) {
            Reaction::Ignore => return Ok(()),
            Reaction::Answer(response) => *response,
            Reaction::Ask(response, query) => match server.waiting.try_acquire() {
                Ok(_place) => server.complete(*response, query).await,
                Err(_) => failure(*response),
            },
        };
        let bytes = fit(response, u16::MAX.into());
        let length = u16::try_from(bytes.len()).unwrap_or(0);
        stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat()).await?;
    }
}
