//! At which levels this process logs, by logger: what operators change while it runs (KIP-412).
//!
//! It keeps no levels and knows no logging framework: `node` does, and hands a [`LogLevels`] to the broker with its
//! configuration. The configuration APIs ask it.

/// A level, with Kafka's names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing that this process writes is as grave: silence.
    Fatal,
    /// What an operator must repair.
    Error,
    /// What an operator should know.
    Warn,
    /// What happens seldom.
    Info,
    /// What helps to find a mistake.
    Debug,
    /// Everything.
    Trace,
}

/// Whoever logs for this process.
pub trait LogLevels: std::fmt::Debug + Send + Sync {
    /// Every logger with its level, [`ROOT`] among them.
    fn levels(&self) -> Vec<(String, LogLevel)>;
    /// Gives a logger of [`LogLevels::levels`] a level of its own, or takes it away again.
    fn set(&self, logger: &str, level: Option<LogLevel>);
}

/// The logger that all others inherit from.
pub const ROOT: &str = "root";

/// Of a process whose logging cannot be changed.
#[derive(Debug)]
pub struct NoLogLevels;

impl LogLevels for NoLogLevels {
    fn levels(&self) -> Vec<(String, LogLevel)> {
        Vec::new()
    }

    fn set(&self, _logger: &str, _level: Option<LogLevel>) {}
}

impl LogLevel {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Debug, "DEBUG"),
        (Self::Error, "ERROR"),
        (Self::Fatal, "FATAL"),
        (Self::Info, "INFO"),
        (Self::Trace, "TRACE"),
        (Self::Warn, "WARN"),
    ];

    /// The level of that name, which is in capitals.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(level, _)| level)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(level, _)| *level == self).map_or("", |(_, name)| name)
    }

    /// All names, for whoever has named none of them.
    pub(crate) fn names() -> String {
        Self::NAMES.map(|(_, name)| name).join(", ")
    }
}
