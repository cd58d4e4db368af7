//! Asking share coordinators, wherever they are: the way of leaders of partitions and of group coordinators to what is kept
//! of share partitions.
//!
//! It decides nothing. Coordinators that move or load are asked again for a while.

use crate::{
    Broker, coordinators::partition_of, failure_code, gathering::Gathering, handlers, share_coordinators,
    share_rpc,
};
use env::BoxFuture;
use model::{NodeId, PartitionIndex};
use share::{Key, Reply, Request};
use std::sync::Arc;
use wire::ErrorCode;

/// How long a coordinator may take to answer.
pub(crate) const ASK_MS_MAX: i64 = 10_000;
/// How long coordinators are asked again.
const PATIENCE_MS: i64 = 15_000;
/// The first pause before that, and the longest.
const PAUSE_MS: (i64, i64) = (50, 1000);

/// What a share coordinator says.
pub(crate) type Told = Result<Reply, ErrorCode>;

/// Requests on their way to other brokers: to each partition of the state on its own, for one may be slow.
pub(crate) type Asking = Arc<Gathering<Request, Told, Place>>;

/// A broker, and the partition of the state that it coordinates.
pub(crate) type Place = (NodeId, PartitionIndex);

/// The text by which a share partition finds its coordinator.
pub(crate) fn text_of(key: &Key) -> String {
    format!("{}:{}:{}", key.group, key.topic, key.partition)
}

/// Of which share partition a request is.
pub(crate) fn key_of(request: &Request) -> Option<&Key> {
    match request {
        Request::Initialize(request) => Some(&request.key),
        Request::Read(request) => Some(&request.key),
        Request::Write(request) => Some(&request.key),
        Request::ReadSummary(key) | Request::Delete(key) => Some(key),
        Request::TopicsDeleted(_) | Request::SnapshotCold => None,
    }
}

/// Asks the share coordinator of the request's share partition.
pub(crate) async fn ask(broker: &Arc<Broker>, request: Request) -> Told {
    let clock = &broker.world.clock;
    let (deadline, mut pause) = (clock.after_millis(PATIENCE_MS), PAUSE_MS.0);
    loop {
        let told = ask_once(broker, request.clone()).await;
        match told {
            Err(code) if is_passing(code) && clock.now() < deadline => {
                clock.sleep_until(clock.after_millis(pause)).await;
                pause = (pause * 2).min(PAUSE_MS.1);
            }
            told => return told,
        }
    }
}

fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NetworkException
    )
}

async fn ask_once(broker: &Arc<Broker>, request: Request) -> Told {
    let text = key_of(&request).map(text_of).ok_or(ErrorCode::InvalidRequest)?;
    if broker.image().topic(share_coordinators::TOPIC).is_none() {
        handlers::topics_of(broker, &[share_coordinators::TOPIC], None).await;
    }
    let place = coordinator(broker, &text).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    if place.0 == broker.config.node_id {
        return answer(broker, request).await;
    }
    let clock = &broker.world.clock;
    tokio::select! {
        biased;
        told = broker.share_asking.ask(broker, place, request) => told.unwrap_or(Err(ErrorCode::NetworkException)),
        () = clock.sleep_until(clock.after_millis(ASK_MS_MAX)) => Err(ErrorCode::NetworkException),
    }
}

/// The coordinator's own answer, if it is here. What does not exist is not asked for.
pub(crate) async fn answer(broker: &Arc<Broker>, request: Request) -> Told {
    let key = key_of(&request).ok_or(ErrorCode::InvalidRequest)?;
    let image = broker.image();
    let exists = image.topic_by_id(key.topic).is_some_and(|topic| topic.partition(key.partition).is_some());
    if !exists {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let text = text_of(key);
    broker.share_coordinators.ask(&text, request).await.map_err(|error| failure_code::of_share(&error))
}

/// Which broker coordinates a share partition, and where.
fn coordinator(broker: &Broker, text: &str) -> Option<Place> {
    let image = broker.image();
    let topic = image.topic(share_coordinators::TOPIC)?;
    let index = partition_of(text, topic.partitions.len());
    let leader = topic.partition(index)?.leader;
    image.broker(leader).filter(|node| !node.fenced).map(|_| (leader, index))
}

/// Asks another broker.
pub(crate) fn send(
    broker: Arc<Broker>,
    (node, _): Place,
    requests: Vec<Request>,
) -> BoxFuture<'static, Vec<Told>> {
    Box::pin(async move { share_rpc::send(&broker, node, requests).await })
}
