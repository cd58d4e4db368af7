//! Messages of any API and version as JSON: read from a frame by their schema, and written from it.
//!
//! What a version lacks is left out, null is null, ids are Kafka's text, bytes are hexadecimal digits, and records are
//! what `batches` makes of them. It judges nothing: null is written even where a schema forbids it, because that is a
//! request worth sending. Called by everything in `compare`.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use stdx::{Cursor, varint};

use super::batches;
use super::schema::{Field, Kind, Message, Schemas};

/// A frame without its length that was sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number of its API.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// What its answer will carry.
    pub correlation: i32,
    /// Who says to be asking.
    pub client: Option<String>,
    /// Its fields.
    pub body: Value,
}

/// API, version and correlation id, which no schema is needed for.
pub fn head(frame: &[u8]) -> Result<(i16, i16, i32)> {
    let mut cursor = Cursor::new(frame);
    Ok((cursor.i16()?, cursor.i16()?, cursor.i32()?))
}

impl Request {
    /// Reads a request; an error if anything is left over.
    pub fn read(schemas: &Schemas, frame: &[u8]) -> Result<Request> {
        let mut cursor = Cursor::new(frame);
        let (key, version, correlation) = (cursor.i16()?, cursor.i16()?, cursor.i32()?);
        let message = schemas.request(key).with_context(|| format!("there is no API {key}"))?;
        let length = cursor.i16()?;
        let client = match usize::try_from(length) {
            Ok(length) => Some(String::from_utf8(cursor.take(length)?.to_vec())?),
            Err(_) => None,
        };
        if message.flexible.contains(version) {
            ensure!(cursor.unsigned_varint()? == 0, "a header with tagged fields");
        }
        let body = read_body(message, version, &mut cursor)?;
        Ok(Request { key, version, correlation, client, body })
    }

    /// Writes it as a frame with its length.
    pub fn write(&self, schemas: &Schemas) -> Result<Vec<u8>> {
        let message = schemas.request(self.key).with_context(|| format!("there is no API {}", self.key))?;
        let mut out = vec![0; 4];
        out.extend(self.key.to_be_bytes());
        out.extend(self.version.to_be_bytes());
        out.extend(self.correlation.to_be_bytes());
        match &self.client {
            Some(client) => {
                out.extend(i16::try_from(client.len())?.to_be_bytes());
                out.extend(client.as_bytes());
            }
            None => out.extend((-1_i16).to_be_bytes()),
        }
        let is_flexible = message.flexible.contains(self.version);
        if is_flexible {
            out.push(0);
        }
        write_fields(&message.fields, &self.body, self.version, is_flexible, &mut out)?;
        let length = i32::try_from(out.len() - 4)?.to_be_bytes();
        out.iter_mut().zip(length).for_each(|(byte, of_length)| *byte = of_length);
        Ok(out)
    }
}

/// The fields of a response to a request of this API and version; an error if anything is left over.
pub fn read_response(schemas: &Schemas, key: i16, version: i16, frame: &[u8]) -> Result<Value> {
    const API_VERSIONS: i16 = 18;
    let message = schemas.response(key).with_context(|| format!("there is no API {key}"))?;
    let mut cursor = Cursor::new(frame);
    cursor.i32()?;
    if message.flexible.contains(version) && key != API_VERSIONS {
        ensure!(cursor.unsigned_varint()? == 0, "a header with tagged fields");
    }
    read_body(message, version, &mut cursor)
}

fn read_body(message: &Message, version: i16, cursor: &mut Cursor<'_>) -> Result<Value> {
    let body = read_fields(&message.fields, version, message.flexible.contains(version), cursor)?;
    ensure!(cursor.remaining() == 0, "{} bytes are left over behind {body}", cursor.remaining());
    Ok(body)
}

