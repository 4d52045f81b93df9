//! The server's side of WebSockets: what is asked for, the handshake, and how messages name channels.

use super::empty;
use crate::server::body::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use kaji_api::Status;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
/// The longest message that is taken.
const MAX_MESSAGE: usize = 32 << 20;
/// What protocols that carry SPDY begin and end with.
const TUNNEL: (&str, &str) = ("SPDY/3.1+", ".k8s.io");
/// The byte that begins a message about the end of a channel.
const CLOSE: u8 = 255;

/// An open WebSocket.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How bytes are put into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are.
    Binary,
    /// As text.
    Base64,
}

/// A protocol of remote commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    name: &'static str,
    pub(super) encoding: Encoding,
    /// Protocols before 4 tell errors as text, and success not at all.
    pub(super) tells_status: bool,
    /// From 5 on one channel can be closed before the others.
    pub(super) closes: bool,
}

/// The protocols of remote commands.
pub(super) const PROTOCOLS: [Channels; 6] = [
    Channels { name: "v5.channel.k8s.io", encoding: Encoding::Binary, tells_status: true, closes: true },
    Channels { name: "v4.channel.k8s.io", encoding: Encoding::Binary, tells_status: true, closes: false },
    Channels { name: "v4.base64.channel.k8s.io", encoding: Encoding::Base64, tells_status: true, closes: false },
    Channels { name: "channel.k8s.io", encoding: Encoding::Binary, tells_status: false, closes: false },
    Channels { name: "base64.channel.k8s.io", encoding: Encoding::Base64, tells_status: false, closes: false },
    Channels { name: "", encoding: Encoding::Binary, tells_status: false, closes: false },
];

/// What a client's message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Bytes for a channel.
    Data(u8, Bytes),
    /// No more bytes for a channel.
    Close(u8),
    /// Nothing that matters.
    Nothing,
    /// Nonsense, or goodbye.
    End,
}

/// Whether a request asks for an upgrade, to whatever.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let asks = |v: &HeaderValue| v.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains("upgrade"));
    headers.get_all(CONNECTION).iter().any(asks)
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket")) && is_upgrade(headers)
}

/// Whether a request asks for a WebSocket that carries SPDY.
pub(super) fn asks_for_tunnel(headers: &HeaderMap) -> bool {
    is_asked_for(headers) && tunnelled(headers).next().is_some()
}

/// The SPDY protocols that a client would tunnel.
pub(super) fn tunnelled(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let (prefix, suffix) = TUNNEL;
    asked(headers).filter(move |p| p.ends_with(suffix)).filter_map(move |p| p.strip_prefix(prefix))
}

/// The name of a SPDY protocol inside a WebSocket.
pub(super) fn tunnel(protocol: &str) -> String {
    format!("{}{protocol}", TUNNEL.0)
}

fn asked(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim).filter(|p| !p.is_empty())
}

/// The handshake for remote commands.
pub(super) fn accept_channels(headers: &HeaderMap) -> Result<(Response, Channels), Status> {
    let names = PROTOCOLS.map(|p| p.name);
    let name = choose(headers, &names)?;
    let channels = PROTOCOLS.into_iter().find(|p| p.name == name).expect("chosen among these");
    Ok((accept(headers, channels.name)?, channels))
}

/// The handshake for one stream to the client.
pub(super) fn accept_reader(headers: &HeaderMap) -> Result<(Response, Encoding), Status> {
    let name = choose(headers, &["", "binary.k8s.io", "base64.binary.k8s.io"])?;
    let encoding = if name.starts_with("base64") { Encoding::Base64 } else { Encoding::Binary };
    Ok((accept(headers, name)?, encoding))
}

/// The first protocol of the client's that we know; `""` when it names none.
fn choose<'k>(headers: &HeaderMap, known: &[&'k str]) -> Result<&'k str, Status> {
    let mut all: Vec<&str> = asked(headers).collect();
    if all.is_empty() {
        all.push("");
    }
    let known_as = |asked: &&str| known.iter().find(|k| *k == asked).copied();
    all.iter().find_map(known_as).ok_or_else(|| {
        let (all, known) = (all.join(" "), known.join(" "));
        Status::bad_request(format!("requested protocol(s) are not supported: [{all}]; supports [{known}]"))
    })
}

