//! A way between two parts that can be frozen (nothing arrives, nobody is told) or cut (connections end).

use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They arrive.
    Pass,
    /// They wait.
    Freeze,
    /// Connections are closed, new ones at once.
    Cut,
}

/// A way to a loopback port.
pub(super) struct Proxy {
    pub(super) port: u16,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// Listens on a free port.
    pub(super) fn to(target: u16) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        listener.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(listener).expect("inside a runtime");
        let port = listener.local_addr().expect("it is bound").port();
        let (mode, modes) = watch::channel(Mode::Pass);
        tokio::spawn(accept(listener, target, modes));
        Proxy { port, mode }
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn accept(listener: TcpListener, target: u16, modes: watch::Receiver<Mode>) {
    let mut ended = modes.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The proxy was dropped.
            gone = ended.changed() => match gone { Ok(()) => continue, Err(_) => return },
        };
        let Ok((inner, _)) = accepted else { continue };
        if *modes.borrow() == Mode::Cut {
            continue;
        }
        tokio::spawn(join(inner, target, modes.clone()));
    }
}

async fn join(from: TcpStream, target: u16, modes: watch::Receiver<Mode>) {
    let Ok(to) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = copy(from_read, to_write, modes.clone()) => {}
        () = copy(to_read, from_write, modes) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut modes: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            cut = modes.wait_for(|m| *m == Mode::Cut) => { let _ = cut; return }
        };
        match modes.wait_for(|m| *m != Mode::Freeze).await.map(|m| *m) {
            Ok(Mode::Pass) if read > 0 && to.write_all(&buffer[..read]).await.is_ok() => {}
            _ => return,
        }
    }
}
