//! HTTP by hand: requests as bytes, so that they can be as wrong as one likes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to the server.
pub(super) type Connection = tokio_rustls::client::TlsStream<TcpStream>;

/// Longer answers are cut.
const LONGEST: usize = 64 << 20;

/// What is asked; one request per connection.
#[derive(Clone, Debug)]
pub(super) struct Request {
    head: String,
    body: Vec<u8>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) code: u16,
    head: String,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(method: &str, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: load\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        Request { head, body }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new("GET", path, "application/json", "")
    }

    pub(super) fn delete(path: &str) -> Self {
        Self::new("DELETE", path, "application/json", "")
    }

    pub(super) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path, "application/json", body)
    }

    /// With another header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// Sends it all. Servers may answer before they have heard everything: that is no failure.
    pub(super) async fn send(&self, connection: &mut Connection) -> Result<(), String> {
        connection.write_all(format!("{}\r\n", self.head).as_bytes()).await.map_err(|e| e.to_string())?;
        let _ = connection.write_all(&self.body).await;
        let _ = connection.flush().await;
        Ok(())
    }

    /// The head alone, as bytes.
    pub(super) fn head(&self) -> String {
        format!("{}\r\n", self.head)
    }
}

impl Answer {
    /// Reads to the end of the connection, however it ends.
    pub(super) async fn read(connection: &mut Connection) -> Result<Self, String> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let ended = loop {
            match connection.read(&mut buffer).await {
                Ok(0) => break "it was closed".to_owned(),
                Ok(n) if all.len() < LONGEST => all.extend_from_slice(&buffer[..n]),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            }
        };
        Self::parse(&all).ok_or_else(|| format!("the connection ended without an answer: {ended}"))
    }

    fn parse(all: &[u8]) -> Option<Self> {
        let at = all.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&all[..at]).into_owned();
        let code = head.split_whitespace().nth(1)?.parse().ok()?;
        Some(Answer { code, head, body: all[at + 4..].to_vec() })
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let is = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().skip(1).find(is).and_then(|line| Some(line.split_once(':')?.1.trim()))
    }
}
