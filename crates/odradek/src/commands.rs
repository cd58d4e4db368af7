//! One file per command.

pub(crate) mod dev;
pub(crate) mod serve;
