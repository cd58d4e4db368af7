//! The APIs that describe and change configurations.

use crate::harness::{Client, NODE_ID, Node, code};
use wire::{
    AlterConfigsRequest, DescribeConfigsRequest, ErrorCode, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest, ListConfigResourcesResponse, alter_configs_request,
    describe_configs_request::DescribeConfigsResource, describe_configs_response::DescribeConfigsResult,
    incremental_alter_configs_request as incremental,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_BROKER_STATIC: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

fn describe(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| key.to_string()).collect()),
    };
    DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() }
}

async fn one(client: &mut Client, version: i16, request: &DescribeConfigsRequest) -> DescribeConfigsResult {
    client.call(version, request).await.results.remove(0)
}

/// The value of one configuration of topic `t` and where it comes from.
async fn value(client: &mut Client, key: &str) -> (String, i8) {
    let mut result = one(client, 4, &describe(TOPIC, "t", Some(&[key]))).await;
    let config = result.configs.remove(0);
    (config.value.unwrap(), config.config_source)
}

pub(super) async fn describe_configs(version: i16) {
    let node = Node::with(&[("log.retention.bytes", "7777")]).await;
    let mut client = node.client();
    client.create("t", 1, &[("retention.ms", "5000")]).await;
    let result = one(&mut client, version, &describe(TOPIC, "t", None)).await;
    let echo = (result.error_code, result.resource_type, result.resource_name.as_str());
    assert_eq!(echo, (0, TOPIC, "t"));
    assert!(result.configs.len() > 25, "all of a topic's configurations");
    let get = |name: &str| result.configs.iter().find(|config| config.name == name).unwrap();
    let (retention, bytes, policy) = (get("retention.ms"), get("retention.bytes"), get("cleanup.policy"));
    assert_eq!(retention.value.as_deref(), Some("5000"));
    assert_eq!(bytes.value.as_deref(), Some("7777"));
    assert_eq!(policy.value.as_deref(), Some("delete"));
    let sources = [retention, bytes, policy].map(|config| config.config_source);
    assert_eq!(sources, [SOURCE_TOPIC, SOURCE_BROKER_STATIC, SOURCE_DEFAULT]);
    assert!(!retention.read_only && !retention.is_sensitive);
    // Types are told from version 3 on: 5 is a long, 7 a list.
    let kinds = (retention.config_type, policy.config_type);
    assert_eq!(kinds, if version >= 3 { (5, 7) } else { (0, 0) });
    for config in &result.configs {
        assert!(config.synonyms.is_empty() && config.documentation.as_deref().unwrap_or_default().is_empty());
    }
    let mut request = describe(TOPIC, "t", Some(&["retention.bytes"]));
    request.include_synonyms = true;
    request.include_documentation = version >= 3;
    let result = one(&mut client, version, &request).await;
    assert_eq!(result.configs.len(), 1);
    let synonyms: Vec<_> =
        result.configs[0].synonyms.iter().map(|one| (one.name.as_str(), one.source)).collect();
    let expected = [("log.retention.bytes", SOURCE_BROKER_STATIC), ("log.retention.bytes", SOURCE_DEFAULT)];
    assert_eq!(synonyms, expected);
    assert_eq!(result.configs[0].documentation.as_ref().is_some_and(|doc| !doc.is_empty()), version >= 3);
    let result = one(&mut client, version, &describe(BROKER, &NODE_ID.to_string(), None)).await;
    assert!(result.configs.iter().any(|config| config.name == "log.retention.bytes"));
    let unknown = one(&mut client, version, &describe(TOPIC, "unknown", None)).await;
    assert_eq!(unknown.error_code, code(ErrorCode::UnknownTopicOrPartition));
    let elsewhere = one(&mut client, version, &describe(BROKER, "99", None)).await;
    assert_eq!(elsewhere.error_code, code(ErrorCode::InvalidRequest));
    let kind = one(&mut client, version, &describe(77, "t", None)).await;
    assert_eq!(kind.error_code, code(ErrorCode::InvalidRequest));
}

