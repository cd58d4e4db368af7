//! Nothing is acknowledged with fewer copies than `min.insync.replicas`, which is 2 in every topic of a simulated cluster:
//! when an acknowledgement of acks=all arrives, its records are on so many disks that a loss of all power leaves them
//! there. It does not ask which nodes these are.

use super::Check;
use crate::history::Event;

/// Judges every acknowledgement by itself.
#[derive(Default)]
pub(super) struct Copies;

/// `min.insync.replicas` of every plan.
const COPIES_MIN: usize = 2;

impl Check for Copies {
    fn name(&self) -> &'static str {
        "copies"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::CopiesCounted { place, offset, copies } if *copies < COPIES_MIN => Err(format!(
                "{place:?} offset {offset} was acknowledged and is safe on {copies} disks, not {COPIES_MIN}"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn an_acknowledged_record_is_on_two_disks() {
        let counted = |copies| [Event::CopiesCounted { place: place(), offset: 3, copies }];
        check(Copies, &counted(2), true);
        check(Copies, &counted(3), true);
        check(Copies, &counted(1), false);
    }
}
