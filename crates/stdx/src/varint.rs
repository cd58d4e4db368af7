//! Variable-length integers as Kafka writes them: seven bits a byte, the lowest first (KIP-98, KIP-482).
//!
//! A value may take at most 5 bytes (32 bits) or 10 bytes (64 bits); longer forms are malformed.

/// Reads an unsigned value of at most 32 bits: the value and how many bytes it took.
pub fn read_unsigned_32(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        let bits = u32::from(byte & 0x7f);
        if index == 4 && bits > 0x0f {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Reads an unsigned value of at most 64 bits: the value and how many bytes it took.
pub fn read_unsigned_64(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Appends an unsigned value.
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag value of 32 bits.
pub fn write_zigzag_32(out: &mut Vec<u8>, value: i32) {
    write_unsigned(out, u64::from(zigzag_32(value)));
}

/// Appends a zigzag value of 64 bits.
pub fn write_zigzag_64(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, zigzag_64(value));
}

/// How many bytes an unsigned value takes: 1 to 10.
pub fn unsigned_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// How many bytes a zigzag value of 32 bits takes: 1 to 5.
pub fn zigzag_32_len(value: i32) -> usize {
    unsigned_len(u64::from(zigzag_32(value)))
}

/// How many bytes a zigzag value of 64 bits takes: 1 to 10.
pub fn zigzag_64_len(value: i64) -> usize {
    unsigned_len(zigzag_64(value))
}

/// Maps small negative and positive numbers to small unsigned ones.
pub fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

/// The inverse of [`zigzag_32`].
pub fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// Maps small negative and positive numbers to small unsigned ones.
pub fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag_64`].
pub fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_its_length_foretold(value: i64, small: i32) {
            let mut out = Vec::new();
            write_zigzag_64(&mut out, value);
            prop_assert_eq!(out.len(), zigzag_64_len(value));
            prop_assert_eq!(read_unsigned_64(&out).map(|(v, n)| (unzigzag_64(v), n)), Some((value, out.len())));
            out.clear();
            write_zigzag_32(&mut out, small);
            prop_assert_eq!(out.len(), zigzag_32_len(small));
            prop_assert_eq!(read_unsigned_32(&out).map(|(v, n)| (unzigzag_32(v), n)), Some((small, out.len())));
        }
    }

    #[test]
    fn forms_that_overflow_or_never_end_are_refused() {
        assert_eq!(read_unsigned_32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(read_unsigned_32(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read_unsigned_32(&[0x80; 9]), None);
        assert_eq!(read_unsigned_64(&[0x80; 20]), None);
        assert_eq!(read_unsigned_32(&[]), None);
    }
}
