//! AddPartitionsToTxn (key 24): partitions into a transaction. Below version 4 a client adds them; from then on brokers
//! ask for many transactions at once, to add or only to verify (KIP-890).

use crate::{
    Broker,
    context::Context,
    failure_code,
    txn_verification::{Operation, Question, Told, Txn},
};
use futures_util::future::join_all;
use model::{TopicName, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use transactions::{AddPartitions, Error, Producer, Reply, Request, TransactionVersion, VerifyPartitions};
use wire::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ErrorCode,
    add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
    add_partitions_to_txn_response::{
        AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
    },
};

/// From this version on brokers ask.
const VERSION_OF_BROKERS: i16 = 4;
/// How long one transaction may wait for its coordinator's log.
const DECIDE_MS_MAX: i64 = 5000;
/// Before this version clients do not know PRODUCER_FENCED.
const VERSION_WITH_FENCED: i16 = 2;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if context.version >= VERSION_OF_BROKERS {
        let each = request.transactions.into_iter().map(|transaction| of_broker(broker, transaction));
        let results_by_transaction = join_all(each).await;
        return AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() };
    }
    let producer = Producer {
        id: request.v3_and_below_transactional_id.as_str().into(),
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
    };
    let results = of_transaction(broker, request.v3_and_below_topics, |partitions| {
        add(broker, producer, partitions, 0, context.version < VERSION_WITH_FENCED)
    });
    AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results.await, ..Default::default() }
}

async fn of_broker(
    broker: &Arc<Broker>,
    transaction: AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let operation = if transaction.verify_only { Operation::VerifyAbortable } else { Operation::Add };
    let txn = Txn {
        id: transaction.transactional_id.clone(),
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
        operation,
    };
    let topic_results =
        of_transaction(broker, transaction.topics, |partitions| decide(broker, Question { txn, partitions }));
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id,
        topic_results: topic_results.await,
    }
}

/// Answers for each partition in the order of the request; all are refused if one does not exist.
async fn of_transaction<F: Future<Output = Told>>(
    broker: &Broker,
    topics: Vec<AddPartitionsToTxnTopic>,
    decide: impl FnOnce(Vec<TopicPartition>) -> F,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let image = broker.image();
    let mut known = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for topic in &topics {
        for index in &topic.partitions {
            let exists = image.topic(&topic.name).is_some_and(|found| found.partition(*index).is_some());
            match TopicName::new(&topic.name).ok().filter(|_| exists) {
                Some(name) => drop(known.insert(TopicPartition::new(name, *index))),
                None => drop(unknown.insert((topic.name.clone(), *index))),
            }
        }
    }
    let told = match unknown.is_empty() {
        true => decide(known.into_iter().collect()).await,
        false => Err(ErrorCode::OperationNotAttempted),
    };
    let told = told.map(|told| told.into_iter().collect::<BTreeMap<_, _>>());
    let code_of = |name: &str, index: i32| match &told {
        _ if unknown.contains(&(name.to_owned(), index)) => ErrorCode::UnknownTopicOrPartition,
        Err(code) => *code,
        Ok(told) => {
            let key = TopicName::new(name).ok().map(|name| TopicPartition::new(name, index));
            key.and_then(|key| told.get(&key).copied()).unwrap_or(ErrorCode::UnknownServerError)
        }
    };
    let results = topics.iter().map(|topic| {
        let each = topic.partitions.iter().map(|index| AddPartitionsToTxnPartitionResult {
            partition_index: *index,
            partition_error_code: code_of(&topic.name, *index).to_i16(),
        });
        AddPartitionsToTxnTopicResult { name: topic.name.clone(), results_by_partition: each.collect() }
    });
    results.collect()
}

/// What the coordinator here says to another broker, or to this one. One whose log waits for replicas, or is not read yet,
/// is not waited for longer than others can wait for their answers beside it.
pub(crate) async fn decide(broker: &Arc<Broker>, question: Question) -> Told {
    let clock = &broker.world.clock;
    tokio::select! {
        biased;
        told = decide_at_last(broker, question) => told,
        () = clock.sleep_until(clock.after_millis(DECIDE_MS_MAX)) => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

async fn decide_at_last(broker: &Arc<Broker>, question: Question) -> Told {
    let Question { txn, partitions } = question;
    let producer = Producer {
        id: txn.id.as_str().into(),
        producer_id: txn.producer_id,
        producer_epoch: txn.producer_epoch,
    };
    if txn.operation == Operation::Add {
        return add(broker, producer, partitions, transactions::EPOCH_BUMP, false).await;
    }
    let id = producer.id.clone();
    let verify = VerifyPartitions { producer, partitions };
    match broker.transactions.ask(&id, Request::VerifyPartitions(verify)).await {
        Ok(Reply::VerifyPartitions(told)) => {
            let code = |is_in| if is_in { ErrorCode::None } else { ErrorCode::TransactionAbortable };
            Ok(told.into_iter().map(|(partition, is_in)| (partition, code(is_in))).collect())
        }
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(error) => Err(failure_code::of_transactions(error)),
    }
}

/// Adds partitions to a transaction.
pub(crate) async fn add(
    broker: &Arc<Broker>,
    producer: Producer,
    partitions: Vec<TopicPartition>,
    version: TransactionVersion,
    is_old: bool,
) -> Told {
    let id = producer.id.clone();
    let request = AddPartitions { producer, partitions: partitions.clone(), version };
    match broker.transactions.ask(&id, Request::AddPartitions(request)).await {
        Ok(_) => Ok(partitions.into_iter().map(|partition| (partition, ErrorCode::None)).collect()),
        Err(Error::ProducerFenced) if is_old => Err(ErrorCode::InvalidProducerEpoch),
        Err(error) => Err(failure_code::of_transactions(error)),
    }
}
