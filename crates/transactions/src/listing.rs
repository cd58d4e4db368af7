//! DescribeTransactions and ListTransactions (KIP-664, KIP-994).

use crate::{
    Coordinator, Error, ListTransactions, Listed, Reply, Transaction, TransactionalId, coordinator::Decided,
};
use ::coordinator::{Now, Outcome};

impl Coordinator {
    pub(crate) fn describe(&self, id: &TransactionalId) -> Decided {
        if id.is_empty() {
            return Err(Error::InvalidRequest);
        }
        let known = self.transactions.get(id).ok_or(Error::TransactionalIdNotFound)?;
        Ok(Outcome::reply(Reply::Describe(known.clone())))
    }

    pub(crate) fn list(&self, now: Now, request: &ListTransactions) -> Vec<Listed> {
        let is_wanted = |known: &Transaction| {
            let open_ms = now.wall.saturating_sub(known.started);
            request.states.as_ref().is_none_or(|states| states.contains(&known.state))
                && (request.producer_ids.is_empty() || request.producer_ids.contains(&known.producer_id))
                && request.open_ms_min.is_none_or(|least| open_ms > least)
        };
        let wanted = self.transactions.iter().filter(|(_, known)| is_wanted(known));
        let listed = wanted.map(|(id, known)| Listed {
            id: id.clone(),
            producer_id: known.producer_id,
            state: known.state,
        });
        listed.collect()
    }
}
