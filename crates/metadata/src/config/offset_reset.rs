//! Where a share group begins in a partition that it has never read (`share.auto.offset.reset`, KIP-932, KIP-1106).
//!
//! It reads the text of the configuration; `check` refuses what cannot be read.

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// With the first record that is there.
    Earliest,
    /// With the first record that comes.
    Latest,
    /// With the first record that is not older than so many milliseconds.
    Before(i64),
}

/// `earliest`, `latest`, or `by_duration:` with a duration that is not negative; `None` for all else.
pub fn parse(text: &str) -> Option<OffsetReset> {
    match text.strip_prefix("by_duration:") {
        Some(duration) => duration_ms(duration).map(OffsetReset::Before),
        None if text == "earliest" => Some(OffsetReset::Earliest),
        None if text == "latest" => Some(OffsetReset::Latest),
        None => None,
    }
}

/// The milliseconds of a duration in the form that Java reads: PnDTnHnMn.nS.
fn duration_ms(text: &str) -> Option<i64> {
    let rest = text.strip_prefix(['P', 'p'])?;
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if rest.is_empty() {
        return None;
    }
    let days = run_ms(days, &[('D', 86_400_000)])?;
    days.checked_add(run_ms(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?)
}

/// The milliseconds of numbers with their units, in the order of the units; only seconds may have a fraction.
fn run_ms(mut text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut sum = 0i64;
    for (unit, ms) in units {
        let Some((number, rest)) = text.split_once([*unit, unit.to_ascii_lowercase()]) else { continue };
        let digits = number.strip_prefix('+').unwrap_or(number);
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if *unit == 'S' => (whole, fraction),
            Some(_) => return None,
            None => (digits, ""),
        };
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
        let value = whole.parse::<i64>().ok()?.checked_mul(*ms)?;
        sum = sum.checked_add(value)?.checked_add(thousandths.parse().ok()?)?;
        text = rest;
    }
    text.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_java_reads_them() {
        let before = |text: &str| parse(&format!("by_duration:{text}"));
        for (text, ms) in [
            ("PT1H30M", 5_400_000),
            ("P2D", 172_800_000),
            ("p1dt1.5s", 86_401_500),
            ("PT+1.0049S", 1004),
            ("PT0S", 0),
        ] {
            assert_eq!(before(text), Some(OffsetReset::Before(ms)), "{text}");
        }
        for text in
            ["", "P", "PT", "1H", "PT1", "P-1D", "PT1.5H", "P1H", "PT1M1H", "P99999999999999999D", "PT.5S"]
        {
            assert_eq!(before(text), None, "{text}");
        }
        assert_eq!(parse("earliest"), Some(OffsetReset::Earliest));
        assert_eq!(parse("latest"), Some(OffsetReset::Latest));
        assert_eq!(parse("none"), None);
    }
}
