//! Offsets are dense and monotonic: a read begins at the offset that it asks for, has no holes (nothing here is
//! compacted), and ends below the high watermark that it tells. It does not look at values. A power cut may tear holes
//! into a page-cache topic (a sealed segment that was not synced yet may be gone before one that follows it); its
//! offsets rise still.

use super::Check;
use crate::history::{Event, Fault, Place, Seen};

/// Judges every read by itself.
#[derive(Default)]
pub(super) struct DenseOffsets {
    power_was_cut: bool,
}

impl Check for DenseOffsets {
    fn name(&self) -> &'static str {
        "dense_offsets"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Faulted(Fault::PowerCut) => {
                self.power_was_cut = true;
                Ok(())
            }
            Event::Read { place, fetch_offset, high_watermark, records, .. } => {
                self.judge(place, *fetch_offset, *high_watermark, records)
            }
            Event::ReadAll { place, log_start, high_watermark, records } => {
                self.judge(place, *log_start, *high_watermark, records)?;
                let end = records.last().map_or(*log_start, |(offset, _)| offset + 1);
                if end == *high_watermark || self.may_have_holes(place) {
                    Ok(())
                } else {
                    Err(format!(
                        "{place:?} could be read to {end} only, its high watermark is {high_watermark}"
                    ))
                }
            }
            _ => Ok(()),
        }
    }
}

impl DenseOffsets {
    fn may_have_holes(&self, place: &Place) -> bool {
        self.power_was_cut && place.is_lossy()
    }

    fn judge(&self, place: &Place, from: i64, high_watermark: i64, records: &[Seen]) -> Result<(), String> {
        let mut expected = from;
        for (offset, _) in records {
            if *offset < expected || *offset > expected && !self.may_have_holes(place) {
                return Err(format!(
                    "{place:?}, read from {from}: offset {offset} where {expected} should be"
                ));
            }
            if *offset >= high_watermark {
                let what = "was told beyond the high watermark";
                return Err(format!("{place:?}: offset {offset} {what} {high_watermark}"));
            }
            expected = offset + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn holes_and_repetitions_are_found() {
        check(DenseOffsets::default(), &[read(place(), 1, 9, &[(3, 0), (4, 1)])], true);
        check(DenseOffsets::default(), &[read(place(), 1, 9, &[(3, 0), (5, 1)])], false);
        check(DenseOffsets::default(), &[read(place(), 1, 9, &[(3, 0), (3, 1)])], false);
    }

    #[test]
    fn a_power_cut_excuses_holes_in_page_cache_topics_only() {
        let cut = Event::Faulted(Fault::PowerCut);
        for (place, fine) in [(lossy(), true), (place(), false)] {
            check(DenseOffsets::default(), &[cut.clone(), read(place, 1, 9, &[(3, 0), (5, 1)])], fine);
        }
        check(DenseOffsets::default(), &[cut, read(lossy(), 1, 9, &[(3, 0), (3, 1)])], false);
    }

    #[test]
    fn a_read_ends_below_the_high_watermark_and_a_full_one_reaches_it() {
        check(DenseOffsets::default(), &[read(place(), 1, 4, &[(3, 0), (4, 1)])], false);
        let full = |high_watermark| Event::ReadAll {
            place: place(),
            log_start: 2,
            high_watermark,
            records: vec![(2, None)],
        };
        check(DenseOffsets::default(), &[full(3)], true);
        check(DenseOffsets::default(), &[full(4)], false);
    }
}
