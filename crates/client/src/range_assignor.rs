//! The range assignor and the bytes in which members of a classic group tell their topics and get their partitions.
//!
//! It knows no racks. The leader of a group asks it once per generation; the same members and topics give the same
//! partitions as Kafka's own assignor does without racks.

use bytes::Bytes;
use model::PartitionIndex;
use std::collections::{BTreeMap, BTreeSet};
use wire::{
    EncodeError, Message,
    record::{
        consumer_protocol_assignment::{ConsumerProtocolAssignment, TopicPartition},
        consumer_protocol_subscription::ConsumerProtocolSubscription,
    },
};

/// Partitions by topic.
pub(crate) type Assignment = BTreeMap<String, Vec<PartitionIndex>>;

/// A member as the assignor sees it.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) topics: BTreeSet<String>,
}

/// Gives each member of each topic a run of neighbouring partitions; the first members get one more where it does
/// not come out even. Topics without a count of partitions are left out.
pub(crate) fn assign(
    subscribers: &[Subscriber],
    partitions: &BTreeMap<String, usize>,
) -> BTreeMap<String, Assignment> {
    let mut assigned: BTreeMap<String, Assignment> =
        subscribers.iter().map(|subscriber| (subscriber.member_id.clone(), Assignment::new())).collect();
    // Static members come first, by instance, as in Kafka's own assignor.
    let mut order: Vec<_> = subscribers.iter().collect();
    order.sort_by(|a, b| match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.member_id.cmp(&b.member_id),
    });
    for (topic, count) in partitions {
        let members: Vec<_> = order.iter().filter(|member| member.topics.contains(topic)).collect();
        let (each, more) = (count / members.len().max(1), count % members.len().max(1));
        let mut next = 0;
        for (index, member) in members.into_iter().enumerate() {
            let take = each + usize::from(index < more);
            let run = (next..next + take).map(|partition| partition as PartitionIndex).collect::<Vec<_>>();
            next += take;
            if let Some(assignment) = assigned.get_mut(&member.member_id).filter(|_| take > 0) {
                assignment.insert(topic.clone(), run);
            }
        }
    }
    assigned
}

/// A subscription as the group's members exchange it: a version and the message.
pub(crate) fn encode_subscription(topics: &BTreeSet<String>) -> Result<Bytes, EncodeError> {
    let subscription =
        ConsumerProtocolSubscription { topics: topics.iter().cloned().collect(), ..Default::default() };
    versioned(&subscription)
}

/// The topics of a subscription of any version; `None` if it is malformed.
pub(crate) fn decode_subscription(bytes: &Bytes) -> Option<BTreeSet<String>> {
    let subscription: ConsumerProtocolSubscription = of_version(bytes)?;
    Some(subscription.topics.into_iter().collect())
}

/// An assignment as the group's leader gives it to a member.
pub(crate) fn encode_assignment(assignment: &Assignment) -> Result<Bytes, EncodeError> {
    let assigned_partitions = assignment
        .iter()
        .map(|(topic, partitions)| TopicPartition { topic: topic.clone(), partitions: partitions.clone() })
        .collect();
    versioned(&ConsumerProtocolAssignment { assigned_partitions, ..Default::default() })
}

/// The partitions of an assignment of any version; nothing for no bytes, `None` if they are malformed.
pub(crate) fn decode_assignment(bytes: &Bytes) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::new());
    }
    let assignment: ConsumerProtocolAssignment = of_version(bytes)?;
    Some(assignment.assigned_partitions.into_iter().map(|topic| (topic.topic, topic.partitions)).collect())
}

/// Version 0 is read by every member there is, and later ones only carry what cooperative assignors need.
fn versioned<M: Message>(message: &M) -> Result<Bytes, EncodeError> {
    let body = message.to_parts(0)?.to_bytes().unwrap_or_default();
    Ok([&0i16.to_be_bytes()[..], &body].concat().into())
}

fn of_version<M: Message>(bytes: &Bytes) -> Option<M> {
    let version = i16::from_be_bytes(*bytes.first_chunk()?);
    // A newer version begins as the newest that is known does.
    let version = version.min(*M::VERSIONS.end());
    M::from_bytes(bytes.slice(2..), version).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(member_id: &str, instance_id: Option<&str>, topics: &[&str]) -> Subscriber {
        Subscriber {
            member_id: member_id.into(),
            instance_id: instance_id.map(str::to_owned),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        }
    }

    fn shown(assigned: &BTreeMap<String, Assignment>) -> Vec<String> {
        assigned.iter().map(|(member, assignment)| format!("{member} {assignment:?}")).collect()
    }

    #[test]
    fn the_first_members_get_one_partition_more() {
        let members = [subscriber("b", None, &["t", "u"]), subscriber("a", None, &["t"])];
        let partitions = [("t".to_owned(), 3), ("u".to_owned(), 2)].into();
        assert_eq!(
            shown(&assign(&members, &partitions)),
            [r#"a {"t": [0, 1]}"#, r#"b {"t": [2], "u": [0, 1]}"#]
        );
    }

    #[test]
    fn members_without_partitions_get_an_empty_assignment_and_static_ones_come_first() {
        let members = [subscriber("a", None, &["t"]), subscriber("z", Some("1"), &["t"])];
        let partitions = [("t".to_owned(), 1)].into();
        assert_eq!(shown(&assign(&members, &partitions)), ["a {}", r#"z {"t": [0]}"#]);
    }

    #[test]
    fn subscriptions_and_assignments_have_kafkas_bytes_and_read_back() {
        let topics: BTreeSet<_> = ["t".to_owned()].into();
        let bytes = encode_subscription(&topics).unwrap();
        assert_eq!(&bytes[..], b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
        assert_eq!(decode_subscription(&bytes), Some(topics));
        let assignment: Assignment = [("t".to_owned(), vec![0, 2])].into();
        let bytes = encode_assignment(&assignment).unwrap();
        assert_eq!(&bytes[..], b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff");
        assert_eq!(decode_assignment(&bytes), Some(assignment));
        assert_eq!(decode_assignment(&Bytes::new()), Some(Assignment::new()));
        assert_eq!(decode_assignment(&Bytes::from_static(b"\0\0\0\0\0\x09")), None);
    }
}
