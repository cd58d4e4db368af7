//! How much the clients of each quota do in a second: bytes produced, bytes fetched, or time taken.
//!
//! There is one for each of these keys. It holds nobody back; it says for how long whoever has done too much is to be.

use crate::{
    Capacity, Client, Limits, Rate, Windows,
    limits::Found,
    sensors::{self, Sensors},
};

/// See the head of the file.
#[derive(Debug)]
pub struct Throughput {
    windows: Windows,
    /// Nobody is held back for longer; `None` if that depends on nothing but how much was done.
    throttle_ms_max: Option<u64>,
    limits: Limits,
    sensors: Sensors<Box<str>, Rate>,
}

impl Throughput {
    /// Nobody has a quota yet.
    pub fn new(windows: Windows, capacity: Capacity, throttle_ms_max: Option<u64>) -> Self {
        Self { windows, throttle_ms_max, limits: Limits::default(), sensors: Sensors::new(capacity) }
    }

    /// From now on these count. What has been measured is kept, unless there is nothing to compare it with.
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

    /// The client has done so much: for how many milliseconds it is to be held back, 0 if it keeps to its quota.
    pub fn record(&mut self, client: Client<'_>, now_ms: u64, value: f64) -> u64 {
        let Some(found) = self.limits.find(client) else { return 0 };
        self.measure(client, &found, now_ms, |rate, windows| rate.record(windows, now_ms, value))
    }

    /// The client would do so much: 0 if it may, and then it counts as done; else for how long it is to be held back.
    /// `is_refused` says that it is held back anyhow, and nothing is done.
    pub fn try_record(&mut self, client: Client<'_>, now_ms: u64, value: f64, is_refused: bool) -> u64 {
        let Some(found) = self.limits.find(client) else { return 0 };
        let throttle_ms =
            self.measure(client, &found, now_ms, |rate, windows| rate.record(windows, now_ms, value));
        if throttle_ms > 0 || is_refused {
            self.measure(client, &found, now_ms, |rate, windows| rate.record(windows, now_ms, -value));
        }
        throttle_ms
    }

    /// The most that the client can do at once without being held back for it in any case.
    pub fn at_once_max(&self, client: Client<'_>) -> Option<f64> {
        Some(self.limits.find(client)?.limit * self.windows.whole_seconds())
    }

    fn measure(
        &mut self,
        client: Client<'_>,
        found: &Found,
        now_ms: u64,
        record: impl FnOnce(&mut Rate, Windows),
    ) -> u64 {
        let windows = self.windows;
        let name = sensors::name(client, found.shared_by);
        let is_idle = |rate: &Rate| rate.is_idle(windows, now_ms);
        let rate = self.sensors.get(name, now_ms, windows.all_ms(), is_idle);
        record(rate, windows);
        let throttle_ms = rate.throttle_ms(windows, now_ms, found.limit);
        throttle_ms.min(self.throttle_ms_max.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entity;

    const CAPACITY: Capacity = Capacity { sensors_max: 10, name_bytes_max: 1000 };

    fn throughput(entity: &Entity<'_>, limit: f64, throttle_ms_max: Option<u64>) -> Throughput {
        let mut throughput = Throughput::new(Windows::new(11, 1), CAPACITY, throttle_ms_max);
        let mut limits = Limits::default();
        limits.set(entity, limit);
        throughput.set_limits(limits);
        throughput
    }

    const U: Client<'static> = Client { user: "u", id: "c" };

    #[test]
    fn those_who_share_a_quota_are_held_back_together() {
        let of_user = Entity { user: Some(Some("u")), client_id: None };
        let mut throughput = throughput(&of_user, 100.0, None);
        assert_eq!(throughput.record(U, 0, 1000.0), 0);
        assert_eq!(throughput.record(Client { id: "other", ..U }, 0, 100.0), 1000);
        assert_eq!(throughput.record(Client { user: "v", ..U }, 0, 1e9), 0, "who has no quota is free");
        let default = Entity { user: None, client_id: Some(None) };
        let mut throughput = self::throughput(&default, 100.0, None);
        assert_eq!(throughput.record(U, 0, 1100.0), 1000);
        assert_eq!(throughput.record(Client { id: "other", ..U }, 0, 1000.0), 0, "each id by itself");
    }

    #[test]
    fn what_was_refused_does_not_count() {
        let mut throughput = throughput(&Entity { user: Some(None), client_id: None }, 100.0, None);
        assert_eq!(throughput.at_once_max(U), Some(1000.0));
        assert_eq!(throughput.try_record(U, 0, 1100.0, false), 1000);
        assert_eq!(throughput.try_record(U, 0, 1000.0, true), 0);
        assert_eq!(throughput.try_record(U, 0, 1000.0, false), 0, "nothing was recorded before");
        assert_eq!(throughput.try_record(U, 0, 1.0, false), 10);
    }

    #[test]
    fn a_new_limit_counts_at_once_for_what_was_measured() {
        let entity = Entity { user: Some(None), client_id: None };
        let mut throughput = throughput(&entity, 100.0, Some(1500));
        throughput.record(U, 0, 1000.0);
        let mut limits = Limits::default();
        limits.set(&entity, 50.0);
        throughput.set_limits(limits);
        assert_eq!(throughput.record(U, 0, 0.0), 1500, "10 s, but nobody is held back for so long");
        throughput.set_limits(Limits::default());
        assert!(!throughput.is_limited());
        assert_eq!((throughput.record(U, 0, 1e9), throughput.sensors.len()), (0, 0));
    }
}
