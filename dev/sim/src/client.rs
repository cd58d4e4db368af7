//! The simulator's own small clients: they speak the protocol through `wire` and `records` and tell the history what
//! they asked and heard. They are not `crates/client`: a client that hides what happened could not be judged.

mod admin;
mod committer;
mod committing;
mod fetching;
mod link;
mod member;
mod oracle;
mod producer;
mod reader;

pub use admin::{ADMIN_CONFIG, Admin};
pub use committer::Committer;
pub use link::{Link, Lost};
pub use member::Member;
pub use oracle::Oracle;
pub use producer::Producer;
pub use reader::Reader;

use crate::{dice::Dice, history::History, node::Node, world::SimClock};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What every client needs.
#[derive(Clone)]
pub struct Ground {
    /// Time.
    pub clock: Arc<SimClock>,
    /// Whom to connect to.
    pub node: Arc<Node>,
    /// Whom to tell.
    pub history: Arc<History>,
    /// What everybody may do.
    pub rules: Arc<Rules>,
}

/// Switches that the schedule holds over the clients.
#[derive(Debug, Default)]
pub struct Rules {
    /// Nobody begins anything new.
    ended: AtomicBool,
}

impl Rules {
    /// Tells everybody to come to an end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether the run comes to its end.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Ground {
    /// A link, however long it takes to get one.
    pub async fn connect(&self, name: &str, dice: &mut Dice) -> Link {
        loop {
            if let Ok(link) = Link::open(self, name, dice).await {
                return link;
            }
            self.clock.sleep_ms(dice.range(20..=300)).await;
        }
    }
}
