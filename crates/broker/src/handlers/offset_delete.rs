//! OffsetDelete (key 47): forgets committed positions of topics that the group no longer reads (KIP-496).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, FetchTopic, OffsetDelete, Reply, Request};
use model::GroupId;
use std::sync::Arc;
use stdx::Map;
use wire::{
    ErrorCode, OffsetDeleteRequest, OffsetDeleteResponse,
    offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group = GroupId::new(&request.group_id);
    let image = broker.image();
    let (mut known, mut topics) = (Vec::new(), Answers::default());
    for topic in request.topics {
        let found = image.topic(&topic.name);
        let exists = |index: i32| found.is_some_and(|found| found.partition(index).is_some());
        let (there, gone): (Vec<_>, Vec<_>) =
            topic.partitions.iter().map(|one| one.partition_index).partition(|index| exists(*index));
        let gone = gone.into_iter().map(|index| (index, ErrorCode::UnknownTopicOrPartition.to_i16()));
        topics.push(&topic.name, gone);
        if let (Some(found), false) = (found, there.is_empty()) {
            known.push(FetchTopic { topic: found.name.clone(), topic_id: found.id, partitions: there });
        }
    }
    let order = Request::OffsetDelete(OffsetDelete { group: group.clone(), topics: known });
    let error = match broker.groups.ask(&group, order).await {
        Ok(Reply::OffsetDelete(results)) => {
            for topic in results {
                let partitions = topic.partitions.into_iter();
                topics.push(
                    &topic.topic,
                    partitions.map(|(index, error)| (index, failure_code::of_group_result(error.as_ref()))),
                );
            }
            return OffsetDeleteResponse { topics: topics.rows, ..OffsetDeleteResponse::default() };
        }
        Ok(_) => Error::UnknownServerError,
        Err(error) => error,
    };
    OffsetDeleteResponse {
        error_code: failure_code::of_groups(&error).to_i16(),
        ..OffsetDeleteResponse::default()
    }
}

/// The answer as it grows: one row for each topic, in the order in which they first came.
#[derive(Default)]
struct Answers {
    rows: Vec<OffsetDeleteResponseTopic>,
    places: Map<String, usize>,
}

impl Answers {
    fn push(&mut self, name: &str, partitions: impl Iterator<Item = (i32, i16)>) {
        let mut partitions = partitions
            .map(|(partition_index, error_code)| OffsetDeleteResponsePartition {
                partition_index,
                error_code,
            })
            .peekable();
        if partitions.peek().is_none() {
            return;
        }
        let place = *self.places.entry(name.to_owned()).or_insert(self.rows.len());
        match self.rows.get_mut(place) {
            Some(topic) => topic.partitions.extend(partitions),
            None => self
                .rows
                .push(OffsetDeleteResponseTopic { name: name.to_owned(), partitions: partitions.collect() }),
        }
    }
}
