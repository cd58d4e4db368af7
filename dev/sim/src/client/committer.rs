//! A client that commits offsets for a group of its own without being a member, ever later ones, and reads them back.

use super::{
    Ground, Link, Lost, Seek,
    committing::{self, Committing},
};
use crate::{dice::Dice, history::Place};
use std::{collections::BTreeMap, sync::Arc};
use wire::ErrorCode;

/// Commits without membership.
pub struct Committer {
    ground: Ground,
    dice: Dice,
    who: Committing,
    places: Vec<Place>,
    next: BTreeMap<Place, i64>,
}

impl Committer {
    /// The only committer of `group`.
    pub fn new(ground: Ground, dice: Dice, group: Arc<str>, places: Vec<Place>) -> Self {
        let who = Committing { group, generation: -1, member: String::new(), instance: None };
        Self { ground, dice, who, places, next: BTreeMap::new() }
    }

    /// Commits until the run ends.
    pub async fn run(mut self) {
        let name = format!("committer-{}", self.who.group);
        while !self.ground.rules.is_ended() {
            let group = self.who.group.clone();
            let mut link = self.ground.connect(Seek::Coordinator(&group), &name, &mut self.dice).await;
            let _ = self.commit(&mut link).await;
        }
    }

    async fn commit(&mut self, link: &mut Link) -> Result<(), Lost> {
        while !self.ground.rules.is_ended() {
            let index = self.dice.below(self.places.len() as u64) as usize;
            let Some(place) = self.places.get(index).cloned() else { return Ok(()) };
            if self.dice.chance(60) {
                let next = self.next.entry(place.clone()).or_insert(0);
                *next += self.dice.range(1..=10) as i64;
                let version = self.dice.range(2..=9) as i16;
                let error =
                    committing::commit(&self.ground, link, &self.who, (&place, *next), version).await?;
                if error != ErrorCode::None && self.ground.cluster.is_several() {
                    self.ground.clock.sleep_ms(self.dice.range(10..=100)).await;
                    return Err(Lost);
                }
            } else {
                let version = self.dice.range(1..=9) as i16;
                let fetched = committing::fetch(&self.ground, link, &self.who.group, &place, version).await?;
                if fetched.is_none() && self.ground.cluster.is_several() {
                    return Err(Lost);
                }
            }
            self.ground.clock.sleep_ms(self.dice.range(5..=400)).await;
        }
        Ok(())
    }
}
