//! AlterReplicaLogDirs (key 34): in which log directory of this broker replicas shall be (KIP-113).
//!
//! What each replica is answered [`answer`] decides; `moves` moves. A request comes to its end before the next begins, also
//! where whoever has sent it has gone away: what is half begun would be a copy that nobody goes on with.

use crate::{Broker, context::Context, failure_code, log_dirs, moves, partition::Partition};
use model::{TopicName, TopicPartition};
use std::{collections::BTreeMap, future::pending, sync::Arc};
use tokio::sync::oneshot;
use wire::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, ErrorCode,
    alter_replica_log_dirs_response::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult},
};

/// What is known of a directory that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// `log.dirs` does not name it.
    Unknown,
    Offline,
    Cordoned,
    Usable,
}

/// What is known of the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replica {
    /// This broker has none, or none yet: the error that says so.
    Absent(ErrorCode),
    Offline,
    /// It lies in the directory.
    There,
    /// It is on its way there.
    ComingThere,
    Elsewhere,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Refuse(ErrorCode),
    /// Refused, but a replica that is made later is made there.
    Wish(ErrorCode),
    /// It is where it shall be.
    Stay,
    Move,
}

/// Decides as Kafka does, in its order.
fn answer(has_name: bool, wanted: Wanted, replica: Replica, has_offline: bool) -> Answer {
    if !has_name {
        return Answer::Refuse(ErrorCode::InvalidTopicException);
    }
    match (wanted, replica) {
        (Wanted::Unknown, _) => Answer::Refuse(ErrorCode::LogDirNotFound),
        (Wanted::Offline, _) | (_, Replica::Offline) => Answer::Refuse(ErrorCode::KafkaStorageError),
        (Wanted::Cordoned, _) => Answer::Refuse(ErrorCode::InvalidReplicaAssignment),
        // Of old this is what clients are told.
        (_, Replica::Absent(ErrorCode::NotLeaderOrFollower)) => Answer::Wish(ErrorCode::ReplicaNotAvailable),
        (_, Replica::Absent(error)) => Answer::Wish(error),
        (_, Replica::There | Replica::ComingThere) => Answer::Stay,
        // Another copy of it may lie in the one that is offline.
        (_, Replica::Elsewhere) if has_offline => Answer::Refuse(ErrorCode::KafkaStorageError),
        (_, Replica::Elsewhere) => Answer::Move,
    }
}

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let (sender, answer) = oneshot::channel();
    let on = broker.clone();
    broker.world.tasks.spawn(Box::pin(async move {
        // Whoever waits for it may have gone.
        let _ = sender.send(place_all(&on, request).await);
    }));
    match answer.await {
        Ok(answer) => answer,
        // The node stops and has dropped the task: so are connections.
        Err(_) => pending().await,
    }
}

async fn place_all(broker: &Arc<Broker>, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    // Of a replica that is named twice the last directory counts, as in Kafka.
    let mut wanted: BTreeMap<String, BTreeMap<i32, usize>> = BTreeMap::new();
    let mut paths = Vec::with_capacity(request.dirs.len());
    for dir in request.dirs {
        for topic in dir.topics {
            let partitions = topic.partitions.into_iter().map(|index| (index, paths.len()));
            wanted.entry(topic.name).or_default().extend(partitions);
        }
        paths.push(dir.path);
    }
    let _turn = broker.moves.turn.lock().await;
    let mut results = Vec::with_capacity(wanted.len());
    for (topic_name, replicas) in wanted {
        let mut partitions = Vec::with_capacity(replicas.len());
        for (partition_index, path) in replicas {
            let path = paths.get(path).map_or("", String::as_str);
            let error_code = place(broker, &topic_name, partition_index, path).await;
            partitions.push(AlterReplicaLogDirPartitionResult { partition_index, error_code });
        }
        results.push(AlterReplicaLogDirTopicResult { topic_name, partitions });
    }
    AlterReplicaLogDirsResponse { results, ..AlterReplicaLogDirsResponse::default() }
}

