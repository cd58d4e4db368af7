//! The key index of a partition: where records lie. Different terms may meet in one place, so whoever asks looks at the records.
//!
//! It knows no postings; [`log::Log`] does, and `partition` looks them up on a lane. What is not indexed `find` reads.

use crate::partition::{Partition, Refused};
use log::Term;
use model::Offset;
use std::sync::Arc;

/// See the head of the file.
pub(crate) struct Indexed(pub(crate) Arc<Partition>);

impl Indexed {
    /// Everything before this offset is in it.
    pub(crate) fn upto(&self) -> Offset {
        self.0.key_indexed_upto().unwrap_or(0)
    }

    /// Offsets of records of the term from `from` on, in their order, at most `max`; none is missing before the offset beside
    /// them.
    pub(crate) async fn postings(
        &self,
        term: &Term,
        from: Offset,
        max: usize,
    ) -> Result<(Vec<Offset>, Offset), Refused> {
        let found = self.0.key_postings(term.clone(), from, max).await?;
        Ok((found.offsets, found.upto))
    }

    /// The newest one below an offset. [`Refused::Overtaken`]: it does not reach up to there any more.
    pub(crate) async fn newest(&self, term: &Term, mut below: Offset) -> Result<Option<Offset>, Refused> {
        // A look-up has a stretch of the log at a time.
        while below > self.0.start_offset() {
            let (found, (from, upto)) = self.0.newest_posting(term.clone(), below).await?;
            if upto < below {
                return Err(Refused::Overtaken);
            }
            if found.is_some() || from >= below {
                return Ok(found);
            }
            below = from;
        }
        Ok(None)
    }
}
