//! A Kafka connection in raw bytes: requests written by hand, answers picked apart by hand, at fixed old versions.
//! Not a client, and on purpose not our own codec: a mistake there must not hide here. Called by `bad_input`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stdx::varint::{write_zigzag_32, write_zigzag_64, zigzag_32_len};

/// How long an answer or a closing may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Kafka's numbers for the requests used here.
pub mod api {
    /// Produce, used at version 3.
    pub const PRODUCE: i16 = 0;
    /// Fetch, used at versions 4 and 13.
    pub const FETCH: i16 = 1;
    /// ListOffsets, used at version 1.
    pub const LIST_OFFSETS: i16 = 2;
    /// Metadata, used at version 1.
    pub const METADATA: i16 = 3;
    /// ApiVersions, used at version 0.
    pub const API_VERSIONS: i16 = 18;
    /// CreateTopics, used at version 2.
    pub const CREATE_TOPICS: i16 = 19;
}

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The broker closed it.
    Closed,
    /// It sent this many bytes.
    Answered(usize),
    /// Neither, within the time.
    Silent,
}

impl Raw {
    /// Connects, with time limits on everything.
    pub fn connect(address: &str) -> Result<Raw> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream })
    }

    /// Connects and asks for ApiVersions, as every client of today does: until then a broker may take small frames only.
    pub fn greeted(address: &str) -> Result<Raw> {
        let mut raw = Raw::connect(address)?;
        raw.call(&frame(api::API_VERSIONS, 0, false, &[]))?;
        Ok(raw)
    }

    /// Sends bytes as they are. A broker may have closed already: that is no error here.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a request and takes the answer, without its length and correlation id.
    pub fn call(&mut self, frame: &[u8]) -> Result<Vec<u8>> {
        self.stream.write_all(frame).context("sending a request")?;
        self.answer()
    }

    /// The next answer, without its length and correlation id.
    pub fn answer(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("waiting for an answer")?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        ensure!((4..256 << 20).contains(&length), "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).context("reading an answer")?;
        Ok(answer.split_off(4))
    }

    /// Waits for what comes next.
    pub fn end(&mut self, wait: Duration) -> Result<End> {
        self.stream.set_read_timeout(Some(wait))?;
        let mut some = [0; 4096];
        match self.stream.read(&mut some) {
            Ok(0) => Ok(End::Closed),
            Ok(length) => Ok(End::Answered(length)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(End::Silent)
            }
            Err(_) => Ok(End::Closed),
        }
    }
}

/// Bytes of a request or of a record, in Kafka's order.
#[derive(Clone, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// A number, one byte.
    pub fn i8(mut self, value: i8) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A number, two bytes.
    pub fn i16(mut self, value: i16) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A number, four bytes.
    pub fn i32(mut self, value: i32) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A number, eight bytes.
    pub fn i64(mut self, value: i64) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Bytes {
        self.0.extend(bytes);
        self
    }

    /// A text of at most 32 KiB.
    pub fn string(self, text: &str) -> Bytes {
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX)).raw(text.as_bytes())
    }
}

/// A complete frame; `flexible` adds the empty tagged fields of header version 2.
pub fn frame(api: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let head = Bytes::default().i16(api).i16(version).i32(7).string("raw");
    let head = if flexible { head.i8(0) } else { head };
    let length = i32::try_from(head.0.len() + body.len()).unwrap_or(i32::MAX);
    Bytes::default().i32(length).raw(&head.0).raw(body).0
}

