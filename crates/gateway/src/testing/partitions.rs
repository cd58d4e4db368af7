//! Topics in memory, for tests: partitions that hold what is appended to them record by record, apart from the streams of keys.

use super::Memory;
use crate::{
    mailboxes::{Denied, From, Reach},
    token::Token,
    topics::{NewRecord, Records, Shape, Topics},
};
use bytes::Bytes;
use env::BoxFuture;
use mailbox::{Producer, Refusal, Sent};
use model::{TopicName, TopicPartition};
use records::Record;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// See the head of the file.
pub(super) struct Partitions {
    count: Mutex<usize>,
    logs: Mutex<BTreeMap<TopicPartition, Log>>,
    elsewhere: Mutex<BTreeMap<i32, Option<Reach>>>,
    /// Requests that were to be taken once, and what is behind them.
    taken: Mutex<BTreeMap<Name, (Producer, Token)>>,
}

/// A partition, a key, and which request.
type Name = (TopicPartition, Option<Bytes>, String);

#[derive(Default)]
struct Log {
    start: i64,
    end: i64,
    records: Vec<Record>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Partitions {
    pub(super) fn new() -> Self {
        Self {
            count: Mutex::new(1),
            logs: Mutex::default(),
            elsewhere: Mutex::default(),
            taken: Mutex::default(),
        }
    }
}

impl Memory {
    /// How many partitions each topic has from now on.
    pub fn set_partitions(&self, count: usize) {
        *held(&self.partitions.count) = count;
    }

    /// This partition of each topic another node has from now on, or one that nobody reaches.
    pub fn lead_partition_elsewhere(&self, partition: i32, reach: Option<Reach>) {
        held(&self.partitions.elsewhere).insert(partition, reach);
        self.news.send_replace(());
    }

    /// This partition of each topic is here again.
    pub fn lead_partition_here(&self, partition: i32) {
        held(&self.partitions.elsewhere).remove(&partition);
        self.news.send_replace(());
    }

    /// What one of Kafka's producers writes, with a key and without.
    pub fn write(&self, of: &TopicPartition, key: Option<&'static str>, value: Option<&'static str>) {
        let (key, value) = (
            key.map(|key| Bytes::from_static(key.as_bytes())),
            value.map(|one| Bytes::from_static(one.as_bytes())),
        );
        self.put_records(of, vec![NewRecord { key, value, headers: Vec::new() }]);
    }

    /// What nobody ever sees takes a place.
    pub fn abort_record(&self, of: &TopicPartition) {
        held(&self.partitions.logs).entry(of.clone()).or_default().end += 1;
        self.news.send_replace(());
    }

    /// Retention takes what lies before an offset.
    pub fn retain_from(&self, of: &TopicPartition, start: i64) {
        let mut logs = held(&self.partitions.logs);
        let log = logs.entry(of.clone()).or_default();
        log.start = start;
        log.records.retain(|record| record.offset >= start);
    }

    fn put_records(&self, of: &TopicPartition, new: Vec<NewRecord>) -> Token {
        let mut logs = held(&self.partitions.logs);
        let log = logs.entry(of.clone()).or_default();
        for NewRecord { key, value, headers } in new {
            log.records.push(Record { offset: log.end, timestamp: 7, key, value, headers });
            log.end += 1;
        }
        let end = token(log.end);
        drop(logs);
        self.news.send_replace(());
        end
    }

    fn check_partition(&self, of: &TopicPartition) -> Result<(), Denied> {
        let count = self.shape(&of.topic).ok_or(Denied::UnknownTopic)?.partitions;
        if of.partition < 0 || of.partition as usize >= count {
            return Err(Denied::UnknownPartition(count));
        }
        match held(&self.partitions.elsewhere).contains_key(&of.partition) {
            true => Err(Denied::Unavailable("this node does not lead it".to_owned())),
            false => Ok(()),
        }
    }

