//! `Stream-Cursor` (PROTOCOL.md, section 10.1): by it caches give many waiting readers one answer, and never the same one twice.

/// Since then the intervals are counted: 2024-10-09T00:00:00Z, in milliseconds.
const BEGIN_MS: i64 = 1_728_432_000_000;
const INTERVAL_MS: i64 = 20_000;
/// A reader that is not behind is moved on by one to so many seconds, so that two such do not follow each other.
const JITTER_SECONDS_MAX: u64 = 3600;

/// The number of an interval of 20 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor(pub(crate) u64);

impl Cursor {
    /// What a reader sent; what is no number counts as nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_number = !text.is_empty() && text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| is_number).map(Self)
    }

    /// The interval of a time.
    pub(crate) fn of(now_ms: i64) -> Self {
        Self(u64::try_from(now_ms.saturating_sub(BEGIN_MS) / INTERVAL_MS).unwrap_or(0))
    }

    /// The cursor of an answer at this time to a reader that sent `before`: the interval, or more than what was sent. `random` is
    /// anything.
    pub(crate) fn next(before: Option<Self>, now_ms: i64, random: u64) -> Self {
        let interval = Self::of(now_ms);
        match before.filter(|before| *before >= interval) {
            Some(Self(before)) => {
                let seconds = 1 + random % JITTER_SECONDS_MAX;
                Self(before + seconds.div_ceil(INTERVAL_MS as u64 / 1000))
            }
            None => interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_the_interval_and_goes_on_from_what_was_sent() {
        let now = BEGIN_MS + 20_000 * 7 + 19_999;
        for before in [None, Some("6"), Some("0"), Some(""), Some("-9"), Some("x"), Some("9999999999999999")]
        {
            assert_eq!(Cursor::next(before.and_then(Cursor::parse), now, 5), Cursor(7), "{before:?}");
        }
        assert_eq!(Cursor::next(Cursor::parse("7"), now, 0), Cursor(8), "one second is one interval");
        assert_eq!(Cursor::next(Cursor::parse("9"), now, 3599), Cursor(9 + 180), "an hour");
        assert_eq!(Cursor::next(None, 0, 0), Cursor(0), "a clock that is far off");
    }

    proptest! {
        #[test]
        fn it_never_goes_back(before in 0u64..1_000_000_000, now in any::<i64>(), random in any::<u64>()) {
            prop_assert!(Cursor::next(Cursor::parse(&before.to_string()), now, random) > Cursor(before));
        }
    }
}
