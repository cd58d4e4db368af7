//! A range of versions, and how the generated code asks whether a version lies in it.
//!
//! It knows no message.

use anyhow::{Context, Result};

/// The versions `low..=high`; empty if `low > high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) low: i16,
    pub(super) high: i16,
}

/// A question about the version in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    Always,
    Never,
    When(String),
}

impl Versions {
    pub(super) const NONE: Self = Self { low: 0, high: -1 };

    /// Reads `none`, `3`, `0-5` or `2+`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let number = |text: &str| text.parse::<i16>().with_context(|| format!("version {text}"));
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(low) = text.strip_suffix('+') {
            return Ok(Self { low: number(low)?, high: i16::MAX });
        }
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        Ok(Self { low: number(low)?, high: number(high)? })
    }

    pub(super) fn parse_option(text: Option<&str>) -> Result<Self> {
        text.map_or(Ok(Self::NONE), Self::parse)
    }

    pub(super) fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub(super) fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    pub(super) fn and(self, other: Self) -> Self {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// The question whether `version` is in this range, given that it is in `within`.
    pub(super) fn condition(self, within: Self) -> Condition {
        let both = self.and(within);
        if both.is_empty() {
            return Condition::Never;
        }
        Condition::When(match (both.low == within.low, both.high == within.high) {
            (true, true) => return Condition::Always,
            _ if both.low == both.high => format!("version == {}", both.low),
            (false, true) => format!("version >= {}", both.low),
            (true, false) => format!("version <= {}", both.high),
            (false, false) => format!("({}..={}).contains(&version)", both.low, both.high),
        })
    }
}

impl Condition {
    /// As a Rust expression.
    pub(super) fn expression(&self) -> &str {
        match self {
            Condition::Always => "true",
            Condition::Never => "false",
            Condition::When(question) => question,
        }
    }

    /// The opposite of a question of [`Versions::condition`].
    pub(super) fn opposite(question: &str) -> String {
        for (operator, opposite) in [(" == ", " != "), (" >= ", " < "), (" <= ", " > ")] {
            if question.contains(operator) {
                return question.replace(operator, opposite);
            }
        }
        format!("!{question}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_say_no_more_than_they_must() {
        let check = |range: &str, within: &str, expected: &str| {
            let (range, within) = (Versions::parse(range).unwrap(), Versions::parse(within).unwrap());
            assert_eq!(range.condition(within).expression(), expected);
        };
        check("0+", "3-13", "true");
        check("none", "3-13", "false");
        check("0-2", "3-13", "false");
        check("9+", "3-13", "version >= 9");
        check("0-7", "3-13", "version <= 7");
        check("5-7", "3-13", "(5..=7).contains(&version)");
        check("13", "3-13", "version == 13");
    }
}