    fn do_read_records(&self, of: &TopicPartition, from: From, bytes_max: usize) -> Result<Records, Denied> {
        self.check_partition(of)?;
        let logs = held(&self.partitions.logs);
        let none = Log::default();
        let log = logs.get(of).unwrap_or(&none);
        let begin = match from {
            From::Begin | From::At(Token::BEGIN) => log.start,
            From::End => log.end,
            From::At(Token(place)) => place.offset as i64,
        };
        if begin < log.start || begin > log.end {
            return Err(Denied::Gone(token(log.start)));
        }
        let all = || log.records.iter().filter(|record| record.offset >= begin);
        let (mut bytes, mut records) = (0, Vec::new());
        for record in all() {
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        let is_up_to_date = records.len() == all().count();
        let last = records.last().map_or(begin, |record| record.offset + 1);
        Ok(Records { records, next: token(if is_up_to_date { log.end } else { last }), is_up_to_date })
    }
}

fn token(offset: i64) -> Token {
    Token::new(0, offset as u64)
}

impl Topics for Memory {
    fn shape(&self, topic: &TopicName) -> Option<Shape> {
        let content_type = if topic.starts_with("json") { "application/json" } else { "text/plain" };
        let partitions = *held(&self.partitions.count);
        let is_known = **topic != *"unknown" && !topic.starts_with("__");
        is_known.then(|| Shape { partitions, content_type: content_type.to_owned() })
    }

    fn partition_elsewhere(&self, of: &TopicPartition) -> Option<Reach> {
        held(&self.partitions.elsewhere).get(&of.partition).cloned().flatten()
    }

    fn partition_of(&self, topic: &TopicName, key: &[u8]) -> Option<TopicPartition> {
        let count = self.shape(topic)?.partitions;
        let sum: usize = key.iter().map(|byte| usize::from(*byte)).sum();
        Some(TopicPartition { topic: topic.clone(), partition: (sum % count) as i32 })
    }

    fn is_here(&self, of: &TopicPartition) -> bool {
        self.check_partition(of).is_ok()
    }

    fn read_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        from: From,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Records, Denied>> {
        Box::pin(async move { self.do_read_records(of, from, bytes_max) })
    }

    fn records_changed<'a>(&'a self, of: &'a TopicPartition, seen: Token) -> BoxFuture<'a, ()> {
        let mut news = self.news.subscribe();
        Box::pin(async move {
            loop {
                news.borrow_and_update();
                let end = held(&self.partitions.logs).get(of).map_or(0, |log| log.end);
                let is_same = token(end) <= seen && self.check_partition(of).is_ok();
                if !is_same || news.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn append_once<'a>(
        &'a self,
        of: &'a TopicPartition,
        records: Vec<NewRecord>,
        sent: Sent,
    ) -> BoxFuture<'a, Result<(Token, bool), Denied>> {
        Box::pin(async move {
            let name = (of.clone(), records.last().and_then(|record| record.key.clone()), sent.id.clone());
            let known = held(&self.partitions.taken).get(&name).cloned();
            let producer = known.as_ref().map(|(producer, _)| producer);
            if sent.was_taken(producer).map_err(|refusal| Denied::Refused(refusal, None))? {
                return Ok((known.map_or(Token::BEGIN, |(_, next)| next), false));
            }
            let next = self.append_records(of, records, None).await?;
            held(&self.partitions.taken).insert(name, (Producer { sent }, next));
            Ok((next, true))
        })
    }

    fn append_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        records: Vec<NewRecord>,
        expected: Option<Token>,
    ) -> BoxFuture<'a, Result<Token, Denied>> {
        Box::pin(async move {
            self.check_partition(of)?;
            let end = token(held(&self.partitions.logs).get(of).map_or(0, |log| log.end));
            if expected.is_some_and(|expected| expected != end) {
                return Err(Denied::Refused(Refusal::OtherOffset { end: end.0.offset }, Some(end)));
            }
            Ok(self.put_records(of, records))
        })
    }
}
