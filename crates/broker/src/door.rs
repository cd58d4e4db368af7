//! Where connections come in, from before there is a broker: controllers must reach each other to found the quorum that
//! a broker needs for its start.
//!
//! It serves nothing itself: first `discovery` does, then the broker.

use crate::{Broker, discovery::Discovery};
use env::Incoming;
use quorum::{Watched, watch};
use std::sync::Arc;

/// See the head of the file.
pub struct Door(Watched<State>);

#[derive(Clone)]
enum State {
    /// Whoever comes waits.
    Shut,
    Discovering(Arc<Discovery>),
    Open(Arc<Broker>),
}

impl Door {
    /// A door that is shut until a broker starts.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(watch(State::Shut).0))
    }

    pub(crate) fn set_discovering(&self, discovery: Arc<Discovery>) {
        self.0.send(State::Discovering(discovery));
    }

    pub(crate) fn open(&self, broker: Arc<Broker>) {
        self.0.send(State::Open(broker));
    }

    /// Serves a connection to its end.
    pub async fn serve(self: Arc<Self>, incoming: Incoming) {
        let mut state = self.0.subscribe();
        let Ok(known) = state.wait_for(|state| !matches!(state, State::Shut)).await else { return };
        match known {
            State::Open(broker) => broker.serve(incoming).await,
            State::Discovering(discovery) => discovery.serve(incoming).await,
            State::Shut => {}
        }
    }
}
