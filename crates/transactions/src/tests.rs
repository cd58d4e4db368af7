//! Tests of the coordinator: requests in, records and replies out.

mod adding;
mod desk;
mod ending;
mod expiring;
mod histories;
mod initialising;
