//! The APIs by which clients tell of themselves.

use crate::harness::{Client, Node, code};
use wire::{
    ApiVersionsRequest, ErrorCode, GetTelemetrySubscriptionsRequest, IncrementalAlterConfigsRequest,
    PushTelemetryRequest, incremental_alter_configs_request as incremental,
};

const CLIENT_METRICS: i8 = 16;

async fn subscribe(client: &mut Client, name: &str, configs: &[(&str, Option<&str>)]) {
    let configs = configs.iter().map(|(key, value)| incremental::AlterableConfig {
        name: key.to_string(),
        config_operation: i8::from(value.is_none()),
        value: value.map(str::to_owned),
    });
    let resource = incremental::AlterConfigsResource {
        resource_type: CLIENT_METRICS,
        resource_name: name.into(),
        configs: configs.collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    assert_eq!(client.call(1, &request).await.responses[0].error_code, 0);
}

/// A gauge `g` of 1.5 in OTLP.
fn gauge() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let point = [&[0x21][..], &1.5f64.to_le_bytes()].concat();
    let metric = [field(1, b"g"), field(5, &field(1, &point))].concat();
    field(1, &field(2, &field(2, &metric)))
}

pub(super) async fn get_telemetry_subscriptions(version: i16) {
    let node = Node::with(&[("telemetry.max.bytes", "5000")]).await;
    let mut client = node.client();
    let ask = GetTelemetrySubscriptionsRequest::default();
    let nothing = client.call(version, &ask).await;
    assert_eq!((nothing.error_code, nothing.push_interval_ms), (0, 300_000));
    assert!(nothing.requested_metrics.is_empty() && !nothing.client_instance_id.is_zero());
    assert_eq!((nothing.telemetry_max_bytes, nothing.delta_temporality), (5000, true));
    assert_eq!(nothing.accepted_compression_types, [4, 3, 1, 2], "zstd, lz4, gzip, snappy");
    let again = GetTelemetrySubscriptionsRequest { client_instance_id: nothing.client_instance_id };
    let refused = client.call(version, &again).await;
    assert_eq!(refused.error_code, code(ErrorCode::ThrottlingQuotaExceeded), "before its interval is over");
    let software =
        [("metrics", Some("b.,a.")), ("match", Some("client_software_name=java,client_id=test-.*"))];
    subscribe(&mut client, "of-java", &software).await;
    subscribe(&mut client, "of-all", &[("metrics", Some("c.")), ("interval.ms", Some("1000"))]).await;
    let changed = client.call(version, &again).await;
    assert_eq!(
        (changed.error_code, changed.push_interval_ms),
        (0, 1000),
        "who is asked for more hears of it"
    );
    assert_eq!(changed.requested_metrics, ["c."]);
    assert_eq!(changed.client_instance_id, nothing.client_instance_id);
    assert_ne!(changed.subscription_id, nothing.subscription_id);
    let mut java = node.client();
    let hello = ApiVersionsRequest {
        client_software_name: "java".into(),
        client_software_version: "4.4".into(),
        ..Default::default()
    };
    java.call(3, &hello).await;
    let told = java.call(version, &ask).await;
    assert_eq!(told.requested_metrics, ["a.", "b.", "c."]);
    subscribe(&mut client, "of-all", &[("metrics", None), ("interval.ms", None)]).await;
    let again = GetTelemetrySubscriptionsRequest { client_instance_id: told.client_instance_id };
    let told = java.call(version, &again).await;
    assert_eq!(
        (&told.requested_metrics[..], told.push_interval_ms),
        (&["a.".to_owned(), "b.".to_owned()][..], 300_000)
    );
}

pub(super) async fn push_telemetry(version: i16) {
    let node = Node::with(&[("telemetry.max.bytes", "5000")]).await;
    let mut client = node.client();
    subscribe(&mut client, "m", &[("metrics", Some("*")), ("interval.ms", Some("1000"))]).await;
    let told = client.call(0, &GetTelemetrySubscriptionsRequest::default()).await;
    let push = PushTelemetryRequest {
        client_instance_id: told.client_instance_id,
        subscription_id: told.subscription_id,
        metrics: gauge().into(),
        ..Default::default()
    };
    assert_eq!(client.call(version, &push).await.error_code, 0);
    let values = node.broker.client_metrics();
    let shown: Vec<_> =
        values.iter().map(|one| (one.client_id.as_str(), one.name.as_str(), one.value)).collect();
    assert_eq!(shown, [("test-client", "g", 1.5)]);
    assert_eq!(values[0].instance, told.client_instance_id);
    let soon = client.call(version, &push).await;
    assert_eq!(soon.error_code, code(ErrorCode::ThrottlingQuotaExceeded));
    for (change, error) in [
        (PushTelemetryRequest { subscription_id: 7, ..push.clone() }, ErrorCode::UnknownSubscriptionId),
        (PushTelemetryRequest { compression_type: 9, ..push.clone() }, ErrorCode::UnsupportedCompressionType),
        (
            PushTelemetryRequest { metrics: vec![0; 5001].into(), ..push.clone() },
            ErrorCode::TelemetryTooLarge,
        ),
        (PushTelemetryRequest { compression_type: 1, ..push.clone() }, ErrorCode::InvalidRecord),
        (
            PushTelemetryRequest { client_instance_id: Default::default(), ..push.clone() },
            ErrorCode::InvalidRequest,
        ),
        (PushTelemetryRequest { terminating: true, ..push.clone() }, ErrorCode::None),
        (push.clone(), ErrorCode::InvalidRequest),
    ] {
        node.pass(1000).await;
        assert_eq!(client.call(version, &change).await.error_code, code(error), "{error:?}");
    }
    assert_eq!(node.broker.client_instance_count(), 1);
    node.pass(60_001).await;
    assert_eq!(
        (node.broker.client_metrics(), node.broker.client_instance_count()),
        (vec![], 0),
        "it is silent"
    );
    node.assert_sound();
}
