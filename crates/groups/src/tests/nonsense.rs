//! Clients that ask anything at any time, with ids that are right, old, or made up: each is answered once, and the
//! coordinator stays consistent.

use super::desk::*;
use crate::*;
use bytes::Bytes;

struct Crowd {
    desk: Desk,
    chance: Chance,
    waiting: Vec<Token>,
    ids: Vec<MemberId>,
    joined: usize,
    synced: usize,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let mut desk = Desk::with(Config { group_members_max: 4, ..config() });
        desk.commits_at_once = false;
        let ids = vec!["".into(), "".into(), "who".into()];
        Self { desk, chance: Chance(seed), waiting: Vec::new(), ids, joined: 0, synced: 0 }
    }

    fn instance(&mut self) -> Option<InstanceId> {
        self.chance.one_of(&[None, None, None, None, None, Some("i"), Some("j")]).map(Into::into)
    }

    fn generation(&mut self) -> i32 {
        let newest = self.desk.coordinator.groups().map(|view| view.generation).max().unwrap_or(0);
        self.chance.one_of(&[newest, newest, newest, -1, 0, newest + 1])
    }

    fn join(&mut self) -> JoinGroup {
        let metadata =
            self.chance.one_of(&[subscribed(&["t"]), subscribed(&["u"]), Bytes::from_static(b"?")]);
        let names =
            self.chance.one_of(&[&["range", "sticky"][..], &["sticky"], &["range"], &[], &["x", "x"]]);
        JoinGroup {
            member_id: self.chance.one_of(&self.ids),
            instance_id: self.instance(),
            session_timeout_ms: self.chance.one_of(&[6000, 30_000, 30_000, 1_800_000, -1]),
            rebalance_timeout_ms: self.chance.one_of(&[0, -5, 10_000, 100_000, i32::MAX]),
            protocol_type: self
                .chance
                .one_of(&["consumer", "consumer", "consumer", "consumer", "connect"])
                .into(),
            protocols: protocols(names, &metadata),
            require_known_member_id: self.chance.below(2) == 0,
            supports_skipping_assignment: self.chance.below(2) == 0,
            fresh_id: self.desk.fresh_id(),
            ..join("x")
        }
    }

    fn request(&mut self) -> Request {
        let (member_id, instance_id) = (self.chance.one_of(&self.ids), self.instance());
        let generation = self.generation();
        match self.chance.below(14) {
            0..4 => Request::JoinGroup(self.join()),
            4..6 | 12.. => Request::SyncGroup(SyncGroup {
                group: group(),
                generation,
                member_id,
                instance_id,
                protocol_type: None,
                protocol: self.chance.one_of(&[None, None, Some("range".into())]),
                assignments: assign(&self.ids),
            }),
            6 => Request::Heartbeat(Heartbeat { group: group(), generation, member_id, instance_id }),
            7 => {
                let one = LeavingMember { member_id, instance_id, reason: None };
                let members = vec![one; self.chance.below(3) as usize];
                Request::LeaveGroup(LeaveGroup { group: group(), members })
            }
            8 => {
                Request::OffsetCommit(OffsetCommit { instance_id, ..commit(generation, &member_id, "t", 1) })
            }
            9 => fetch("t", self.chance.below(2) == 0),
            10 => Request::DeleteGroups { groups: vec![group(); 2] },
            11.. => Request::OffsetDelete(OffsetDelete {
                group: group(),
                topics: vec![FetchTopic {
                    topic: topic("t"),
                    topic_id: stdx::Uuid::ZERO,
                    partitions: vec![0, 0],
                }],
            }),
        }
    }

    fn stir(&mut self) {
        match self.chance.below(20) {
            0..12 => {
                let request = self.request();
                let token = self.desk.send(request);
                self.waiting.push(token);
            }
            12..17 => self.desk.commit_one(),
            17 if !self.desk.appends.is_empty() => self.desk.fail(AppendFailure::TooLarge),
            18 if self.chance.below(50) == 0 => self.desk.crash(),
            _ => {
                let ms = 1 << self.chance.below(14);
                self.desk.pass(ms);
            }
        }
        for token in std::mem::take(&mut self.waiting) {
            match self.desk.take(token) {
                Some(Ok(Reply::JoinGroup(joined))) => {
                    self.ids.push(joined.member_id);
                    self.joined += 1;
                }
                Some(Ok(Reply::SyncGroup(_))) => self.synced += 1,
                Some(Err(Error::MemberIdRequired(id))) => self.ids.push(id),
                Some(_) => {}
                None => self.waiting.push(token),
            }
        }
        // The newest ids are the ones that may still be right.
        if self.ids.len() > 10 {
            self.ids.remove(3);
        }
        assert_consistent(&self.desk.coordinator);
    }
}

#[test]
fn nonsense_is_answered_once_and_does_no_harm() {
    let (mut joined, mut synced) = (0, 0);
    for seed in 0..60 {
        let mut crowd = Crowd::new(seed);
        for _ in 0..1500 {
            crowd.stir();
        }
        (joined, synced) = (joined + crowd.joined, synced + crowd.synced);
        crowd.desk.commits_at_once = true;
        crowd.desk.commit();
        // The longest session there is; with a rebalance timeout of 25 days nothing else ends some waits.
        crowd.desk.pass(2 * 1_800_000);
        assert!(crowd.desk.unanswered.is_empty(), "seed {seed}: {:?}", crowd.desk.unanswered);
    }
    assert!(joined > 500 && synced > 100, "it is not all refused: {joined}, {synced}");
}
