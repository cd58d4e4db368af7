//! Offsets that are committed in a transaction (TxnOffsetCommit), and the markers that end it (KIP-98, KIP-447).
//!
//! Whether the transaction is open is not its business: the transaction coordinator and the log know.

use crate::{
    Coordinator, Effects, Error, Record, Reply, Token, TransactionMarker, TxnOffsetCommit, commit::commit,
    effect::InTransaction,
};
use coordinator::Now;

impl Coordinator {
    pub(crate) fn on_txn_offset_commit(
        &mut self,
        now: Now,
        token: Token,
        request: TxnOffsetCommit,
        effects: &mut Effects,
    ) {
        let TxnOffsetCommit { producer_id, producer_epoch, guard, commit: request } = request;
        let (is_consumer, assigned) = match self.check_consumer_commit(&request, true) {
            Ok(checked) => checked,
            Err(error) => return self.split(now, effects).2.reply(token, Err(error)),
        };
        let (groups, _, mut step) = self.split(now, effects);
        if request.group.is_empty() {
            return step.reply(token, Err(Error::InvalidGroupId));
        }
        let allowed = match groups.get(&request.group) {
            _ if is_consumer => Ok(()),
            Some(group) => group.validate_txn_commit(&request),
            // Not a member of anything: the offsets will make a group that only holds them.
            None if request.generation < 0 => Ok(()),
            None => Err(Error::IllegalGeneration),
        };
        if let Err(error) = allowed {
            return step.reply(token, Err(error));
        }
        let (records, results) = commit(&step, request, &assigned, |group, topic, partition, offset| {
            Record::OffsetPending { producer_id, group, topic, partition, offset }
        });
        let issued = step.appends.issued();
        if !records.is_empty() {
            step.append_in(InTransaction::Offsets { producer_id, producer_epoch, guard }, records);
        }
        step.reply_after(issued, token, Reply::TxnOffsetCommit(results));
    }

    pub(crate) fn on_marker(
        &mut self,
        now: Now,
        token: Token,
        marker: TransactionMarker,
        effects: &mut Effects,
    ) {
        let mut step = self.split(now, effects).2;
        let TransactionMarker { producer_id, committed, .. } = marker;
        let issued = step.appends.issued();
        let records = vec![Record::TransactionEnded { producer_id, committed }];
        step.append_in(InTransaction::Marker(marker), records);
        step.reply_after(issued, token, Reply::TransactionMarker);
    }
}
