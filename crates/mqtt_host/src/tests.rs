//! Whole hosts on a cluster of memory, with clients that speak packets: what is durable, what happens once, who has a session.

mod bench;

use bench::{Cluster, Phone, connect, connect_for, filter, text};
use bytes::Bytes;
use mqtt::codec::*;
use proptest::prelude::*;

const QOS2: Options = Options {
    qos: QoS::ExactlyOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::Always,
};

#[tokio::test(start_paused = true)]
async fn what_one_publishes_the_other_gets_in_every_qos() {
    let cluster = Cluster::new();
    let host = cluster.host(1).await;
    let mut reader = Phone::connected(&host, connect("reader")).await;
    reader.subscribe("rides/#", QOS2).await;
    let mut writer = Phone::connected(&host, connect("writer")).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        writer.publish("rides/u42", qos, b"hello").await;
        let got = reader.receive().await;
        assert_eq!((got.topic.as_str(), got.qos, &got.payload[..]), ("rides/u42", qos, &b"hello"[..]));
    }
    let records = cluster.records("rides");
    assert_eq!(records.len(), 3);
    assert!(
        records.iter().all(|record| record.key.as_deref() == Some(b"u42")),
        "any consumer of Kafka sees the key"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_subscription_brings_the_last_value_of_each_key() {
    let cluster = Cluster::new();
    let host = cluster.host(1).await;
    let mut writer = Phone::connected(&host, connect("writer")).await;
    for (name, payload, retain) in [
        ("rides/a", &b"1"[..], false),
        ("rides/a", b"2", true),
        ("rides/b", b"3", false),
        ("rides/b", b"", true),
    ] {
        writer.publish_with(name, QoS::AtLeastOnce, payload, retain).await;
    }
    assert_eq!(cluster.records("rides").last().unwrap().value, None, "an empty one is a tombstone");
    for pattern in ["rides/+", "rides/a"] {
        let mut reader = Phone::connected(&host, connect("reader")).await;
        reader.subscribe(pattern, QOS2).await;
        let got = reader.receive().await;
        assert_eq!(
            (got.topic.as_str(), &got.payload[..], got.retain),
            ("rides/a", &b"2"[..], true),
            "{pattern}"
        );
        writer.publish("rides/a", QoS::AtLeastOnce, b"2").await;
        assert!(!reader.receive().await.retain, "and then what comes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_where_it_stood_on_any_node_and_after_a_restart() {
    let cluster = Cluster::new();
    let first = cluster.host(1).await;
    let mut reader = Phone::connected(&first, connect_for("reader", 1000)).await;
    reader.subscribe("rides/u42", QOS2).await;
    drop(reader);
    let mut writer = Phone::connected(&first, connect("writer")).await;
    writer.publish("rides/u42", QoS::ExactlyOnce, b"one").await;
    let second = cluster.host(2).await;
    let mut reader = Phone::connected(&second, connect_for("reader", 1000)).await;
    assert!(reader.session_present);
    assert_eq!(&reader.receive().await.payload[..], b"one");
    reader.disconnect().await;
    second.stop().await;
    writer.publish("rides/u42", QoS::ExactlyOnce, b"two").await;
    let third = cluster.host(2).await;
    let mut reader = Phone::connected(&third, connect_for("reader", 1000)).await;
    assert!(reader.session_present);
    assert_eq!(&reader.receive().await.payload[..], b"two");
    assert!(reader.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_takes_the_session_from_any_node() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.host(1).await, cluster.host(2).await);
    bench::pass(20_000).await; // they see each other
    for clean in [false, true] {
        let expiry = if clean { 0 } else { 1000 };
        let mut before = Phone::connected(&first, connect_for("phone", expiry)).await;
        let mut after = Phone::connected(&second, connect_for("phone", expiry)).await;
        match before.next().await {
            Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason, Reason::SessionTakenOver),
            other => panic!("{other:?}"),
        }
        after.publish("rides/u42", QoS::ExactlyOnce, b"mine").await;
        after.disconnect().await;
        bench::pass(1_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_of_qos_2_that_comes_again_after_a_crash_is_there_once() {
    let cluster = Cluster::new();
    let host = cluster.host(1).await;
    let mut phone = Phone::connected(&host, connect_for("phone", 1000)).await;
    phone.send(bench::publish("rides/u42", QoS::ExactlyOnce, 7, b"once")).await;
    assert!(matches!(phone.next().await, Some(Packet::Pubrec(_))));
    cluster.forget_last_save("phone"); // it was not known to be stored when the node died
    host.kill();
    let host = cluster.host(1).await;
    let mut phone = Phone::connected(&host, connect_for("phone", 1000)).await;
    assert!(phone.session_present);
    let mut again = bench::publish("rides/u42", QoS::ExactlyOnce, 7, b"once");
    again.dup = true;
    phone.send(again).await;
    assert!(matches!(phone.next().await, Some(Packet::Pubrec(_))));
    assert_eq!(cluster.records("rides").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_when_the_connection_is_lost_and_after_its_delay() {
    let cluster = Cluster::new();
    let host = cluster.host(1).await;
    for delay in [0, 60] {
        let mut connect = connect_for("phone", 1000);
        connect.will = Some(Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: WillProperties { will_delay_interval: Some(delay), ..WillProperties::default() },
            topic: text("rides/wills"),
            payload: Binary::new(Bytes::from_static(b"gone")).unwrap(),
        });
        let before = cluster.records("rides").len();
        drop(Phone::connected(&host, connect).await);
        bench::pass(1_000).await;
        assert_eq!(cluster.records("rides").len() - before, usize::from(delay == 0));
        bench::pass(70_000).await;
        assert_eq!(cluster.records("rides").len() - before, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_its_time_is_over() {
    let cluster = Cluster::new();
    let host = cluster.host(1).await;
    let mut phone = Phone::connected(&host, connect_for("phone", 10)).await;
    phone.subscribe("rides/u42", QOS2).await;
    phone.disconnect().await;
    bench::pass(5_000).await;
    let phone = Phone::connected(&host, connect_for("phone", 10)).await;
    assert!(phone.session_present);
    drop(phone);
    bench::pass(12_000).await;
    assert!(!Phone::connected(&host, connect_for("phone", 10)).await.session_present);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told() {
    let cluster = Cluster::new();
    let host = cluster.host(1).await;
    let mut phone = Phone::connected(&host, connect("phone")).await;
    phone.send(bench::publish("unknown/u42", QoS::AtLeastOnce, 1, b"x")).await;
    match phone.next().await {
        Some(Packet::Puback(ack)) => assert_eq!(ack.reason, Reason::TopicNameInvalid),
        other => panic!("{other:?}"),
    }
    for (pattern, reason) in [
        ("unknown/#", Reason::TopicFilterInvalid),
        ("#", Reason::TopicFilterInvalid),
        ("$share/g/rides/#", Reason::SharedSubscriptionsNotSupported),
    ] {
        let id = PacketId::new(9).unwrap();
        phone.send(Packet::Subscribe(Subscribe::new(id, &[(filter(pattern), QOS2)]))).await;
        match phone.next().await {
            Some(Packet::Suback(ack)) => assert_eq!(ack.codes.iter().next(), Some(reason), "{pattern}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go() {
    let cluster = Cluster::new();
    let host = cluster.host(1).await;
    let mut silent = Phone::new(&host);
    assert!(silent.next().await.is_none(), "no CONNECT came");
    let mut connect = connect("phone");
    connect.keep_alive = 10;
    let mut phone = Phone::connected(&host, connect).await;
    match phone.next().await {
        Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason, Reason::KeepAliveTimeout),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever comes, before or after a CONNECT, others are served.
    #[test]
    fn garbage_ends_only_its_own_connection(
        garbage in proptest::collection::vec(any::<u8>(), 0..600),
        cut in any::<prop::sample::Index>(),
        flip in any::<u8>(),
        is_connected in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::new();
            let host = cluster.host(1).await;
            let mut bad = if is_connected {
                Phone::connected(&host, connect("bad")).await
            } else {
                Phone::new(&host)
            };
            bad.send_bytes(&garbage).await;
            // A good packet with one byte that is another one.
            let mut worse = Phone::connected(&host, connect_for("worse", 100)).await;
            let mut packet = bytes::BytesMut::new();
            let publish = bench::publish("rides/u42", QoS::ExactlyOnce, 3, b"x");
            encode(&Packet::Publish(Box::new(publish)), Version::V5, usize::MAX, &mut packet).unwrap();
            let at = cut.index(packet.len());
            packet[at] ^= flip;
            worse.send_bytes(&packet).await;
            let mut good = Phone::connected(&host, connect("good")).await;
            good.publish("rides/u43", QoS::ExactlyOnce, b"good").await;
            assert!(cluster.records("rides").iter().any(|record| record.key.as_deref() == Some(b"u43")));
        });
    }
}
