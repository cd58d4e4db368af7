//! The high watermark never goes back: whoever asks after anybody was told one, or was told that a record is durable,
//! hears of that or a higher one, across restarts too. Where leaders change (KIP-207) a new one may know less at first:
//! there only readers who name a leader epoch are compared, with those of the same epoch. It does not compare answers to
//! requests that were under way at the same time, nor does it bind a leader that was deposed and does not know it yet. In
//! a page-cache topic a power cut may take it back.

use super::{Check, Floor, Requests};
use crate::history::{Event, Fault, Place};
use std::collections::BTreeMap;

/// What was told of each partition.
#[derive(Default)]
pub(super) struct HighWatermark {
    requests: Requests,
    /// Whether leaders may change.
    is_several: bool,
    told: BTreeMap<(Place, i32), Floor>,
}

/// The epoch of a partition whose leader never changes.
const ONLY_EPOCH: i32 = -1;

impl Check for HighWatermark {
    fn name(&self) -> &'static str {
        "high_watermark"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        let newest = self.requests.newest;
        match event {
            Event::ImageSeen { image, .. } => self.is_several |= image.0.brokers().len() > 1,
            Event::Faulted(Fault::PowerCut) => self.told.retain(|(place, _), _| !place.is_lossy()),
            Event::ProduceAcked { place, request, base_offset, values, .. }
                if !self.requests.is_stale(place, *request) =>
            {
                let end = base_offset + values.len() as i64;
                self.told.entry((place.clone(), ONLY_EPOCH)).or_default().raise(newest, end);
            }
            Event::Read { place, request, high_watermark, leader_epoch, is_current, .. }
                if !self.requests.is_stale(place, *request) && (*leader_epoch >= 0 || !self.is_several) =>
            {
                let told = self.told.entry((place.clone(), *leader_epoch)).or_default();
                let floor = told.of(*request).filter(|floor| *is_current && floor > high_watermark);
                if let Some(floor) = floor {
                    return Err(format!(
                        "{place:?}: the high watermark is {high_watermark}, it was {floor} before"
                    ));
                }
                told.raise(newest, *high_watermark);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn it_binds_requests_that_follow() {
        let events = |asked, high_watermark| {
            let (first, second) = (Event::Asked { request: 1 }, Event::Asked { request: 2 });
            let before = [first, acked(place(), 4, &[0])];
            let [first, acked] = before;
            match asked {
                2 => vec![first, acked, second, read(place(), 2, high_watermark, &[])],
                _ => vec![first, acked, read(place(), 1, high_watermark, &[])],
            }
        };
        check(HighWatermark::default(), &events(2, 5), true);
        check(HighWatermark::default(), &events(2, 4), false);
        check(HighWatermark::default(), &events(1, 4), true);
    }
}
