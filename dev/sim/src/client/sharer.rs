//! A member of a share group (KIP-932): gets records, accepts some, gives others back, rejects, prolongs its locks, lets
//! them run out, or vanishes with what it has; and comes again as somebody else.

use super::{
    Ground, Lost, Seek,
    sharing::{self, Sharing, Wish},
};
use crate::{
    dice::Dice,
    history::{Place, Verdict},
};
use std::sync::Arc;
use stdx::Uuid;

/// A member.
pub struct Sharer {
    ground: Ground,
    dice: Dice,
    number: u32,
    group: Arc<str>,
    places: Vec<(Place, Uuid)>,
    lock_ms: u64,
}

impl Sharer {
    /// A member of `group`, whose locks last for so long.
    pub fn new(
        ground: Ground,
        dice: Dice,
        number: u32,
        group: Arc<str>,
        (places, lock_ms): (Vec<(Place, Uuid)>, u64),
    ) -> Self {
        Self { ground, dice, number, group, places, lock_ms }
    }

    /// Takes part until the run ends.
    pub async fn run(mut self) {
        for incarnation in 0.. {
            if self.ground.rules.is_ended() {
                return;
            }
            let member: Arc<str> = format!("sharer{}/{incarnation}", self.number).into();
            if self.join(&member).await.is_ok() {
                for _ in 0..self.dice.range(1..=4) {
                    if self.ground.rules.is_ended() || self.share(&member).await.is_err() {
                        break;
                    }
                }
            }
            self.ground.clock.sleep_ms(self.dice.range(20..=400)).await;
        }
    }

    async fn join(&mut self, member: &str) -> Result<(), Lost> {
        let (group, name) = (self.group.clone(), format!("sharer{}", self.number));
        let mut link = self.ground.try_connect(Seek::Coordinator(&group), &name, &mut self.dice).await?;
        let mut topics: Vec<String> = self.places.iter().map(|(place, _)| place.topic.to_string()).collect();
        topics.sort();
        topics.dedup();
        sharing::join(&mut link, (&group, member), topics).await
    }

    /// A session with the leader of some partition.
    async fn share(&mut self, member: &Arc<str>) -> Result<(), Lost> {
        let index = self.dice.below(self.places.len() as u64) as usize;
        let Some((place, id)) = self.places.get(index).cloned() else { return Err(Lost) };
        let name = format!("sharer{}", self.number);
        let mut link = self.ground.try_connect(Seek::Leader(&place), &name, &mut self.dice).await?;
        let who = (self.group.clone(), member.clone());
        let mut sharing = Sharing::new(&self.ground, who, (place, id));
        for _ in 0..self.dice.range(1..=8) {
            if self.ground.rules.is_ended() {
                break;
            }
            let wish = Wish {
                records_max: self.dice.pick(&[1, 5, 50, 500], 5),
                wait_ms: self.dice.range(0..=300) as i32,
                is_strict: self.dice.chance(50),
            };
            for (first, last, _) in sharing.fetch(&mut link, &wish).await? {
                self.dispose(&mut sharing, &mut link, (first, last)).await?;
            }
        }
        // Or it vanishes with what it has.
        if self.dice.chance(50) { sharing.close(&mut link).await } else { Ok(()) }
    }

    /// Makes something of records that it has.
    async fn dispose(
        &mut self,
        sharing: &mut Sharing,
        link: &mut super::Link,
        (first, last): (i64, i64),
    ) -> Result<(), Lost> {
        if self.dice.chance(20) {
            // It works for a while, and perhaps too long.
            let pause = self.dice.range(1..=self.lock_ms * 3 / 2);
            self.ground.clock.sleep_ms(pause).await;
        }
        if self.dice.chance(10) {
            sharing.say(link, (first, last), Verdict::Renew).await?;
        }
        let middle = first + (last - first) / 2;
        for (first, last) in [(first, middle), (middle + 1, last)] {
            let verdict = match self.dice.below(20) {
                0..=10 => Verdict::Accept,
                11..=14 => Verdict::Release,
                15..=16 => Verdict::Reject,
                // It forgets about them.
                _ => continue,
            };
            if first <= last {
                sharing.say(link, (first, last), verdict).await?;
            }
        }
        Ok(())
    }
}
