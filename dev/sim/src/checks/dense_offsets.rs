//! Offsets are dense and monotonic: a read begins at the offset that it asks for, has no holes (but in a compacted topic,
//! where they only rise), and ends below the high watermark that it tells. It does not look at values. A power cut excuses
//! nothing: what it takes of a page-cache topic it takes from the end.

use super::Check;
use crate::history::{Event, Place, Seen};

/// Judges every read by itself.
#[derive(Default)]
pub(super) struct DenseOffsets;

impl Check for DenseOffsets {
    fn name(&self) -> &'static str {
        "dense_offsets"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Read { place, fetch_offset, high_watermark, records, .. } => {
                self.judge(place, *fetch_offset, *high_watermark, records)
            }
            Event::ReadAll { place, log_start, high_watermark, records } => {
                self.judge(place, *log_start, *high_watermark, records)?;
                let end = records.last().map_or(*log_start, |(offset, _)| offset + 1);
                if end == *high_watermark {
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
    fn judge(&self, place: &Place, from: i64, high_watermark: i64, records: &[Seen]) -> Result<(), String> {
        let mut expected = from;
        for (offset, _) in records {
            if *offset < expected || (*offset > expected && !place.is_compacted) {
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
    use crate::history::Fault;

    #[test]
    fn holes_and_repetitions_are_found() {
        check(DenseOffsets, &[read(place(), 1, 9, &[(3, 0), (4, 1)])], true);
        check(DenseOffsets, &[read(place(), 1, 9, &[(3, 0), (5, 1)])], false);
        check(DenseOffsets, &[read(place(), 1, 9, &[(3, 0), (3, 1)])], false);
    }

    #[test]
    fn compaction_leaves_holes_and_no_repetitions() {
        check(DenseOffsets, &[read(compacted(), 1, 9, &[(3, 0), (5, 1)])], true);
        check(DenseOffsets, &[read(compacted(), 1, 9, &[(3, 0), (3, 1)])], false);
        check(DenseOffsets, &[read(compacted(), 1, 9, &[(3, 0), (2, 1)])], false);
    }

    #[test]
    fn a_power_cut_excuses_no_hole() {
        let cut = Event::Faulted(Fault::PowerCut);
        for place in [lossy(), place()] {
            let seen = read(place, 1, 9, &[(3, 0), (5, 1)]);
            check(DenseOffsets, &[cut.clone(), seen], false);
        }
    }

    #[test]
    fn a_read_ends_below_the_high_watermark_and_a_full_one_reaches_it() {
        check(DenseOffsets, &[read(place(), 1, 4, &[(3, 0), (4, 1)])], false);
        let full = |high_watermark| Event::ReadAll {
            place: place(),
            log_start: 2,
            high_watermark,
            records: vec![(2, None)],
        };
        check(DenseOffsets, &[full(3)], true);
        check(DenseOffsets, &[full(4)], false);
    }
}
