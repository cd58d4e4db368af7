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
        match request.body.get("TransactionalId").and_then(Value::as_str) {
            Some(id) if request.key == END_TXN => self.await_markers(id),
            _ => Ok(()),
        }
    }

    fn await_markers(&self, id: &str) -> Result<()> {
        let started = Instant::now();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(MARKING_LIMIT))?;
        let request = Request {
            key: DESCRIBE_TRANSACTIONS,
            version: 0,
            correlation: 0,
            client: None,
            body: json!({"TransactionalIds": [id]}),
        };
        let frame = request.write(self.schemas)?;
        while self.is_marking(&mut stream, &frame)? {
            if started.elapsed() > MARKING_LIMIT {
                bail!("{}: the markers of {id} are not written after {MARKING_LIMIT:?}", self.address);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn is_marking(&self, stream: &mut TcpStream, question: &[u8]) -> Result<bool> {
        std::io::Write::write_all(stream, question)?;
        let answer = read_response(self.schemas, DESCRIBE_TRANSACTIONS, 0, &read_frame(stream)?)?;
        Ok(is_preparing(&answer))
    }
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
    fn a_decided_transaction_is_waited_for_and_no_other() {
        let of = |state: &str| json!({"TransactionStates": [{"ErrorCode": 0, "TransactionState": state}]});
        assert!(is_preparing(&of("PrepareAbort")) && is_preparing(&of("PrepareCommit")));
        assert!(
            !is_preparing(&of("CompleteAbort")) && !is_preparing(&of("Ongoing")) && !is_preparing(&of(""))
        );
        assert!(!is_preparing(&json!({"TransactionStates": []})));
    }
}
