//! Record batches as JSON: the fields of their headers, and the records as they are.
//!
//! What is no whole batch of magic 2 with its own checksum stays one piece under `Raw`, so that writing what was read
//! always gives the same bytes. Markers of transactions lie under `Control`: brokers make them, at times of their own.
//! Called by `message`.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

const HEADER: usize = 61;

/// The fields behind the checksum, and how many bytes each has.
const FIELDS: [(&str, usize); 8] = [
    ("Attributes", 2),
    ("LastOffsetDelta", 4),
    ("BaseTimestamp", 8),
    ("MaxTimestamp", 8),
    ("ProducerId", 8),
    ("ProducerEpoch", 2),
    ("BaseSequence", 4),
    ("Count", 4),
];

/// A list of `Data`, `Control` and `Raw`.
pub fn read(mut bytes: &[u8]) -> Value {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        match batch(bytes) {
            Some((value, rest)) => {
                all.push(value);
                bytes = rest;
            }
            None => {
                all.push(json!({ "Raw": to_hex(bytes) }));
                break;
            }
        }
    }
    Value::Array(all)
}

fn batch(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let number = |at: usize, size: usize| {
        let of = bytes.get(at..at + size)?;
        let sign = if of.first()? & 0x80 == 0 { 0 } else { -1 };
        Some(of.iter().fold(sign, |number: i64, byte| number << 8 | i64::from(*byte)))
    };
    let length = usize::try_from(number(8, 4)?).ok()?.checked_add(12)?;
    let (batch, rest) = bytes.split_at_checked(length)?;
    let is_whole = number(16, 1)? == 2 && length >= HEADER;
    if !is_whole || number(17, 4)? as u32 != stdx::crc32c(batch.get(21..)?) {
        return None;
    }
    let mut fields = Map::new();
    fields.insert("BaseOffset".into(), number(0, 8)?.into());
    fields.insert("PartitionLeaderEpoch".into(), number(12, 4)?.into());
    let mut at = 21;
    for (name, size) in FIELDS {
        fields.insert(name.into(), number(at, size)?.into());
        at += size;
    }
    fields.insert("Records".into(), to_hex(batch.get(HEADER..)?).into());
    let kind = if number(21, 2)? & 0x20 == 0 { "Data" } else { "Control" };
    Some((json!({ kind: fields }), rest))
}

/// The bytes of such a list.
pub fn write(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for one in value.as_array().context("records are a list")? {
        let one = one.as_object().context("a batch is an object")?;
        match one.iter().next() {
            Some((kind, raw)) if kind == "Raw" => out.extend(from_hex(raw.as_str().context("no digits")?)?),
            Some((_, fields)) => write_batch(fields, &mut out)?,
            None => bail!("an empty object is no batch"),
        }
    }
    Ok(out)
}

fn write_batch(fields: &Value, out: &mut Vec<u8>) -> Result<()> {
    let number = |name: &str| fields.get(name).and_then(Value::as_i64).with_context(|| format!("no {name}"));
    let mut checked = Vec::new();
    for (name, size) in FIELDS {
        checked.extend(number(name)?.to_be_bytes().iter().skip(8 - size));
    }
    checked.extend(from_hex(fields.get("Records").and_then(Value::as_str).context("no Records")?)?);
    out.extend(number("BaseOffset")?.to_be_bytes());
    out.extend(i32::try_from(checked.len() + 9)?.to_be_bytes());
    out.extend(i32::try_from(number("PartitionLeaderEpoch")?)?.to_be_bytes());
    out.push(2);
    out.extend(stdx::crc32c(&checked).to_be_bytes());
    out.extend(checked);
    Ok(())
}

/// Two digits for each byte.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A byte for each two digits.
pub fn from_hex(text: &str) -> Result<Vec<u8>> {
    let byte = |pair: &[u8]| -> Result<u8> { Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?) };
    text.as_bytes().chunks(2).map(byte).collect::<Result<_>>().with_context(|| format!("no bytes: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw;

    #[test]
    fn batches_are_read_field_by_field_and_written_as_they_were() {
        let two = [raw::batch(b"one", true), raw::batch(b"two", true)].concat();
        let read_back = read(&two);
        assert_eq!(read_back[1]["Data"]["Count"], 1);
        assert_eq!(read_back[0]["Data"]["ProducerId"], -1);
        assert_eq!(write(&read_back).unwrap(), two);
    }

    #[test]
    fn another_producer_id_makes_another_checksum() {
        let mut value = read(&raw::batch(b"one", true));
        value[0]["Data"]["ProducerId"] = json!(7);
        let written = write(&value).unwrap();
        assert_eq!(read(&written), value);
    }

    #[test]
    fn what_is_damaged_or_cut_off_stays_as_it_is() {
        for bytes in [raw::batch(b"one", false), raw::batch(b"one", true)[..70].to_vec(), vec![1, 2, 3]] {
            let value = read(&bytes);
            assert!(value[0].get("Raw").is_some(), "{value}");
            assert_eq!(write(&value).unwrap(), bytes);
        }
    }
}
