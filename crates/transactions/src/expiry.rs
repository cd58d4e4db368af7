//! Transactional ids that nobody has used for long are forgotten.
//!
//! The host asks now and then; each time as many go as fit into one batch.

use crate::{Coordinator, Record, Reply};
use ::coordinator::{Now, Outcome};

/// Bytes of tombstones, roughly, that go into one batch, which must fit into the partition's `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 16 * 1024;
/// What a tombstone weighs beside its id.
const TOMBSTONE_BYTES: usize = 32;

impl Coordinator {
    pub(crate) fn expire(&self, now: Now) -> Outcome<Record, Reply> {
        let unused_since = now.wall.saturating_sub(self.config.id_expiration_ms);
        let expired = self
            .transactions
            .iter()
            .filter(|(_, known)| known.state.is_at_rest() && known.updated <= unused_since);
        let mut bytes = 0;
        let batch = expired.take_while(|(id, _)| {
            let is_first = bytes == 0;
            bytes += id.len() + TOMBSTONE_BYTES;
            is_first || bytes <= BATCH_BYTES_MAX
        });
        let records: Vec<_> = batch.map(|(id, _)| Record::Removed { id: id.clone() }).collect();
        let reply = Reply::Expire(records.len());
        Outcome::new(records, reply)
    }
}
