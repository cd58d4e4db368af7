//! A reader is never told that the place up to which it has read is not there: what was read once is read again, by
//! whichever leader. It is told of readers of clusters only, where nobody deletes records.

use super::Check;
use crate::history::Event;

/// Judges every such answer by itself.
#[derive(Default)]
pub(super) struct Positions;

impl Check for Positions {
    fn name(&self) -> &'static str {
        "positions"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::OutOfRange { place, position, is_current: true } => Err(format!(
                "{place:?}: a reader has read up to {position} and is told that there is no such offset"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn what_was_read_is_there() {
        let told = |is_current| [Event::OutOfRange { place: place(), position: 3, is_current }];
        check(Positions, &told(false), true);
        check(Positions, &told(true), false);
    }
}
