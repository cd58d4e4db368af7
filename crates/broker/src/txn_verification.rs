//! Before a transaction's first batch is taken into a partition, its coordinator is asked whether it knows the partition,
//! or, from KIP-890 on, to add it. Else a batch that comes late would begin a transaction that nobody ends.
//!
//! It decides nothing: the coordinator says which partitions belong to the transaction, and the log whether what it said
//! still holds when the batch comes. Produce and TxnOffsetCommit call it.

use crate::{
    Broker, coordinators::partition_of, failure_code, handlers::add_partitions_to_txn, partition::Partition,
    transaction_hosts,
};
use env::BoxFuture;
use log::Guard;
use model::{NodeId, ProducerEpoch, ProducerId, Sequence, TopicName, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::{
    AddPartitionsToTxnRequest, ErrorCode,
    add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
};

/// How long a coordinator may take, as Kafka's `request.timeout.ms`.
const ASK_MS_MAX: i64 = 30_000;

/// What is asked of the coordinator, as the version of the client's request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Whether the partition is there. Of the answers the client knows only the old ones.
    Verify,
    /// Whether the partition is there; TRANSACTION_ABORTABLE is understood.
    VerifyAbortable,
    /// To add it.
    Add,
}

/// A transaction as one of its batches names it.
#[derive(Debug, Clone)]
pub(crate) struct Txn {
    pub(crate) id: String,
    pub(crate) producer_id: ProducerId,
    pub(crate) producer_epoch: ProducerEpoch,
    pub(crate) operation: Operation,
}

/// A question to the coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) txn: Txn,
    pub(crate) partitions: Vec<TopicPartition>,
}

/// What the coordinator says of each partition, or the error of all.
pub(crate) type Told = Result<Vec<(TopicPartition, ErrorCode)>, ErrorCode>;

/// What a batch in each partition is to show, or why it is refused. A partition that is not here needs nothing.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    partitions: BTreeMap<TopicPartition, Result<Guard, ErrorCode>>,
}

impl Operation {
    /// What a Produce request of this version asks for.
    pub(crate) fn of_produce(version: i16) -> Self {
        match version {
            ..=10 => Self::Verify,
            11 => Self::VerifyAbortable,
            12.. => Self::Add,
        }
    }

    /// What a TxnOffsetCommit request of this version asks for.
    pub(crate) fn of_offset_commit(version: i16) -> Self {
        match version {
            ..=3 => Self::Verify,
            4 => Self::VerifyAbortable,
            5.. => Self::Add,
        }
    }
}

impl Verified {
    /// What a batch for this partition is to show.
    pub(crate) fn guard(&self, partition: &Partition) -> Result<Option<Guard>, ErrorCode> {
        if self.partitions.is_empty() {
            return Ok(None);
        }
        let key = TopicPartition::new(partition.topic().clone(), partition.index());
        self.partitions.get(&key).copied().transpose()
    }

    /// Begins to verify a transaction in these partitions, each with the first sequence number that comes; gives those
    /// that the coordinator is to be asked for.
    pub(crate) fn begin(
        &mut self,
        broker: &Broker,
        txn: &Txn,
        partitions: Vec<(Arc<Partition>, Sequence)>,
    ) -> Vec<TopicPartition> {
        let is_add = txn.operation == Operation::Add;
        if !is_add && !is_enabled(broker) {
            return Vec::new();
        }
        let (now, producer) = (broker.now_ms(), (txn.producer_id, txn.producer_epoch));
        let mut asked = Vec::new();
        for (partition, sequence) in partitions {
            let guard = partition.verify(now, producer, sequence, is_add);
            let Some(guard) = guard.map_err(|refused| failure_code::of_partition(&refused)).transpose()
            else {
                continue;
            };
            let key = TopicPartition::new(partition.topic().clone(), partition.index());
            if guard.is_ok() {
                asked.push(key.clone());
            }
            self.partitions.insert(key, guard);
        }
        asked
    }

    /// Asks the coordinator. One that is still ending the transaction before is asked again for a while if `is_patient`.
    pub(crate) async fn ask(
        &mut self,
        broker: &Arc<Broker>,
        txn: &Txn,
        partitions: Vec<TopicPartition>,
        is_patient: bool,
    ) {
        let clock = &broker.world.clock;
        let (pause_ms, patience_ms) = retry(broker);
        let deadline = clock.after_millis(patience_ms);
        loop {
            let question = Question { txn: txn.clone(), partitions: partitions.clone() };
            let refused = ask_once(broker, question).await;
            let is_busy = refused.iter().any(|(_, code)| *code == ErrorCode::ConcurrentTransactions);
            if is_patient && is_busy && txn.operation == Operation::Add && clock.now() < deadline {
                clock.sleep_until(clock.after_millis(pause_ms)).await;
                continue;
            }
            for (partition, code) in refused {
                self.partitions.insert(partition, Err(code));
            }
            return;
        }
    }
}

fn is_enabled(broker: &Broker) -> bool {
    broker.config.configs(&broker.image()).broker().flag("transaction.partition.verification.enable")
}

