use super::desk::*;
use crate::*;
use model::GroupId;
use stdx::Uuid;

fn delete_groups(names: &[&str]) -> Request {
    Request::DeleteGroups { groups: names.iter().map(|name| GroupId::new(name)).collect() }
}

fn deleted(reply: Result<Reply, Error>) -> Vec<Option<Error>> {
    let Ok(Reply::DeleteGroups(deleted)) = reply else { panic!("{reply:?}") };
    deleted.into_iter().map(|deleted| deleted.error).collect()
}

fn delete_offsets(topics: &[&str]) -> Request {
    let topics = topics.iter().map(|name| FetchTopic {
        topic: topic(name),
        topic_id: Uuid::ZERO,
        partitions: vec![0, 1],
    });
    Request::OffsetDelete(OffsetDelete { group: group(), topics: topics.collect() })
}

fn errors(reply: Result<Reply, Error>) -> Vec<Option<Error>> {
    let Ok(Reply::OffsetDelete(topics)) = reply else { panic!("{reply:?}") };
    topics.into_iter().flat_map(|topic| topic.partitions).map(|(_, error)| error).collect()
}

#[test]
fn only_empty_groups_are_deleted_and_with_them_their_offsets() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    desk.ask(Request::OffsetCommit(commit(1, &ids[0], "t", 1))).unwrap();
    let reply = desk.ask(delete_groups(&["g", "none"]));
    assert_eq!(deleted(reply), [Some(Error::NonEmptyGroup), Some(Error::GroupIdNotFound)]);
    desk.pass(MINUTE);
    assert_eq!(desk.state(), Some(State::Empty));
    assert_eq!(deleted(desk.ask(delete_groups(&["g", "g"]))), [None, Some(Error::GroupIdNotFound)]);
    assert_eq!((desk.state(), desk.coordinator.offsets().count()), (None, 0));
    let tombstones = desk.log.iter().rev().take(2).collect::<Vec<_>>();
    assert_eq!(tombstones[0], &Record::GroupRemoved { group: group() });
    assert!(matches!(tombstones[1], Record::OffsetRemoved { .. }));
    desk.crash();
    assert_eq!(desk.state(), None);
}

#[test]
fn while_a_group_is_being_deleted_clients_are_told_to_try_again() {
    let mut desk = Desk::new();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 1))).unwrap();
    desk.commits_at_once = false;
    let token = desk.send(delete_groups(&["g"]));
    assert_eq!(desk.state(), Some(State::Dead));
    let late = Request::OffsetCommit(commit(-1, "", "t", 2));
    assert_eq!(desk.ask(late.clone()), Err(Error::CoordinatorNotAvailable));
    let join = desk.send_join(join("a"));
    assert_eq!(desk.joined(join), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!(fetched(desk.ask(fetch("t", false))), 1, "it is not gone yet");
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!(desk.state(), Some(State::Empty));
    desk.commits_at_once = true;
    assert!(desk.ask(late).is_ok());
    assert_eq!(fetched(desk.ask(fetch("t", false))), 2);
}

#[test]
fn a_deletion_takes_commits_under_way_along() {
    let mut desk = Desk::new();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 1))).unwrap();
    desk.commits_at_once = false;
    desk.send(Request::OffsetCommit(commit(-1, "", "u", 1)));
    desk.send(delete_groups(&["g"]));
    desk.commit();
    assert_eq!((desk.state(), desk.coordinator.offsets().count()), (None, 0));
    assert_eq!(desk.rebuilt().offsets().count(), 0);
}

