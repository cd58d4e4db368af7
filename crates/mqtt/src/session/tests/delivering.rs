use super::*;

fn at(qos: QoS) -> Options {
    Options { qos, ..Options::default() }
}

fn ready(qos: QoS) -> Bench {
    Bench::subscribed(connect(), "rides/#", at(qos))
}

#[test]
fn the_lower_qos_counts() {
    for (published, granted, sent) in [(2, 1, 1), (1, 2, 1), (0, 2, 0), (2, 2, 2)] {
        let qos = |number| QoS::of(number).unwrap();
        let mut bench = ready(qos(granted));
        let publish = sent_publish(&bench.deliver(delivery(0, record("u42", qos(published)))));
        assert_eq!(publish.qos, qos(sent), "[MQTT-3.8.4-8]");
        assert_eq!(publish.packet_id.is_some(), sent > 0);
        assert_eq!((publish.topic.as_str(), publish.dup), ("rides/u42", false)); // [MQTT-4.3.2-2]
    }
}

#[test]
fn the_retain_flag_is_that_of_the_subscription() {
    for (retain_as_published, was_retained, is_retained, flag) in [
        (false, true, false, false), // [MQTT-3.3.1-12]
        (true, true, false, true),   // [MQTT-3.3.1-13]
        (true, false, false, false),
        (false, false, true, true), // 3.3.1.3: because of a new subscription
    ] {
        let options = Options { retain_as_published, ..at(QoS::AtLeastOnce) };
        let mut bench = Bench::subscribed(connect(), "rides/#", options);
        let record = Record { retain: was_retained, ..record("u42", QoS::AtLeastOnce) };
        let effects = bench.deliver(Delivery { is_retained, ..delivery(0, record) });
        assert_eq!(sent_publish(&effects).retain, flag);
    }
}

#[test]
fn what_is_not_to_be_sent_is_passed_over() {
    let options = Options { no_local: true, ..at(QoS::AtLeastOnce) };
    let mut small = connect();
    small.properties.maximum_packet_size = NonZeroU32::new(60);
    let good = || record("u42", QoS::AtLeastOnce);
    let now = 1_000_000;
    for (record, why) in [
        (Record { expires_at_ms: Some(now), ..good() }, Skipped::Expired), // [MQTT-3.3.2-5]
        (Record { publisher: Some(text("c")), ..good() }, Skipped::NoLocal), // [MQTT-3.8.3-3]
        (Record { payload: Bytes::from_static(&[0; 60]), ..good() }, Skipped::TooLarge), // [MQTT-3.1.2-25]
        (Record { key: Some(Bytes::from_static(b"\xff")), ..good() }, Skipped::Unnameable),
        (Record { key: Some(Bytes::from_static(b"u42/seat")), ..good() }, Skipped::NotMatching), // [MQTT-3.3.2-3]
    ] {
        let mut bench = Bench::subscribed(small.clone(), "rides/+", options);
        let effects = bench.deliver(delivery(0, record));
        assert_eq!((sent(&effects).len(), commits(&effects)), (0, vec![Outcome::Skipped(why)]));
        let next = bench.deliver(delivery(1, Record { publisher: Some(text("d")), ..good() }));
        assert_eq!(sent(&next).len(), 1, "and the next one is sent");
    }
}

#[test]
fn a_message_has_left_what_it_has_not_waited() {
    let mut bench = ready(QoS::AtMostOnce);
    for (expires_in_ms, seconds) in [(2_500, 3), (2_000, 2), (1, 1)] {
        let expires_at_ms = Some(bench.now.timestamp_ms + expires_in_ms);
        let record = Record { expires_at_ms, ..record("u42", QoS::AtMostOnce) };
        let offset = bench.session.state().unwrap().subscriptions[&1].positions[&0];
        let publish = sent_publish(&bench.deliver(delivery(offset, record)));
        assert_eq!(publish.properties.message_expiry_interval, Some(seconds)); // [MQTT-3.3.2-6]
    }
}

#[test]
fn properties_go_through_and_subscription_identifiers_come_along() {
    let mut bench = Bench::connected(Config::STANDARD, connect());
    let mut subscribe = Subscribe::new(id(1), &[(filter("rides/#"), at(QoS::AtMostOnce))]);
    subscribe.properties.subscription_id = SubscriptionId::new(77);
    bench.packet(Packet::Subscribe(subscribe));
    bench.step(Input::Subscribed { subscription: 1, result: Ok(vec![(0, 0)]) });
    let mut properties = PublishProperties {
        content_type: Some(text("text/plain")),
        response_topic: Some(text("answers/c")),
        correlation_data: Binary::new(&b"7"[..]),
        payload_format_indicator: Some(true),
        ..PublishProperties::default()
    };
    properties.user_properties.push(&text("a"), &text("1"));
    let record = Record { properties: properties.clone(), ..record("u42", QoS::AtMostOnce) };
    let publish = sent_publish(&bench.deliver(delivery(0, record)));
    properties.subscription_ids.push(SubscriptionId::new(77).unwrap()); // [MQTT-3.3.4-3]
    assert_eq!(publish.properties, properties); // [MQTT-3.3.2-4], -15 to -20
}

