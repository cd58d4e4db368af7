//! How often somebody may do something: a bucket for each, refilled steadily (the generic cell rate algorithm), in a table that never
//! grows, however many come.
//!
//! It keeps no time: who asks tells it. A bucket that is full says nothing and is forgotten; where there is no room, the one that is
//! nearest to it goes.

use crate::problem::Problem;
use env::Nanos;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use siphasher::sip::SipHasher13;

/// Buckets that share a place; of these the fullest goes.
const WAYS: usize = 8;
/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// At most so often in any such time, and as often at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Not 0.
    pub count: u32,
    /// Not 0.
    pub seconds: u32,
}

/// See the head of the file.
pub struct Rates {
    sets: Vec<[Bucket; WAYS]>,
    hasher: SipHasher13,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Whose it is: its hash.
    who: u64,
    /// When it is full again.
    full_at: Nanos,
}

/// How somebody stands with a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What the rate is called, such as `address`.
    pub policy: &'static str,
    /// The rate.
    pub rate: Rate,
    /// Whether it was kept.
    pub is_kept: bool,
    /// How often more at once.
    pub left: u64,
    /// If it was kept, until all may be done again; else until one more may be.
    pub seconds: u64,
}

impl Rate {
    fn window(self) -> Nanos {
        u64::from(self.seconds.max(1)) * SECOND
    }

    /// How long one takes to come back.
    fn interval(self) -> Nanos {
        (self.window() / u64::from(self.count.max(1))).max(1)
    }
}

impl Rates {
    /// `count` buckets at most; `seeds` are not known to those who are counted.
    pub fn new(count: usize, seeds: (u64, u64)) -> Self {
        let sets = vec![[Bucket::default(); WAYS]; count.div_ceil(WAYS).max(1)];
        Self { sets, hasher: SipHasher13::new_with_keys(seeds.0, seeds.1) }
    }

    /// Somebody does it once more, if they may.
    pub fn take(&mut self, policy: &'static str, who: &[u8], rate: Rate, now: Nanos) -> Quota {
        let who = self.hasher.hash(who);
        let (interval, window) = (rate.interval(), rate.window());
        let quota = |is_kept, left, nanos: u64| {
            let seconds = nanos.div_ceil(SECOND);
            Quota { policy, rate, is_kept, left, seconds }
        };
        let index = who % self.sets.len().max(1) as u64;
        let Some(set) = usize::try_from(index).ok().and_then(|index| self.sets.get_mut(index)) else {
            return quota(true, 0, 0);
        };
        let place = set.iter().position(|bucket| bucket.who == who && bucket.full_at > 0);
        let fullest =
            || set.iter().enumerate().min_by_key(|(_, bucket)| bucket.full_at).map(|(place, _)| place);
        let Some(bucket) = place.or_else(fullest).and_then(|place| set.get_mut(place)) else {
            return quota(true, 0, 0);
        };
        // A rate that was made smaller since does not wait for longer than its own time.
        let known = if place.is_some() { bucket.full_at.min(now.saturating_add(window)) } else { now };
        let full_at = known.max(now) + interval;
        if full_at > now + window {
            return quota(false, 0, full_at - window - now);
        }
        *bucket = Bucket { who, full_at };
        quota(true, (now + window - full_at) / interval, full_at - now)
    }
}

impl Quota {
    /// Says it on an answer (draft-ietf-httpapi-ratelimit-headers-10), beside others.
    pub fn mark(&self, headers: &mut HeaderMap) {
        for (name, value) in self.fields() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
    }

    /// 429.
    pub fn problem(&self, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail);
        problem.with("retry-after", self.seconds.max(1))
    }

    fn fields(&self) -> [(&'static str, String); 2] {
        let Self { policy, rate, left, seconds, .. } = self;
        [
            ("ratelimit-policy", format!("\"{policy}\";q={};w={}", rate.count, rate.seconds)),
            ("ratelimit", format!("\"{policy}\";r={left};t={seconds}")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { count: 20, seconds: 10 };

    fn rates(count: usize) -> Rates {
        Rates::new(count, (1, 2))
    }

    #[test]
    fn as_many_as_may_be_are_taken_at_once_and_then_as_they_come_back() {
        let mut rates = rates(64);
        let mut take = |who: &[u8], now: u64| rates.take("address", who, RATE, now);
        for left in (0..20).rev() {
            let quota = take(b"a", 5);
            assert!(quota.is_kept && quota.left == left, "{quota:?}");
        }
        let over = take(b"a", 5);
        assert_eq!((over.is_kept, over.left, over.seconds), (false, 0, 1));
        assert!(take(b"b", 5).is_kept, "others are not concerned");
        assert!(!take(b"a", SECOND / 2 + 4).is_kept);
        assert!(take(b"a", SECOND / 2 + 5).is_kept, "two come back in a second");
        assert!(!take(b"a", SECOND / 2 + 5).is_kept);
        let rested = take(b"a", 60 * SECOND);
        assert_eq!((rested.is_kept, rested.left, rested.seconds), (true, 19, 1));
    }

    #[test]
    fn an_answer_says_how_one_stands() {
        let mut rates = rates(64);
        let mut headers = HeaderMap::new();
        rates.take("address", b"a", RATE, 0).mark(&mut headers);
        rates.take("subject", b"s", Rate { count: 1, seconds: 60 }, 0).mark(&mut headers);
        let all =
            |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("ratelimit-policy"), ["\"address\";q=20;w=10", "\"subject\";q=1;w=60"]);
        assert_eq!(all("ratelimit"), ["\"address\";r=19;t=1", "\"subject\";r=0;t=60"]);
        let over = rates.take("subject", b"s", Rate { count: 1, seconds: 60 }, 0);
        let response = over.problem("slower").response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"60".parse().unwrap())
        );
    }

    #[test]
    fn many_who_come_take_no_more_room_and_do_not_free_who_is_over() {
        let mut rates = rates(WAYS);
        for _ in 0..21 {
            rates.take("address", b"a", RATE, 0);
        }
        for other in 0..10_000u32 {
            assert!(rates.take("address", &other.to_be_bytes(), RATE, 0).is_kept);
            assert!(!rates.take("address", b"a", RATE, 0).is_kept, "after {other} others");
        }
        assert_eq!(rates.sets.len(), 1);
    }

    #[test]
    fn a_rate_that_is_made_smaller_waits_for_no_longer_than_its_own_time() {
        let mut rates = rates(64);
        let hour = Rate { count: 1, seconds: 3600 };
        assert!(rates.take("subject", b"a", hour, 0).is_kept);
        let second = rates.take("subject", b"a", Rate { count: 1, seconds: 1 }, 0);
        assert_eq!((second.is_kept, second.seconds), (false, 1));
    }

    proptest! {
        #[test]
        fn no_more_than_twice_the_count_is_done_in_any_window(
            steps in proptest::collection::vec(0u64..2 * SECOND, 1..400), count in 1u32..50, seconds in 1u32..20,
        ) {
            let (mut rates, rate) = (rates(64), Rate { count, seconds });
            let (mut now, mut kept) = (0, Vec::new());
            for step in steps {
                now += step;
                if rates.take("address", b"a", rate, now).is_kept {
                    kept.push(now);
                }
                let within = kept.iter().filter(|time| **time + rate.window() > now).count();
                prop_assert!(within <= 2 * count as usize);
            }
            prop_assert!(!kept.is_empty());
        }
    }
}
