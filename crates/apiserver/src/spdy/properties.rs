//! See [`crate::properties`].

use super::frame::{Frame, FrameReader, FrameWriter};
use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

/// Frames of a connection: those that were read are read again after they were written.
pub fn spdy(data: &[u8]) {
    let frames = read(data);
    let mut written = BytesMut::new();
    let mut writer = FrameWriter::default();
    for frame in &frames {
        writer.encode(frame.clone(), &mut written).expect("a frame that was read can be written");
    }
    let again = read(&written);
    assert_eq!(joined(again), joined(frames));
}

/// Data is passed on as it comes: pieces of one stream that follow each other are one.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut out: Vec<Frame> = Vec::new();
    for frame in frames {
        match (out.last_mut(), frame) {
            (Some(Frame::Data { stream, bytes, fin: end @ false }), Frame::Data { stream: same, bytes: more, fin })
                if *stream == same =>
            {
                *bytes = [&bytes[..], &more].concat().into();
                *end = fin;
            }
            (_, frame) => out.push(frame),
        }
    }
    out
}

/// The frames up to the first fault, with bytes coming in two pieces.
fn read(data: &[u8]) -> Vec<Frame> {
    let (mut reader, mut source, mut frames) = (FrameReader::default(), BytesMut::new(), Vec::new());
    for piece in data.chunks(data.len() / 2 + 1) {
        source.extend_from_slice(piece);
        while let Ok(Some(frame)) = reader.decode(&mut source) {
            frames.push(frame);
        }
    }
    frames
}

/// A connection's frames, one of each kind.
#[cfg(test)]
pub(crate) fn sample() -> Vec<u8> {
    let headers = vec![("streamtype".to_owned(), "stdin".to_owned())];
    let mut out = BytesMut::new();
    let mut writer = FrameWriter::default();
    for frame in [
        Frame::SynStream { stream: 1, headers: headers.clone(), fin: false },
        Frame::SynReply { stream: 1, headers: headers.clone(), fin: true },
        Frame::Headers { stream: 3, headers, fin: false },
        Frame::Data { stream: 1, bytes: bytes::Bytes::from_static(b"hello"), fin: true },
        Frame::Ping(7),
        Frame::Reset { stream: 5, status: 5 },
        Frame::GoAway { last: 5, status: 0 },
    ] {
        writer.encode(frame, &mut out).expect("frames can be written");
    }
    out.to_vec()
}
