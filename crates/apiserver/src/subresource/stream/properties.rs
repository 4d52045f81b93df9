//! See [`crate::properties`].

use super::options::{ExecOptions, LogOptions};
use super::websocket::{self, Encoding, PROTOCOLS, Said};
use crate::registry::options::Query;
use bytes::Bytes;
use std::io::{Cursor, Read, Write};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// Bytes of a client, and nobody who hears the answers.
struct Client<'d>(Cursor<&'d [u8]>);

impl Read for Client<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A client's frames, in every protocol; what a message says is said again by the message made of it.
pub fn websocket(data: &[u8]) {
    let mut socket = WebSocket::from_raw_socket(Client(Cursor::new(data)), Role::Server, Some(websocket::config()));
    while let Ok(message) = socket.read() {
        for channels in PROTOCOLS {
            if let Said::Data(channel, bytes) = channels.decode(message.clone()) {
                let fits = channels.encoding == Encoding::Binary || channel < 0x80 - b'0';
                if fits {
                    assert_eq!(channels.decode(channels.encode(channel, &bytes)), Said::Data(channel, bytes));
                }
            }
        }
        if matches!(message, Message::Close(_)) {
            break;
        }
    }
    let whole = Message::Binary(Bytes::copy_from_slice(data));
    PROTOCOLS.iter().for_each(|channels| drop(channels.decode(whole.clone())));
}

/// The queries of streaming subresources.
pub(crate) fn options(query: &Query) {
    if let Ok(options) = LogOptions::parse(query) {
        let _ = (options.validate("pod"), options.to_query());
    }
    let options = ExecOptions::parse("exec", query);
    let _ = (options.to_query(), options.to_value("PodExecOptions"));
}
