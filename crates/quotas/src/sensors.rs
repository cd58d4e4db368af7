//! What is measured of each client that has a quota: found by who shares the quota, bounded in number and bytes.
//!
//! It measures nothing itself. One that is idle is as a new one, so it is forgotten without any loss; where there is no
//! room for another although none is idle, all that come later share one.

use crate::limits::{Client, Sharers};
use std::borrow::Cow;
use stdx::Map;

/// How many clients are measured by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// At most so many.
    pub sensors_max: usize,
    /// Their names have so many bytes at most, all together.
    pub name_bytes_max: usize,
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Sensors<K, S> {
    capacity: Capacity,
    all: Map<K, S>,
    name_bytes: usize,
    /// What is shared by all for whom there is no room.
    rest: S,
    swept_ms: u64,
}

/// What names a sensor.
pub(crate) trait Name: std::hash::Hash + Eq {
    /// How many bytes it takes.
    fn bytes(&self) -> usize;
}

impl Name for Box<str> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Name for std::net::IpAddr {
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Longer names are measured by their beginning, their length and a checksum: a few clients that call themselves at length must
/// not take the room of all.
const NAME_BYTES_MAX: usize = 64;

fn cut(name: &str) -> Cow<'_, str> {
    if name.len() <= NAME_BYTES_MAX {
        return Cow::Borrowed(name);
    }
    let begin = name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    Cow::Owned(format!("{begin}#{}#{:08x}", name.len(), stdx::crc32c(name.as_bytes())))
}

/// The name of those who share a quota with a client.
pub(crate) fn name(client: Client<'_>, shared_by: Sharers) -> Box<str> {
    let (user, id) = (cut(client.user), cut(client.id));
    match shared_by {
        Sharers::UserAndClientId => format!("b{}:{user}{id}", user.len()),
        Sharers::User => format!("u{user}"),
        Sharers::ClientId => format!("c{id}"),
    }
    .into()
}

impl<K: Name, S: Default> Sensors<K, S> {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self { capacity, all: Map::default(), name_bytes: 0, rest: S::default(), swept_ms: 0 }
    }

    /// The sensor of that name. Those for which `is_idle` says so are forgotten now and then, at most every `sweep_ms`.
    pub(crate) fn get(
        &mut self,
        name: K,
        now_ms: u64,
        sweep_ms: u64,
        is_idle: impl Fn(&S) -> bool,
    ) -> &mut S {
        if !self.all.contains_key(&name) {
            if now_ms.saturating_sub(self.swept_ms) >= sweep_ms {
                self.swept_ms = now_ms;
                self.all.retain(|_, sensor| !is_idle(sensor));
                self.name_bytes = self.all.keys().map(Name::bytes).sum();
            }
            let bytes = self.name_bytes.saturating_add(name.bytes());
            if self.all.len() >= self.capacity.sensors_max || bytes > self.capacity.name_bytes_max {
                return &mut self.rest;
            }
            self.name_bytes = bytes;
        }
        self.all.entry(name).or_default()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensors() -> Sensors<Box<str>, u64> {
        Sensors::new(Capacity { sensors_max: 2, name_bytes_max: 10 })
    }

    #[test]
    fn those_for_whom_there_is_no_room_share_one() {
        let mut sensors = sensors();
        let mut hit = |name: &str, now_ms: u64| {
            let sensor = sensors.get(name.into(), now_ms, 100, |last| now_ms - *last >= 100);
            let before = std::mem::replace(sensor, now_ms);
            (before, sensors.len())
        };
        assert_eq!(hit("a", 1), (0, 1));
        assert_eq!(hit("a much too long name", 2), (0, 1));
        assert_eq!(hit("b", 3), (0, 2));
        assert_eq!(hit("c", 4), (2, 2));
        assert_eq!(hit("d", 5), (4, 2));
        assert_eq!(hit("a", 50), (1, 2), "who has one keeps it");
        assert_eq!(hit("e", 104), (0, 2), "b was idle");
        assert_eq!(hit("a", 105), (50, 2));
    }

    #[test]
    fn names_are_unlike_for_unlike_clients() {
        let client = |user, id| Client { user, id };
        let names = [
            name(client("a", "bc"), Sharers::UserAndClientId),
            name(client("ab", "c"), Sharers::UserAndClientId),
            name(client("abc", ""), Sharers::User),
            name(client("", "abc"), Sharers::ClientId),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert_eq!(name(client("a", "b"), Sharers::User), name(client("a", "c"), Sharers::User));
        let (long, other) = ("ä".repeat(16_000), format!("{}b", "ä".repeat(15_999)));
        let of = |id: &str| name(Client { user: "", id }, Sharers::ClientId);
        assert!(of(&long).len() < 100 && of(&long) != of(&other) && of(&long) == of(&long));
    }
}
