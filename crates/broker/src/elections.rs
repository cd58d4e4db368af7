//! When the active controller elects leaders by itself: preferred leaders get their partitions back
//! (`auto.leader.rebalance.enable`), and partitions without a leader get one where their topics would rather lose records
//! (`unclean.leader.election.enable`).
//!
//! It elects nobody: `metadata` does, when the controller's host asks it what is due here.

use env::Nanos;
use metadata::{
    ELECTIONS_MAX, Reply, Request,
    config::{Configs, Resolved},
};

/// See the head of the file. Times are monotonic nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elections {
    balance_at: Nanos,
    unclean_at: Nanos,
}

impl Elections {
    /// A controller that has just become active waits a whole interval before it moves what nobody has asked for; who has
    /// no leader is not kept waiting.
    pub(crate) fn new(now: Nanos, configs: &Configs<'_>) -> Self {
        Self { balance_at: now.saturating_add(balance_ns(&configs.broker())), unclean_at: now }
    }

    /// When something is due.
    pub(crate) fn next_at(&self) -> Nanos {
        self.balance_at.min(self.unclean_at)
    }

    /// What to ask the controller now, one after the other until there is nothing.
    pub(crate) fn due(&mut self, now: Nanos, configs: &Configs<'_>) -> Option<Request> {
        if self.unclean_at <= now {
            self.unclean_at = now.saturating_add(unclean_ns(&configs.broker()));
            return Some(Request::ElectUncleanLeaders { changes_max: ELECTIONS_MAX });
        }
        if self.balance_at <= now {
            let broker = configs.broker();
            self.balance_at = now.saturating_add(balance_ns(&broker));
            if broker.flag("auto.leader.rebalance.enable") {
                return Some(Request::BalanceLeaders { changes_max: ELECTIONS_MAX });
            }
        }
        None
    }

    /// The controller has answered something: there may be more to do of the same kind, at once.
    pub(crate) fn on_reply(&mut self, now: Nanos, reply: &Reply) {
        match reply {
            Reply::BalanceLeaders(true) => self.balance_at = now,
            // A topic may allow now what it did not.
            Reply::ElectUncleanLeaders(true) | Reply::AlterConfigs(_) | Reply::IncrementalAlterConfigs(_) => {
                self.unclean_at = now
            }
            _ => {}
        }
    }
}

fn balance_ns(broker: &Resolved<'_>) -> Nanos {
    let seconds = broker.integer("leader.imbalance.check.interval.seconds").max(1);
    seconds.unsigned_abs().saturating_mul(1_000_000_000)
}

fn unclean_ns(broker: &Resolved<'_>) -> Nanos {
    let ms = broker.integer("unclean.leader.election.interval.ms").max(1);
    ms.unsigned_abs().saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{Image, config::Statics};

    const S: Nanos = 1_000_000_000;

    fn check(values: &[(&str, &str)], test: impl FnOnce(&Configs<'_>)) {
        let statics = Statics::new(values.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        assert_eq!(statics.problems(), Vec::<String>::new());
        test(&Configs { image: &Image::new("c"), statics: &statics, node: 1 });
    }

    fn unclean() -> Option<Request> {
        Some(Request::ElectUncleanLeaders { changes_max: ELECTIONS_MAX })
    }

    fn balance() -> Option<Request> {
        Some(Request::BalanceLeaders { changes_max: ELECTIONS_MAX })
    }

    #[test]
    fn each_kind_is_due_at_its_interval_and_again_at_once_while_there_is_more() {
        check(&[("leader.imbalance.check.interval.seconds", "10")], |configs| {
            let mut elections = Elections::new(5 * S, configs);
            assert_eq!(elections.next_at(), 5 * S);
            assert_eq!((elections.due(5 * S, configs), elections.due(5 * S, configs)), (unclean(), None));
            assert_eq!(elections.next_at(), 15 * S, "balancing waits");
            assert_eq!((elections.due(15 * S, configs), elections.due(15 * S, configs)), (balance(), None));
            elections.on_reply(16 * S, &Reply::BalanceLeaders(true));
            assert_eq!(elections.due(16 * S, configs), balance());
            elections.on_reply(17 * S, &Reply::BalanceLeaders(false));
            assert_eq!((elections.due(17 * S, configs), elections.next_at()), (None, 26 * S));
            elections.on_reply(18 * S, &Reply::IncrementalAlterConfigs(Vec::new()));
            assert_eq!(elections.due(18 * S, configs), unclean());
        });
    }

    #[test]
    fn leaders_stay_where_they_are_if_that_is_configured() {
        check(&[("auto.leader.rebalance.enable", "false")], |configs| {
            let mut elections = Elections::new(0, configs);
            elections.due(0, configs);
            assert_eq!(elections.due(299 * S, configs), None);
            let due: Vec<_> = std::iter::from_fn(|| elections.due(1000 * S, configs)).collect();
            assert_eq!(due, [unclean().unwrap()]);
        });
    }
}
