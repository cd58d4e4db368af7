//! Waits until a broker has done what it only promised when it answered, so that what is asked next does not hang on the moment.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::message::{Request, read_response};
use super::proxy::read_frame;
use super::schema::Schemas;

/// What changes metadata, which both brokers learn a moment after they have answered: CreateTopics, DeleteTopics,
/// AlterConfigs, CreatePartitions, IncrementalAlterConfigs, AlterPartitionReassignments,
/// AlterClientQuotas, UpdateFeatures.
const CHANGES: [i16; 8] = [19, 20, 33, 37, 44, 45, 49, 57];
/// The longest such moment.
const LEARNING: Duration = Duration::from_millis(50);
/// Markers are written after it was answered.
const END_TXN: i16 = 26;
const DESCRIBE_TRANSACTIONS: i16 = 65;
/// Until all markers are written.
const MARKING_LIMIT: Duration = Duration::from_secs(10);

/// Topics that an application wants for itself are made after its heartbeat was answered.
const STREAMS_GROUP_HEARTBEAT: i16 = 88;
const METADATA: i16 = 3;
/// Until they are there, unless they cannot be made.
const MAKING_LIMIT: Duration = Duration::from_secs(1);

/// A broker, asked beside the connections that are recorded or sent again.
#[derive(Debug)]
pub struct Settling<'a> {
    schemas: &'a Schemas,
    address: String,
}

impl<'a> Settling<'a> {
    /// Of the broker that listens at `address`.
    pub fn new(schemas: &'a Schemas, address: &str) -> Settling<'a> {
        Settling { schemas, address: address.to_owned() }
    }

    /// Waits until what this request began is done.
    pub fn after(&self, request: &Request) -> Result<()> {
        if CHANGES.contains(&request.key) {
            std::thread::sleep(LEARNING);
        }
        if request.key == STREAMS_GROUP_HEARTBEAT {
            self.await_topics(&internal_topics(&request.body))?;
        }
        match request.body.get("TransactionalId").and_then(Value::as_str) {
            Some(id) if request.key == END_TXN => self.await_markers(id),
            _ => Ok(()),
        }
    }

    fn await_topics(&self, names: &[&str]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let topics: Vec<Value> = names.iter().map(|name| json!({"Name": name})).collect();
        let body = json!({"Topics": topics, "AllowAutoTopicCreation": false});
        let (mut stream, frame) = self.ask(METADATA, 4, body)?;
        let started = Instant::now();
        loop {
            let answer = self.answer(&mut stream, METADATA, 4, &frame)?;
            let told = answer.get("Topics").and_then(Value::as_array).into_iter().flatten();
            let are_there = told.filter_map(|topic| topic.get("ErrorCode")).all(|code| *code == 0);
            if are_there || started.elapsed() > MAKING_LIMIT {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A connection of its own, and what is to be asked on it again and again.
    fn ask(&self, key: i16, version: i16, body: Value) -> Result<(TcpStream, Vec<u8>)> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(MARKING_LIMIT))?;
        let request = Request { key, version, correlation: 0, client: None, body };
        Ok((stream, request.write(self.schemas)?))
    }

    fn answer(&self, stream: &mut TcpStream, key: i16, version: i16, question: &[u8]) -> Result<Value> {
        std::io::Write::write_all(stream, question)?;
        read_response(self.schemas, key, version, &read_frame(stream)?)
    }

    fn await_markers(&self, id: &str) -> Result<()> {
        let started = Instant::now();
        let (mut stream, frame) = self.ask(DESCRIBE_TRANSACTIONS, 0, json!({"TransactionalIds": [id]}))?;
        while is_preparing(&self.answer(&mut stream, DESCRIBE_TRANSACTIONS, 0, &frame)?) {
            if started.elapsed() > MARKING_LIMIT {
                bail!("{}: the markers of {id} are not written after {MARKING_LIMIT:?}", self.address);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// The topics that a heartbeat of KIP-1071 wants to be made.
fn internal_topics(heartbeat: &Value) -> Vec<&str> {
    let parts = heartbeat.pointer("/Topology/Subtopologies").and_then(Value::as_array).into_iter().flatten();
    let kinds =
        parts.flat_map(|part| ["RepartitionSourceTopics", "StateChangelogTopics"].map(|kind| part.get(kind)));
    let topics = kinds.flatten().filter_map(Value::as_array).flatten();
    topics.filter_map(|topic| topic.get("Name").and_then(Value::as_str)).collect()
}

/// Whether a transaction is decided and its markers are not all there.
fn is_preparing(answer: &Value) -> bool {
    let state = answer.pointer("/TransactionStates/0/TransactionState").and_then(Value::as_str);
    state.is_some_and(|state| state.starts_with("Prepare"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_waited_for_that_a_topology_wants() {
        let part = json!({
            "SourceTopics": ["in"],
            "RepartitionSourceTopics": [{"Name": "a-repartition"}],
            "StateChangelogTopics": [{"Name": "b-changelog"}],
        });
        let told = json!({"Topology": {"Epoch": 0, "Subtopologies": [part]}});
        assert_eq!(internal_topics(&told), ["a-repartition", "b-changelog"]);
        assert!(internal_topics(&json!({"Topology": null})).is_empty());
    }

    #[test]
    fn a_decided_transaction_is_waited_for_and_no_other() {
        let of = |state: &str| json!({"TransactionStates": [{"ErrorCode": 0, "TransactionState": state}]});
        assert!(is_preparing(&of("PrepareAbort")) && is_preparing(&of("PrepareCommit")));
        assert!(
            !is_preparing(&of("CompleteAbort")) && !is_preparing(&of("Ongoing")) && !is_preparing(&of(""))
        );
        assert!(!is_preparing(&json!({"TransactionStates": []})));
    }
}
