//! Offsets are dense and monotonic: a read begins at the offset that it asks for, has no holes (nothing here is
//! compacted), and ends below the high watermark that it tells. It does not look at values.

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
                judge(place, *fetch_offset, *high_watermark, records)
            }
            Event::ReadAll { place, log_start, high_watermark, records } => {
                judge(place, *log_start, *high_watermark, records)?;
                let end = log_start + records.len() as i64;
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

fn judge(place: &Place, from: i64, high_watermark: i64, records: &[Seen]) -> Result<(), String> {
    for (expected, (offset, _)) in (from..).zip(records) {
        if expected != *offset {
            return Err(format!("{place:?}, read from {from}: offset {offset} where {expected} should be"));
        }
        if *offset >= high_watermark {
            return Err(format!(
                "{place:?}: offset {offset} was told beyond the high watermark {high_watermark}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn holes_and_repetitions_are_found() {
        check(DenseOffsets, &[read(place(), 1, 9, &[(3, 0), (4, 1)])], true);
        check(DenseOffsets, &[read(place(), 1, 9, &[(3, 0), (5, 1)])], false);
        check(DenseOffsets, &[read(place(), 1, 9, &[(3, 0), (3, 1)])], false);
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