#[test]
fn no_more_is_in_flight_than_the_client_takes() {
    let mut few = connect();
    few.properties.receive_maximum = NonZeroU16::new(2);
    let mut bench = Bench::subscribed(few, "rides/#", at(QoS::ExactlyOnce));
    for offset in 0..2 {
        let qos = if offset == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        assert_eq!(sent(&bench.deliver(delivery(offset, record("u42", qos)))).len(), 1);
    }
    assert_eq!(bench.session.room(), 0);
    let again = |from| Effect::Again { subscription: 1, partition: 0, from, is_retained: false };
    assert_eq!(bench.deliver(delivery(2, record("u42", QoS::AtLeastOnce))), [again(2)]); // [MQTT-4.9.0-2]
    assert_eq!(sent(&bench.packet(Packet::Pingreq(()))), [Packet::Pingresp(())]); // [MQTT-4.9.0-3]
    let effects = bench.packet(Packet::Puback(Ack::success(id(1))));
    assert_eq!(commits(&effects), [Outcome::Acknowledged]);
    assert_eq!(effects.last(), Some(&Effect::Room));
    // What was refused is asked for, though something later could be taken.
    assert_eq!(bench.deliver(delivery(3, record("u42", QoS::AtLeastOnce)))[..], [again(2)]);
    assert_eq!(sent(&bench.deliver(delivery(2, record("u42", QoS::AtLeastOnce)))).len(), 1);
    assert_eq!(bench.deliver(delivery(2, record("u42", QoS::AtLeastOnce))), [], "it was taken");
    // A PUBREC does not make room, a PUBCOMP does, and so does a refusal.
    bench.packet(Packet::Pubrec(Ack::success(id(2))));
    assert_eq!(bench.session.room(), 0);
    bench.packet(Packet::Pubcomp(Ack::success(id(2))));
    assert_eq!(bench.session.room(), 1);
}

#[test]
fn qos_2_leaves_when_it_is_durable_that_it_is_in_flight() {
    let mut bench = ready(QoS::ExactlyOnce);
    bench.saves = false;
    let effects = bench.deliver(delivery(0, record("u42", QoS::ExactlyOnce)));
    assert_eq!(effects, [Effect::Save(3)]);
    assert_eq!(sent(&bench.step(Input::Saved(3))).len(), 1);
    assert_eq!(bench.packet(Packet::Pubrec(Ack::success(id(1)))), [Effect::Save(4)]);
    assert_eq!(sent(&bench.step(Input::Saved(4))), [Packet::Pubrel(Ack::success(id(1)))]); // [MQTT-4.3.3-4]
    let effects = bench.packet(Packet::Pubcomp(Ack::success(id(1))));
    assert_eq!(commits(&effects), [Outcome::Acknowledged]);
    assert!(bench.session.state().unwrap().in_flight.is_empty());
}

#[test]
fn acknowledgements_that_do_not_fit_are_answered_or_end_the_connection() {
    let mut bench = ready(QoS::ExactlyOnce);
    let unknown = bench.packet(Packet::Pubrec(Ack::success(id(9))));
    assert_eq!(sent(&unknown), [Packet::Pubrel(Ack::of(id(9), Reason::PacketIdentifierNotFound))]);
    assert_eq!(bench.packet(Packet::Puback(Ack::success(id(9)))), []);
    assert_eq!(bench.packet(Packet::Pubcomp(Ack::success(id(9)))), []);
    for (qos, wrong) in [
        (QoS::ExactlyOnce, Packet::Puback(Ack::success(id(1)))),
        (QoS::ExactlyOnce, Packet::Pubcomp(Ack::success(id(1)))),
        (QoS::AtLeastOnce, Packet::Pubrec(Ack::success(id(1)))),
    ] {
        let mut bench = ready(QoS::ExactlyOnce);
        bench.deliver(delivery(0, record("u42", qos)));
        assert_ended(&bench.packet(wrong), Reason::ProtocolError);
    }
    bench.deliver(delivery(0, record("u42", QoS::ExactlyOnce)));
    let refused = bench.packet(Packet::Pubrec(Ack::of(id(1), Reason::QuotaExceeded)));
    assert_eq!((commits(&refused), sent(&refused)), (vec![Outcome::Refused(Reason::QuotaExceeded)], vec![]));
}

