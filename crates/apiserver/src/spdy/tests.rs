//! Frames and connections against each other, and against nonsense.

use super::frame::{Frame, FrameReader, FrameWriter, PIECE};
use super::{Connection, Incoming};
use bytes::{BufMut, Bytes, BytesMut};
use std::time::Duration;
use tokio_util::codec::{Decoder, Encoder};

const PATIENCE: Duration = Duration::from_secs(10);

fn samples() -> Vec<Frame> {
    let headers = vec![("streamtype".to_owned(), "stdin".to_owned())];
    vec![
        Frame::SynStream { stream: 1, headers: headers.clone(), fin: false },
        Frame::SynReply { stream: 1, headers: Vec::new(), fin: true },
        Frame::Headers { stream: 3, headers, fin: false },
        Frame::Reset { stream: 5, status: 5 },
        Frame::Ping(7),
        Frame::GoAway { last: 5, status: 0 },
        Frame::Data { stream: 1, bytes: Bytes::from_static(b"hello"), fin: false },
        Frame::Data { stream: 1, bytes: Bytes::new(), fin: true },
    ]
}

fn written() -> BytesMut {
    let (mut writer, mut out) = (FrameWriter::default(), BytesMut::new());
    samples().into_iter().for_each(|frame| writer.encode(frame, &mut out).unwrap());
    out
}

#[test]
fn frames_survive_the_way_byte_by_byte() {
    let (mut reader, mut source, mut read) = (FrameReader::default(), BytesMut::new(), Vec::new());
    for byte in written() {
        source.put_u8(byte);
        while let Some(frame) = reader.decode(&mut source).unwrap() {
            read.push(frame);
        }
    }
    // Data is passed on as it comes, here a byte at a time.
    let bytes: usize = read.iter().map(|f| if let Frame::Data { bytes, .. } = f { bytes.len() } else { 0 }).sum();
    assert_eq!(bytes, 5);
    read.retain(|f| !matches!(f, Frame::Data { .. }));
    let others: Vec<Frame> = samples().into_iter().filter(|f| !matches!(f, Frame::Data { .. })).collect();
    assert_eq!(read, others);
}

#[test]
fn long_data_comes_in_pieces() {
    let mut source = BytesMut::new();
    source.put_u32(9);
    source.put_u32(1 << 24 | (PIECE as u32 + 1));
    source.put_bytes(7, PIECE + 1);
    let mut reader = FrameReader::default();
    let first = reader.decode(&mut source).unwrap().unwrap();
    assert!(matches!(first, Frame::Data { stream: 9, bytes, fin: false } if bytes.len() == PIECE));
    let last = reader.decode(&mut source).unwrap().unwrap();
    assert!(matches!(last, Frame::Data { stream: 9, bytes, fin: true } if bytes.len() == 1));
}

#[test]
fn unknown_control_frames_are_skipped() {
    let mut source = BytesMut::new();
    for (kind, length) in [(4, 12), (9, 8), (77, 3)] {
        source.put_u32(0x8003_0000 | kind);
        source.put_u32(length);
        source.put_bytes(1, length as usize);
    }
    source.extend_from_slice(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2]);
    assert_eq!(FrameReader::default().decode(&mut source).unwrap(), Some(Frame::Ping(2)));
}

/// A small generator of numbers; what it makes is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

#[test]
fn nonsense_is_an_error_or_waits_for_more() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let good = written();
    for _ in 0..20_000 {
        let mut source = good.clone();
        for _ in 0..=dice.roll(8) {
            let at = dice.roll(source.len());
            source[at] = dice.roll(256) as u8;
        }
        source.truncate(dice.roll(good.len()) + 1);
        let mut reader = FrameReader::default();
        let mut frames = 0;
        while let Ok(Some(_)) = reader.decode(&mut source) {
            frames += 1;
            assert!(frames < 1000);
        }
    }
}

async fn next(streams: &mut tokio::sync::mpsc::Receiver<Incoming>) -> Incoming {
    tokio::time::timeout(PATIENCE, streams.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn streams_carry_bytes_both_ways() {
    let (a, b) = tokio::io::duplex(1024);
    let client = Connection::client(a);
    let (_server, mut streams) = Connection::server(b);
    let opened = tokio::spawn(async move {
        let stream = client.open(&[("streamType", "stdin")]).await.unwrap();
        (client, stream)
    });
    let mut incoming = next(&mut streams).await;
    assert_eq!(incoming.headers, [("streamtype".to_owned(), "stdin".to_owned())]);
    let (_client, (mut reader, writer)) = opened.await.unwrap();
    // More than all queues and buffers hold.
    let sent: Bytes = (0..2_000_000u32).map(|n| n as u8).collect::<Vec<u8>>().into();
    let sending = async {
        writer.send(sent.clone()).await.unwrap();
        writer.finish().await.unwrap();
    };
    let echoing = async {
        while let Some(bytes) = incoming.reader.next().await {
            incoming.writer.send(bytes).await.unwrap();
        }
        incoming.writer.finish().await.unwrap();
    };
    let receiving = async {
        let mut all = BytesMut::new();
        while let Some(bytes) = reader.next().await {
            all.extend_from_slice(&bytes);
        }
        all.freeze()
    };
    let all = tokio::time::timeout(PATIENCE, async { tokio::join!(sending, echoing, receiving).2 }).await.unwrap();
    assert_eq!(all, sent);
}

#[tokio::test]
async fn ends_are_noticed() {
    let (a, b) = tokio::io::duplex(1024);
    let client = Connection::client(a);
    let (server, mut streams) = Connection::server(b);
    let ((mut first, _), incoming) =
        tokio::join!(async { client.open(&[("n", "1")]).await.unwrap() }, next(&mut streams));
    incoming.writer.send(Bytes::from_static(b"last words")).await.unwrap();
    incoming.writer.reset().await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, first.next()).await.unwrap().unwrap(), "last words");
    assert_eq!(tokio::time::timeout(PATIENCE, first.next()).await.unwrap(), None);
    let ((mut second, writer), incoming) =
        tokio::join!(async { client.open(&[("n", "2")]).await.unwrap() }, next(&mut streams));
    drop((server, incoming));
    assert_eq!(tokio::time::timeout(PATIENCE, second.next()).await.unwrap(), None);
    tokio::time::timeout(PATIENCE, async { while writer.send(Bytes::from_static(b"x")).await.is_ok() {} })
        .await
        .unwrap();
    assert!(client.open(&[("n", "3")]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_and_idle_connections_ping() {
    let (a, mut b) = tokio::io::duplex(4096);
    let client = Connection::client(a);
    let error = client.open(&[("n", "1")]).await.err().unwrap();
    assert!(matches!(error, super::OpenError::Timeout));
    let mut seen = BytesMut::new();
    tokio::io::AsyncReadExt::read_buf(&mut b, &mut seen).await.unwrap();
    let mut reader = FrameReader::default();
    assert!(matches!(reader.decode(&mut seen).unwrap(), Some(Frame::SynStream { stream: 1, .. })));
    assert!(matches!(reader.decode(&mut seen).unwrap(), Some(Frame::Ping(n)) if n % 2 == 1));
}
