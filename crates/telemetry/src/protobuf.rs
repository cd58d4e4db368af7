//! The wire format of Protocol Buffers, read field by field.
//!
//! It knows no messages and allocates nothing: the fields of a message are looked at where they lie, so that a hostile one
//! costs no more than its bytes. A decoder that builds structs out of a schema takes a hundred bytes for an empty one of two.

use stdx::varint;

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no protocol buffers message")]
pub(crate) struct Malformed;

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// An integer or boolean.
    Number(u64),
    /// A double or a fixed integer.
    Fixed(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four bytes, which nobody here reads.
    Short,
}

/// The fields of a message, in their order.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let (value, read) = varint::read_unsigned_64(self.0).ok_or(Malformed)?;
        self.take(read)?;
        Ok(value)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Fixed(u64::from_le_bytes(*self.take(8)?.first_chunk().ok_or(Malformed)?)),
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Short
            }
            // Groups are gone from the format.
            _ => return Err(Malformed),
        };
        match tag >> 3 {
            0 => Err(Malformed),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The messages in the fields of that number.
pub(crate) fn messages(message: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields::of(message).filter_map(move |field| match field {
        Ok((found, Value::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_of_every_kind_are_read() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'a', b'b', 0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x25, 1, 2, 3, 4];
        let fields: Result<Vec<_>, _> = Fields::of(&bytes).collect();
        let expected =
            [(1, Value::Number(150)), (2, Value::Bytes(b"ab")), (3, Value::Fixed(1)), (4, Value::Short)];
        assert_eq!(fields.unwrap(), expected);
        assert_eq!(messages(&bytes, 2).collect::<Vec<_>>(), [Ok(&b"ab"[..])]);
    }

    #[test]
    fn what_breaks_off_is_malformed_and_ends() {
        for bytes in [&[0x08][..], &[0x12, 2, 1], &[0x19, 1], &[0x0b], &[0x00, 0x01], &[0xff; 12]] {
            let fields: Vec<_> = Fields::of(bytes).collect();
            assert_eq!(fields, [Err(Malformed)], "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes: Vec<u8>) {
            prop_assert!(Fields::of(&bytes).count() <= bytes.len());
        }
    }
}
