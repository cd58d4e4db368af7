//! The high watermark never goes back: whoever asks after anybody was told one, or was told that a record is durable,
//! hears of that or a higher one, across restarts too. It does not compare answers to requests that were under way at
//! the same time. In a page-cache topic a power cut may take it back.

use super::{Check, Floor, Requests};
use crate::history::{Event, Fault, Place};
use std::collections::BTreeMap;

/// What was told of each partition.
#[derive(Default)]
pub(super) struct HighWatermark {
    requests: Requests,
    told: BTreeMap<Place, Floor>,
}

impl Check for HighWatermark {
    fn name(&self) -> &'static str {
        "high_watermark"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        let newest = self.requests.newest;
        match event {
            Event::Faulted(Fault::PowerCut) => self.told.retain(|place, _| !place.is_lossy()),
            Event::ProduceAcked { place, request, base_offset, values, .. }
                if !self.requests.is_stale(place, *request) =>
            {
                let end = base_offset + values.len() as i64;
                self.told.entry(place.clone()).or_default().raise(newest, end);
            }
            Event::Read { place, request, high_watermark, .. }
                if !self.requests.is_stale(place, *request) =>
            {
                let told = self.told.entry(place.clone()).or_default();
                if let Some(floor) = told.of(*request).filter(|floor| floor > high_watermark) {
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
