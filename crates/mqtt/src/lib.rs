//! MQTT 3.1.1 and 5.0 (the OASIS standards of 29 October 2014 and 7 March 2019) without a socket: the packets
//! ([`codec`]), and the names and filters of topics ([`topics`]).
//!
//! It reads no socket and keeps no state of clients. Statements of the standards are named by their numbers, as
//! \[MQTT-3.1.2-22\]; they are those of 5.0 where nothing else is said.

pub mod codec;
pub mod topics;
