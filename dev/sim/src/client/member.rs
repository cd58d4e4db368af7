//! A member of a classic consumer group: joins, is told what it owns, reads from the committed offsets on, commits,
//! and goes: by leaving, by falling silent, or as a static member (KIP-345) that comes back. The leader shares the
//! partitions out one by one.

use super::{
    Ground, Link, Lost, Seek,
    committing::{self, Committing},
    fetching, reader,
};
use crate::{
    dice::Dice,
    history::{Event, Place},
};
use std::sync::Arc;
use stdx::Uuid;
use wire::{
    ErrorCode, FetchRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, SyncGroupRequest, join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
};

/// A member.
pub struct Member {
    ground: Ground,
    dice: Dice,
    name: String,
    who: Committing,
    places: Vec<(Place, Uuid)>,
}

/// Why a member stops doing what it does.
enum Stop {
    Lost,
    /// It must join again.
    Rejoin,
}

const SESSION_TIMEOUT_MS: i32 = 6000;
const REBALANCE_TIMEOUT_MS: i32 = 3000;
const PROTOCOL: &str = "one-by-one";
/// Static members are known from this version of JoinGroup on.
const JOIN_VERSION_WITH_INSTANCES: u64 = 5;

impl From<Lost> for Stop {
    fn from(_: Lost) -> Self {
        Stop::Lost
    }
}

impl Member {
    /// A member of `group`, static if the dice say so.
    pub fn new(
        ground: Ground,
        mut dice: Dice,
        number: u32,
        group: Arc<str>,
        places: Vec<(Place, Uuid)>,
    ) -> Self {
        let instance = dice.chance(40).then(|| format!("i{number}"));
        let who = Committing { group, generation: -1, member: String::new(), instance };
        Self { ground, dice, name: format!("member{number}"), who, places }
    }

    /// Takes part until the run ends.
    pub async fn run(mut self) {
        while !self.ground.rules.is_ended() {
            let (group, name) = (self.who.group.clone(), self.name.clone());
            let to = Seek::Coordinator(&group);
            let mut link = self.ground.connect(to, &name, &mut self.dice).await;
            while !self.ground.rules.is_ended() {
                match self.take_part(&mut link).await {
                    Err(Stop::Lost) => break,
                    Err(Stop::Rejoin) => {
                        self.ground.clock.sleep_ms(self.dice.range(10..=200)).await;
                        // Another node may coordinate by now.
                        if self.ground.coordinates(&link, &group).is_none() {
                            break;
                        }
                    }
                    Ok(()) => {}
                }
            }
        }
    }

    async fn take_part(&mut self, link: &mut Link) -> Result<(), Stop> {
        let find = FindCoordinatorRequest { key: self.who.group.to_string(), ..Default::default() };
        let found = link.ask(self.dice.range(0..=3) as i16, &find).await?;
        if found.error_code != 0 {
            return Err(Stop::Rejoin);
        }
        let joined = self.join(link).await?;
        let owned = self.sync(link, &joined).await?;
        let mut positions = Vec::new();
        for (place, id) in owned {
            let version = self.dice.range(1..=9) as i16;
            let committed = committing::fetch(&self.ground, link, &self.who.group, &place, version).await?;
            positions.push((place, id, committed.ok_or(Stop::Rejoin)?.max(0)));
        }
        for _ in 0..self.dice.range(3..=40) {
            if self.ground.rules.is_ended() {
                break;
            }
            self.poll(link, &mut positions).await?;
            self.heartbeat(link).await?;
            self.ground.clock.sleep_ms(self.dice.range(10..=300)).await;
        }
        self.go(link).await
    }

