//! A member of a share group from the client's side: its heartbeats, its session, what it fetched and says of it.

use super::{Client, Topic, values};
use wire::{
    ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse,
    ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, share_acknowledge_request as acknowledge,
    share_fetch_request as fetch,
};

/// Versions of the share APIs that have more than one.
pub(crate) const NEWEST: i16 = 2;

/// A member with a session of its own.
pub(crate) struct Sharing {
    pub(crate) group: &'static str,
    pub(crate) member: &'static str,
    pub(crate) session_epoch: i32,
    pub(crate) version: i16,
}

/// Records of one answer: offset, value and how often they were delivered.
pub(crate) type Got = Vec<(i64, String, i16)>;

impl Sharing {
    pub(crate) fn new(group: &'static str, member: &'static str) -> Self {
        Self { group, member, session_epoch: 0, version: NEWEST }
    }

    pub(crate) async fn beat(
        &self,
        client: &mut Client,
        member_epoch: i32,
        topics: Option<&[&str]>,
    ) -> ShareGroupHeartbeatResponse {
        let request = ShareGroupHeartbeatRequest {
            group_id: self.group.into(),
            member_id: self.member.into(),
            member_epoch,
            rack_id: None,
            subscribed_topic_names: topics.map(|names| names.iter().map(|name| name.to_string()).collect()),
        };
        client.call(1, &request).await
    }

    /// A fetch of partition 0, which waits for at most so long.
    pub(crate) fn fetch_request(&self, topic: &Topic, max_wait_ms: i32) -> ShareFetchRequest {
        let partition = fetch::FetchPartition { partition_index: 0, ..Default::default() };
        ShareFetchRequest {
            group_id: Some(self.group.into()),
            member_id: Some(self.member.into()),
            share_session_epoch: self.session_epoch,
            max_wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: 500,
            batch_size: 500,
            topics: vec![fetch::FetchTopic { topic_id: topic.id, partitions: vec![partition] }],
            ..Default::default()
        }
    }

    pub(crate) async fn call(
        &mut self,
        client: &mut Client,
        request: &ShareFetchRequest,
    ) -> ShareFetchResponse {
        let response = client.call(self.version, request).await;
        if response.error_code == 0 {
            self.session_epoch = request.share_session_epoch + 1;
        }
        response
    }

    /// Begins a session with a fetch of partition 0; whatever comes of it.
    pub(crate) async fn send_fetch(&self, client: &mut Client, topic: &Topic) {
        client.call(self.version, &self.fetch_request(topic, 100)).await;
    }

    /// Fetches partition 0 and takes the records apart.
    pub(crate) async fn fetch(&mut self, client: &mut Client, topic: &Topic, max_wait_ms: i32) -> Got {
        let request = self.fetch_request(topic, max_wait_ms);
        let response = self.call(client, &request).await;
        assert_eq!(response.error_code, 0, "{:?}", response.error_message);
        got(&response)
    }

    /// Says what became of records of partition 0.
    pub(crate) fn acknowledgement(
        &self,
        topic: &Topic,
        first: i64,
        last: i64,
        kind: i8,
    ) -> ShareAcknowledgeRequest {
        let batch = acknowledge::AcknowledgementBatch {
            first_offset: first,
            last_offset: last,
            acknowledge_types: vec![kind],
        };
        let partition =
            acknowledge::AcknowledgePartition { partition_index: 0, acknowledgement_batches: vec![batch] };
        ShareAcknowledgeRequest {
            group_id: Some(self.group.into()),
            member_id: Some(self.member.into()),
            share_session_epoch: self.session_epoch,
            is_renew_ack: kind == 4 && self.version >= 2,
            topics: vec![acknowledge::AcknowledgeTopic { topic_id: topic.id, partitions: vec![partition] }],
        }
    }

    /// The same, sent; the code of the whole and of the partition.
    pub(crate) async fn acknowledge(
        &mut self,
        client: &mut Client,
        topic: &Topic,
        (first, last): (i64, i64),
        kind: i8,
    ) -> (i16, i16) {
        let request = self.acknowledgement(topic, first, last, kind);
        let response: ShareAcknowledgeResponse = client.call(self.version, &request).await;
        if response.error_code == 0 {
            self.session_epoch += 1;
        }
        let of_partition = response.responses.first().map_or(-1, |topic| topic.partitions[0].error_code);
        (response.error_code, of_partition)
    }
}

/// The records of an answer that are the member's.
pub(crate) fn got(response: &ShareFetchResponse) -> Got {
    let mut all = Vec::new();
    for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
        assert_eq!(data.error_code, 0, "{:?}", data.error_message);
        for (offset, value) in values(data.records.to_bytes().unwrap()) {
            let acquired = data
                .acquired_records
                .iter()
                .find(|one| (one.first_offset..=one.last_offset).contains(&offset));
            all.extend(acquired.map(|one| (offset, value, one.delivery_count)));
        }
    }
    all
}
