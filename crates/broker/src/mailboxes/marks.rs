//! What lies beside a record of a mailbox, or in its place: bytes that outlive the process (docs/formats/mailbox.md).
//!
//! It decides nothing; `mailbox` does. Whatever is malformed counts as not there: any producer of Kafka's may write headers of
//! these names, and nobody but the readers of its own key is to be troubled by that.

use bytes::Bytes;
use gateway::Author;
use mailbox::{Life, Producer, headers};
use model::{Offset, Timestamp};
use records::{Batch, BatchBuilder, Header, Record};
use std::io;

/// What was known of a mailbox from a place on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Of the record that says so.
    pub(crate) at: Offset,
    /// Where the mailbox begins.
    pub(crate) begin: Offset,
    /// `None`: it was deleted.
    pub(crate) life: Option<Life>,
}

/// What one record says of its mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) offset: Offset,
    pub(crate) key: Bytes,
    /// Whether it is one of the mailbox's records, and not only something about it.
    pub(crate) is_record: bool,
    pub(crate) value: Option<Bytes>,
    pub(crate) mark: Option<Mark>,
    pub(crate) producer: Option<Producer>,
}

impl Seen {
    /// Reads a record of this batch; `None` if it belongs to no mailbox.
    pub(crate) fn new(batch: &Batch, record: Record) -> Option<Self> {
        let is_record = !batch.header.attributes.is_control();
        let find = |name: &str| {
            let found = record.headers.iter().find(|header| header.key[..] == *name.as_bytes());
            found.and_then(|header| header.value.as_ref())
        };
        let (key, value) = match (is_record, record.key) {
            (true, Some(key)) => (key, record.value),
            (false, Some(key)) if key[..] == headers::CONTROL_KEY => (find(headers::KEY)?.clone(), None),
            _ => return None,
        };
        let mark = find(headers::LIFE).and_then(|bytes| {
            let life = if bytes.is_empty() { None } else { Some(Life::decode(bytes).ok()?) };
            let begin = match find(headers::BEGIN) {
                None => batch.header.base_offset,
                Some(bytes) => offset(bytes)?.min(record.offset),
            };
            Some(Mark { at: record.offset, begin, life })
        });
        let producer = find(headers::PRODUCER).and_then(|bytes| Producer::decode(bytes).ok());
        Some(Self { offset: record.offset, key, is_record, value, mark, producer })
    }
}

fn offset(bytes: &[u8]) -> Option<Offset> {
    let offset = Offset::from_be_bytes(bytes.try_into().ok()?);
    (offset >= 0).then_some(offset)
}

/// What is written down of a mailbox, with its records or alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    /// What is known of it from now on, and where it begins if not here; `Some(None)`: it ends.
    pub(crate) life: Option<Option<(Life, Option<Offset>)>>,
    /// What is known of a producer from now on.
    pub(crate) producer: Option<Producer>,
    /// Whose the records are.
    pub(crate) author: Author,
}

impl News {
    /// What the last one says besides.
    fn headers(&self) -> Vec<Header> {
        let mut all = Vec::new();
        match &self.life {
            None => {}
            Some(None) => all.push(header(headers::LIFE, Vec::new())),
            Some(Some((life, begin))) => {
                all.push(header(headers::LIFE, life.encode()));
                all.extend(begin.map(|begin| header(headers::BEGIN, begin.to_be_bytes().to_vec())));
            }
        }
        all.extend(self.producer.as_ref().map(|producer| header(headers::PRODUCER, producer.encode())));
        all
    }

    /// A batch of these records, of which the last one bears the news: of a compacted topic nothing else stays. `None`: its
    /// records would take more than `bytes_max`.
    pub(crate) fn beside(
        &self,
        now: Timestamp,
        key: &[u8],
        values: &[Option<Bytes>],
        bytes_max: usize,
    ) -> Option<io::Result<Batch>> {
        let (mut builder, signature) = (BatchBuilder::new(), self.author.headers());
        let all = [self.headers(), signature.clone()].concat();
        for (place, value) in values.iter().enumerate() {
            let is_last = place + 1 == values.len();
            let headers = if is_last { &all } else { &signature };
            builder.push(now, Some(key), value.as_deref(), headers);
            if builder.plain_bytes() > bytes_max {
                return None;
            }
        }
        Some(builder.build())
    }

    /// A batch without a record of the mailbox.
    pub(crate) fn alone(&self, now: Timestamp, key: &[u8]) -> io::Result<Batch> {
        let mut builder = BatchBuilder::new().control();
        let mut headers = vec![header(headers::KEY, key.to_vec())];
        headers.extend(self.headers());
        builder.push(now, Some(&headers::CONTROL_KEY), Some(&[]), &headers);
        builder.build()
    }
}

