//! Readers that wait for news of a stream: who is parked in which row, and when to look after each (docs/decisions/0022).
//!
//! It decides, and does nothing: `node` holds the sockets, reads the streams and sends what comes.

mod chains;
mod seats;
mod wheel;

pub use seats::{Id, Parked, Parking, Rest, Seat, Seats};
