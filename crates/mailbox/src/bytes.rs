//! Reading and writing the small values that lie beside records. It knows none of them.

use stdx::{Cursor, varint};

/// Bytes that no version of this program has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) &'static str);

pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(crate) fn flags(&mut self, flags: &[bool]) {
        self.0.push(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
    }

    pub(crate) fn number(&mut self, number: u64) {
        varint::write_unsigned(&mut self.0, number);
    }

    pub(crate) fn time(&mut self, ms: i64) {
        varint::write_zigzag_64(&mut self.0, ms);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.raw(text.as_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) struct Reader<'a>(Cursor<'a>);

const SHORT: Malformed = Malformed("it ends too early");

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], version: u8) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        match cursor.take(1).map_err(|_| SHORT)? {
            [found] if *found == version => Ok(Self(cursor)),
            _ => Err(Malformed("it is of a version that this program does not know")),
        }
    }

    pub(crate) fn flags<const N: usize>(&mut self) -> Result<[bool; N], Malformed> {
        let [byte] = self.array()?;
        if u32::from(byte) >> N != 0 {
            return Err(Malformed("an unknown flag"));
        }
        Ok(std::array::from_fn(|place| byte >> place & 1 == 1))
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let (number, length) = varint::read_unsigned_64(self.0.rest()).ok_or(SHORT)?;
        self.0.take(length).map_err(|_| SHORT)?;
        Ok(number)
    }

    pub(crate) fn small(&mut self) -> Result<u16, Malformed> {
        u16::try_from(self.number()?).map_err(|_| Malformed("a number that is too large"))
    }

    pub(crate) fn time(&mut self) -> Result<i64, Malformed> {
        self.0.varlong().map_err(|_| SHORT)
    }

    /// A number of things that follow.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > max { Err(Malformed("too many")) } else { Ok(count) }
    }

    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<String, Malformed> {
        let length = self.count(bytes_max)?;
        let bytes = self.0.take(length).map_err(|_| SHORT)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed("a text that is none"))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.0.array().map_err(|_| SHORT)
    }

    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.0.remaining() == 0 { Ok(()) } else { Err(Malformed("something follows")) }
    }
}
