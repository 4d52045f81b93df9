//! Remote commands by WebSocket: the client's channels become SPDY streams to the kubelet (upstream's
//! `StreamTranslatorHandler`, for the older protocols, too).
//!
//! The WebSocket is open before the kubelet is asked; what goes wrong later is told on the error channel.

use super::location::Location;
use super::options::ExecOptions;
use super::websocket::{self, Channels, Said, Socket};
use super::{PROTOCOL_VERSION, spawn, spdy_request, upgrade_of};
use crate::server::Api;
use crate::server::body::Response;
use crate::spdy;
use bytes::{Bytes, BytesMut};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use http::request::Parts;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use kaji_api::{Status, Value, value};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// The protocol inside SPDY; its error stream carries a `Status`.
const PROTOCOL: &str = "v4.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Messages that wait for the client.
const QUEUE: usize = 16;
/// So long may the last messages take.
const FAREWELL: Duration = Duration::from_secs(10);
/// So much is kept of what the error stream or a refusal says.
const MAX_ERROR: usize = 1 << 20;

/// Answers the handshake; the session follows by itself.
pub(super) fn serve(
    api: &Api,
    location: Location,
    options: &ExecOptions,
    mut parts: Parts,
) -> Result<Response, Status> {
    let (response, channels) = websocket::accept_channels(&parts.headers)?;
    let upgrade = upgrade_of(&mut parts)?;
    let session = Session { api: api.clone(), location, options: options.clone(), channels };
    spawn(api, parts.extensions.remove(), async move {
        match websocket::open(upgrade).await {
            Ok(socket) => session.run(socket).await,
            Err(error) => tracing::debug!(%error, "no WebSocket came about"),
        }
    });
    Ok(response)
}

/// One command.
struct Session {
    api: Api,
    location: Location,
    options: ExecOptions,
    channels: Channels,
}

/// What a command's streams are joined to.
struct Streams {
    error: spdy::Reader,
    stdin: Option<spdy::Writer>,
    stdout: Option<spdy::Reader>,
    stderr: Option<spdy::Reader>,
    resize: Option<spdy::Writer>,
    /// Unread ends that have to stay open.
    _kept: Vec<spdy::Reader>,
    _connection: spdy::Connection,
}

impl Session {
    async fn run(self, socket: Socket) {
        let (mut sink, source) = socket.split();
        let (out, mut queue) = mpsc::channel::<Message>(QUEUE);
        let writer = tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            let _ = sink.send(websocket::goodbye()).await;
            let _ = sink.close().await;
        });
        let abort = writer.abort_handle();
        // Says that the connection stands, on the lowest channel that is written to.
        let lowest = if self.options.stdout {
            STDOUT
        } else if self.options.stderr {
            STDERR
        } else {
            ERROR
        };
        let _ = out.send(self.channels.encode(lowest, &[])).await;
        if let Some(status) = self.execute(source, &out).await {
            self.tell(&status, &out).await;
        }
        drop(out);
        if tokio::time::timeout(FAREWELL, writer).await.is_err() {
            abort.abort();
        }
    }

    /// The outcome; none when the client went first.
    async fn execute(&self, source: SplitStream<Socket>, out: &mpsc::Sender<Message>) -> Option<Value> {
        let Streams { mut error, stdin, stdout, stderr, resize, _kept, _connection } = match self.connect().await {
            Ok(streams) => streams,
            Err(status) => return Some(*status),
        };
        let outcome = async {
            tokio::join!(self.copy(STDOUT, stdout, out), self.copy(STDERR, stderr, out));
            let message = collect(&mut error).await;
            if self.channels.closes { outcome(&message) } else { passed(&message) }
        };
        tokio::select! {
            outcome = outcome => Some(outcome),
            () = self.listen(source, stdin, resize) => None,
        }
    }

    async fn connect(&self) -> Result<Streams, Box<Value>> {
        let connection = dial(&self.api, &self.location).await?;
        let open = async |kind: &str| {
            connection.open(&[("streamtype", kind)]).await.map_err(|e| Box::new(internal(&e.to_string())))
        };
        let mut kept = Vec::new();
        let (error, _) = open("error").await?;
        let mut stdin = None;
        if self.options.stdin {
            let (reader, writer) = open("stdin").await?;
            kept.push(reader);
            stdin = Some(writer);
        }
        let stdout = if self.options.stdout { Some(open("stdout").await?.0) } else { None };
        // A terminal has one output.
        let stderr = if self.options.stderr && !self.options.tty { Some(open("stderr").await?.0) } else { None };
        let mut resize = None;
        if self.options.tty {
            let (reader, writer) = open("resize").await?;
            kept.push(reader);
            resize = Some(writer);
        }
        Ok(Streams { error, stdin, stdout, stderr, resize, _kept: kept, _connection: connection })
    }

    async fn copy(&self, channel: u8, stream: Option<spdy::Reader>, out: &mpsc::Sender<Message>) {
        let Some(mut stream) = stream else { return };
        while let Some(bytes) = stream.next().await {
            if out.send(self.channels.encode(channel, &bytes)).await.is_err() {
                return;
            }
        }
    }

    /// Takes what the client sends until it goes.
    async fn listen(
        &self,
        mut source: SplitStream<Socket>,
        mut stdin: Option<spdy::Writer>,
        resize: Option<spdy::Writer>,
    ) {
        while let Some(Ok(message)) = source.next().await {
            let stream = match self.channels.decode(message) {
                Said::Data(STDIN, bytes) => stdin.as_ref().map(|s| (s, bytes)),
                Said::Data(RESIZE, bytes) => resize.as_ref().map(|s| (s, bytes)),
                Said::Close(STDIN) => {
                    if let Some(stream) = stdin.take() {
                        let _ = stream.finish().await;
                    }
                    None
                }
                Said::End => return,
                _ => None,
            };
            if let Some((stream, bytes)) = stream {
                // Whether the command still reads is no matter of ours.
                let _ = stream.send(bytes).await;
            }
        }
    }

    async fn tell(&self, status: &Value, out: &mpsc::Sender<Message>) {
        let message = if self.channels.tells_status {
            let mut json = Vec::new();
            kaji_api::codec::write_json(status, &mut json);
            json
        } else if status["status"].str() == "Success" {
            return;
        } else {
            status["message"].str().as_bytes().to_vec()
        };
        let _ = out.send(self.channels.encode(ERROR, &message)).await;
    }
}

