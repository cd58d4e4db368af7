//! What is asked of share coordinators as Kafka's inter-broker APIs: InitializeShareGroupState, ReadShareGroupState,
//! WriteShareGroupState, DeleteShareGroupState and ReadShareGroupStateSummary.
//!
//! It knows both directions: requests to another broker here, their answers there (the handlers of these APIs).

use crate::{
    Broker, failure_code,
    link::{Address, Links},
    share_states::{ASK_MS_MAX, Told},
};
use env::BoxFuture;
use futures_util::future::join_all;
use model::{GroupId, NodeId, TopicId};
use share::{Initialize, Key, Read, ReadReply, Reply, Request, StateBatch, Summary, WriteState};
use std::{collections::BTreeMap, io, sync::Arc};
use wire::{
    DeleteShareGroupStateRequest, ErrorCode, InitializeShareGroupStateRequest, ReadShareGroupStateRequest,
    ReadShareGroupStateSummaryRequest, WriteShareGroupStateRequest,
    delete_share_group_state_request as delete, initialize_share_group_state_request as initialize,
    read_share_group_state_request as read, read_share_group_state_response,
    read_share_group_state_summary_request as summary, read_share_group_state_summary_response,
    write_share_group_state_request as write,
};

/// Answers by partition.
type Answers = Vec<((TopicId, i32), Told)>;

/// Asks another broker; gives an answer for each request, in their order.
pub(crate) async fn send(broker: &Arc<Broker>, node: NodeId, requests: Vec<Request>) -> Vec<Told> {
    let Some(address) = broker.address_of(node) else {
        return vec![Err(ErrorCode::CoordinatorNotAvailable); requests.len()];
    };
    let mut told = vec![Err(ErrorCode::NetworkException); requests.len()];
    // One request of each kind for each group.
    let mut calls: BTreeMap<(u8, GroupId), Vec<(usize, Request)>> = BTreeMap::new();
    for (place, request) in requests.into_iter().enumerate() {
        if let Some(key) = crate::share_states::key_of(&request) {
            calls.entry((kind(&request), key.group.clone())).or_default().push((place, request));
        }
    }
    let calls = calls.into_iter().map(|((_, group), asked)| call(broker, &address, node, group, asked));
    for (place, answer) in join_all(calls).await.into_iter().flatten() {
        told.get_mut(place).into_iter().for_each(|told| *told = answer.clone());
    }
    told
}

fn kind(request: &Request) -> u8 {
    match request {
        Request::Initialize(_) => 0,
        Request::Read(_) => 1,
        Request::ReadSummary(_) => 2,
        Request::Write(_) => 3,
        _ => 4,
    }
}

async fn call(
    broker: &Broker,
    address: &Address,
    node: NodeId,
    group: GroupId,
    asked: Vec<(usize, Request)>,
) -> Vec<(usize, Told)> {
    let of = |request: &Request| {
        crate::share_states::key_of(request).map(|key| (key.topic, key.partition)).unwrap_or_default()
    };
    let places: Vec<(usize, (TopicId, i32))> =
        asked.iter().map(|(place, request)| (*place, of(request))).collect();
    let requests: Vec<Request> = asked.into_iter().map(|(_, request)| request).collect();
    let answers = match dispatch(broker, address, group.to_string(), requests).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::info!(node, %error, "a share coordinator could not be asked");
            Vec::new()
        }
    };
    let by_partition: BTreeMap<(TopicId, i32), Told> = answers.into_iter().collect();
    let told = |partition| by_partition.get(&partition).cloned().unwrap_or(Err(ErrorCode::NetworkException));
    places.into_iter().map(|(place, partition)| (place, told(partition))).collect()
}

/// All of one kind, which the first has.
fn dispatch<'a>(
    broker: &'a Broker,
    address: &'a Address,
    group_id: String,
    requests: Vec<Request>,
) -> BoxFuture<'a, io::Result<Answers>> {
    let to = (&*broker.links, address);
    match requests.first() {
        Some(Request::Initialize(_)) => Box::pin(initialize_all(to, group_id, requests)),
        Some(Request::Read(_)) => Box::pin(read_all(to, group_id, requests)),
        Some(Request::ReadSummary(_)) => Box::pin(summarize_all(to, group_id, requests)),
        Some(Request::Write(_)) => Box::pin(write_all(to, group_id, requests)),
        _ => Box::pin(delete_all(to, group_id, requests)),
    }
}

/// Whom to ask, and by which way.
type To<'a> = (&'a Links, &'a Address);

async fn initialize_all((links, at): To<'_>, group_id: String, all: Vec<Request>) -> io::Result<Answers> {
    let topics = all.into_iter().filter_map(to_initialize).collect();
    let request = InitializeShareGroupStateRequest { group_id, topics };
    let response = links.call(at, &request, ASK_MS_MAX).await?;
    Ok(flat(
        response.results,
        |result| (result.topic_id, result.partitions),
        |one| (one.partition, told(one.error_code, || Reply::Initialize)),
    ))
}

