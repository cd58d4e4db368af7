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
        "How often the matching clients push their metrics."),
    key("match", List, Text(""), Distinct, Medium,
        "Which clients are meant, as property=regular expression; all of them must match, none means every client."),
    key("metrics", List, Text(""), Distinct, Medium,
        "The prefixes of the metrics that clients push; * means all."),
];
