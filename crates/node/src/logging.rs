//! Logs: structured, to standard error, quiet unless asked.

use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Begins to log. `ODRADEK_LOG` chooses what (`info`, `broker=debug`, ...; warnings and errors otherwise), and
/// `ODRADEK_LOG_FORMAT=json` one JSON object a line.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("ODRADEK_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let registry = tracing_subscriber::registry().with(filter);
    let is_json = std::env::var("ODRADEK_LOG_FORMAT").is_ok_and(|format| format == "json");
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first one's settings.
    let _ = if is_json { registry.with(layer.json()).try_init() } else { registry.with(layer).try_init() };
}