async fn read_all((links, at): To<'_>, group_id: String, all: Vec<Request>) -> io::Result<Answers> {
    let topics = all.into_iter().filter_map(to_read).collect();
    let request = ReadShareGroupStateRequest { group_id, topics };
    let response = links.call(at, &request, ASK_MS_MAX).await?;
    let batch = |batch: read_share_group_state_response::StateBatch| StateBatch {
        first: batch.first_offset,
        last: batch.last_offset,
        state: batch.delivery_state,
        count: batch.delivery_count,
    };
    let answer = |one: read_share_group_state_response::PartitionResult| {
        let reply = || {
            let batches = one.state_batches.into_iter().map(batch).collect();
            let (state_epoch, start) = (one.state_epoch, one.start_offset);
            Reply::Read(ReadReply { state_epoch, start, batches })
        };
        (one.partition, told(one.error_code, reply))
    };
    Ok(flat(response.results, |result| (result.topic_id, result.partitions), answer))
}

async fn summarize_all((links, at): To<'_>, group_id: String, all: Vec<Request>) -> io::Result<Answers> {
    let topics = all.into_iter().filter_map(to_summary).collect();
    let request = ReadShareGroupStateSummaryRequest { group_id, topics };
    let response = links.call(at, &request, ASK_MS_MAX).await?;
    let answer = |one: read_share_group_state_summary_response::PartitionResult| {
        let summary = Summary {
            state_epoch: one.state_epoch,
            leader_epoch: one.leader_epoch,
            start: one.start_offset,
            complete_count: one.delivery_complete_count,
        };
        (one.partition, told(one.error_code, || Reply::ReadSummary(summary)))
    };
    Ok(flat(response.results, |result| (result.topic_id, result.partitions), answer))
}

async fn write_all((links, at): To<'_>, group_id: String, all: Vec<Request>) -> io::Result<Answers> {
    let topics = all.into_iter().filter_map(to_write).collect();
    let request = WriteShareGroupStateRequest { group_id, topics };
    let response = links.call(at, &request, ASK_MS_MAX).await?;
    Ok(flat(
        response.results,
        |result| (result.topic_id, result.partitions),
        |one| (one.partition, told(one.error_code, || Reply::Write)),
    ))
}

async fn delete_all((links, at): To<'_>, group_id: String, all: Vec<Request>) -> io::Result<Answers> {
    let topics = all.into_iter().filter_map(to_delete).collect();
    let request = DeleteShareGroupStateRequest { group_id, topics };
    let response = links.call(at, &request, ASK_MS_MAX).await?;
    Ok(flat(
        response.results,
        |result| (result.topic_id, result.partitions),
        |one| (one.partition, told(one.error_code, || Reply::Delete)),
    ))
}

fn told(code: i16, reply: impl FnOnce() -> Reply) -> Told {
    match failure_code::from_code(code) {
        ErrorCode::None => Ok(reply()),
        code => Err(code),
    }
}

fn flat<R, P>(
    results: Vec<R>,
    split: impl Fn(R) -> (TopicId, Vec<P>),
    answer: impl Fn(P) -> (i32, Told),
) -> Answers {
    let mut all = Vec::new();
    for (topic, partitions) in results.into_iter().map(split) {
        for (index, told) in partitions.into_iter().map(&answer) {
            all.push(((topic, index), told));
        }
    }
    all
}

fn to_initialize(request: Request) -> Option<initialize::InitializeStateData> {
    let Request::Initialize(Initialize { key, state_epoch, start }) = request else { return None };
    let partition = initialize::PartitionData { partition: key.partition, state_epoch, start_offset: start };
    Some(initialize::InitializeStateData { topic_id: key.topic, partitions: vec![partition] })
}

fn to_read(request: Request) -> Option<read::ReadStateData> {
    let Request::Read(Read { key, leader_epoch }) = request else { return None };
    let partition = read::PartitionData { partition: key.partition, leader_epoch };
    Some(read::ReadStateData { topic_id: key.topic, partitions: vec![partition] })
}

fn to_summary(request: Request) -> Option<summary::ReadStateSummaryData> {
    let Request::ReadSummary(Key { topic, partition, .. }) = request else { return None };
    let partition = summary::PartitionData { partition, leader_epoch: -1 };
    Some(summary::ReadStateSummaryData { topic_id: topic, partitions: vec![partition] })
}

fn to_write(request: Request) -> Option<write::WriteStateData> {
    let Request::Write(WriteState { key, state_epoch, leader_epoch, start, complete_count, batches }) =
        request
    else {
        return None;
    };
    let batch = |batch: StateBatch| write::StateBatch {
        first_offset: batch.first,
        last_offset: batch.last,
        delivery_state: batch.state,
        delivery_count: batch.count,
    };
    let partition = write::PartitionData {
        partition: key.partition,
        state_epoch,
        leader_epoch,
        start_offset: start,
        delivery_complete_count: complete_count,
        state_batches: batches.into_iter().map(batch).collect(),
    };
    Some(write::WriteStateData { topic_id: key.topic, partitions: vec![partition] })
}

fn to_delete(request: Request) -> Option<delete::DeleteStateData> {
    let Request::Delete(Key { topic, partition, .. }) = request else { return None };
    Some(delete::DeleteStateData { topic_id: topic, partitions: vec![delete::PartitionData { partition }] })
}
