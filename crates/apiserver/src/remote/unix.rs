//! Unix sockets, by path or by abstract name.

use hyper_util::rt::TokioIo;
use std::io::Result;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use tokio::net::UnixStream;

/// A socket in the file system.
pub(crate) async fn connect(path: &str) -> Result<TokioIo<UnixStream>> {
    Ok(TokioIo::new(UnixStream::connect(path).await?))
}

/// A socket without a file.
pub(crate) async fn connect_abstract(name: &str) -> Result<TokioIo<UnixStream>> {
    let stream = std::os::unix::net::UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    stream.set_nonblocking(true)?;
    Ok(TokioIo::new(UnixStream::from_std(stream)?))
}
