//! The APIs of client quotas.

use crate::harness::{Client, Node, code};
use wire::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, DescribeClientQuotasResponse, ErrorCode,
    alter_client_quotas_request::{EntityData, EntryData, OpData},
    describe_client_quotas_request::ComponentData,
};

pub(crate) type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

/// A request that sets quotas of one entity, or removes those without a value.
pub(crate) fn alter(entity: Entity<'_>, quotas: &[(&str, Option<f64>)]) -> AlterClientQuotasRequest {
    let entity = entity.iter().map(|(kind, name)| EntityData {
        entity_type: kind.to_string(),
        entity_name: name.map(str::to_owned),
    });
    let ops = quotas.iter().map(|(key, value)| OpData {
        key: key.to_string(),
        value: value.unwrap_or(7.0),
        remove: value.is_none(),
    });
    let entry = EntryData { entity: entity.collect(), ops: ops.collect() };
    AlterClientQuotasRequest { entries: vec![entry], validate_only: false }
}

fn find(components: &[(&str, i8, Option<&str>)], strict: bool) -> DescribeClientQuotasRequest {
    let components = components.iter().map(|(kind, match_type, name)| ComponentData {
        entity_type: kind.to_string(),
        match_type: *match_type,
        match_: name.map(str::to_owned),
    });
    DescribeClientQuotasRequest { components: components.collect(), strict }
}

/// `user:u+client-id:* key=1`, one for each entity that was found.
fn shown(response: &DescribeClientQuotasResponse) -> Vec<String> {
    assert_eq!((response.error_code, response.throttle_time_ms), (0, 0), "{:?}", response.error_message);
    let entries = response.entries.iter().flatten().map(|entry| {
        let entity: Vec<_> = entry
            .entity
            .iter()
            .map(|part| format!("{}:{}", part.entity_type, part.entity_name.as_deref().unwrap_or("*")))
            .collect();
        let values: Vec<_> =
            entry.values.iter().map(|value| format!("{}={}", value.key, value.value)).collect();
        format!("{} {}", entity.join("+"), values.join(","))
    });
    entries.collect()
}

async fn set(client: &mut Client, version: i16, entity: Entity<'_>, quotas: &[(&str, Option<f64>)]) -> i16 {
    let mut response = client.call(version, &alter(entity, quotas)).await;
    let entry = response.entries.remove(0);
    assert_eq!(entry.error_message.is_some(), entry.error_code != 0);
    let echo: Vec<_> =
        entry.entity.iter().map(|part| (part.entity_type.as_str(), part.entity_name.as_deref())).collect();
    assert!(echo.len() == entity.len() && entity.iter().all(|part| echo.contains(part)), "{echo:?}");
    entry.error_code
}

pub(super) async fn alter_client_quotas(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let user: Entity<'_> = &[("user", Some("u"))];
    let rate = |value| [("producer_byte_rate", value)];
    for (entity, quotas, error) in [
        (user, &rate(Some(1e6))[..], ErrorCode::None),
        (user, &rate(Some(0.5)), ErrorCode::InvalidRequest),
        (user, &[("connection_creation_rate", Some(1.0))], ErrorCode::InvalidRequest),
        (&[("group", Some("g"))], &rate(Some(1.0)), ErrorCode::InvalidRequest),
        (&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", Some(1e6))], ErrorCode::None),
        (&[("client-id", None)], &[("request_percentage", Some(1e6))], ErrorCode::None),
    ] {
        assert_eq!(set(&mut client, version, entity, quotas).await, code(error), "{entity:?} {quotas:?}");
    }
    let only = AlterClientQuotasRequest { validate_only: true, ..alter(user, &rate(None)) };
    assert_eq!(client.call(version, &only).await.entries[0].error_code, 0);
    let all = [
        "client-id:* request_percentage=1000000",
        "ip:10.0.0.1 connection_creation_rate=1000000",
        "user:u producer_byte_rate=1000000",
    ];
    let described = client.call(1, &find(&[], false)).await;
    assert_eq!(shown(&described), all);
    assert_eq!(set(&mut client, version, user, &rate(None)).await, 0);
    // They are kept.
    let node = node.restart().await;
    let described = node.client().call(1, &find(&[], false)).await;
    assert_eq!(shown(&described), all[..2]);
}

pub(super) async fn describe_client_quotas(version: i16) {
    const EXACT: i8 = 0;
    const DEFAULT: i8 = 1;
    const ANY: i8 = 2;
    let node = Node::start().await;
    let mut client = node.client();
    assert_eq!(shown(&client.call(version, &find(&[], false)).await), [""; 0]);
    let quotas = [("consumer_byte_rate", Some(1e9)), ("producer_byte_rate", Some(2e9))];
    set(&mut client, 1, &[("user", Some("u"))], &quotas).await;
    set(&mut client, 1, &[("user", Some("u")), ("client-id", None)], &quotas[..1]).await;
    set(&mut client, 1, &[("user", None)], &quotas[1..]).await;
    let (u, both, default) = (
        "user:u consumer_byte_rate=1000000000,producer_byte_rate=2000000000",
        "client-id:*+user:u consumer_byte_rate=1000000000",
        "user:* producer_byte_rate=2000000000",
    );
    for (components, strict, expected) in [
        (&[][..], false, &[both, default, u][..]),
        (&[("user", EXACT, Some("u"))], false, &[both, u]),
        (&[("user", EXACT, Some("u"))], true, &[u]),
        (&[("user", DEFAULT, None)], false, &[default]),
        (&[("user", ANY, None)], true, &[default, u]),
        (&[("client-id", ANY, None)], false, &[both]),
        (&[("ip", ANY, None)], false, &[]),
    ] {
        assert_eq!(shown(&client.call(version, &find(components, strict)).await), expected, "{components:?}");
    }
    for (components, error) in [
        (&[("", ANY, None)][..], ErrorCode::InvalidRequest),
        (&[("group", ANY, None)], ErrorCode::UnsupportedVersion),
        (&[("user", ANY, None), ("user", DEFAULT, None)], ErrorCode::InvalidRequest),
        (&[("user", EXACT, None)], ErrorCode::InvalidRequest),
        (&[("user", ANY, Some("u"))], ErrorCode::InvalidRequest),
        (&[("user", 9, None)], ErrorCode::InvalidRequest),
        (&[("user", ANY, None), ("ip", ANY, None)], ErrorCode::InvalidRequest),
    ] {
        let refused = client.call(version, &find(components, false)).await;
        assert_eq!((refused.error_code, refused.entries), (code(error), None), "{components:?}");
        assert!(refused.error_message.is_some());
    }
}
