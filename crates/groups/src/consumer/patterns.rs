//! Subscriptions by pattern: which topics match, looked up again when the cluster's topics change.
//!
//! A pattern must match a topic's whole name. Its syntax is RE2's, which no input can make slow; the compiled form is
//! bounded, too. Kafka resolves patterns beside the group and later; here it takes one step, so that the first answer to
//! a new member is right.

use super::{
    changes::Changes,
    heartbeat::Surroundings,
    records::{ConsumerChange, Pattern},
};
use crate::Error;
use regex::{Regex, RegexBuilder};
use std::{collections::BTreeSet, sync::Arc};

/// Bytes of a compiled pattern.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 2048;

/// Whether a pattern can be understood.
pub(crate) fn check(pattern: &str) -> Result<(), Error> {
    compile(pattern).map(drop)
}

fn compile(pattern: &str) -> Result<Regex, Error> {
    // Topic names have 249 characters; reading a pattern costs more than its compiled form shows.
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(Error::InvalidRegularExpression(format!("it has more than {PATTERN_BYTES_MAX} bytes")));
    }
    // The pattern by itself first, or `a)|(b` would be taken for one.
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    build(pattern)
        .and_then(|_| build(&format!("^(?:{pattern})$")))
        .map_err(|error| Error::InvalidRegularExpression(error.to_string()))
}

/// Forgets patterns that nobody is subscribed to, and looks up the others where the topics may have changed since.
pub(super) fn refresh(changes: &mut Changes<'_>, around: &Surroundings<'_>) {
    let abandoned: Vec<Arc<str>> = {
        let group = &*changes.group;
        let is_abandoned = |pattern: &&Arc<str>| group.pattern_subscribers(pattern) == 0;
        group.patterns.keys().filter(is_abandoned).cloned().collect()
    };
    for pattern in abandoned {
        changes.set(ConsumerChange::Pattern(pattern, None));
    }
    let is_current = changes.group.topics_seen == Some(around.topics_version);
    let wanted: Vec<Arc<str>> = {
        let group = &*changes.group;
        let is_stale = |pattern: &&Arc<str>| !is_current || !group.patterns.contains_key(*pattern);
        group.subscribed_patterns().filter(is_stale).cloned().collect()
    };
    for pattern in wanted {
        let Ok(regex) = compile(&pattern) else { continue };
        let mut topics = BTreeSet::new();
        around.topics.each_name(&mut |name| {
            if regex.is_match(name) {
                topics.insert(Arc::from(name));
            }
        });
        if changes.group.patterns.get(&pattern).is_none_or(|found| found.topics != topics) {
            let found = Pattern { topics, version: around.topics.version(), timestamp: around.now.wall };
            changes.set(ConsumerChange::Pattern(pattern, Some(found)));
        }
    }
}
