//! The syntax of topic names and filters, and whether a filter matches a name (4.7, 4.8.2).
//!
//! One filter against one name; for many filters there is the [`super::Index`].

use crate::codec::Text;

/// Why a text is no topic name, or no topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// \[MQTT-4.7.3-1\].
    #[error("a topic name must have at least one character")]
    EmptyName,
    /// \[MQTT-4.7.3-1\].
    #[error("a topic filter must have at least one character")]
    EmptyFilter,
    /// \[MQTT-4.7.0-1\], \[MQTT-3.3.2-2\].
    #[error("a topic name must not contain the wildcards '+' and '#'")]
    WildcardInName,
    /// \[MQTT-4.7.1-1\].
    #[error("'#' must be the last level of a topic filter, and alone in it")]
    MisplacedHash,
    /// \[MQTT-4.7.1-2\].
    #[error("'+' must be alone in its level of a topic filter")]
    MisplacedPlus,
    /// \[MQTT-4.8.2-1\].
    #[error("a shared subscription must name its group: $share/group/filter")]
    EmptyGroup,
    /// \[MQTT-4.8.2-2\].
    #[error("the group of a shared subscription must not contain '+' and '#'")]
    WildcardInGroup,
    /// \[MQTT-4.8.2-2\].
    #[error("a shared subscription must have a topic filter behind its group: $share/group/filter")]
    GroupWithoutFilter,
}

const SHARE: &[u8] = b"$share/";

/// Whether the text is a topic name: not empty and without wildcards.
pub fn check_name(name: &[u8]) -> Result<(), InvalidTopic> {
    match name {
        [] => Err(InvalidTopic::EmptyName),
        _ if name.iter().any(|byte| matches!(byte, b'+' | b'#')) => Err(InvalidTopic::WildcardInName),
        _ => Ok(()),
    }
}

/// A valid topic filter, of a shared subscription too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter {
    text: Text,
    /// Where the pattern begins: behind `$share/group/`, else at 0.
    pattern_at: usize,
}

impl Filter {
    /// The filter, if the text is one.
    pub fn new(text: Text) -> Result<Self, InvalidTopic> {
        let bytes = text.bytes();
        let pattern_at = match bytes.strip_prefix(SHARE) {
            None => 0,
            Some(shared) => {
                let group =
                    shared.iter().position(|byte| *byte == b'/').ok_or(InvalidTopic::GroupWithoutFilter)?;
                check_group(shared.get(..group).unwrap_or_default())?;
                SHARE.len() + group + 1
            }
        };
        match bytes.get(pattern_at..).unwrap_or_default() {
            [] if pattern_at > 0 => return Err(InvalidTopic::GroupWithoutFilter),
            [] => return Err(InvalidTopic::EmptyFilter),
            pattern => check_pattern(pattern)?,
        }
        Ok(Self { text, pattern_at })
    }

    /// All of it, `$share/group/` included: by this a subscription is known again.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The filter that names are matched against.
    pub fn pattern(&self) -> &[u8] {
        self.text.bytes().get(self.pattern_at..).unwrap_or_default()
    }

    /// The group of a shared subscription.
    pub fn group(&self) -> Option<&str> {
        let end = self.pattern_at.checked_sub(1)?;
        self.text.as_str().get(SHARE.len()..end)
    }

    /// The levels of its pattern.
    pub fn levels(&self) -> impl Iterator<Item = &[u8]> {
        self.pattern().split(|byte| *byte == b'/')
    }

    /// Whether the name matches. `#` matches its parent level too (4.7.1.2); a leading wildcard does not match a name
    /// that begins with `$` (\[MQTT-4.7.2-1\]).
    pub fn matches(&self, name: &[u8]) -> bool {
        let mut levels = self.levels();
        if name.starts_with(b"$") && matches!(levels.next(), Some(b"+" | b"#")) {
            return false;
        }
        let mut names = name.split(|byte| *byte == b'/');
        for level in self.levels() {
            match (level, names.next()) {
                (b"#", _) => return true,
                (b"+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

fn check_group(group: &[u8]) -> Result<(), InvalidTopic> {
    match group {
        [] => Err(InvalidTopic::EmptyGroup),
        _ if group.iter().any(|byte| matches!(byte, b'+' | b'#')) => Err(InvalidTopic::WildcardInGroup),
        _ => Ok(()),
    }
}

fn check_pattern(pattern: &[u8]) -> Result<(), InvalidTopic> {
    let mut levels = pattern.split(|byte| *byte == b'/').peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        if level.contains(&b'#') && !(level == b"#" && is_last) {
            return Err(InvalidTopic::MisplacedHash);
        }
        if level.contains(&b'+') && level != b"+" {
            return Err(InvalidTopic::MisplacedPlus);
        }
    }
    Ok(())
}
