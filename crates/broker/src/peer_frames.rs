//! The frames of the private API between controllers (docs/formats/quorum-rpc.md): Kafka's request header 1 around a
//! body that `quorum` reads.
//!
//! It does not answer; `dispatch` does on the controllers' listener, and `discovery` before there is a broker.

use bytes::{BufMut, Bytes, BytesMut};
use quorum::PEER_API;
use stdx::{Cursor, Parts};

/// A request of the private API.
pub(crate) struct PeerFrame {
    /// Which messages the body has.
    pub(crate) version: i16,
    correlation: i32,
    pub(crate) body: Bytes,
}

impl PeerFrame {
    /// The request in a frame (without its length), if it is one.
    pub(crate) fn read(frame: &Bytes) -> Option<Self> {
        let mut cursor = Cursor::new(frame);
        if cursor.i16().ok()? != PEER_API {
            return None;
        }
        let (version, correlation) = (cursor.i16().ok()?, cursor.i32().ok()?);
        // The client's name, which may be missing.
        let len = usize::try_from(cursor.i16().ok()?).unwrap_or(0);
        cursor.take(len).ok()?;
        let body = frame.slice(cursor.position()..);
        Some(Self { version, correlation, body })
    }

    /// A whole frame of the answer.
    pub(crate) fn answer(&self, body: Bytes) -> Parts {
        let mut head = BytesMut::with_capacity(8);
        head.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
        head.put_i32(self.correlation);
        let mut parts = Parts::from(head.freeze());
        parts.append(body.into());
        parts
    }

    /// A whole frame of a request.
    pub(crate) fn request(version: i16, body: &Bytes) -> Bytes {
        let mut frame = BytesMut::with_capacity(14 + body.len());
        frame.put_u32(u32::try_from(body.len() + 10).unwrap_or(u32::MAX));
        frame.put_i16(PEER_API);
        frame.put_i16(version);
        frame.put_i32(0);
        frame.put_i16(-1);
        frame.extend_from_slice(body);
        frame.freeze()
    }
}
