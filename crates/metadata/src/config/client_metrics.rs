//! The keys of client metrics subscriptions (KIP-714).
//!
//! A table of facts; it resolves and checks nothing. The catalogue looks keys up in it.

use super::key::{
    Default::Text,
    Importance::Medium,
    Key,
    Kind::{Int, List},
    Valid::{Any, Distinct},
    key,
};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("interval.ms", Int, Text("300000"), Any, Medium,
        ""),
    key("match", List, Text(""), Distinct, Medium,
        ""),
    key("metrics", List, Text(""), Distinct, Medium,
        ""),
];
