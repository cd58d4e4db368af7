//! A member of a group in which the coordinator shares things out: partitions among consumers (KIP-848), or tasks among
//! instances of Kafka Streams (KIP-1071). It takes what it is given, says what it has, commits in its epoch, and goes: by leaving,
//! by falling silent, as a static member that comes back, or by forgetting who it was.

use super::{
    Ground, Link, Lost, Seek,
    committing::{self, Committing},
    heartbeating::{Beat, Heard, Kind},
};
use crate::{
    dice::Dice,
    history::{Event, Place, Unit},
};
use std::{collections::BTreeSet, sync::Arc};
use stdx::Uuid;
use wire::ErrorCode;

/// How long members of such groups may be silent (`group.consumer.session.timeout.ms`, `group.streams.session.timeout.ms`).
pub const SESSION_MS: u64 = 6000;
/// Commits of topics by name, in the epoch of such a member.
const COMMIT_VERSION: i16 = 9;

/// A member.
pub struct Reconciler {
    ground: Ground,
    dice: Dice,
    number: u32,
    group: Arc<str>,
    kind: Kind,
    places: Vec<(Place, Uuid)>,
    instance: Option<String>,
    member: Arc<str>,
    epoch: i32,
    has: BTreeSet<Unit>,
    incarnations: u32,
}

impl Reconciler {
    /// A member of `group`, static if the dice say so.
    pub fn new(
        ground: Ground,
        mut dice: Dice,
        number: u32,
        (group, kind): (Arc<str>, Kind),
        places: Vec<(Place, Uuid)>,
    ) -> Self {
        // Static members of Kafka Streams are for Kafka to bring.
        let instance = (kind == Kind::Consumer && dice.chance(30)).then(|| format!("i{number}"));
        let (member, has) = ("".into(), BTreeSet::new());
        Self { ground, dice, number, group, kind, places, instance, member, epoch: 0, has, incarnations: 0 }
    }

    /// Takes part until the run ends.
    pub async fn run(mut self) {
        while !self.ground.rules.is_ended() {
            let (group, name) = (self.group.clone(), format!("{:?}{}", self.kind, self.number));
            let mut link = self.ground.connect(Seek::Coordinator(&group), &name, &mut self.dice).await;
            while !self.ground.rules.is_ended() && self.ground.coordinates(&link, &group).is_some() {
                if self.take_part(&mut link).await.is_err() {
                    break;
                }
                self.ground.clock.sleep_ms(self.dice.range(50..=400)).await;
            }
            self.ground.clock.sleep_ms(self.dice.range(10..=200)).await;
        }
    }

    async fn take_part(&mut self, link: &mut Link) -> Result<(), Lost> {
        if self.member.is_empty() {
            self.begin();
        }
        self.beat(link, self.epoch).await?;
        if self.epoch > 0 && self.dice.chance(50) {
            self.commit(link).await?;
        }
        if self.epoch > 0 && !self.ground.rules.is_calm() && self.dice.chance(5) {
            self.go(link).await?;
        }
        Ok(())
    }

    /// As somebody whom nobody knows.
    fn begin(&mut self) {
        self.incarnations += 1;
        self.member = format!("{:?}{}/{}", self.kind, self.number, self.incarnations).into();
        self.epoch = 0;
    }

    /// Says what it has, and takes what it is given. An epoch of 0 joins, one below leaves.
    async fn beat(&mut self, link: &mut Link, epoch: i32) -> Result<(), Lost> {
        let (group, member) = (self.group.clone(), self.member.clone());
        if epoch == 0 {
            self.has.clear();
        }
        let beat = Beat {
            group: &group,
            member: &member,
            instance: self.instance.as_deref(),
            epoch,
            has: &self.has,
            places: &self.places,
        };
        self.ground.history.tell(match epoch < 0 {
            true => Event::MemberGone { group: group.clone(), member: member.clone() },
            false => {
                Event::MemberKeeps { group: group.clone(), member: member.clone(), units: self.has.clone() }
            }
        });
        let (sent_ms, term) = (self.ground.clock.elapsed_ms(), self.ground.coordinates(link, &group));
        let Heard { error, epoch: now, given } = self.kind.beat(link, &beat).await?;
        let is_well = error == ErrorCode::None;
        if !is_well || epoch < 0 {
            let is_out = matches!(
                error,
                ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::UnreleasedInstanceId
            );
            if is_out {
                self.ground.history.tell(Event::MemberGone { group, member });
                // As Kafka's clients: the same member from the start.
                (self.epoch, self.has) = (0, BTreeSet::new());
            }
            return if is_well || is_out { Ok(()) } else { Err(Lost) };
        }
        self.epoch = now;
        if let Some(given) = &given {
            self.has.clone_from(given);
        }
        self.ground.history.tell(Event::MemberHeard {
            sent_ms,
            now_ms: self.ground.clock.elapsed_ms(),
            session_ms: SESSION_MS,
            given,
            is_current: term.is_some() && term == self.ground.coordinates(link, &group),
            group,
            member,
        });
        Ok(())
    }

    /// Commits what is later than all that anybody has committed before: the time.
    async fn commit(&mut self, link: &mut Link) -> Result<(), Lost> {
        let has = |(place, _): &&(Place, Uuid)| match self.kind {
            Kind::Consumer => self.has.contains(&(place.topic.clone(), place.partition)),
            Kind::Streams => self.has.iter().any(|(_, task)| *task == place.partition),
        };
        let Some((place, _)) = self.places.iter().find(has).cloned() else { return Ok(()) };
        let who = Committing {
            group: self.group.clone(),
            generation: self.epoch,
            member: self.member.to_string(),
            instance: self.instance.clone(),
        };
        let offset = i64::try_from(self.ground.clock.elapsed_ms()).unwrap_or(i64::MAX);
        let error = committing::commit(&self.ground, link, &who, (&place, offset), COMMIT_VERSION).await?;
        match error {
            // Its epoch has passed: the next heartbeat says more.
            ErrorCode::None | ErrorCode::StaleMemberEpoch | ErrorCode::UnknownMemberId => Ok(()),
            _ => Err(Lost),
        }
    }

    /// Goes for a while.
    async fn go(&mut self, link: &mut Link) -> Result<(), Lost> {
        match self.dice.below(4) {
            0 | 1 => {
                let for_good = self.instance.is_none() || self.dice.chance(30);
                let left = self.beat(link, if for_good { -1 } else { -2 }).await;
                // Though nobody may have heard it: what is heard late must not end a member that went on.
                self.member = "".into();
                left?;
                self.ground.clock.sleep_ms(self.dice.range(0..=1000)).await;
            }
            2 => self.ground.clock.sleep_ms(self.dice.range(1000..=SESSION_MS * 3 / 2)).await,
            // Another process in its place, of which the coordinator knows nothing: the old one is silent for ever.
            _ if self.instance.is_none() => {
                let (group, member) = (self.group.clone(), self.member.clone());
                self.ground.history.tell(Event::MemberGone { group, member });
                self.member = "".into();
            }
            _ => {}
        }
        Ok(())
    }
}
