use super::*;

fn ready() -> Bench {
    Bench::connected(Config::STANDARD, connect())
}

fn qos1(packet_id: u16) -> Token {
    Token::Qos1 { connection: 1, packet_id: id(packet_id) }
}

#[test]
fn a_message_goes_to_the_topic_and_key_of_its_name() {
    let mut bench = ready();
    let mut message = publish(QoS::AtLeastOnce, 3, "rides/eu/u42");
    message.retain = true;
    message.properties.content_type = Some(text("text/plain"));
    let [publication] = stores(&bench.publish(message.clone())).try_into().unwrap();
    assert_eq!(
        publication,
        Publication {
            token: qos1(3),
            sequence: None,
            name: text("rides/eu/u42"),
            place: Place { topic: TopicName::new("rides").unwrap(), key: Some(text("eu/u42")) },
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: message.properties,
            payload: message.payload,
        }
    );
}

#[test]
fn qos_1_is_acknowledged_when_it_is_durable_in_the_order_in_which_it_came() {
    let mut bench = ready();
    for packet_id in 1..=3 {
        assert!(sent(&bench.publish(publish(QoS::AtLeastOnce, packet_id, "t/k"))).is_empty());
    }
    assert!(bench.stored(qos1(2)).is_empty(), "1 is not durable");
    let effects = bench.stored(qos1(1));
    assert_eq!(sent(&effects), [Packet::Puback(Ack::success(id(1))), Packet::Puback(Ack::success(id(2)))]);
    let refused = bench.step(Input::Stored { token: qos1(3), result: Err(Reason::NotAuthorized) });
    assert_eq!(sent(&refused), [Packet::Puback(Ack::of(id(3), Reason::NotAuthorized))]);
    let again = bench.publish(publish(QoS::AtLeastOnce, 1, "t/k"));
    assert_eq!(stores(&again).len(), 1, "[MQTT-4.3.2-5]: it is a new message");
}

#[test]
fn what_was_stored_for_an_earlier_connection_is_not_acknowledged_on_this_one() {
    let mut bench = ready();
    bench.publish(publish(QoS::AtLeastOnce, 1, "t/k"));
    bench.step(Input::Lost);
    bench.connect(connect());
    assert!(sent(&bench.stored(qos1(1))).is_empty());
}

#[test]
fn qos_2_is_stored_once_however_often_it_comes() {
    let mut bench = ready();
    let message = publish(QoS::ExactlyOnce, 5, "t/k");
    let effects = bench.publish(message.clone());
    let save = effects.iter().position(|effect| matches!(effect, Effect::Save(_)));
    let store = effects.iter().position(|effect| matches!(effect, Effect::Store(_)));
    assert!(save < store && save.is_some(), "its identifier is durable before it is stored");
    let sequence = stores(&effects)[0].sequence;
    assert_eq!(sequence, Some(Sequence { session: 9, number: 0 }));
    let dup = Publish { dup: true, ..message.clone() };
    assert_eq!(bench.publish(dup.clone()), [], "it is being stored");
    assert_eq!(sent(&bench.stored(Token::Qos2(0))), [Packet::Pubrec(Ack::success(id(5)))]); // [MQTT-4.3.3-8]
    assert_eq!(sent(&bench.publish(dup.clone())), [Packet::Pubrec(Ack::success(id(5)))]); // [MQTT-4.3.3-10]
    // Also on another connection.
    bench.step(Input::Lost);
    bench.connect(connect());
    let effects = bench.publish(dup.clone());
    assert_eq!((sent(&effects).len(), stores(&effects).len()), (1, 0));
    // And where nobody knows whether it was stored, under the same sequence.
    let mut state = bench.session.state().unwrap().clone();
    state.received.get_mut(&id(5)).unwrap().is_stored = false;
    let mut bench = bench.restarted(Some(state));
    bench.connect(connect());
    assert_eq!(stores(&bench.publish(dup))[0].sequence, sequence);
}

#[test]
fn an_identifier_of_qos_2_is_free_when_it_is_durably_forgotten() {
    let mut bench = ready();
    bench.publish(publish(QoS::ExactlyOnce, 5, "t/k"));
    let pubrel = || Packet::Pubrel(Ack::success(id(5)));
    assert_ended(&Bench::packet(&mut bench, pubrel()), Reason::ProtocolError); // before the PUBREC
    bench.connect(connect());
    bench.stored(Token::Qos2(0));
    bench.saves = false;
    let effects = bench.packet(pubrel());
    assert_eq!(effects.len(), 1, "{effects:?}");
    let Effect::Save(number) = effects[0] else { panic!("{effects:?}") };
    assert_eq!(sent(&bench.step(Input::Saved(number))), [Packet::Pubcomp(Ack::success(id(5)))]); // [MQTT-4.3.3-11]
    let unknown = bench.packet(pubrel());
    assert_eq!(sent(&unknown), [Packet::Pubcomp(Ack::of(id(5), Reason::PacketIdentifierNotFound))]);
    let next = stores(&bench.publish(publish(QoS::ExactlyOnce, 5, "t/k")));
    assert_eq!(next[0].sequence.unwrap().number, 1, "[MQTT-4.3.3-12]: it is a new message");
}

#[test]
fn a_refused_message_of_qos_2_is_forgotten() {
    let mut bench = ready();
    bench.publish(publish(QoS::ExactlyOnce, 5, "t/k"));
    let refused = bench.step(Input::Stored { token: Token::Qos2(0), result: Err(Reason::QuotaExceeded) });
    assert_eq!(sent(&refused), [Packet::Pubrec(Ack::of(id(5), Reason::QuotaExceeded))]);
    assert_eq!(stores(&bench.publish(publish(QoS::ExactlyOnce, 5, "t/k"))).len(), 1); // [MQTT-4.3.3-9]
}

