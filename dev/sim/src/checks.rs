//! The checks: each knows one promise and finds the event that breaks it. docs/invariants.md lists them.
//!
//! A check sees what clients see and what happens to the machines. Of a cluster the history also tells the metadata that
//! each node has and what is on its disk, since no client can ask a follower. `history` tells every event to every check.

mod acknowledged;
mod assignments;
mod copies;
mod dense_offsets;
mod group_offsets;
mod high_watermark;
mod idempotence;
mod keys;
mod known_already;
mod leaders;
mod metadata_line;
mod no_invention;
mod one_value;
mod owners;
mod positions;
mod replicas;
mod shares;
mod topics;
mod transactions;

use crate::history::{Event, Fault, Place};

/// One promise.
pub trait Check: Send {
    /// The name of the check's file.
    fn name(&self) -> &'static str;
    /// Takes an event; an error says how it breaks the promise.
    fn on(&mut self, event: &Event) -> Result<(), String>;
}

/// Every check, fresh.
pub fn all() -> Vec<Box<dyn Check>> {
    vec![
        Box::<acknowledged::Acknowledged>::default(),
        Box::<dense_offsets::DenseOffsets>::default(),
        Box::<one_value::OneValue>::default(),
        Box::<idempotence::Idempotence>::default(),
        Box::<known_already::KnownAlready>::default(),
        Box::<no_invention::NoInvention>::default(),
        Box::<high_watermark::HighWatermark>::default(),
        Box::<group_offsets::GroupOffsets>::default(),
        Box::<assignments::Assignments>::default(),
        Box::<owners::Owners>::default(),
        Box::<topics::Topics>::default(),
        Box::<copies::Copies>::default(),
        Box::<leaders::Leaders>::default(),
        Box::<metadata_line::MetadataLine>::default(),
        Box::<replicas::Replicas>::default(),
        Box::<positions::Positions>::default(),
        Box::<transactions::Transactions>::default(),
        Box::<shares::Shares>::default(),
        Box::<keys::Keys>::default(),
    ]
}

/// Which request was the newest, now and when the power was last cut: an answer to a request from before the cut says
/// nothing about what a page-cache topic has afterwards.
#[derive(Debug, Default)]
struct Requests {
    newest: u64,
    at_power_cut: u64,
}

impl Requests {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Asked { request } => self.newest = *request,
            Event::Faulted(Fault::PowerCut) => self.at_power_cut = self.newest,
            _ => {}
        }
    }

    /// Whether the answer to `request` is about data that a power cut may have taken since.
    fn is_stale(&self, place: &Place, request: u64) -> bool {
        place.is_lossy() && request <= self.at_power_cut
    }
}

/// A number that never goes back for whoever asks after somebody was told a higher one.
#[derive(Debug, Default)]
struct Floor {
    /// The newest request when each higher number was told.
    steps: Vec<(u64, i64)>,
}

impl Floor {
    /// Somebody was told `number` while `newest` was the newest request.
    fn raise(&mut self, newest: u64, number: i64) {
        if self.steps.last().is_none_or(|(_, last)| *last < number) {
            self.steps.push((newest, number));
        }
    }

    /// What the answer to `request` must reach.
    fn of(&self, request: u64) -> Option<i64> {
        let known = self.steps.partition_point(|(newest, _)| *newest < request);
        self.steps.get(known.checked_sub(1)?).map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod kit;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_binds_only_requests_that_went_out_after_it_was_told() {
        let mut floor = Floor::default();
        floor.raise(3, 10);
        floor.raise(5, 20);
        floor.raise(6, 15);
        assert_eq!(
            [3, 4, 5, 6, 9].map(|request| floor.of(request)),
            [None, Some(10), Some(10), Some(20), Some(20)]
        );
    }
}
