//! A partition has at most one leader in a leader epoch, whichever node is asked and whenever. It looks at the metadata
//! that nodes have; what a node does as a leader is seen by other checks.

use super::Check;
use crate::history::Event;
use std::collections::BTreeMap;
use stdx::Uuid;

/// Who leads in each epoch of each partition.
#[derive(Default)]
pub(super) struct Leaders {
    known: BTreeMap<(Uuid, i32, i32), i32>,
}

impl Check for Leaders {
    fn name(&self) -> &'static str {
        "leaders"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        let Event::ImageSeen { node, image } = event else { return Ok(()) };
        for topic in image.0.topics() {
            for (index, partition) in topic.indexed() {
                let (epoch, leader) = (partition.leader_epoch, partition.leader);
                let known = *self.known.entry((topic.id, index, epoch)).or_insert(leader);
                if known != leader {
                    return Err(format!(
                        "{}-{index}, epoch {epoch}: {leader} leads for node {node}, {known} did before",
                        topic.name
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn an_epoch_has_one_leader() {
        check(Leaders::default(), &[image_seen(1, 5, (1, 0)), image_seen(2, 5, (1, 0))], true);
        check(Leaders::default(), &[image_seen(1, 5, (1, 0)), image_seen(2, 6, (2, 1))], true);
        check(Leaders::default(), &[image_seen(1, 5, (1, 0)), image_seen(2, 6, (2, 0))], false);
    }
}
