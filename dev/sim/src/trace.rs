//! Everything that happens, as lines: the time, the step and what it was, with a hash over all of them. It judges
//! nothing; two runs of one seed must give the same lines byte for byte, which the meta test compares. The world, the
//! clients and the faults write here.

use crate::world::SimClock;
use env::Clock;
use parking_lot::Mutex;
use std::{collections::VecDeque, fmt, sync::Arc};

/// How much of the trace is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Only the newest lines.
    Recent,
    /// All lines.
    All,
    /// All lines are printed as they come.
    Print,
}

/// The lines of one run.
pub struct Trace {
    clock: Arc<SimClock>,
    state: Mutex<State>,
    keep: Keep,
}

struct State {
    steps: u64,
    hash: u64,
    lines: VecDeque<String>,
}

/// Lines that are kept to be shown with a violation.
const RECENT_LINES: usize = 60;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;

impl Trace {
    /// An empty trace.
    pub fn new(clock: Arc<SimClock>, keep: Keep) -> Arc<Self> {
        let state = State { steps: 0, hash: FNV_OFFSET, lines: VecDeque::new() };
        Arc::new(Self { clock, state: Mutex::new(state), keep })
    }

    /// Adds a line; gives its number.
    pub fn note(&self, what: fmt::Arguments<'_>) -> u64 {
        let micros = self.clock.now() / 1000;
        let mut state = self.state.lock();
        state.steps += 1;
        let line = format!("{:>7} {:>11}us {what}", state.steps, micros);
        state.hash =
            line.bytes().fold(state.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        match self.keep {
            Keep::Print => println!("{:016x} {line}", state.hash),
            Keep::All => state.lines.push_back(line),
            Keep::Recent => {
                if state.lines.len() == RECENT_LINES {
                    state.lines.pop_front();
                }
                state.lines.push_back(line);
            }
        }
        state.steps
    }

    /// How many lines there were, and the hash over all of them.
    pub fn digest(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.steps, state.hash)
    }

    /// The lines that were kept.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().lines.iter().cloned().collect()
    }
}

/// Writes a line into a trace.
#[macro_export]
macro_rules! note {
    ($trace:expr, $($what:tt)*) => { $trace.note(format_args!($($what)*)) };
}