#[test]
fn offsets_of_subscribed_topics_stay() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    for name in ["t", "u"] {
        desk.ask(Request::OffsetCommit(commit(1, &ids[0], name, 1))).unwrap();
    }
    let subscribed = Some(Error::GroupSubscribedToTopic);
    let reply = desk.ask(delete_offsets(&["t", "u", "v"]));
    assert_eq!(errors(reply), [subscribed.clone(), subscribed, None, None, None, None]);
    assert_eq!(desk.coordinator.offsets().map(|view| &**view.topic).collect::<Vec<_>>(), ["t"]);
    assert_eq!(
        desk.log.last(),
        Some(&Record::OffsetRemoved { group: group(), topic: topic("u"), partition: 0 })
    );
    desk.pass(MINUTE);
    assert_eq!(errors(desk.ask(delete_offsets(&["t"]))), [None, None], "nobody is left to be subscribed");
    assert_eq!(desk.coordinator.offsets().count(), 0);
}

#[test]
fn where_subscriptions_are_unknown_nothing_is_deleted_under_a_consumer() {
    let mut desk = Desk::new();
    let unreadable = protocols(&["range"], &b"?"[..].into());
    desk.stable(vec![JoinGroup { protocols: unreadable, ..join("a") }]);
    let subscribed = Some(Error::GroupSubscribedToTopic);
    assert_eq!(errors(desk.ask(delete_offsets(&["t"]))), [subscribed.clone(), subscribed]);
}

#[test]
fn offsets_of_other_groups_with_members_stay() {
    let mut desk = Desk::new();
    assert_eq!(desk.ask(delete_offsets(&["t"])), Err(Error::GroupIdNotFound));
    let token = desk.send_join(JoinGroup { protocol_type: "connect".into(), ..join("a") });
    desk.pass(3 * SECOND);
    assert!(desk.joined(token).unwrap().is_ok());
    assert_eq!(desk.ask(delete_offsets(&["t"])), Err(Error::NonEmptyGroup));
}

#[test]
fn deleting_an_offset_under_way_leaves_none() {
    let mut desk = Desk::new();
    desk.ask(Request::OffsetCommit(commit(-1, "", "u", 1))).unwrap();
    desk.commits_at_once = false;
    desk.send(Request::OffsetCommit(commit(-1, "", "t", 1)));
    desk.send(delete_offsets(&["t"]));
    desk.commit();
    assert_eq!(fetched(desk.ask(fetch("t", true))), -1);
}

#[test]
fn the_offsets_of_a_deleted_topic_go_unless_they_belong_to_its_namesake() {
    let mut desk = Desk::new();
    let with_id = |name, id| {
        let mut request = commit(-1, "", name, 1);
        request.topics[0].topic_id = Uuid([id; 16]);
        Request::OffsetCommit(request)
    };
    for (name, id) in [("a", 1), ("b", 2), ("c", 0), ("d", 1)] {
        desk.ask(with_id(name, id)).unwrap();
    }
    desk.commits_at_once = false;
    desk.send(with_id("e", 1));
    let gone = ["a", "b", "c", "e"].map(|name| DeletedTopic { name: topic(name), id: Uuid([1; 16]) });
    desk.tell(Event::TopicsDeleted(gone.to_vec()));
    desk.commit();
    assert_eq!(desk.coordinator.offsets().map(|view| &**view.topic).collect::<Vec<_>>(), ["b", "d"]);
}

#[test]
fn many_tombstones_are_appended_in_pieces() {
    let mut desk = Desk::new();
    let name = "x".repeat(249);
    let mut request = commit(-1, "", &name, 1);
    let one = request.topics[0].partitions[0].clone();
    request.topics[0].partitions =
        (0..5000).map(|partition| CommitPartition { partition, ..one.clone() }).collect();
    desk.ask(Request::OffsetCommit(request)).unwrap();
    desk.commits_at_once = false;
    desk.tell(Event::TopicsDeleted(vec![DeletedTopic { name: topic(&name), id: Uuid::ZERO }]));
    assert!(desk.appends.len() > 4, "{}", desk.appends.len());
    assert!(desk.appends.iter().all(|(_, records)| records.len() * 320 < 512 * 1024));
    desk.commit();
    assert_eq!(desk.coordinator.offsets().count(), 0);
}
