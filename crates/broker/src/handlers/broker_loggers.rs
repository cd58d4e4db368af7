//! Broker loggers, which the configuration APIs take for one more kind of resource (KIP-412): the levels at which this
//! process logs. They are in no metadata, and last until the process ends or somebody takes them back.

use crate::{
    Broker,
    log_levels::{LogLevel, ROOT},
};
use metadata::{ConfigChange, ConfigOperation, Error};
use std::collections::BTreeSet;
use wire::describe_configs_response::DescribeConfigsResourceResult;

/// The number of this kind of resource.
pub(crate) const KIND: i8 = 8;
/// `DYNAMIC_BROKER_LOGGER_CONFIG`.
const SOURCE: i8 = 6;

/// The loggers of the broker of that name, or only those that are asked for.
pub(crate) fn describe(
    broker: &Broker,
    name: &str,
    keys: Option<&[String]>,
) -> Result<Vec<DescribeConfigsResourceResult>, Error> {
    check_name(broker, name)?;
    let keys = keys.filter(|keys| !keys.is_empty());
    let loggers = broker.config.log_levels.levels().into_iter();
    let asked = loggers.filter(|(logger, _)| keys.is_none_or(|keys| keys.contains(logger)));
    let described = asked.map(|(logger, level)| DescribeConfigsResourceResult {
        name: logger,
        value: Some(level.name().to_owned()),
        config_source: SOURCE,
        documentation: Some(String::new()),
        ..DescribeConfigsResourceResult::default()
    });
    Ok(described.collect())
}

/// Changes levels: all that is asked for, or nothing.
pub(crate) fn alter(
    broker: &Broker,
    name: &str,
    changes: &[ConfigChange],
    validate_only: bool,
) -> Result<(), Error> {
    check_name(broker, name)?;
    let levels = &broker.config.log_levels;
    let known: BTreeSet<String> = levels.levels().into_iter().map(|(logger, _)| logger).collect();
    let mut seen = BTreeSet::new();
    for change in changes {
        check(change, &known)?;
        if !seen.insert(&change.name) {
            return Err(Error::InvalidRequest(format!("'{}' is in the request twice.", change.name)));
        }
    }
    for change in changes.iter().filter(|_| !validate_only) {
        let level = change.value.as_deref().filter(|_| change.operation == ConfigOperation::Set);
        levels.set(&change.name, level.and_then(LogLevel::from_name));
        tracing::info!(logger = change.name, ?level, "a log level was changed");
    }
    Ok(())
}

/// A process knows its own loggers only.
fn check_name(broker: &Broker, name: &str) -> Result<(), Error> {
    let here = broker.config.node_id;
    if name.parse() == Ok(here) {
        return Ok(());
    }
    Err(Error::InvalidRequest(format!(
        "this is broker {here}, not '{name}'; ask that broker for its loggers"
    )))
}

fn check(change: &ConfigChange, known: &BTreeSet<String>) -> Result<(), Error> {
    let logger = &change.name;
    match (change.operation, change.value.as_deref()) {
        (ConfigOperation::Append | ConfigOperation::Subtract, _) => {
            return Err(Error::InvalidRequest("the level of a logger can be set or deleted only".to_owned()));
        }
        (ConfigOperation::Delete, _) if logger == ROOT => {
            return Err(Error::InvalidRequest("the root logger needs a level; set another one".to_owned()));
        }
        (ConfigOperation::Set, None) => {
            return Err(Error::InvalidRequest(format!("logger '{logger}' needs a level; or delete it")));
        }
        (ConfigOperation::Set, Some(level)) if LogLevel::from_name(level).is_none() => {
            return Err(Error::InvalidConfig(format!(
                "'{level}' is no log level: {} are",
                LogLevel::names()
            )));
        }
        _ => {}
    }
    if !known.contains(logger) {
        return Err(Error::InvalidConfig(format!(
            "there is no logger '{logger}'; describe them to see which"
        )));
    }
    Ok(())
}
