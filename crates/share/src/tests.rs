//! What share partitions, their coordinator and their sessions promise, in data.

mod acknowledging;
mod acquiring;
mod chaos;
mod combining;
mod coordinating;
mod dead_letters;
mod desk;
mod sessions;
