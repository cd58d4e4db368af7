//! What ShareFetch and ShareAcknowledge have in common: what a member says of records finds its share partition.
//!
//! It checks what can be seen without one.

use crate::{Broker, context::Context, share_partitions::SharePartitions};
use futures_util::future::join_all;
use model::{GroupId, TopicId};
use share::{Acknowledged, Kind, MemberId, PartitionKey};
use std::sync::Arc;
use wire::ErrorCode;

/// From this version on locks can be prolonged (KIP-1222).
pub(super) const VERSION_WITH_RENEWAL: i16 = 2;
/// The longest id of a member.
const MEMBER_ID_CHARS_MAX: usize = 36;

/// A stretch of records as the request has it.
pub(super) struct Stretch {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) types: Vec<i8>,
}

/// What a request says of the records of one partition.
pub(super) struct Said {
    pub(super) partition: PartitionKey,
    pub(super) stretches: Vec<Stretch>,
}

/// What became of it.
pub(super) type Result = std::result::Result<(), ErrorCode>;

/// Who speaks.
pub(super) struct Speaker {
    pub(super) group: GroupId,
    pub(super) member: MemberId,
    /// Whether the client knows how to prolong locks, and says that it does so here.
    pub(super) knows_renewal: bool,
    pub(super) is_renewal: bool,
}

/// The group and the member of a request, if both are named as they must be.
pub(super) fn speaker(
    context: &Context,
    (group, member): (Option<&str>, Option<&str>),
    is_renewal: bool,
) -> std::result::Result<Speaker, &'static str> {
    let group = group.ok_or("Invalid group id in the request.")?;
    let is_id = |member: &&str| !member.is_empty() && member.encode_utf16().count() <= MEMBER_ID_CHARS_MAX;
    let member = member.filter(is_id).ok_or("Invalid member id in the request.")?;
    Ok(Speaker {
        group: GroupId::new(group),
        member: member.into(),
        knows_renewal: context.version >= VERSION_WITH_RENEWAL,
        is_renewal,
    })
}

/// Takes over all of it; of each partition all or nothing.
pub(super) async fn take(
    broker: &Arc<Broker>,
    speaker: &Speaker,
    said: Vec<Said>,
) -> Vec<(PartitionKey, Result)> {
    let taking = said.into_iter().map(async |said| {
        let partition = said.partition;
        (partition, take_one(broker, speaker, said).await)
    });
    join_all(taking).await
}

async fn take_one(broker: &Arc<Broker>, speaker: &Speaker, said: Said) -> Result {
    let image = broker.image();
    let topic = image.topic_by_id(said.partition.topic).ok_or(ErrorCode::UnknownTopicId)?;
    let all = to_acknowledged(speaker, said.stretches).ok_or(ErrorCode::InvalidRequest)?;
    topic.partition(said.partition.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if all.is_empty() {
        return Ok(());
    }
    let host = broker.shares.get(&speaker.group, said.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    host.acknowledge(&speaker.member, &all).await
}

/// `None` if it makes no sense whatever the records are.
fn to_acknowledged(speaker: &Speaker, stretches: Vec<Stretch>) -> Option<Vec<Acknowledged>> {
    let mut all = Vec::with_capacity(stretches.len());
    let mut before = -1;
    for Stretch { first, last, types } in stretches {
        let is_each = types.len() > 1;
        let count = usize::try_from(last.checked_sub(first)?).ok()?.checked_add(1)?;
        if first < before || types.is_empty() || is_each && types.len() != count {
            return None;
        }
        before = last;
        let kind = |number: i8| {
            let kind = Kind::from_number(number)?;
            let may_be = kind != Kind::Renew || speaker.knows_renewal && speaker.is_renewal;
            may_be.then_some(kind)
        };
        let kinds = types.into_iter().map(kind).collect::<Option<Vec<Kind>>>()?;
        all.push(Acknowledged { first, last, kinds });
    }
    Some(all)
}

/// Ends the member's session, beside the answer: what it still has comes back.
pub(super) fn end_session(broker: &Arc<Broker>, speaker: &Speaker) {
    let key = share::SessionKey { group: speaker.group.clone(), member: speaker.member.clone() };
    SharePartitions::end_session(broker, key);
}

/// How long records are a member's in this group.
pub(super) fn lock_ms(broker: &Broker, group: &GroupId) -> i32 {
    i32::try_from(crate::log_config::of_share_partition(broker, group).lock_ms).unwrap_or(i32::MAX)
}

/// Whether an error sends the client to another broker.
pub(super) fn is_elsewhere(code: i16) -> bool {
    [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch].iter().any(|error| error.to_i16() == code)
}

/// Puts what belongs to one topic side by side, in the order in which the topics first came.
pub(super) fn by_topic<T>(all: Vec<(PartitionKey, T)>) -> Vec<(TopicId, Vec<(i32, T)>)> {
    let mut topics: Vec<(TopicId, Vec<(i32, T)>)> = Vec::new();
    let mut places = stdx::Map::default();
    for (key, one) in all {
        let place = *places.entry(key.topic).or_insert(topics.len());
        match topics.get_mut(place) {
            Some((_, partitions)) => partitions.push((key.partition, one)),
            None => topics.push((key.topic, vec![(key.partition, one)])),
        }
    }
    topics
}

/// The text that goes with the code of an acknowledgement's result.
pub(super) fn code_and_name(result: Result) -> (i16, Option<String>) {
    super::code_and_name(result.err())
}
