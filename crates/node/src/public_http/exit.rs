//! How a connection leaves the HTTP stack: a request that is to be followed is never answered there, and once all that was answered
//! before is sent, whoever serves the connection takes its socket out (docs/decisions/0022).
//!
//! It sends nothing. `stalling` tells it whether the stack has anything left to send.

use gateway::{Entrant, Follow, Place};
use hyper::{Response, Version};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What becomes of a connection.
pub(super) struct Leaving {
    /// The head of the answer.
    pub(super) head: Response<()>,
    pub(super) then: Then,
}

/// What follows the head.
pub(super) enum Then {
    /// A stream.
    Follow {
        follow: Follow,
        version: Version,
        /// Whether the client may send other requests afterwards.
        is_kept: bool,
    },
    /// A WebSocket of somebody who comes from there.
    Socket(Entrant, Option<Place>),
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct Exit {
    leaving: Mutex<Option<Leaving>>,
    is_flushed: AtomicBool,
}

impl Exit {
    /// The request that is being answered is the last one here.
    pub(super) fn open(&self, leaving: Leaving) {
        *self.leaving.lock() = Some(leaving);
    }

    /// Something is sent.
    pub(super) fn on_write(&self) {
        self.is_flushed.store(false, Ordering::Relaxed);
    }

    /// All that was to be sent is.
    pub(super) fn on_flush(&self) {
        self.is_flushed.store(true, Ordering::Relaxed);
    }

    /// Who leaves, if all was sent before.
    pub(super) fn leaving(&self) -> Option<Leaving> {
        let mut leaving = self.leaving.lock();
        if leaving.is_none() || !self.is_flushed.load(Ordering::Relaxed) {
            return None;
        }
        leaving.take()
    }
}