pub(super) fn header(name: &'static str, value: Vec<u8>) -> Header {
    Header { key: Bytes::from_static(name.as_bytes()), value: Some(value.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailbox::Sent;
    use records::Decompressor;

    fn life() -> Life {
        Life::implied("text/plain")
    }

    fn seen(batch: &Batch) -> Vec<Seen> {
        let records = batch.records(1 << 20, &mut Decompressor::new()).unwrap();
        records.into_iter().filter_map(|record| Seen::new(batch, record)).collect()
    }

    #[test]
    fn the_last_record_of_a_batch_bears_what_is_new() {
        let producer = Producer { sent: Sent { id: "p".into(), epoch: 1, seq: 2 } };
        let life_and_place = Some(Some((life(), None)));
        let news = News { life: life_and_place, producer: Some(producer.clone()), ..News::default() };
        let values = [Some(Bytes::from_static(b"one")), Some(Bytes::from_static(b"two"))];
        let batch = news.beside(7, b"k", &values, 1000).unwrap().unwrap();
        let seen = seen(&batch);
        assert_eq!(
            (&seen[0].key[..], seen[0].value.as_deref(), seen[0].is_record),
            (&b"k"[..], Some(&b"one"[..]), true)
        );
        assert!(seen[0].mark.is_none() && seen[0].producer.is_none());
        assert_eq!(seen[1].mark, Some(Mark { at: 1, begin: 0, life: Some(life()) }));
        assert_eq!(seen[1].producer, Some(producer));
        assert!(news.beside(7, b"k", &values, 10).is_none());
    }

    #[test]
    fn every_record_says_who_has_posted_it() {
        let author = Author { subject: Some("u42".into()), issuer: Some("https://id.example".into()) };
        let news = News { life: Some(Some((life(), None))), producer: None, author };
        let values = [Some(Bytes::from_static(b"one")), Some(Bytes::from_static(b"two"))];
        let batch = news.beside(7, b"k", &values, 1000).unwrap().unwrap();
        for record in batch.records(1 << 20, &mut Decompressor::new()).unwrap() {
            let said = |name: &str| record.headers.iter().find(|header| header.key[..] == *name.as_bytes());
            assert_eq!(said("od-sub").unwrap().value.as_deref(), Some(&b"u42"[..]));
            assert_eq!(said("od-iss").unwrap().value.as_deref(), Some(&b"https://id.example"[..]));
        }
        let nobody = News::default().beside(7, b"k", &values, 1000).unwrap().unwrap();
        assert!(
            nobody
                .records(1 << 20, &mut Decompressor::new())
                .unwrap()
                .iter()
                .all(|record| record.headers.is_empty())
        );
    }

    #[test]
    fn what_has_no_record_is_a_control_record_and_its_bytes_stay() {
        let news = News { life: Some(Some((life(), Some(5)))), ..News::default() };
        let batch = news.alone(7, b"k").unwrap();
        assert!(batch.header.attributes.is_control() && !batch.header.has_producer());
        // Attributes, deltas of time and offset, the key, no value, three headers.
        let mut expected = vec![0, 0, 0, 8, 0, 0, b'o', b'd', 0, 6];
        expected.push(12);
        expected.extend(b"od.key\x02k");
        expected.push(14);
        expected.extend(b"od.life");
        let encoded = life().encode();
        expected.push(2 * encoded.len() as u8);
        expected.extend(&encoded);
        expected.push(16);
        expected.extend(b"od.begin");
        expected.extend([16, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(batch.body()[1..], expected);
        let mut late = batch.clone();
        late.header.base_offset = 9;
        let one = seen(&late).remove(0);
        assert_eq!((one.is_record, one.value, one.offset), (false, None, 9));
        assert_eq!(one.mark, Some(Mark { at: 9, begin: 5, life: Some(life()) }));
    }

    #[test]
    fn an_end_has_no_life_and_what_is_malformed_counts_as_nothing() {
        let end = News { life: Some(None), ..News::default() };
        let batch = end.beside(7, b"k", &[None], 1000).unwrap().unwrap();
        assert_eq!(seen(&batch)[0].mark, Some(Mark { at: 0, begin: 0, life: None }));
        let malformed = |name| header(name, b"\xff".to_vec());
        let foreign = [malformed(headers::LIFE), malformed(headers::PRODUCER), malformed(headers::BEGIN)];
        let mut builder = BatchBuilder::new();
        builder.push(7, Some(b"k"), Some(b"v"), &foreign);
        builder.push(7, None, Some(b"v"), &foreign);
        let seen = seen(&builder.build().unwrap());
        assert_eq!(seen.len(), 1, "what has no key belongs to no mailbox");
        assert!(seen[0].mark.is_none() && seen[0].producer.is_none());
    }
}
