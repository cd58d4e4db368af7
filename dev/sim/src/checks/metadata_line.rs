//! Committed metadata are one line: whoever stands at an offset of the metadata log has the same metadata as everybody
//! who ever stood there. It does not ask how far a node has come, and looks at what nodes make of the log; `replicas`
//! compares its bytes.

use super::Check;
use crate::history::{Event, SeenImage};
use std::collections::BTreeMap;

/// The metadata at each offset at which anybody was seen.
#[derive(Default)]
pub(super) struct MetadataLine {
    known: BTreeMap<i64, (i32, SeenImage)>,
}

/// So many of the newest are remembered.
const REMEMBERED: usize = 200;

impl Check for MetadataLine {
    fn name(&self) -> &'static str {
        "metadata_line"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        let Event::ImageSeen { node, image } = event else { return Ok(()) };
        let position = image.0.position();
        let (other, known) = self.known.entry(position.offset).or_insert_with(|| (*node, image.clone()));
        if known != image {
            return Err(format!(
                "nodes {other} and {node} have different metadata at offset {}: {:?} and {:?}",
                position.offset, known.0, image.0
            ));
        }
        while self.known.len() > REMEMBERED {
            self.known.pop_first();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn two_nodes_at_one_offset_know_the_same() {
        check(MetadataLine::default(), &[image_seen(1, 5, (1, 0)), image_seen(2, 5, (1, 0))], true);
        check(MetadataLine::default(), &[image_seen(1, 5, (1, 0)), image_seen(2, 7, (2, 1))], true);
        check(MetadataLine::default(), &[image_seen(1, 5, (1, 0)), image_seen(2, 5, (2, 1))], false);
    }
}