/// The answer to a handshake.
pub(super) fn accept(headers: &HeaderMap, protocol: &str) -> Result<Response, Status> {
    let key = headers.get(KEY).ok_or_else(|| Status::bad_request("missing Sec-WebSocket-Key header"))?;
    let accept = derive_accept_key(key.as_bytes());
    let mut response = empty(101);
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(ACCEPT, HeaderValue::from_str(&accept).expect("base64 is a header value"));
    if let Ok(protocol) = HeaderValue::from_str(protocol)
        && !protocol.is_empty()
    {
        headers.insert(PROTOCOL, protocol);
    }
    Ok(response)
}

/// Waits until the answer to the handshake is out.
pub(super) async fn open(upgrade: OnUpgrade) -> Result<Socket, hyper::Error> {
    let upgraded = TokioIo::new(upgrade.await?);
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config())).await)
}

/// How much a client may say at once.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

/// The last message; clients take one without a code for an error.
pub(super) fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() }))
}

impl Encoding {
    /// Bytes as a message.
    pub(super) fn encode(self, bytes: &[u8]) -> Message {
        match self {
            Encoding::Binary => Message::Binary(Bytes::copy_from_slice(bytes)),
            Encoding::Base64 => Message::Text(BASE64.encode(bytes).into()),
        }
    }
}

impl Channels {
    /// Bytes of a channel as a message.
    pub(super) fn encode(&self, channel: u8, bytes: &[u8]) -> Message {
        match self.encoding {
            Encoding::Binary => {
                let mut all = Vec::with_capacity(bytes.len() + 1);
                all.push(channel);
                all.extend_from_slice(bytes);
                Message::Binary(all.into())
            }
            Encoding::Base64 => {
                let mut all = char::from(b'0' + channel).to_string();
                BASE64.encode_string(bytes, &mut all);
                Message::Text(all.into())
            }
        }
    }

    /// What a message says.
    pub(super) fn decode(&self, message: Message) -> Said {
        let mut bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return Said::End,
            _ => return Said::Nothing,
        };
        let Some(&first) = bytes.first() else { return Said::Nothing };
        if self.closes && first == CLOSE {
            return match bytes.as_ref() {
                [_, channel] if *channel <= 4 => Said::Close(*channel),
                _ => Said::End,
            };
        }
        let _ = bytes.split_to(1);
        match self.encoding {
            Encoding::Binary => Said::Data(first, bytes),
            Encoding::Base64 => match BASE64.decode(&bytes) {
                Ok(decoded) => Said::Data(first.wrapping_sub(b'0'), decoded.into()),
                Err(_) => Said::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(PROTOCOL, value.parse().unwrap());
        headers.insert(KEY, "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        headers
    }

    #[test]
    fn the_client_chooses_among_known_protocols() {
        let (response, channels) = accept_channels(&protocols("v9.channel.k8s.io, v5.channel.k8s.io")).unwrap();
        assert_eq!(response.headers()[ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[PROTOCOL], "v5.channel.k8s.io");
        assert!(channels.closes);
        assert!(accept_channels(&protocols("v9.channel.k8s.io")).is_err());
        let tunnels = protocols("SPDY/3.1+portforward.k8s.io");
        assert_eq!(tunnelled(&tunnels).collect::<Vec<_>>(), ["portforward.k8s.io"]);
    }

    #[test]
    fn messages_name_their_channel() {
        for channels in PROTOCOLS {
            let message = channels.encode(2, b"hello");
            assert_eq!(channels.decode(message), Said::Data(2, Bytes::from_static(b"hello")), "{}", channels.name);
        }
        let (v5, v4) = (PROTOCOLS[0], PROTOCOLS[1]);
        let close = || Message::Binary(Bytes::from_static(&[255, 0]));
        assert_eq!(v5.decode(close()), Said::Close(0));
        assert_eq!(v4.decode(close()), Said::Data(255, Bytes::from_static(&[0])));
        assert_eq!(v5.decode(Message::Binary(Bytes::from_static(&[255]))), Said::End);
    }
}