pub(super) async fn alter_configs(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.create("t", 1, &[("retention.ms", "5000")]).await;
    let alter = |kind, name: &str, key: &str, value: &str, validate_only| AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: vec![alter_configs_request::AlterableConfig {
                name: key.into(),
                value: Some(value.into()),
            }],
        }],
        validate_only,
    };
    let cases = [
        (alter(TOPIC, "t", "retention.ms", "no", false), ErrorCode::InvalidConfig),
        (alter(TOPIC, "t", "retention.pf", "1", false), ErrorCode::InvalidConfig),
        (alter(TOPIC, "unknown", "retention.ms", "1", false), ErrorCode::UnknownTopicOrPartition),
        (alter(BROKER, "99", "log.retention.ms", "1", false), ErrorCode::InvalidRequest),
        (alter(TOPIC, "t", "max.message.bytes", "1000", true), ErrorCode::None),
    ];
    for (request, error) in cases {
        let answer = client.call(version, &request).await.responses.remove(0);
        assert_eq!(answer.error_code, code(error), "{request:?}");
        assert_eq!(answer.error_message.is_some(), error != ErrorCode::None);
    }
    assert_eq!(value(&mut client, "retention.ms").await, ("5000".into(), SOURCE_TOPIC));
    let answer = client.call(version, &alter(TOPIC, "t", "max.message.bytes", "1000", false)).await;
    let answer = &answer.responses[0];
    assert_eq!((answer.error_code, answer.resource_type, answer.resource_name.as_str()), (0, TOPIC, "t"));
    assert_eq!(value(&mut client, "max.message.bytes").await, ("1000".into(), SOURCE_TOPIC));
    let back = value(&mut client, "retention.ms").await;
    assert_eq!(back, ("604800000".into(), SOURCE_DEFAULT), "what is not named returns to its default");
}

pub(super) async fn incremental_alter_configs(version: i16) {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let node = Node::start().await;
    let mut client = node.client();
    client.create("t", 1, &[("retention.ms", "5000"), ("retention.bytes", "6")]).await;
    let alter = |kind, name: &str, configs: &[(&str, i8, Option<&str>)]| {
        let configs = configs.iter().map(|(name, config_operation, value)| incremental::AlterableConfig {
            name: name.to_string(),
            config_operation: *config_operation,
            value: value.map(str::to_owned),
        });
        let resource = incremental::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.collect(),
        };
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
    };
    metrics_and_groups(&mut client, version, &alter).await;
    let cases = [
        (
            alter(TOPIC, "t", &[("retention.ms", SET, Some("1")), ("segment.ms", SET, Some("x"))]),
            ErrorCode::InvalidConfig,
        ),
        (alter(TOPIC, "t", &[("retention.ms", APPEND, Some("1"))]), ErrorCode::InvalidConfig),
        (alter(TOPIC, "t", &[("retention.ms", 9, Some("1"))]), ErrorCode::UnknownServerError),
        (alter(TOPIC, "unknown", &[("retention.ms", SET, Some("1"))]), ErrorCode::UnknownTopicOrPartition),
        (alter(BROKER, "99", &[("log.retention.ms", SET, Some("1"))]), ErrorCode::InvalidRequest),
    ];
    for (request, error) in cases {
        let answer = client.call(version, &request).await.responses.remove(0);
        assert_eq!(answer.error_code, code(error), "{request:?}: {:?}", answer.error_message);
    }
    assert_eq!(value(&mut client, "retention.ms").await, ("5000".into(), SOURCE_TOPIC), "all or nothing");
    let changes: [(&str, i8, Option<&str>); 3] = [
        ("retention.ms", DELETE, None),
        ("max.message.bytes", SET, Some("1000")),
        ("cleanup.policy", APPEND, Some("compact")),
    ];
    let request = alter(TOPIC, "t", &changes);
    let validate = IncrementalAlterConfigsRequest { validate_only: true, ..request.clone() };
    assert_eq!(client.call(version, &validate).await.responses[0].error_code, 0);
    assert_eq!(value(&mut client, "retention.ms").await.1, SOURCE_TOPIC, "only validated");
    let answer = client.call(version, &request).await.responses.remove(0);
    assert_eq!((answer.error_code, answer.resource_type, answer.resource_name.as_str()), (0, TOPIC, "t"));
    assert_eq!(value(&mut client, "retention.ms").await, ("604800000".into(), SOURCE_DEFAULT));
    assert_eq!(value(&mut client, "max.message.bytes").await, ("1000".into(), SOURCE_TOPIC));
    assert_eq!(value(&mut client, "retention.bytes").await, ("6".into(), SOURCE_TOPIC), "not named");
    assert_eq!(value(&mut client, "cleanup.policy").await.0, "delete,compact");
    client.call(version, &alter(TOPIC, "t", &[("cleanup.policy", SUBTRACT, Some("delete"))])).await;
    assert_eq!(value(&mut client, "cleanup.policy").await.0, "compact");
}