#[test]
fn a_name_that_is_no_place_is_refused() {
    let mut bench = ready();
    let refused = bench.publish(publish(QoS::AtLeastOnce, 1, "$SYS/a"));
    assert_eq!(sent(&refused), [Packet::Puback(Ack::of(id(1), Reason::TopicNameInvalid))]);
    let refused = bench.publish(publish(QoS::ExactlyOnce, 1, "/a"));
    assert_eq!(sent(&refused), [Packet::Pubrec(Ack::of(id(1), Reason::TopicNameInvalid))]);
    assert_ended(&bench.publish(publish(QoS::AtMostOnce, 0, "/a")), Reason::TopicNameInvalid);
    // 3.1.1 has no words for it: the connection is closed.
    let mut bench = Bench::connected(Config::STANDARD, connect_v311(false));
    let effects = bench.publish(publish(QoS::AtLeastOnce, 1, "/a"));
    assert!(sent(&effects).is_empty() && effects.contains(&Effect::Close(Reason::TopicNameInvalid)));
}

#[test]
fn more_than_the_receive_maximum_is_refused() {
    let few = Config { receive_maximum: NonZeroU16::new(2).unwrap(), received_max: 3, ..Config::STANDARD };
    let mut bench = Bench::connected(few.clone(), connect());
    bench.publish(publish(QoS::AtLeastOnce, 1, "t/k"));
    bench.publish(publish(QoS::ExactlyOnce, 2, "t/k"));
    bench.stored(qos1(1));
    bench.stored(Token::Qos2(0)); // PUBREC was sent, and it still counts
    assert_eq!(stores(&bench.publish(publish(QoS::AtLeastOnce, 3, "t/k"))).len(), 1);
    assert_ended(&bench.publish(publish(QoS::AtLeastOnce, 4, "t/k")), Reason::ReceiveMaximumExceeded);
    // What an earlier connection did not release does not count, but has its own bound.
    bench.connect(connect());
    assert_eq!(stores(&bench.publish(publish(QoS::ExactlyOnce, 4, "t/k"))).len(), 1);
    assert_eq!(stores(&bench.publish(publish(QoS::ExactlyOnce, 5, "t/k"))).len(), 1);
    bench.step(Input::Lost);
    bench.connect(connect());
    assert_ended(&bench.publish(publish(QoS::ExactlyOnce, 6, "t/k")), Reason::ReceiveMaximumExceeded);
    // A client of 3.1.1 is held up instead.
    let mut bench = Bench::connected(few, connect_v311(true));
    bench.publish(publish(QoS::AtLeastOnce, 1, "t/k"));
    assert!(bench.session.accepts());
    bench.publish(publish(QoS::AtLeastOnce, 2, "t/k"));
    assert!(!bench.session.accepts());
    bench.stored(qos1(1));
    assert!(bench.session.accepts());
}

#[test]
fn what_the_server_said_it_does_not_take_is_refused() {
    let limited = Config { maximum_qos: QoS::AtMostOnce, has_retained: false, ..Config::STANDARD };
    let mut retained = publish(QoS::AtMostOnce, 0, "t/k");
    retained.retain = true;
    let mut identified = publish(QoS::AtMostOnce, 0, "t/k");
    identified.properties.subscription_ids.push(SubscriptionId::new(1).unwrap());
    for (message, reason) in [
        (publish(QoS::AtLeastOnce, 1, "t/k"), Reason::QosNotSupported), // [MQTT-3.2.2-11]
        (retained, Reason::RetainNotSupported),                         // [MQTT-3.2.2-14]
        (identified, Reason::ProtocolError),                            // [MQTT-3.3.4-6]
    ] {
        let mut bench = Bench::connected(limited.clone(), connect());
        assert_ended(&bench.publish(message), reason);
    }
}

#[test]
fn an_identifier_in_use_is_not_used_for_something_else() {
    let mut bench = ready();
    bench.publish(publish(QoS::AtLeastOnce, 1, "t/k"));
    let dup = Publish { dup: true, ..publish(QoS::AtLeastOnce, 1, "t/k") };
    assert_eq!(bench.publish(dup), [], "clients of 3.1.1 repeat");
    assert_ended(&bench.publish(publish(QoS::AtLeastOnce, 1, "t/k")), Reason::ProtocolError); // [MQTT-2.2.1-3]
    let mut bench = ready();
    bench.publish(publish(QoS::ExactlyOnce, 1, "t/k"));
    bench.stored(Token::Qos2(0));
    assert_ended(&bench.publish(publish(QoS::AtLeastOnce, 1, "t/k")), Reason::ProtocolError);
}

#[test]
fn an_alias_stands_for_the_name_that_it_was_sent_with() {
    let aliased = |alias, topic: &str| {
        let mut message = publish(QoS::AtMostOnce, 0, topic);
        message.properties.topic_alias = NonZeroU16::new(alias);
        message
    };
    let mut bench = ready();
    for (alias, topic, name) in
        [(1, "t/a", "t/a"), (1, "", "t/a"), (16, "t/b", "t/b"), (1, "t/c", "t/c"), (1, "", "t/c")]
    {
        let [publication] = stores(&bench.publish(aliased(alias, topic))).try_into().unwrap();
        assert_eq!(publication.name, text(name)); // [MQTT-3.3.2-12]
        assert_eq!(publication.properties.topic_alias, None);
    }
    assert_ended(&bench.publish(aliased(17, "t/d")), Reason::TopicAliasInvalid); // [MQTT-3.3.2-9]
    bench.connect(connect());
    assert_ended(&bench.publish(aliased(1, "")), Reason::ProtocolError); // [MQTT-3.3.2-7]
}
