//! The loggers of a broker through the configuration APIs (KIP-412), on a process that remembers what it was told.

use crate::harness::{Client, Node, code};
use broker::log_levels::{LogLevel, LogLevels, ROOT};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use wire::{
    DescribeConfigsRequest, ErrorCode, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

#[derive(Debug, Default)]
struct Loggers(Mutex<BTreeMap<String, LogLevel>>);

impl LogLevels for Loggers {
    fn levels(&self) -> Vec<(String, LogLevel)> {
        let set = self.0.lock();
        let level = |logger: &str| set.get(logger).copied().unwrap_or(LogLevel::Warn);
        [ROOT, "broker"].map(|logger| (logger.to_owned(), level(logger))).to_vec()
    }

    fn set(&self, logger: &str, level: Option<LogLevel>) {
        match level {
            Some(level) => self.0.lock().insert(logger.to_owned(), level),
            None => self.0.lock().remove(logger),
        };
    }
}

async fn start() -> (Node, Client) {
    let node = Node::with_config(&[], |config| config.log_levels = Arc::<Loggers>::default()).await;
    let client = node.client();
    (node, client)
}

fn resource(name: &str, configs: &[(&str, i8, Option<&str>)]) -> AlterConfigsResource {
    let configs = configs.iter().map(|(name, config_operation, value)| AlterableConfig {
        name: (*name).into(),
        config_operation: *config_operation,
        value: value.map(Into::into),
    });
    AlterConfigsResource { resource_type: 8, resource_name: name.into(), configs: configs.collect() }
}

async fn alter(client: &mut Client, resources: Vec<AlterConfigsResource>, validate_only: bool) -> Vec<i16> {
    let request = IncrementalAlterConfigsRequest { resources, validate_only };
    client.call(1, &request).await.responses.iter().map(|one| one.error_code).collect()
}

async fn levels(
    client: &mut Client,
    name: &str,
    keys: Option<&[&str]>,
) -> Result<Vec<(String, String)>, i16> {
    let asked = DescribeConfigsResource {
        resource_type: 8,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
    };
    let request = DescribeConfigsRequest { resources: vec![asked], ..Default::default() };
    let told = client.call(4, &request).await.results.remove(0);
    assert!(told.configs.iter().all(|one| (one.config_source, one.read_only) == (6, false)));
    match told.error_code {
        0 => Ok(told.configs.into_iter().map(|one| (one.name, one.value.unwrap())).collect()),
        error => Err(error),
    }
}

fn told(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, i16> {
    Ok(pairs.iter().map(|(logger, level)| ((*logger).into(), (*level).into())).collect())
}

#[tokio::test(start_paused = true)]
async fn levels_are_set_told_and_taken_back() {
    let (_node, mut client) = start().await;
    assert_eq!(levels(&mut client, "7", None).await, told(&[("root", "WARN"), ("broker", "WARN")]));
    let debug = vec![resource("7", &[("broker", SET, Some("DEBUG")), ("root", SET, Some("FATAL"))])];
    assert_eq!(alter(&mut client, debug.clone(), true).await, [0]);
    assert_eq!(levels(&mut client, "7", Some(&["broker"])).await, told(&[("broker", "WARN")]));
    assert_eq!(alter(&mut client, debug, false).await, [0]);
    assert_eq!(levels(&mut client, "7", Some(&[])).await, told(&[("root", "FATAL"), ("broker", "DEBUG")]));
    assert_eq!(alter(&mut client, vec![resource("7", &[("broker", DELETE, None)])], false).await, [0]);
    assert_eq!(levels(&mut client, "7", Some(&["broker", "x"])).await, told(&[("broker", "WARN")]));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_logger_no_level_or_not_here_is_refused() {
    let (_node, mut client) = start().await;
    let (config, request) = (code(ErrorCode::InvalidConfig), code(ErrorCode::InvalidRequest));
    let cases = [
        (resource("7", &[("broker", SET, Some("LOUD"))]), config),
        (resource("7", &[("broker", SET, Some("debug"))]), config),
        (resource("7", &[("broker", SET, Some("OFF"))]), config),
        (resource("7", &[("broker", SET, Some("INFO")), ("nobody", SET, Some("INFO"))]), config),
        (resource("7", &[("nobody", DELETE, None)]), config),
        (resource("7", &[("broker", APPEND, Some("INFO"))]), request),
        (resource("7", &[("root", DELETE, None)]), request),
        (resource("7", &[("broker", 9, Some("INFO"))]), request),
        (resource("7", &[("broker", SET, None)]), request),
        (resource("7", &[("broker", SET, Some("INFO")), ("broker", SET, Some("INFO"))]), request),
        (resource("5", &[("broker", SET, Some("INFO"))]), request),
        (resource("", &[("broker", SET, Some("INFO"))]), request),
        (resource("x", &[("broker", SET, Some("INFO"))]), request),
    ];
    for (resource, error) in cases {
        assert_eq!(alter(&mut client, vec![resource.clone()], false).await, [error], "{resource:?}");
    }
    let info = resource("7", &[("broker", SET, Some("INFO"))]);
    assert_eq!(alter(&mut client, vec![info.clone(), info], false).await, [request, request]);
    for name in ["5", "", "x"] {
        assert_eq!(levels(&mut client, name, None).await, Err(request));
    }
    assert_eq!(levels(&mut client, "7", None).await, told(&[("root", "WARN"), ("broker", "WARN")]));
}

#[tokio::test(start_paused = true)]
async fn loggers_stand_apart_from_what_the_controller_is_asked() {
    let (_node, mut client) = start().await;
    let topic = AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        ..resource("", &[("x", 9, None)])
    };
    let info = resource("7", &[("broker", SET, Some("INFO"))]);
    assert_eq!(alter(&mut client, vec![topic, info], false).await, [-1, 0]);
    assert_eq!(levels(&mut client, "7", Some(&["broker"])).await, told(&[("broker", "INFO")]));
}