fn read_fields(fields: &[Field], version: i16, is_flexible: bool, cursor: &mut Cursor<'_>) -> Result<Value> {
    let mut all = Map::new();
    for field in fields.iter().filter(|field| field.versions.contains(version)) {
        let value = if field.tagged.contains(version) {
            complete(&field.default, &field.kind, version)
        } else {
            let is_nullable = field.nullable.contains(version);
            read(&field.kind, (version, is_flexible, is_nullable), cursor)
                .with_context(|| format!("in {}", field.name))?
        };
        all.insert(field.name.clone(), value);
    }
    if is_flexible {
        for _ in 0..cursor.unsigned_varint()? {
            let (tag, length) = (cursor.unsigned_varint()?, cursor.unsigned_varint()?);
            let known = |field: &&Field| field.tagged.contains(version) && field.tag == tag;
            let field = fields.iter().find(known).with_context(|| format!("there is no tag {tag}"))?;
            let mut inside = Cursor::new(cursor.take(usize::try_from(length)?)?);
            let is_nullable = field.nullable.contains(version);
            let value = read(&field.kind, (version, true, is_nullable), &mut inside)?;
            ensure!(inside.remaining() == 0, "{} is longer than its value", field.name);
            all.insert(field.name.clone(), value);
        }
    }
    Ok(Value::Object(all))
}

/// A default with all fields of its structs.
fn complete(default: &Value, kind: &Kind, version: i16) -> Value {
    let (Value::Object(_), Kind::Struct(fields)) = (default, kind) else { return default.clone() };
    let of = fields.iter().filter(|field| field.versions.contains(version));
    Value::Object(of.map(|f| (f.name.clone(), complete(&f.default, &f.kind, version))).collect())
}

fn read(kind: &Kind, how: (i16, bool, bool), cursor: &mut Cursor<'_>) -> Result<Value> {
    let (version, is_flexible, is_nullable) = how;
    Ok(match kind {
        Kind::Bool => Value::Bool(cursor.i8()? != 0),
        Kind::Int(1) => Value::from(cursor.i8()?),
        Kind::Int(2) => Value::from(cursor.i16()?),
        Kind::Int(4) => Value::from(cursor.i32()?),
        Kind::Int(_) => Value::from(cursor.i64()?),
        Kind::Unsigned(2) => Value::from(cursor.u16()?),
        Kind::Unsigned(_) => Value::from(cursor.u32()?),
        Kind::Float => Value::from(cursor.f64()?),
        Kind::Uuid => Value::from(stdx::Uuid(cursor.array()?).to_string()),
        Kind::Text => match length(true, is_flexible, cursor)? {
            Some(length) => Value::from(std::str::from_utf8(cursor.take(length)?)?),
            None => Value::Null,
        },
        Kind::Bytes => match length(false, is_flexible, cursor)? {
            Some(length) => Value::from(batches::to_hex(cursor.take(length)?)),
            None => Value::Null,
        },
        Kind::Records => match length(false, is_flexible, cursor)? {
            Some(length) => batches::read(cursor.take(length)?),
            None => Value::Null,
        },
        Kind::Struct(_) if is_nullable && cursor.i8()? < 0 => Value::Null,
        Kind::Struct(fields) => read_fields(fields, version, is_flexible, cursor)?,
        Kind::List(element) => match length(false, is_flexible, cursor)? {
            Some(length) => {
                ensure!(length <= cursor.remaining(), "{length} elements in {} bytes", cursor.remaining());
                let each = (0..length).map(|_| read(element, (version, is_flexible, false), cursor));
                Value::Array(each.collect::<Result<_>>()?)
            }
            None => Value::Null,
        },
    })
}

fn length(is_text: bool, is_flexible: bool, cursor: &mut Cursor<'_>) -> Result<Option<usize>> {
    let length = match (is_flexible, is_text) {
        (true, _) => i64::from(cursor.unsigned_varint()?) - 1,
        (false, true) => i64::from(cursor.i16()?),
        (false, false) => i64::from(cursor.i32()?),
    };
    Ok(usize::try_from(length).ok())
}