    async fn join(&mut self, link: &mut Link) -> Result<JoinGroupResponse, Stop> {
        let lowest = if self.who.instance.is_some() { JOIN_VERSION_WITH_INSTANCES } else { 1 };
        let version = self.dice.range(lowest..=9) as i16;
        let protocol = JoinGroupRequestProtocol { name: PROTOCOL.into(), metadata: self.name.clone().into() };
        let request = JoinGroupRequest {
            group_id: self.who.group.to_string(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.who.member.clone(),
            group_instance_id: self.who.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let answer = link.ask(version, &request).await?;
        match ErrorCode::from_i16(answer.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::MemberIdRequired) => {
                self.who.member = answer.member_id;
                return Err(Stop::Rejoin);
            }
            error => return Err(self.refused(error)),
        }
        self.who.member = answer.member_id.clone();
        self.who.generation = answer.generation_id;
        Ok(answer)
    }

    async fn sync(
        &mut self,
        link: &mut Link,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<(Place, Uuid)>, Stop> {
        let is_leader = joined.leader == joined.member_id && !joined.skip_assignment;
        let lowest = if self.who.instance.is_some() { 3 } else { 0 };
        let request = SyncGroupRequest {
            group_id: self.who.group.to_string(),
            generation_id: self.who.generation,
            member_id: self.who.member.clone(),
            group_instance_id: self.who.instance.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some(PROTOCOL.into()),
            assignments: if is_leader { self.share_out(joined) } else { Vec::new() },
        };
        let (asked, term) = (self.ground.history.ask(), self.ground.coordinates(link, &self.who.group));
        let answer = link.ask(self.dice.range(lowest..=5) as i16, &request).await?;
        match ErrorCode::from_i16(answer.error_code) {
            Some(ErrorCode::None) => {}
            error => return Err(self.refused(error)),
        }
        let owned: Vec<_> = answer
            .assignment
            .iter()
            .filter_map(|index| self.places.get(usize::from(*index)).cloned())
            .collect();
        self.ground.history.tell(Event::Assigned {
            group: self.who.group.clone(),
            generation: self.who.generation,
            member: self.who.instance.clone().unwrap_or_else(|| self.who.member.clone()),
            request: asked,
            places: owned.iter().map(|(place, _)| place.clone()).collect(),
            is_current: term.is_some() && term == self.ground.coordinates(link, &self.who.group),
        });
        Ok(owned)
    }

    fn share_out(&self, joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
        let share = |(turn, member): (usize, &wire::join_group_response::JoinGroupResponseMember)| {
            let mine = (0..self.places.len()).filter(|index| index % joined.members.len().max(1) == turn);
            let assignment: Vec<u8> = mine.map(|index| index as u8).collect();
            SyncGroupRequestAssignment { member_id: member.member_id.clone(), assignment: assignment.into() }
        };
        joined.members.iter().enumerate().map(share).collect()
    }

    /// Reads a little of one partition, and commits how far it has come.
    async fn poll(&mut self, link: &mut Link, positions: &mut [(Place, Uuid, i64)]) -> Result<(), Stop> {
        let index = self.dice.below(positions.len() as u64) as usize;
        let Some((place, id, position)) = positions.get_mut(index) else { return Ok(()) };
        // In a cluster the records are elsewhere.
        let mut other = if self.ground.cluster.is_several() {
            let to = Seek::Leader(place);
            let Ok(other) = self.ground.try_connect(to, &self.name, &mut self.dice).await else {
                return Ok(());
            };
            Some(other)
        } else {
            None
        };
        let reading = other.as_mut().unwrap_or(&mut *link);
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![fetching::topic(
                place,
                *id,
                *position,
                self.dice.pick(&[1, 1000, 20_000], 1000),
                -1,
            )],
            ..Default::default()
        };
        let answer = reading.ask(self.dice.range(4..=17) as i16, &request).await?;
        let data = answer.responses.first().and_then(|topic| topic.partitions.first());
        let Some(data) = data else { return Ok(()) };
        match ErrorCode::from_i16(data.error_code) {
            Some(ErrorCode::None) => {
                let damaged = self.ground.cluster.was_damaged();
                (_, *position) = fetching::records(data.records.as_ref(), *position, damaged);
            }
            Some(ErrorCode::OffsetOutOfRange) => {
                let start = reader::earliest(reading, place, 5).await?.unwrap_or(0);
                *position = start.max(*position);
            }
            _ => {}
        }
        if *position == 0 || self.dice.chance(40) {
            return Ok(());
        }
        let (place, position) = (place.clone(), *position);
        let lowest = if self.who.instance.is_some() { 7 } else { 2 };
        let version = self.dice.range(lowest..=9) as i16;
        match committing::commit(&self.ground, link, &self.who, (&place, position), version).await? {
            ErrorCode::None => Ok(()),
            error => Err(self.refused(Some(error))),
        }
    }

    async fn heartbeat(&mut self, link: &mut Link) -> Result<(), Stop> {
        let request = HeartbeatRequest {
            group_id: self.who.group.to_string(),
            generation_id: self.who.generation,
            member_id: self.who.member.clone(),
            group_instance_id: self.who.instance.clone(),
        };
        let lowest = if self.who.instance.is_some() { 3 } else { 0 };
        let answer = link.ask(self.dice.range(lowest..=4) as i16, &request).await?;
        match ErrorCode::from_i16(answer.error_code) {
            Some(ErrorCode::None) => Ok(()),
            error => Err(self.refused(error)),
        }
    }

    /// Goes for a while: by leaving, by silence, or not at all.
    async fn go(&mut self, link: &mut Link) -> Result<(), Stop> {
        match self.dice.below(4) {
            0 if self.who.instance.is_none() => {
                let request = LeaveGroupRequest {
                    group_id: self.who.group.to_string(),
                    member_id: self.who.member.clone(),
                    members: vec![MemberIdentity {
                        member_id: self.who.member.clone(),
                        ..Default::default()
                    }],
                };
                let version = self.dice.range(0..=5) as i16;
                let request = match version {
                    0..=2 => LeaveGroupRequest { members: Vec::new(), ..request },
                    _ => LeaveGroupRequest { member_id: String::new(), ..request },
                };
                link.ask(version, &request).await?;
                self.who.member.clear();
                self.ground.clock.sleep_ms(self.dice.range(0..=1000)).await;
            }
            1 => self.ground.clock.sleep_ms(self.dice.range(1000..=8000)).await,
            // A static member that has lost its memory, or another process in its place.
            2 if self.who.instance.is_some() => self.who.member.clear(),
            _ => {}
        }
        Ok(())
    }

    fn refused(&mut self, error: Option<ErrorCode>) -> Stop {
        if matches!(error, Some(ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId)) {
            self.who.member.clear();
        }
        Stop::Rejoin
    }
}