/// A SPDY connection to the kubelet, or the status that says why not.
async fn dial(api: &Api, location: &Location) -> Result<spdy::Connection, Box<Value>> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = spdy_request(location, &[PROTOCOL]).map(|()| body);
    let answer = location.backend.send(api, request).await;
    let mut answer = answer.map_err(|error| internal(&format!("error sending request: {error}")))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Box::new(refusal(answer.into_body()).await));
    }
    let agreed = answer.headers().get(PROTOCOL_VERSION).is_none_or(|v| v == PROTOCOL);
    let upgraded = hyper::upgrade::on(&mut answer).await.map_err(|error| internal(&error.to_string()))?;
    match agreed {
        true => Ok(spdy::Connection::client(TokioIo::new(upgraded))),
        false => Err(Box::new(internal("unable to upgrade connection: the kubelet chose an unknown protocol"))),
    }
}

async fn refusal(body: hyper::body::Incoming) -> Value {
    let bytes = match Limited::new(body, MAX_ERROR).collect().await {
        Ok(all) => all.to_bytes(),
        Err(error) => return internal(&format!("unable to upgrade connection: {error}")),
    };
    match kaji_api::codec::parse_json(&bytes) {
        Ok(status) if status.kind() == "Status" => bare(status),
        _ => internal(&format!("unable to upgrade connection: {}", String::from_utf8_lossy(&bytes))),
    }
}

async fn collect(stream: &mut spdy::Reader) -> BytesMut {
    let mut all = BytesMut::new();
    while let Some(bytes) = stream.next().await {
        if all.len() + bytes.len() <= MAX_ERROR {
            all.extend_from_slice(&bytes);
        }
    }
    all
}

/// What clients of older protocols are told: what the error stream says. Upstream passes these on to the kubelet unread.
fn passed(message: &[u8]) -> Value {
    match kaji_api::codec::parse_json(message) {
        Ok(status) if !status["status"].str().is_empty() => status,
        _ => outcome(message),
    }
}

/// What clients from version 5 on are told of what the error stream says: a failure is an internal error, even if its
/// message says so already.
fn outcome(message: &[u8]) -> Value {
    if message.is_empty() {
        return success();
    }
    let text = String::from_utf8_lossy(message);
    let Ok(status) = kaji_api::codec::parse_json(message) else {
        return internal(&format!("error stream protocol error: invalid status in {}", kaji_api::field::quoted(&text)));
    };
    match (status["status"].str(), status["reason"].str()) {
        ("Success", _) => success(),
        ("Failure", "NonZeroExitCode") => exit(&status),
        ("Failure", _) => internal(status["message"].str()),
        _ => internal("error stream protocol error: unknown error"),
    }
}

fn exit(status: &Value) -> Value {
    let causes = status["details"]["causes"].items();
    let Some(cause) = causes.iter().find(|c| c["reason"].str() == "ExitCode") else {
        return internal("error stream protocol error: no ExitCode cause given");
    };
    let Ok(code) = cause["message"].str().parse::<u8>() else {
        let text = kaji_api::field::quoted(cause["message"].str());
        return internal(&format!("error stream protocol error: invalid exit code value {text}"));
    };
    let message = format!("command terminated with non-zero exit code: command terminated with exit code {code}");
    let code = code.to_string();
    value!({
        "metadata": {},
        "status": "Failure",
        "message": (message),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": (code)}]}
    })
}

fn success() -> Value {
    value!({"metadata": {}, "status": "Success"})
}

fn internal(text: &str) -> Value {
    bare(Status::internal(text).to_value())
}

/// A status as the error channel carries it: without kind and version.
fn bare(mut status: Value) -> Value {
    status.remove("kind");
    status.remove("apiVersion");
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> String {
        let mut json = Vec::new();
        kaji_api::codec::write_json(&outcome(message.as_bytes()), &mut json);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn outcomes_are_told_as_upstream_tells_them() {
        assert_eq!(told(""), r#"{"metadata":{},"status":"Success"}"#);
        assert_eq!(told(r#"{"metadata":{},"status":"Success"}"#), r#"{"metadata":{},"status":"Success"}"#);
        let three = r#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(
            told(three),
            "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: \
             command terminated with exit code 3\",\"reason\":\"NonZeroExitCode\",\
             \"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}"
        );
        let failed =
            r#"{"status":"Failure","message":"Internal error occurred: no","reason":"InternalError","code":500}"#;
        assert_eq!(outcome(failed.as_bytes())["message"].str(), "Internal error occurred: Internal error occurred: no");
        let older = passed(failed.as_bytes());
        assert_eq!((older["message"].str(), older["code"].as_i64()), ("Internal error occurred: no", Some(500)));
        assert_eq!(passed(b""), success());
        assert!(told("{").contains("error stream protocol error"));
    }
}
