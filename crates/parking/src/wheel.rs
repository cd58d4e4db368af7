//! When something is to be done with what lies in a slab: a wheel with a spoke for each second.
//!
//! It knows no clock. What lies further ahead than the wheel is wide comes up at its end, for whoever asked to ask again.

use super::chains::{Chains, Head};

/// Seconds on the wheel: more than a connection lasts.
const SPOKES: u32 = 64;

/// See the head of the file.
pub(crate) struct Wheel {
    chains: Chains,
    spokes: [Head; SPOKES as usize],
    /// Of each item, the spoke that it is on.
    on: Vec<u8>,
    /// Everything before this second has come up.
    next: u32,
    count: usize,
}

/// On none.
const OFF: u8 = u8::MAX;

impl Wheel {
    pub(crate) fn new(now: u32) -> Self {
        Self {
            chains: Chains::default(),
            spokes: std::array::from_fn(|_| Head::default()),
            on: Vec::new(),
            next: now,
            count: 0,
        }
    }

    /// Whether nothing is to come.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The item comes up in this second, and not when it was to before.
    pub(crate) fn set(&mut self, item: u32, second: u32) {
        self.take(item);
        let spoke = second.clamp(self.next, self.next.saturating_add(SPOKES - 1)) % SPOKES;
        let place = item as usize;
        if self.on.len() <= place {
            self.on.resize(place + 1, OFF);
        }
        if let (Some(on), Some(head)) = (self.on.get_mut(place), self.spokes.get_mut(spoke as usize)) {
            *on = spoke as u8;
            self.chains.push(head, item);
            self.count += 1;
        }
    }

    /// It does not come up any more.
    pub(crate) fn take(&mut self, item: u32) {
        let Some(on) = self.on.get_mut(item as usize) else { return };
        let spoke = std::mem::replace(on, OFF);
        if let Some(head) = self.spokes.get_mut(usize::from(spoke)) {
            self.chains.take(head, item);
            self.count -= 1;
        }
    }

    /// One whose second has come.
    pub(crate) fn pop(&mut self, now: u32) -> Option<u32> {
        // After a long sleep each spoke is looked at once.
        self.next = self.next.max(now.saturating_sub(SPOKES));
        while self.next <= now {
            let head = self.spokes.get_mut((self.next % SPOKES) as usize)?;
            if let Some(item) = self.chains.pop(head) {
                self.count -= 1;
                if let Some(on) = self.on.get_mut(item as usize) {
                    *on = OFF;
                }
                return Some(item);
            }
            self.next += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(wheel: &mut Wheel, now: u32) -> Vec<u32> {
        let mut up: Vec<u32> = std::iter::from_fn(|| wheel.pop(now)).collect();
        up.sort_unstable();
        up
    }

    #[test]
    fn each_comes_up_once_in_its_second() {
        let mut wheel = Wheel::new(1000);
        assert!(wheel.is_empty());
        for item in 0..50 {
            wheel.set(item, 1000 + item);
        }
        wheel.take(7);
        wheel.set(8, 1030);
        assert_eq!(up(&mut wheel, 1010), [0, 1, 2, 3, 4, 5, 6, 9, 10]);
        assert_eq!(up(&mut wheel, 1010), [0; 0]);
        assert_eq!(up(&mut wheel, 1030), [&[8][..], &(11..=30).collect::<Vec<_>>()].concat());
        // What should have come up long ago comes up at once.
        wheel.set(3, 5);
        assert_eq!(up(&mut wheel, 1031), [3, 31]);
        assert_eq!(up(&mut wheel, 1_000_000), (32..50).collect::<Vec<_>>());
        assert!(wheel.is_empty());
        wheel.take(3);
        wheel.set(3, 1_000_005);
        assert_eq!((up(&mut wheel, 1_000_004), up(&mut wheel, 1_000_005)), (vec![], vec![3]));
    }

    #[test]
    fn what_is_too_far_ahead_comes_up_early_and_asks_again() {
        let mut wheel = Wheel::new(10);
        wheel.set(0, 5000);
        assert_eq!(up(&mut wheel, 10 + SPOKES - 2), [0; 0]);
        assert_eq!(up(&mut wheel, 10 + SPOKES - 1), [0]);
    }
}