#[test]
fn what_was_in_flight_is_sent_again_as_it_was_in_its_order() {
    let mut bench = ready(QoS::ExactlyOnce);
    for (offset, qos) in [(0, QoS::AtLeastOnce), (1, QoS::ExactlyOnce), (2, QoS::ExactlyOnce)] {
        bench.deliver(delivery(offset, record("u42", qos)));
    }
    bench.packet(Packet::Pubrec(Ack::success(id(3))));
    bench.step(Input::Lost);
    let mut bench = bench.restarted(bench.session.state().cloned());
    let effects = bench.connect(connect());
    assert_eq!(sent(&effects)[1..], [Packet::Pubrel(Ack::success(id(3)))]); // [MQTT-4.3.3-6]
    let asked: Vec<(PacketId, i64)> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Reread { packet_id, source } => Some((*packet_id, source.offset)),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [(id(1), 0), (id(2), 1)]);
    let new = bench.deliver(delivery(3, record("u42", QoS::AtMostOnce)));
    let from = Effect::Again { subscription: 1, partition: 0, from: 3, is_retained: false };
    assert_eq!(new, [from], "what is new waits");
    let expired = Record { expires_at_ms: Some(5), ..record("u42", QoS::ExactlyOnce) };
    let reread =
        |packet_id, record| Input::Reread { packet_id: id(packet_id), record: Some(Box::new(record)) };
    assert_eq!(bench.step(reread(2, expired)), [], "1 goes first");
    let effects = bench.step(reread(1, record("u42", QoS::AtLeastOnce)));
    let again: Vec<(Option<PacketId>, bool, QoS)> = sent(&effects)
        .iter()
        .filter_map(|packet| match packet {
            Packet::Publish(publish) => Some((publish.packet_id, publish.dup, publish.qos)),
            _ => None,
        })
        .collect();
    // [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-4.3.3-7]
    assert_eq!(again, [(Some(id(1)), true, QoS::AtLeastOnce), (Some(id(2)), true, QoS::ExactlyOnce)]);
    assert_eq!(effects.last(), Some(&Effect::Room));
}

#[test]
fn a_message_that_the_log_has_no_more_is_given_up_and_its_identifier_taken_back() {
    let mut bench = ready(QoS::ExactlyOnce);
    bench.deliver(delivery(0, record("u42", QoS::AtLeastOnce)));
    bench.deliver(delivery(1, record("u42", QoS::ExactlyOnce)));
    bench.step(Input::Lost);
    bench.connect(connect());
    let gone = bench.step(Input::Reread { packet_id: id(1), record: None });
    assert_eq!(commits(&gone), [Outcome::Skipped(Skipped::Gone)]);
    let gone = bench.step(Input::Reread { packet_id: id(2), record: None });
    assert_eq!(sent(&gone), [Packet::Pubrel(Ack::success(id(2)))], "the client may hold it");
    let answer = Ack::of(id(2), Reason::PacketIdentifierNotFound);
    bench.packet(Packet::Pubcomp(answer));
    assert!(bench.session.state().unwrap().in_flight.is_empty());
}

#[test]
fn topic_aliases_are_used_as_far_as_the_client_takes_them() {
    let mut two = connect();
    two.properties.topic_alias_maximum = Some(2);
    let mut bench = Bench::subscribed(two, "rides/#", at(QoS::AtMostOnce));
    let mut offset = 0;
    let mut sent_for = |key: &str| {
        let publish = sent_publish(&bench.deliver(delivery(offset, record(key, QoS::AtMostOnce))));
        offset += 1;
        (publish.topic.as_str().to_owned(), publish.properties.topic_alias.map_or(0, NonZeroU16::get))
    };
    assert_eq!(sent_for("a"), ("rides/a".to_owned(), 1));
    assert_eq!(sent_for("a"), (String::new(), 1));
    assert_eq!(sent_for("b"), ("rides/b".to_owned(), 2));
    assert_eq!(sent_for("c"), ("rides/c".to_owned(), 0)); // [MQTT-3.1.2-26]
    assert_eq!(sent_for("b"), (String::new(), 2));
    let mut none = ready(QoS::AtMostOnce);
    let publish = sent_publish(&none.deliver(delivery(0, record("a", QoS::AtMostOnce))));
    assert_eq!(publish.properties.topic_alias, None); // [MQTT-3.1.2-27]
}

#[test]
fn positions_move_with_what_is_sent_or_passed_and_are_saved_now_and_then() {
    let mut bench = ready(QoS::AtMostOnce);
    let position = |bench: &Bench| bench.session.state().unwrap().subscriptions[&1].positions[&0];
    let passed = |from, to| Input::Passed { subscription: 1, partition: 0, from, to };
    bench.step(passed(0, 10));
    assert_eq!(position(&bench), 10);
    bench.step(passed(11, 20));
    assert_eq!(position(&bench), 10, "there is a gap");
    bench.deliver(Delivery { follows: 10, ..delivery(15, record("u42", QoS::AtMostOnce)) });
    assert_eq!(position(&bench), 16);
    let retained = Delivery { is_retained: true, ..delivery(3, record("u42", QoS::AtMostOnce)) };
    assert_eq!(sent(&bench.deliver(retained)).len(), 1);
    assert_eq!(position(&bench), 16, "a retained message moves nothing");
    assert_eq!(bench.session.tick_in_ms(bench.now), Some(1000));
    assert_eq!(bench.after(999), []);
    assert!(matches!(bench.after(1)[..], [Effect::Save(_)]));
    assert_eq!(bench.session.tick_in_ms(bench.now), None);
}
