//! Reading the fields of one packet, none beyond its end, each as a slice of the packet.
//!
//! It knows the data representations (1.5) and no packet. Each error names the field.

use bytes::Bytes;
use stdx::Cursor;

use super::{Binary, PacketId, Text, Violation};

type Read<T> = Result<T, Violation>;

/// A place in a packet, or in a part of it.
pub(crate) struct Reader<'a> {
    whole: &'a Bytes,
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(whole: &'a Bytes) -> Self {
        Self { whole, cursor: Cursor::new(whole) }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.cursor.remaining()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Read<u8> {
        self.cursor.u8().map_err(|_| Violation::Short(field))
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Read<u16> {
        self.cursor.u16().map_err(|_| Violation::Short(field))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Read<u32> {
        self.cursor.u32().map_err(|_| Violation::Short(field))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Read<u64> {
        self.cursor.u64().map_err(|_| Violation::Short(field))
    }

    /// A Variable Byte Integer (1.5.5).
    pub(crate) fn varint(&mut self, field: &'static str) -> Read<u32> {
        match varint(self.cursor.rest(), field)? {
            Some((value, used)) => self.take(used, field).map(|_| value),
            None => Err(Violation::Short(field)),
        }
    }

    pub(crate) fn packet_id(&mut self) -> Read<PacketId> {
        PacketId::new(self.u16("packet identifier")?).ok_or(Violation::PacketIdZero)
    }

    pub(crate) fn binary(&mut self, field: &'static str) -> Read<Binary> {
        let length = usize::from(self.u16(field)?);
        Binary::new(self.take(length, field)?).ok_or(Violation::Short(field))
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Read<Text> {
        let length = usize::from(self.u16(field)?);
        let bytes = self.take(length, field)?;
        if bytes.contains(&0) {
            return Err(Violation::NullCharacter(field));
        }
        Text::of(bytes).ok_or(Violation::NotUtf8(field))
    }

    /// What is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.take(self.remaining(), "payload").unwrap_or_default()
    }

    pub(crate) fn take(&mut self, count: usize, field: &'static str) -> Read<Bytes> {
        let taken = self.cursor.take(count).map_err(|_| Violation::Short(field))?;
        Ok(if taken.is_empty() { Bytes::new() } else { self.whole.slice_ref(taken) })
    }

    /// There must be nothing left.
    pub(crate) fn end(&self) -> Read<()> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(Violation::Trailing(count)),
        }
    }
}

/// A Variable Byte Integer (1.5.5) and its length; None: more bytes are needed.
pub(crate) fn varint(bytes: &[u8], field: &'static str) -> Read<Option<(u32, usize)>> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * at);
        match (byte & 0x80 != 0, at) {
            (true, 3) => return Err(Violation::VarintTooLong(field)),
            (true, _) => {}
            (false, 1..) if *byte == 0 => return Err(Violation::VarintNotMinimal(field)),
            (false, _) => return Ok(Some((value, at + 1))),
        }
    }
    Ok(None)
}
