//! The web part of the guestbook example: entries live in Redis; nothing but the standard library.
//!
//! `GET /` shows the entries, `POST /` (a form with `entry`) adds one, `GET /healthz` tells whether Redis
//! answers. `REDIS` names it (`redis:6379`), `GREETING` is the title, `PORT` the port (8080).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const LARGEST_ENTRY: usize = 4096;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", variable("PORT", "8080").parse().unwrap_or(8080)))?;
    for client in listener.incoming() {
        let client = client?;
        std::thread::spawn(move || {
            if let Err(error) = answer(&client) {
                eprintln!("guestbook: {error}");
            }
        });
    }
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn answer(client: &TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(client);
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        // A probe that only connects.
        return Ok(());
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0).min(LARGEST_ENTRY);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split_whitespace();
    let (status, text) = match (words.next(), words.next()) {
        (Some("GET"), Some("/healthz")) => outcome(redis(&["PING"]).map(|_| "ok\n".to_owned())),
        (Some("GET"), Some("/")) => outcome(page()),
        (Some("POST"), Some("/")) => outcome(add(&body).and_then(|()| page())),
        _ => ("404 Not Found", "not found\n".to_owned()),
    };
    let mut client = client;
    write!(client, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}

fn outcome(result: io::Result<String>) -> (&'static str, String) {
    match result {
        Ok(text) => ("200 OK", text),
        Err(error) => ("503 Service Unavailable", format!("redis: {error}\n")),
    }
}

fn add(body: &[u8]) -> io::Result<()> {
    let form = String::from_utf8_lossy(body);
    let entry = form.split('&').find_map(|pair| pair.strip_prefix("entry=")).unwrap_or_default();
    redis(&["RPUSH", "guestbook", &decoded(entry)]).map(drop)
}

/// A form value: `+` is a space, `%41` an A.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'2'), bytes.next().unwrap_or(b'0')];
                u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn page() -> io::Result<String> {
    let entries = redis(&["LRANGE", "guestbook", "0", "-1"])?;
    let title = escaped(&variable("GREETING", "Guestbook"));
    let list: String = entries.iter().map(|e| format!("<li>{}</li>\n", escaped(e))).collect();
    Ok(format!(
        "<!doctype html><title>{title}</title><h1>{title}</h1>\n<ul>\n{list}</ul>\n\
         <form method=post><input name=entry autofocus><button>Sign</button></form>\n<p>served by {}</p>\n",
        escaped(&variable("HOSTNAME", "?"))
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Sends one command and reads the answer: a line, or the items of a list.
fn redis(words: &[&str]) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(variable("REDIS", "redis:6379"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(command.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let head = line(&mut reader)?;
    match head.split_at_checked(1) {
        Some(("*", count)) => (0..count.parse().unwrap_or(0)).map(|_| bulk(&mut reader)).collect(),
        Some(("-", error)) => Err(io::Error::other(error.to_owned())),
        Some((_, rest)) => Ok(vec![rest.to_owned()]),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    reader.read_line(&mut text)?;
    Ok(text.trim_end().to_owned())
}

fn bulk(reader: &mut impl BufRead) -> io::Result<String> {
    let length: usize = line(reader)?.trim_start_matches('$').parse().map_err(io::Error::other)?;
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
