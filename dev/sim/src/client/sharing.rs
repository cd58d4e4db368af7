//! A share session (KIP-932) with the leader of one partition: what is fetched in it and what is said of it, as the history
//! tells it. It decides nothing; `sharer` and the oracle do.

use super::{Ground, Link, Lost};
use crate::history::{Delivered, Event, Place, Verdict};
use std::sync::Arc;
use stdx::Uuid;
use wire::{
    ErrorCode, ShareAcknowledgeRequest, ShareFetchRequest, ShareGroupHeartbeatRequest,
    share_acknowledge_request as acknowledge, share_fetch_request as fetch,
};

/// A session.
pub(super) struct Sharing {
    ground: Ground,
    group: Arc<str>,
    member: Arc<str>,
    place: Place,
    topic_id: Uuid,
    epoch: i32,
}

/// How a fetch is asked.
pub(super) struct Wish {
    pub(super) records_max: i32,
    pub(super) wait_ms: i32,
    /// Never more than `records_max` (KIP-1206).
    pub(super) is_strict: bool,
}

/// The version in which locks can be prolonged.
const VERSION: i16 = 2;

/// Joins a group: until somebody has, its partitions have no state.
pub(super) async fn join(
    link: &mut Link,
    (group, member): (&str, &str),
    topics: Vec<String>,
) -> Result<(), Lost> {
    let request = ShareGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: 0,
        rack_id: None,
        subscribed_topic_names: Some(topics),
    };
    let answer = link.ask(1, &request).await?;
    if answer.error_code == 0 { Ok(()) } else { Err(Lost) }
}

impl Sharing {
    pub(super) fn new(
        ground: &Ground,
        (group, member): (Arc<str>, Arc<str>),
        (place, topic_id): (Place, Uuid),
    ) -> Self {
        Self { ground: ground.clone(), group, member, place, topic_id, epoch: 0 }
    }

    /// What the member gets.
    pub(super) async fn fetch(&mut self, link: &mut Link, wish: &Wish) -> Result<Vec<Delivered>, Lost> {
        let partition = fetch::FetchPartition { partition_index: self.place.partition, ..Default::default() };
        let topic = fetch::FetchTopic { topic_id: self.topic_id, partitions: vec![partition] };
        let request = ShareFetchRequest {
            group_id: Some(self.group.to_string()),
            member_id: Some(self.member.to_string()),
            share_session_epoch: self.epoch,
            max_wait_ms: wish.wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: wish.records_max,
            batch_size: wish.records_max,
            share_acquire_mode: i8::from(wish.is_strict),
            topics: if self.epoch == 0 { vec![topic] } else { Vec::new() },
            ..Default::default()
        };
        let (group, place) = (self.group.clone(), self.place.clone());
        let (asked, was_leader) = (self.ground.history.ask(), self.ground.is_leader(link, &place));
        let answer = match link.ask(VERSION, &request).await {
            Ok(answer) => answer,
            Err(lost) => {
                self.ground.history.tell(Event::ShareUnanswered { group, place });
                return Err(lost);
            }
        };
        if answer.error_code != 0 {
            return Err(Lost);
        }
        self.epoch += 1;
        let data: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partitions).collect();
        let acquired: Vec<Delivered> = data
            .iter()
            .flat_map(|data| &data.acquired_records)
            .map(|one| (one.first_offset, one.last_offset, one.delivery_count))
            .collect();
        if !acquired.is_empty() {
            self.ground.history.tell(Event::ShareAcquired {
                group,
                member: self.member.clone(),
                request: asked,
                acquired: acquired.clone(),
                is_current: was_leader && self.ground.is_leader(link, &place),
                place,
            });
        }
        let is_well = data.iter().all(|data| data.error_code == ErrorCode::None.to_i16());
        if is_well { Ok(acquired) } else { Err(Lost) }
    }

    /// Says what became of records; whether that was taken.
    pub(super) async fn say(
        &mut self,
        link: &mut Link,
        (first, last): (i64, i64),
        verdict: Verdict,
    ) -> Result<bool, Lost> {
        let batch = acknowledge::AcknowledgementBatch {
            first_offset: first,
            last_offset: last,
            acknowledge_types: vec![verdict as i8],
        };
        let partition = acknowledge::AcknowledgePartition {
            partition_index: self.place.partition,
            acknowledgement_batches: vec![batch],
        };
        let topic = acknowledge::AcknowledgeTopic { topic_id: self.topic_id, partitions: vec![partition] };
        let request = ShareAcknowledgeRequest {
            group_id: Some(self.group.to_string()),
            member_id: Some(self.member.to_string()),
            share_session_epoch: self.epoch,
            is_renew_ack: verdict == Verdict::Renew,
            topics: vec![topic],
        };
        let (group, member, place) = (self.group.clone(), self.member.clone(), self.place.clone());
        let asked = self.ground.history.ask();
        let (of, about) = ((group.clone(), place.clone()), (first, last));
        self.ground.history.tell(Event::ShareSaid { of: of.clone(), member: member.clone(), about, verdict });
        let answer = link.ask(VERSION, &request).await?;
        if answer.error_code != 0 {
            return Err(Lost);
        }
        self.epoch += 1;
        let is_taken =
            answer.responses.iter().flat_map(|topic| &topic.partitions).all(|data| data.error_code == 0);
        if is_taken && !answer.responses.is_empty() {
            self.ground.history.tell(Event::ShareTaken { of, member, request: asked, about, verdict });
        }
        Ok(is_taken)
    }

    /// Ends the session: what the member still has comes back.
    pub(super) async fn close(self, link: &mut Link) -> Result<(), Lost> {
        let request = ShareAcknowledgeRequest {
            group_id: Some(self.group.to_string()),
            member_id: Some(self.member.to_string()),
            share_session_epoch: -1,
            ..Default::default()
        };
        link.ask(VERSION, &request).await.map(drop)
    }
}
