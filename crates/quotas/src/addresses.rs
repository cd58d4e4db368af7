//! How many connections each address makes in a second (KIP-612).
//!
//! It refuses none: it says for how long a connection that is too much is to be kept waiting before it is closed.

use crate::{Capacity, Rate, Windows, sensors::Sensors};
use std::net::IpAddr;
use stdx::Map;

/// See the head of the file.
#[derive(Debug)]
pub struct Addresses {
    windows: Windows,
    named: Map<IpAddr, f64>,
    default: Option<f64>,
    sensors: Sensors<IpAddr, Rate>,
}

impl Addresses {
    /// No address has a quota yet.
    pub fn new(windows: Windows, capacity: Capacity) -> Self {
        Self { windows, named: Map::default(), default: None, sensors: Sensors::new(capacity) }
    }

    /// From now on these count, and `default` for all other addresses.
    pub fn set_limits(&mut self, named: impl IntoIterator<Item = (IpAddr, f64)>, default: Option<f64>) {
        self.named = named.into_iter().map(|(address, limit)| (address.to_canonical(), limit)).collect();
        self.default = default;
        if !self.is_limited() {
            self.sensors.clear();
        }
    }

    /// Whether any address has a quota.
    pub fn is_limited(&self) -> bool {
        self.default.is_some() || !self.named.is_empty()
    }

    /// A connection comes from there: 0 if it is welcome, and then it counts; else for how long it is to wait for its end,
    /// one window at most.
    pub fn try_connect(&mut self, address: IpAddr, now_ms: u64) -> u64 {
        let (windows, address) = (self.windows, address.to_canonical());
        let Some(limit) = self.named.get(&address).copied().or(self.default) else { return 0 };
        let is_idle = |rate: &Rate| rate.is_idle(windows, now_ms);
        let rate = self.sensors.get(address, now_ms, windows.all_ms(), is_idle);
        rate.record(windows, now_ms, 1.0);
        let throttle_ms = rate.throttle_ms(windows, now_ms, limit).min(windows.length_ms());
        if throttle_ms > 0 {
            rate.record(windows, now_ms, -1.0);
        }
        throttle_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_too_many_connections_waits_and_the_others_do_not() {
        let capacity = Capacity { sensors_max: 10, name_bytes_max: 1000 };
        let mut addresses = Addresses::new(Windows::new(3, 1), capacity);
        let [a, b, c]: [IpAddr; 3] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into(), [127, 0, 0, 3].into()];
        let mut admitted =
            |address: IpAddr, now_ms| (0..20).filter(|_| addresses.try_connect(address, now_ms) == 0).count();
        assert_eq!(admitted(a, 0), 20);
        let mut addresses = Addresses::new(Windows::new(3, 1), capacity);
        addresses.set_limits([(a, 2.0)], Some(5.0));
        let mut admitted =
            |address: IpAddr, now_ms| (0..20).filter(|_| addresses.try_connect(address, now_ms) == 0).count();
        assert_eq!((admitted(a, 0), admitted(b, 0)), (4, 10));
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(admitted(mapped, 0), 0, "it is the same address");
        assert_eq!((admitted(a, 3000), admitted(c, 3000)), (4, 10));
        assert_eq!(addresses.try_connect(a, 3000), 500, "until the rate is within the limit");
        addresses.set_limits([], None);
        assert_eq!(addresses.try_connect(a, 3000), 0);
    }
}
