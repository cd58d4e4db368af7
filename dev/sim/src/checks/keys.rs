//! The records of a key that are found by it are those that a reader of everything sees: none is missing, none is another
//! key's, and the newest is the last. Of a compacted topic some may have gone between the two, but never the last of a key.

use super::Check;
use crate::history::Event;

/// Judges every look by itself.
#[derive(Default)]
pub(super) struct Keys;

impl Check for Keys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        let Event::KeyRead { place, key, scanned, found, newest } = event else { return Ok(()) };
        let is_same = match place.is_compacted {
            true => found.last() == scanned.last() && found.iter().all(|offset| scanned.contains(offset)),
            false => found == scanned,
        };
        if !is_same {
            return Err(format!("{place:?}: of key {key} {found:?} are found, and {scanned:?} are there"));
        }
        if *newest != scanned.last().copied() {
            return Err(format!(
                "{place:?}: {newest:?} is the newest of key {key}, and {scanned:?} are there"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};
    use crate::history::Place;

    fn read(place: Place, scanned: &[i64], found: &[i64], newest: Option<i64>) -> [Event; 1] {
        let (scanned, found) = (scanned.to_vec(), found.to_vec());
        [Event::KeyRead { place, key: 3, scanned, found, newest }]
    }

    #[test]
    fn what_is_found_by_a_key_is_what_is_there() {
        check(Keys, &read(place(), &[1, 4], &[1, 4], Some(4)), true);
        check(Keys, &read(place(), &[], &[], None), true);
        check(Keys, &read(place(), &[1, 4], &[1], Some(4)), false);
        check(Keys, &read(place(), &[1, 4], &[1, 3, 4], Some(4)), false);
        check(Keys, &read(place(), &[1, 4], &[1, 4], Some(1)), false);
        check(Keys, &read(place(), &[1, 4], &[1, 4], None), false);
    }

    #[test]
    fn compaction_may_take_all_but_the_last() {
        check(Keys, &read(compacted(), &[1, 4], &[4], Some(4)), true);
        check(Keys, &read(compacted(), &[1, 4], &[1], Some(4)), false);
        check(Keys, &read(compacted(), &[1, 4], &[2, 4], Some(4)), false);
    }
}
