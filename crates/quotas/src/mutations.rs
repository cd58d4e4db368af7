//! How many partitions the clients of each quota may create and delete (KIP-599): a bucket of tokens for each.
//!
//! It counts; the controller refuses, by what [`Mutations::left`] tells.

use crate::{
    Capacity, Client, Limits, Tokens, Windows,
    sensors::{self, Sensors},
};

/// See the head of the file.
#[derive(Debug)]
pub struct Mutations {
    windows: Windows,
    limits: Limits,
    sensors: Sensors<Box<str>, (Tokens, f64)>,
}

impl Mutations {
    /// Nobody has a quota yet.
    pub fn new(windows: Windows, capacity: Capacity) -> Self {
        Self { windows, limits: Limits::default(), sensors: Sensors::new(capacity) }
    }

    /// From now on these count.
    pub fn set_limits(&mut self, limits: Limits) {
        if limits.is_empty() {
            self.sensors.clear();
        }
        self.limits = limits;
    }

    /// Whether anybody has a quota.
    pub fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// How many partitions are left of the client's quota; below 0 none may be changed. `None` if it has no quota.
    pub fn left(&mut self, client: Client<'_>, now_ms: u64) -> Option<f64> {
        let windows = self.windows;
        let (tokens, limit) = self.tokens(client, now_ms)?;
        Some(tokens.left(windows, now_ms, limit))
    }

    /// The client has changed so many.
    pub fn record(&mut self, client: Client<'_>, now_ms: u64, count: f64) {
        let windows = self.windows;
        if let Some((tokens, limit)) = self.tokens(client, now_ms) {
            tokens.take(windows, now_ms, limit, count);
        }
    }

    /// For how long the client may not change any.
    pub fn throttle_ms(&mut self, client: Client<'_>, now_ms: u64) -> u64 {
        let windows = self.windows;
        self.tokens(client, now_ms).map_or(0, |(tokens, limit)| tokens.throttle_ms(windows, now_ms, limit))
    }

    fn tokens(&mut self, client: Client<'_>, now_ms: u64) -> Option<(&mut Tokens, f64)> {
        let windows = self.windows;
        let found = self.limits.find(client)?;
        let name = sensors::name(client, found.shared_by);
        let is_idle = |(tokens, limit): &(Tokens, f64)| tokens.is_idle(windows, now_ms, *limit);
        let (tokens, limit) = self.sensors.get(name, now_ms, windows.all_ms(), is_idle);
        *limit = found.limit;
        Some((tokens, found.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entity;

    #[test]
    fn a_quota_is_used_up_and_comes_back() {
        let capacity = Capacity { sensors_max: 10, name_bytes_max: 1000 };
        let mut mutations = Mutations::new(Windows::new(11, 1), capacity);
        let client = Client { user: "u", id: "c" };
        assert_eq!((mutations.is_limited(), mutations.left(client, 0)), (false, None));
        let mut limits = Limits::default();
        limits.set(&Entity { user: Some(None), client_id: None }, 1.0);
        mutations.set_limits(limits);
        assert_eq!(mutations.left(client, 0), Some(11.0));
        mutations.record(client, 0, 13.0);
        assert_eq!((mutations.left(client, 500), mutations.throttle_ms(client, 500)), (Some(-1.5), 1500));
        assert_eq!(mutations.left(Client { user: "v", ..client }, 0), Some(11.0), "each user by itself");
        assert_eq!(mutations.throttle_ms(client, 2000), 0);
        mutations.set_limits(Limits::default());
        assert_eq!(mutations.left(client, 2000), None);
    }
}
