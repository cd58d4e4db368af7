//! Logs: structured, to standard error, quiet unless asked. What is asked for may change while the node runs: operators set
//! levels through the broker (KIP-412), which are forgotten when the process ends.

use broker::log_levels::{LogLevel, LogLevels, ROOT};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io::IsTerminal, sync::Arc};
use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// The loggers: this program's crates, and the library that has most to tell. `ODRADEK_LOG` knows finer ones.
const LOGGERS: [&str; 9] =
    ["broker", "client", "groups", "log", "metadata", "node", "openraft", "quorum", "replica"];

/// What is logged, and how to change it.
#[derive(Debug)]
pub(crate) struct Levels {
    /// What `ODRADEK_LOG` says.
    begun: String,
    set: Mutex<BTreeMap<String, LogLevel>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Begins to log. `ODRADEK_LOG` chooses what (`info`, `broker=debug`, ...; warnings and errors otherwise), and
/// `ODRADEK_LOG_FORMAT=json` one JSON object a line.
pub(crate) fn start() -> Arc<Levels> {
    let begun = std::env::var("ODRADEK_LOG").ok().filter(|begun| EnvFilter::try_new(begun).is_ok());
    let begun = begun.unwrap_or_else(|| "warn".into());
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&begun));
    let registry = tracing_subscriber::registry().with(filter);
    let is_json = std::env::var("ODRADEK_LOG_FORMAT").is_ok_and(|format| format == "json");
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first one's settings.
    let _ = if is_json { registry.with(layer.json()).try_init() } else { registry.with(layer).try_init() };
    Arc::new(Levels { begun, set: Mutex::default(), filter: handle })
}

impl LogLevels for Levels {
    fn levels(&self) -> Vec<(String, LogLevel)> {
        let set = self.set.lock();
        let own = |logger: &str| set.get(logger).copied().or_else(|| level_in(&self.begun, logger));
        let root = own(ROOT).unwrap_or(LogLevel::Error);
        let others = LOGGERS.map(|logger| (logger.to_owned(), own(logger).unwrap_or(root)));
        [(ROOT.to_owned(), root)].into_iter().chain(others).collect()
    }

    fn set(&self, logger: &str, level: Option<LogLevel>) {
        let mut set = self.set.lock();
        match level {
            Some(level) => set.insert(logger.to_owned(), level),
            None => set.remove(logger),
        };
        // The filter is only gone when the process ends.
        let _ = self.filter.reload(EnvFilter::new(directives(&self.begun, &set)));
    }
}

/// What is written in place of a level of ours.
fn directive(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Fatal => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

/// What is to be logged: the later of two directives for the same logger counts.
fn directives(begun: &str, set: &BTreeMap<String, LogLevel>) -> String {
    let own = set.iter().map(|(logger, level)| match logger.as_str() {
        ROOT => directive(*level).to_owned(),
        logger => format!("{logger}={}", directive(*level)),
    });
    std::iter::once(begun.to_owned()).chain(own).collect::<Vec<_>>().join(",")
}

/// The level that `ODRADEK_LOG` gives to a logger as such.
fn level_in(begun: &str, logger: &str) -> Option<LogLevel> {
    let pairs = begun.split(',').map(|one| one.trim().split_once('=').unwrap_or((ROOT, one.trim())));
    let (_, level) = pairs.rev().find(|(target, _)| *target == logger)?;
    let all =
        [LogLevel::Fatal, LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    all.into_iter().find(|known| directive(*known).eq_ignore_ascii_case(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(begun: &str) -> Levels {
        let (filter, handle) = reload::Layer::new(EnvFilter::new(begun));
        std::mem::forget(filter);
        Levels { begun: begun.into(), set: Mutex::default(), filter: handle }
    }

    fn level(levels: &Levels, logger: &str) -> LogLevel {
        levels.levels().into_iter().find(|(name, _)| name == logger).unwrap().1
    }

    #[test]
    fn loggers_have_the_level_that_was_set_or_begun_with_or_that_of_root() {
        let levels = levels("warn,broker=debug,log::open=trace");
        let told = |logger| level(&levels, logger);
        assert_eq!(
            (told("root"), told("broker"), told("log")),
            (LogLevel::Warn, LogLevel::Debug, LogLevel::Warn)
        );
        levels.set("broker", Some(LogLevel::Fatal));
        levels.set(ROOT, Some(LogLevel::Info));
        assert_eq!(
            (told("root"), told("broker"), told("log")),
            (LogLevel::Info, LogLevel::Fatal, LogLevel::Info)
        );
        let filter = levels.filter.with_current(ToString::to_string).unwrap();
        for directive in ["log::open=trace", "broker=off", "info"] {
            assert!(filter.split(',').any(|one| one == directive), "{directive} in {filter}");
        }
        assert!(!filter.contains("debug"), "{filter}");
        levels.set("broker", None);
        assert_eq!(told("broker"), LogLevel::Debug);
    }
}
