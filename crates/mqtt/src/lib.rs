//! MQTT 3.1.1 and 5.0 (the OASIS standards of 29 October 2014 and 7 March 2019) without a socket: the packets
//! ([`codec`]), the names and filters of topics ([`topics`]), and the core of one client's session ([`session`]).
//!
//! It reads no socket, keeps no time and stores nothing: who holds the connection feeds bytes, milliseconds and
//! records in, and carries out the effects. Statements of the standards are named by their numbers, as
//! \[MQTT-3.1.2-22\]; they are those of 5.0 where nothing else is said.

pub mod codec;
pub mod session;
pub mod topics;