/// A record batch of magic 2 with one record; a wrong checksum if asked for.
pub fn batch(value: &[u8], good: bool) -> Vec<u8> {
    let value_length = i32::try_from(value.len()).unwrap_or(i32::MAX);
    let mut record = vec![0];
    write_zigzag_64(&mut record, 0);
    write_zigzag_32(&mut record, 0);
    write_zigzag_32(&mut record, -1);
    write_zigzag_32(&mut record, value_length);
    record.extend(value);
    write_zigzag_32(&mut record, 0);
    let length = i32::try_from(record.len()).unwrap_or(i32::MAX);
    let mut records = Vec::with_capacity(record.len() + zigzag_32_len(length));
    write_zigzag_32(&mut records, length);
    records.extend(record);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or_default();
    let checked =
        Bytes::default().i16(0).i32(0).i64(now).i64(now).i64(-1).i16(-1).i32(-1).i32(1).raw(&records).0;
    let crc = stdx::crc32c(&checked) ^ u32::from(!good);
    let length = i32::try_from(checked.len() + 9).unwrap_or(i32::MAX);
    Bytes::default().i64(0).i32(length).i32(-1).i8(2).raw(&crc.to_be_bytes()).raw(&checked).0
}

/// Creates a topic with one replica; the error code of CreateTopics.
pub fn create_topic(raw: &mut Raw, topic: &str, partitions: i32, replicas: i16) -> Result<i16> {
    let topic = Bytes::default().i32(1).string(topic).i32(partitions).i16(replicas);
    let body = topic.i32(0).i32(0).i32(30_000).i8(0);
    let answer = raw.call(&frame(api::CREATE_TOPICS, 2, false, &body.0))?;
    let mut left = answer.get(8..).context("a short answer")?;
    let length = usize::try_from(take_i16(&mut left)?)?;
    take(&mut left, length)?;
    take_i16(&mut left)
}

/// Creates a topic with one replica of each partition, and waits until each has a leader that answers.
pub fn ready_topic(address: &str, topic: &str, partitions: i32) -> Result<()> {
    ready_topic_among(&[address], topic, partitions, 1)
}

/// The same in a cluster of the brokers at these addresses, with so many replicas of each partition.
pub fn ready_topic_among(addresses: &[&str], topic: &str, partitions: i32, replicas: i16) -> Result<()> {
    let first = addresses.first().context("there is no broker")?;
    let code = create_topic(&mut Raw::greeted(first)?, topic, partitions, replicas)?;
    ensure!(code == 0, "CreateTopics: error code {code}");
    until_led(addresses, topic, partitions)
}