async fn place(broker: &Arc<Broker>, topic: &str, index: i32, path: &str) -> i16 {
    let name = TopicName::new(topic).ok().map(|name| TopicPartition::new(name, index));
    let dir_name = name.as_ref().map(|name| moves::dir_name(broker, name));
    let found = broker.dirs.by_path(path);
    let cordoned = broker.config.configs(&broker.image()).broker().list("cordoned.log.dirs");
    let wanted = match found {
        None => Wanted::Unknown,
        Some((_, dir)) if dir.is_offline() => Wanted::Offline,
        Some((_, dir)) if log_dirs::is_cordoned(dir, &cordoned) => Wanted::Cordoned,
        Some(_) => Wanted::Usable,
    };
    let here = super::partition_here(broker, topic, index);
    if let (Wanted::Usable, Some((_, dir)), Ok(here)) = (wanted, found, &here) {
        // A move to elsewhere is called off first: it may end instead. So is waited for one that was called off before.
        let is_other = broker.moves.get(here.key()).is_some_and(|one| !one.is_going_to(dir));
        if is_other && here.offsets().is_some() {
            broker.moves.call_off(here.key()).await;
        }
    }
    let replica = match (&here, found) {
        (Err(error), _) => Replica::Absent(*error),
        (Ok(here), _) if here.offsets().is_none() => Replica::Offline,
        (Ok(here), Some((_, dir))) if here.is_in(dir) => Replica::There,
        (Ok(here), Some((_, dir)))
            if broker.moves.get(here.key()).is_some_and(|one| one.is_going_to(dir)) =>
        {
            Replica::ComingThere
        }
        (Ok(_), _) => Replica::Elsewhere,
    };
    let has_name = dir_name.as_ref().is_none_or(Option::is_some);
    match answer(has_name, wanted, replica, broker.dirs.has_offline()) {
        Answer::Refuse(error) => error.to_i16(),
        Answer::Wish(error) => {
            if let (Some(name), Some((place, _))) = (name, found) {
                broker.dirs.wish(name, place);
            }
            error.to_i16()
        }
        Answer::Stay => failure_code::NONE,
        Answer::Move => match (here, found, dir_name.flatten()) {
            (Ok(here), Some((_, dir)), Some(dir_name)) => begin(broker, &here, dir, dir_name).await,
            _ => ErrorCode::UnknownServerError.to_i16(),
        },
    }
}

async fn begin(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    dir: &Arc<crate::log_dir::LogDir>,
    dir_name: String,
) -> i16 {
    match moves::begin(broker, partition, dir, dir_name).await {
        Ok(()) => failure_code::NONE,
        Err(error) => {
            tracing::error!(partition = %partition, to = %dir.path.display(), %error, "the log cannot be moved");
            ErrorCode::KafkaStorageError.to_i16()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorCode::{KafkaStorageError, NotLeaderOrFollower, ReplicaNotAvailable, UnknownTopicOrPartition};

    #[test]
    fn what_is_refused_is_refused_in_kafkas_order() {
        let refuse = Answer::Refuse;
        assert_eq!(
            answer(false, Wanted::Unknown, Replica::There, true),
            refuse(ErrorCode::InvalidTopicException)
        );
        assert_eq!(answer(true, Wanted::Unknown, Replica::Offline, true), refuse(ErrorCode::LogDirNotFound));
        assert_eq!(answer(true, Wanted::Offline, Replica::There, true), refuse(KafkaStorageError));
        let cordoned = ErrorCode::InvalidReplicaAssignment;
        assert_eq!(answer(true, Wanted::Cordoned, Replica::There, false), refuse(cordoned));
        assert_eq!(answer(true, Wanted::Usable, Replica::Offline, false), refuse(KafkaStorageError));
        assert_eq!(answer(true, Wanted::Usable, Replica::Elsewhere, true), refuse(KafkaStorageError));
    }

    #[test]
    fn a_replica_that_is_not_made_yet_is_wished_there() {
        let absent = |error| answer(true, Wanted::Usable, Replica::Absent(error), true);
        assert_eq!(absent(NotLeaderOrFollower), Answer::Wish(ReplicaNotAvailable));
        assert_eq!(absent(UnknownTopicOrPartition), Answer::Wish(UnknownTopicOrPartition));
    }

    #[test]
    fn only_what_lies_elsewhere_is_moved() {
        for is_offline in [false, true] {
            assert_eq!(answer(true, Wanted::Usable, Replica::There, is_offline), Answer::Stay);
            assert_eq!(answer(true, Wanted::Usable, Replica::ComingThere, is_offline), Answer::Stay);
        }
        assert_eq!(answer(true, Wanted::Usable, Replica::Elsewhere, false), Answer::Move);
    }
}
