//! The members of the etcd cluster: which one is asked, and what happens when it does not answer.
//!
//! All calls go to one member until it fails; then to the next one. A call that surely was not carried out is
//! repeated there, a read in any case; a write with an unknown outcome is given up as such.

use super::Options;
use super::failure::{self, Fate, fate};
use super::proto::{kv_client::KvClient, maintenance_client::MaintenanceClient, watch_client::WatchClient};
use crate::{Revision, StoreError};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// First and longest wait for a member's answer to a read; etcd itself gives up after 7 s.
const READ_ATTEMPT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));
/// How long the answer to a write may take.
const WRITE_ATTEMPT: Duration = Duration::from_secs(8);
/// How long members are tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause when every member failed in turn.
const PAUSE: Duration = Duration::from_millis(100);
/// Dead connections are found by pings while a call is under way; etcd takes no more than one in 5 s.
const PING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(4));
/// Flow control: one stalled stream must not hold up the others.
const WINDOWS: (u32, u32) = (1 << 20, 16 << 20);

/// What a call does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: it may be repeated.
    Read,
    /// Something: it must not be carried out twice.
    Write,
}

/// A connection to a member.
#[derive(Clone)]
pub(super) struct Connection {
    /// Which member.
    pub(super) member: usize,
    /// Counts the connections to it.
    generation: u64,
    channel: Channel,
}

/// All members.
pub(super) struct Members {
    members: Vec<Member>,
    current: AtomicUsize,
}

struct Member {
    address: String,
    endpoint: Endpoint,
    connected: Mutex<Option<Connection>>,
    /// One attempt at a time.
    connecting: tokio::sync::Mutex<u64>,
}

/// A call that got no good answer from a member.
enum Missed {
    NotSent(Box<dyn std::error::Error + Send + Sync>),
    Answered(Fate, Status),
}

impl Members {
    /// From the addresses of the options; reads the TLS files.
    pub(super) fn new(options: &Options) -> Result<Self, StoreError> {
        let tls = tls(options)?;
        let members = options.endpoints.iter().map(|address| Member::new(address, tls.as_ref()));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        if members.is_empty() {
            return Err(wrong("no etcd server is named", "give at least one address"));
        }
        Ok(Members { members, current: AtomicUsize::new(0) })
    }

    /// Asks a member, then others, as far as the effect allows. `asked`: the revision the call names, for errors.
    pub(super) async fn call<T, F>(
        &self,
        effect: Effect,
        what: &str,
        asked: Revision,
        call: impl Fn(Connection) -> F + Send + Sync,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let give_up = Instant::now() + PATIENCE;
        let mut wait = if effect == Effect::Write { WRITE_ATTEMPT } else { READ_ATTEMPT.0 };
        for attempt in 1.. {
            let member = self.current.load(Ordering::Relaxed);
            let missed = match self.attempt(member, wait, &call).await {
                Ok(answer) => return Ok(answer),
                Err(missed) => missed,
            };
            let cause: Box<dyn std::error::Error + Send + Sync> = match missed {
                Missed::Answered(Fate::Refused, status) => return Err(failure::refused(what, asked, status)),
                Missed::Answered(Fate::Unknown, status) if effect == Effect::Write => {
                    self.leave(member);
                    return Err(StoreError::Unknown { context: what.to_owned(), cause: Box::new(status) });
                }
                Missed::Answered(_, status) => Box::new(status),
                Missed::NotSent(cause) => cause,
            };
            self.leave(member);
            if Instant::now() >= give_up {
                return Err(failure::unreachable(what, cause));
            }
            tracing::debug!(member = self.members[member].address, %cause, what, "asking another etcd member");
            if attempt % self.members.len() == 0 {
                sleep(PAUSE).await;
            }
            if effect == Effect::Read {
                wait = (wait * 2).min(READ_ATTEMPT.1);
            }
        }
        unreachable!("the loop ends by itself")
    }

    async fn attempt<T, F>(
        &self,
        member: usize,
        wait: Duration,
        call: &(impl Fn(Connection) -> F + Send + Sync),
    ) -> Result<T, Missed>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let connection = self.connect(member).await.map_err(Missed::NotSent)?;
        let status = match timeout(wait, call(connection.clone())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded(format!("no answer within {} s", wait.as_secs())),
        };
        let fate = fate(&status);
        if fate == Fate::Unknown {
            self.drop_connection(&connection);
        }
        Err(Missed::Answered(fate, status))
    }

    /// A connection to the member that is asked now.
    pub(super) async fn connect_current(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let member = self.current.load(Ordering::Relaxed);
        self.connect(member).await.inspect_err(|_| self.leave(member))
    }

    async fn connect(&self, member: usize) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let at = &self.members[member];
        if let Some(connection) = at.connected.lock().clone() {
            return Ok(connection);
        }
        let mut generation = at.connecting.lock().await;
        if let Some(connection) = at.connected.lock().clone() {
            return Ok(connection);
        }
        let channel = timeout(CONNECT, at.endpoint.connect())
            .await
            .map_err(|_| format!("{} did not take the connection within {} s", at.address, CONNECT.as_secs()))??;
        *generation += 1;
        let connection = Connection { member, generation: *generation, channel };
        *at.connected.lock() = Some(connection.clone());
        Ok(connection)
    }

    /// Asks the next member from now on, unless somebody did so already.
    pub(super) fn leave(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        let _ = self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The next call makes a new connection; streams on this one end when it does.
    pub(super) fn drop_connection(&self, connection: &Connection) {
        let mut connected = self.members[connection.member].connected.lock();
        if connected.as_ref().is_some_and(|c| c.generation == connection.generation) {
            *connected = None;
        }
    }

    /// As it was typed.
    pub(super) fn address(&self, member: usize) -> &str {
        &self.members[member].address
    }
}

impl Connection {
    pub(super) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }
}

/// A request for a member that has a leader: others say so at once instead of waiting for one.
pub(super) fn led<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
    request
}

impl Member {
    fn new(address: &str, tls: Option<&ClientTlsConfig>) -> Result<Self, StoreError> {
        let refuse = |why: String| wrong(&format!("{address} is no address of an etcd server"), &why);
        let url = match (address.contains("://"), tls) {
            (true, _) => address.to_owned(),
            (false, None) => format!("http://{address}"),
            (false, Some(_)) => format!("https://{address}"),
        };
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|e| refuse(e.to_string()))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1);
        match (url.split_once("://").map_or("", |(scheme, _)| scheme), tls) {
            ("http", _) => {}
            ("https", Some(tls)) => endpoint = endpoint.tls_config(tls.clone()).map_err(|e| refuse(e.to_string()))?,
            ("https", None) => return Err(refuse("https needs an authority's certificate".to_owned())),
            _ => return Err(refuse("want http://HOST:PORT or https://HOST:PORT".to_owned())),
        }
        Ok(Member {
            address: address.to_owned(),
            endpoint,
            connected: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })
    }
}

fn tls(options: &Options) -> Result<Option<ClientTlsConfig>, StoreError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|cause| StoreError::Failed {
            context: format!("could not read {} for etcd", path.display()),
            cause: Box::new(cause),
        })
    };
    let Some(ca) = &options.ca else { return Ok(None) };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?)),
        (None, None) => {}
        _ => return Err(wrong("half an identity towards etcd is given", "give the certificate and its key")),
    }
    Ok(Some(tls))
}

fn wrong(context: &str, why: &str) -> StoreError {
    StoreError::Failed { context: format!("{context}: {why}"), cause: why.to_owned().into() }
}