/// The pause before a coordinator is asked again, and how long that goes on.
fn retry(broker: &Broker) -> (i64, i64) {
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let broker = configs.broker();
    (
        broker.integer("add.partitions.to.txn.retry.backoff.ms").max(1),
        broker.integer("add.partitions.to.txn.retry.backoff.max.ms").min(ASK_MS_MAX),
    )
}

/// The partitions that do not belong to the transaction, and why.
async fn ask_once(broker: &Arc<Broker>, question: Question) -> Vec<(TopicPartition, ErrorCode)> {
    let (operation, partitions) = (question.txn.operation, question.partitions.clone());
    let told = match coordinator(broker, &question.txn.id) {
        Some(node) => {
            let clock = &broker.world.clock;
            let asking = async {
                // Questions gather for other nodes only: here one that waits must not let the others wait.
                match node == broker.config.node_id {
                    true => add_partitions_to_txn::decide(broker, question).await,
                    false => {
                        let told = broker.txn_questions.ask(broker, node, question).await;
                        told.unwrap_or(Err(ErrorCode::NetworkException))
                    }
                }
            };
            tokio::select! {
                biased;
                told = asking => told,
                () = clock.sleep_until(clock.after_millis(ASK_MS_MAX)) => Err(ErrorCode::NetworkException),
            }
        }
        None => Err(ErrorCode::CoordinatorNotAvailable),
    };
    // Of what an answer does not speak nothing is known.
    let unanswered = told.as_ref().err().copied().unwrap_or(ErrorCode::NetworkException);
    let told: BTreeMap<_, _> = told.unwrap_or_default().into_iter().collect();
    let told = partitions.into_iter().map(|one| {
        let code = told.get(&one).copied().unwrap_or(unanswered);
        (one, code)
    });
    let refused = told.into_iter().filter(|(_, code)| *code != ErrorCode::None);
    refused
        .map(|(partition, code)| {
            let code = match code {
                ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
                ErrorCode::TransactionAbortable if operation == Operation::Verify => {
                    ErrorCode::InvalidTxnState
                }
                code => code,
            };
            (partition, code)
        })
        .collect()
}

/// Who coordinates a transactional id.
fn coordinator(broker: &Broker, id: &str) -> Option<NodeId> {
    let image = broker.image();
    let topic = image.topic(transaction_hosts::TOPIC)?;
    let leader = topic.partition(partition_of(id, topic.partitions.len()))?.leader;
    image.broker(leader).filter(|node| !node.fenced).map(|_| leader)
}

/// Asks a coordinator; transactional ids that come twice are asked for one after the other.
pub(crate) fn send(
    broker: Arc<Broker>,
    node: NodeId,
    questions: Vec<Question>,
) -> BoxFuture<'static, Vec<Told>> {
    Box::pin(async move {
        let mut told: BTreeMap<usize, Told> = BTreeMap::new();
        let count = questions.len();
        let mut left: Vec<_> = questions.into_iter().enumerate().collect();
        while !left.is_empty() {
            let mut ids = BTreeSet::new();
            let (round, later): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(_, question)| ids.insert(question.txn.id.clone()));
            left = later;
            let (places, round): (Vec<_>, Vec<_>) = round.into_iter().unzip();
            told.extend(places.into_iter().zip(send_round(&broker, node, round).await));
        }
        (0..count).map(|place| told.remove(&place).unwrap_or(Err(ErrorCode::NetworkException))).collect()
    })
}

async fn send_round(broker: &Arc<Broker>, node: NodeId, questions: Vec<Question>) -> Vec<Told> {
    let failed = |code| questions.iter().map(|_| Err(code)).collect::<Vec<Told>>();
    let Some(address) = broker.address_of(node) else { return failed(ErrorCode::CoordinatorNotAvailable) };
    let transactions = questions.iter().map(to_wire).collect();
    let request = AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() };
    let response = match broker.links.call(&address, &request, ASK_MS_MAX).await {
        Ok(response) => response,
        Err(error) => {
            tracing::info!(node, %error, "the coordinator of a transaction could not be asked");
            return failed(ErrorCode::NetworkException);
        }
    };
    if response.error_code != failure_code::NONE {
        return failed(failure_code::from_code(response.error_code));
    }
    let mut by_id: BTreeMap<_, _> = response
        .results_by_transaction
        .into_iter()
        .map(|result| (result.transactional_id, result.topic_results))
        .collect();
    let told = questions.iter().map(|question| {
        let topics = by_id.remove(&question.txn.id).ok_or(ErrorCode::NetworkException)?;
        let told = topics.into_iter().flat_map(|topic| {
            let name = TopicName::new(&topic.name).ok();
            topic.results_by_partition.into_iter().filter_map(move |one| {
                let partition = TopicPartition::new(name.clone()?, one.partition_index);
                Some((partition, failure_code::from_code(one.partition_error_code)))
            })
        });
        Ok(told.collect())
    });
    told.collect()
}

fn to_wire(question: &Question) -> AddPartitionsToTxnTransaction {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in &question.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| AddPartitionsToTxnTopic { name: name.to_string(), partitions });
    AddPartitionsToTxnTransaction {
        transactional_id: question.txn.id.clone(),
        producer_id: question.txn.producer_id,
        producer_epoch: question.txn.producer_epoch,
        verify_only: question.txn.operation != Operation::Add,
        topics: topics.collect(),
    }
}
