//! Where encoded fields go: into a buffer, or only into a count of their bytes.
//!
//! Each packet has one description of its layout; written to a count first, it gives the lengths that stand before it.

use bytes::BytesMut;

use super::{Binary, Text};

/// What takes encoded bytes.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// A Variable Byte Integer in as few bytes as it needs (\[MQTT-1.5.5-1\]).
    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    fn text(&mut self, text: &Text) {
        self.u16(text.bytes().len() as u16); // a Text is never longer
        self.put(text.bytes());
    }

    fn binary(&mut self, binary: &Binary) {
        self.u16(binary.bytes().len() as u16); // a Binary is never longer
        self.put(binary.bytes());
    }
}

/// Counts.
#[derive(Default)]
pub(crate) struct Count(pub(crate) usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