fn write_fields(
    fields: &[Field],
    value: &Value,
    version: i16,
    is_flexible: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    for name in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
        ensure!(fields.iter().any(|field| field.name == *name), "there is no field {name}");
    }
    let of = |field: &Field| value.get(&field.name).unwrap_or(&field.default).clone();
    let mut tags = Vec::new();
    for field in fields.iter().filter(|field| field.versions.contains(version)) {
        let how = (version, is_flexible, field.nullable.contains(version));
        if !field.tagged.contains(version) {
            write(&field.kind, &of(field), how, out).with_context(|| format!("in {}", field.name))?;
            continue;
        }
        let (mut bytes, mut default) = (Vec::new(), Vec::new());
        write(&field.kind, &of(field), how, &mut bytes)?;
        write(&field.kind, &field.default, how, &mut default)?;
        if bytes != default {
            tags.push((field.tag, bytes));
        }
    }
    if is_flexible {
        tags.sort();
        varint::write_unsigned(out, tags.len() as u64);
        for (tag, bytes) in tags {
            varint::write_unsigned(out, tag.into());
            varint::write_unsigned(out, bytes.len() as u64);
            out.extend(bytes);
        }
    }
    Ok(())
}

fn write(kind: &Kind, value: &Value, how: (i16, bool, bool), out: &mut Vec<u8>) -> Result<()> {
    let (version, is_flexible, is_nullable) = how;
    let number = || value.as_i64().with_context(|| format!("{value} is no number"));
    let text = || value.as_str().with_context(|| format!("{value} is no text"));
    match kind {
        Kind::Bool => out.push(u8::from(value.as_bool().with_context(|| format!("{value} is no bool"))?)),
        Kind::Int(size) | Kind::Unsigned(size) => {
            let bytes = number()?.to_be_bytes();
            out.extend(bytes.iter().skip(8 - size));
        }
        Kind::Float => out.extend(value.as_f64().context("no float")?.to_be_bytes()),
        Kind::Uuid => out.extend(stdx::Uuid::parse(text()?).with_context(|| format!("{value} is no id"))?.0),
        Kind::Struct(fields) => {
            if is_nullable {
                out.push(if value.is_null() { 0xff } else { 1 });
            }
            if !(is_nullable && value.is_null()) {
                write_fields(fields, value, version, is_flexible, out)?;
            }
        }
        Kind::Text | Kind::Bytes | Kind::Records | Kind::List(_) if value.is_null() => {
            write_length(None, matches!(kind, Kind::Text), is_flexible, out);
        }
        Kind::Text => {
            write_length(Some(text()?.len()), true, is_flexible, out);
            out.extend(text()?.as_bytes());
        }
        Kind::Bytes => {
            let bytes = batches::from_hex(text()?)?;
            write_length(Some(bytes.len()), false, is_flexible, out);
            out.extend(bytes);
        }
        Kind::Records => {
            let bytes = batches::write(value)?;
            write_length(Some(bytes.len()), false, is_flexible, out);
            out.extend(bytes);
        }
        Kind::List(element) => {
            let Value::Array(all) = value else { bail!("{value} is no list") };
            write_length(Some(all.len()), false, is_flexible, out);
            for one in all {
                write(element, one, (version, is_flexible, false), out)?;
            }
        }
    }
    Ok(())
}

fn write_length(length: Option<usize>, is_text: bool, is_flexible: bool, out: &mut Vec<u8>) {
    if is_flexible {
        return varint::write_unsigned(out, length.map_or(0, |length| length as u64 + 1));
    }
    if is_text {
        let length = length.map_or(-1, |length| i16::try_from(length).unwrap_or(i16::MAX));
        return out.extend(length.to_be_bytes());
    }
    out.extend(length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX)).to_be_bytes());
}