type Alter<'a> = &'a (dyn Fn(i8, &str, &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest + Sync);

/// Client metrics subscriptions (KIP-714) and groups (KIP-848) come into being by being configured.
async fn metrics_and_groups(client: &mut Client, version: i16, alter: Alter<'_>) {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let cases = [
        (CLIENT_METRICS, "", "interval.ms", "1000", ErrorCode::InvalidRequest),
        (CLIENT_METRICS, "m", "interval", "1000", ErrorCode::InvalidRequest),
        (CLIENT_METRICS, "m", "interval.ms", "99", ErrorCode::InvalidRequest),
        (CLIENT_METRICS, "m", "interval.ms", "3600001", ErrorCode::InvalidRequest),
        (CLIENT_METRICS, "m", "interval.ms", "x", ErrorCode::InvalidConfig),
        (CLIENT_METRICS, "m", "match", "client_id", ErrorCode::InvalidConfig),
        (CLIENT_METRICS, "m", "match", "client_id=(", ErrorCode::InvalidConfig),
        (CLIENT_METRICS, "m", "match", "client_id=a,client_software_name=.*", ErrorCode::None),
        (CLIENT_METRICS, "m", "interval.ms", "100", ErrorCode::None),
        (GROUP, "", "consumer.session.timeout.ms", "50000", ErrorCode::InvalidRequest),
        (GROUP, "g", "consumer.session.timeout.ms", "50001", ErrorCode::None),
        (GROUP, "g", "consumer.session.timeout.ms", "1", ErrorCode::InvalidConfig),
    ];
    for (kind, name, key, value, error) in cases {
        let request = alter(kind, name, &[(key, SET, Some(value))]);
        let answer = client.call(version, &request).await.responses.remove(0);
        assert_eq!(answer.error_code, code(error), "{request:?}: {:?}", answer.error_message);
    }
    for (kind, name, key, expected) in [
        (CLIENT_METRICS, "m", "match", "client_id=a,client_software_name=.*"),
        (CLIENT_METRICS, "m", "interval.ms", "100"),
        (CLIENT_METRICS, "m", "metrics", ""),
        (CLIENT_METRICS, "other", "interval.ms", "300000"),
        (GROUP, "g", "consumer.session.timeout.ms", "50001"),
        (GROUP, "other", "consumer.session.timeout.ms", "45000"),
    ] {
        let result = one(client, 4, &describe(kind, name, Some(&[key]))).await;
        assert_eq!(result.configs[0].value.as_deref(), Some(expected), "{name} {key}");
    }
    let delete = alter(CLIENT_METRICS, "m", &[("match", DELETE, None), ("interval.ms", DELETE, None)]);
    assert_eq!(client.call(version, &delete).await.responses[0].error_code, 0);
    let listed = client.call(1, &list(&[CLIENT_METRICS, GROUP])).await;
    assert_eq!(names(&listed), [(GROUP, "g")], "what has no configuration does not exist");
}

fn list(kinds: &[i8]) -> ListConfigResourcesRequest {
    ListConfigResourcesRequest { resource_types: kinds.to_vec() }
}

fn names(response: &ListConfigResourcesResponse) -> Vec<(i8, &str)> {
    assert_eq!(response.error_code, 0);
    response.config_resources.iter().map(|one| (one.resource_type, one.resource_name.as_str())).collect()
}

pub(super) async fn list_config_resources(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    assert_eq!(names(&client.call(0, &list(&[])).await), []);
    client.create("t", 1, &[]).await;
    for (kind, name, key, value) in [
        (CLIENT_METRICS, "m2", "metrics", "*"),
        (CLIENT_METRICS, "m1", "metrics", "org.apache."),
        (GROUP, "g", "consumer.session.timeout.ms", "50000"),
    ] {
        let config =
            incremental::AlterableConfig { name: key.into(), config_operation: 0, value: Some(value.into()) };
        let resource = incremental::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        assert_eq!(client.call(1, &request).await.responses[0].error_code, 0);
    }
    let response = client.call(version, &list(&[])).await;
    if version == 0 {
        assert_eq!(names(&response), [(CLIENT_METRICS, "m1"), (CLIENT_METRICS, "m2")]);
        return;
    }
    let node_id = NODE_ID.to_string();
    let all = [
        (GROUP, "g"),
        (CLIENT_METRICS, "m1"),
        (CLIENT_METRICS, "m2"),
        (BROKER_LOGGER, &node_id),
        (BROKER, &node_id),
        (TOPIC, "t"),
    ];
    assert_eq!(names(&response), all);
    for (kind, _) in all {
        let expected: Vec<_> = all.iter().copied().filter(|(one, _)| *one == kind).collect();
        assert_eq!(names(&client.call(version, &list(&[kind, kind])).await), expected);
    }
    let refused = client.call(version, &list(&[TOPIC, 3])).await;
    let expected = (code(ErrorCode::UnsupportedVersion), 0);
    assert_eq!((refused.error_code, refused.config_resources.len()), expected);
}