/// Waits until each partition has a leader among the brokers at these addresses that answers.
pub fn until_led(addresses: &[&str], topic: &str, partitions: i32) -> Result<()> {
    let greeted = addresses.iter().map(|address| Raw::greeted(address)).collect::<Result<Vec<_>>>();
    let (mut brokers, started) = (greeted?, Instant::now());
    for partition in 0..partitions {
        while !is_led(&mut brokers, topic, partition)? {
            ensure!(started.elapsed() < ANSWER_LIMIT, "partition {partition} has no leader");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

fn is_led(brokers: &mut [Raw], topic: &str, partition: i32) -> Result<bool> {
    for broker in brokers {
        if end_offset(broker, topic, partition)?.0 == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Produces one batch with acks=all; error code and base offset.
pub fn produce(raw: &mut Raw, topic: &str, partition: i32, batch: &[u8]) -> Result<(i16, i64)> {
    let answer = raw.call(&produce_frame(topic, partition, batch))?;
    let mut left = answer.get(4..).context("a short answer")?;
    let length = usize::try_from(take_i16(&mut left)?)?;
    take(&mut left, length + 8)?;
    let code = take_i16(&mut left)?;
    Ok((code, take_i64(&mut left)?))
}

/// The frame of `produce`.
pub fn produce_frame(topic: &str, partition: i32, batch: &[u8]) -> Vec<u8> {
    let length = i32::try_from(batch.len()).unwrap_or(i32::MAX);
    let head = Bytes::default().i16(-1).i16(-1).i32(30_000).i32(1).string(topic).i32(1).i32(partition);
    frame(api::PRODUCE, 3, false, &head.i32(length).raw(batch).0)
}

/// A fetch of version 4 of one partition.
pub fn fetch_frame(topic: &str, partition: i32, offset: i64, bytes_max: i32) -> Vec<u8> {
    let head = Bytes::default().i32(-1).i32(100).i32(1).i32(bytes_max).i8(0);
    let body = head.i32(1).string(topic).i32(1).i32(partition).i64(offset).i32(bytes_max);
    frame(api::FETCH, 4, false, &body.0)
}

/// Fetches once: error code, high watermark, and the batches as they lie in the answer.
pub fn fetch(raw: &mut Raw, topic: &str, partition: i32, offset: i64) -> Result<(i16, i64, Vec<u8>)> {
    let answer = raw.call(&fetch_frame(topic, partition, offset, 8 << 20))?;
    let mut left = answer.get(8..).context("a short answer")?;
    let length = usize::try_from(take_i16(&mut left)?)?;
    take(&mut left, length + 8)?;
    let code = take_i16(&mut left)?;
    let high_watermark = take_i64(&mut left)?;
    take_i64(&mut left)?;
    let aborted = usize::try_from(take_i32(&mut left)?.max(0))?;
    take(&mut left, aborted * 16)?;
    let length = usize::try_from(take_i32(&mut left)?.max(0))?;
    Ok((code, high_watermark, take(&mut left, length)?.to_vec()))
}

/// The end of a partition, as ListOffsets tells it: error code and offset.
pub fn end_offset(raw: &mut Raw, topic: &str, partition: i32) -> Result<(i16, i64)> {
    let body = Bytes::default().i32(-1).i32(1).string(topic).i32(1).i32(partition).i64(-1);
    let answer = raw.call(&frame(api::LIST_OFFSETS, 1, false, &body.0))?;
    let mut left = answer.get(4..).context("a short answer")?;
    let length = usize::try_from(take_i16(&mut left)?)?;
    take(&mut left, length + 8)?;
    let code = take_i16(&mut left)?;
    take_i64(&mut left)?;
    Ok((code, take_i64(&mut left)?))
}

/// Walks batches: the values of their single records, or an error at the first that is damaged.
pub fn values(mut batches: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut values = Vec::new();
    // The last batch of a fetch may be cut off: that is no damage.
    while let Some(head) = batches.get(..12) {
        let length = usize::try_from(i32::from_be_bytes(head.get(8..12).context("short")?.try_into()?))?;
        let Some(batch) = batches.get(12..12 + length) else { break };
        let crc = u32::from_be_bytes(batch.get(5..9).context("a short batch")?.try_into()?);
        let checked = batch.get(9..).context("a short batch")?;
        if crc != stdx::crc32c(checked) {
            bail!("a damaged batch was served, after {} good ones", values.len());
        }
        values.push(checked.get(40..).context("a short batch")?.to_vec());
        batches = batches.get(12 + length..).unwrap_or_default();
    }
    Ok(values)
}

/// Cuts so many bytes off the front.
pub fn take<'a>(left: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(count).context("the answer is too short")?;
    *left = rest;
    Ok(taken)
}

/// Cuts a number of two bytes off the front.
pub fn take_i16(left: &mut &[u8]) -> Result<i16> {
    Ok(i16::from_be_bytes(take(left, 2)?.try_into()?))
}

/// Cuts a number of four bytes off the front.
pub fn take_i32(left: &mut &[u8]) -> Result<i32> {
    Ok(i32::from_be_bytes(take(left, 4)?.try_into()?))
}

/// Cuts a number of eight bytes off the front.
pub fn take_i64(left: &mut &[u8]) -> Result<i64> {
    Ok(i64::from_be_bytes(take(left, 8)?.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_in_a_batch_is_seen() {
        let mut bytes = [batch(b"one", true), batch(b"two", true)].concat();
        assert_eq!(values(&bytes).unwrap().len(), 2);
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        assert!(values(&bytes).is_err());
        assert!(values(&batch(b"one", false)).is_err());
    }
}
