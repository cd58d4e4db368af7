use super::*;

fn present(effects: &[Effect]) -> bool {
    sent_connack(effects).session_present
}

#[test]
fn session_present_says_whether_there_is_one() {
    let mut bench = Bench::new(Config::STANDARD);
    assert!(!present(&bench.connect(connect())), "[MQTT-3.1.2-6]");
    bench.step(Input::Lost);
    assert!(present(&bench.connect(connect())), "[MQTT-3.1.2-5], [MQTT-3.2.2-3]");
    bench.step(Input::Lost);
    let clean = Connect { clean_start: true, ..connect() };
    assert!(!present(&bench.connect(clean)), "[MQTT-3.1.2-4], [MQTT-3.2.2-2]");
    bench.step(Input::Lost);
    bench.after(100_000);
    assert!(!present(&bench.connect(connect())), "it expired");
    bench.step(Input::Lost);
    bench.now.timestamp_ms += 100_000;
    assert!(!present(&bench.connect(connect())), "it expired, though no tick came");
}

#[test]
fn a_session_of_3_1_1_lives_as_its_clean_session_says() {
    let mut bench = Bench::new(Config::STANDARD);
    assert!(!present(&bench.connect(connect_v311(false))));
    assert!(bench.step(Input::Lost).iter().all(|effect| *effect != Effect::Discard));
    assert!(present(&bench.connect(connect_v311(false))));
    bench.step(Input::Lost);
    assert!(!present(&bench.connect(connect_v311(true))));
    assert!(bench.step(Input::Lost).contains(&Effect::Discard));
    assert!(!present(&bench.connect(connect_v311(false))));
}

#[test]
fn the_connack_of_a_session_that_stays_leaves_when_the_session_is_durable() {
    let mut bench = Bench::new(Config::STANDARD);
    bench.saves = false;
    assert_eq!(bench.connect(connect()), [Effect::Save(1)]);
    assert!(!bench.session.accepts(), "and nothing is read before");
    let effects = bench.step(Input::Saved(1));
    assert_eq!(sent_connack(&effects).reason, Reason::Success);
    assert_eq!(effects.last(), Some(&Effect::Room));
    assert!(bench.session.accepts());

    let mut bench = Bench::new(Config::STANDARD);
    bench.saves = false;
    let effects = bench.connect(Connect { properties: ConnectProperties::default(), ..connect() });
    assert_eq!(sent_connack(&effects).reason, Reason::Success, "nothing is promised, nothing is saved");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Save(_))));
}

#[test]
fn the_connack_says_what_counts_here() {
    let config = Config {
        maximum_qos: QoS::AtLeastOnce,
        has_retained: false,
        has_wildcards: false,
        has_subscription_ids: false,
        has_shared: false,
        session_expiry_max_s: 60,
        ..Config::STANDARD
    };
    let mut bench = Bench::new(config);
    bench.session.config.keep_alive_max_s = 30;
    let properties =
        sent_connack(&bench.connect(Connect { client_id: Text::default(), ..connect() })).properties;
    assert_eq!(
        properties,
        ConnackProperties {
            session_expiry_interval: Some(60),
            receive_maximum: NonZeroU16::new(64),
            maximum_qos: Some(QoS::AtLeastOnce), // [MQTT-3.2.2-9]
            retain_available: Some(false),
            maximum_packet_size: NonZeroU32::new(1 << 20),
            assigned_client_identifier: Some(text("c")), // [MQTT-3.2.2-16]
            topic_alias_maximum: Some(16),
            wildcard_subscription_available: Some(false),
            subscription_identifiers_available: Some(false),
            shared_subscription_available: Some(false),
            server_keep_alive: Some(30), // [MQTT-3.2.2-21]
            ..ConnackProperties::default()
        }
    );
    let connack = sent_connack(&Bench::new(Config::STANDARD).connect(connect()));
    assert_eq!(connack.properties.maximum_qos, None, "what is not limited is not said");
    assert_eq!(connack.properties.session_expiry_interval, None);
}

/// The answer to a handshake's first packet.
fn greeting(config: &Config, packet: Packet) -> Greeting {
    Handshake::new(config.clone()).on_packet(packet)
}

fn refused_with(greeting: Greeting) -> (Option<Connack>, Reason) {
    match greeting {
        Greeting::Refused { connack: Some(Packet::Connack(connack)), reason } => (Some(*connack), reason),
        Greeting::Refused { connack: None, reason } => (None, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_connect_may_not_ask_for_is_refused() {
    let will = |qos, retain, topic| {
        let properties = WillProperties::default();
        Some(Will { qos, retain, properties, topic: text(topic), payload: Binary::default() })
    };
    let with_will = |will| Connect { will, ..connect() };
    let limited = Config {
        maximum_qos: QoS::AtLeastOnce,
        has_retained: false,
        client_id_bytes_max: 1,
        ..Config::STANDARD
    };
    let mut with_method = connect();
    with_method.properties.authentication_method = Some(text("SCRAM"));
    for (connect, expected) in [
        (with_will(will(QoS::ExactlyOnce, false, "t/k")), Reason::QosNotSupported), // [MQTT-3.2.2-12]
        (with_will(will(QoS::AtMostOnce, true, "t/k")), Reason::RetainNotSupported), // [MQTT-3.2.2-13]
        (with_will(will(QoS::AtMostOnce, false, "$SYS/k")), Reason::TopicNameInvalid),
        (with_method, Reason::BadAuthenticationMethod), // [MQTT-4.12.0-1]
        (Connect { client_id: text("cc"), ..connect() }, Reason::ClientIdentifierNotValid), // [MQTT-3.1.3-8]
    ] {
        let (connack, reason) = refused_with(greeting(&limited, Packet::Connect(Box::new(connect.clone()))));
        let connack = connack.unwrap();
        assert_eq!((connack.reason, reason, connack.session_present), (expected, expected, false)); // [MQTT-3.2.2-6]
        assert!(connack.properties.reason_string.is_some(), "and says why");
        // ... unless that is more than the client takes (MQTT-3.2.2-19), or that version has no words for it.
        let mut short = connect.clone();
        short.properties.maximum_packet_size = NonZeroU32::new(5);
        let (connack, _) = refused_with(greeting(&limited, Packet::Connect(Box::new(short))));
        assert_eq!(connack.unwrap().properties, ConnackProperties::default());
        let old = Connect { version: Version::V311, ..connect };
        let (connack, _) = refused_with(greeting(&limited, Packet::Connect(Box::new(old))));
        assert_eq!(connack.is_some(), expected.to_return_code().is_some());
    }
    let good = Box::new(connect());
    let accepted = Greeting::Accepted { connect: good.clone(), authentication_data: None };
    assert_eq!(greeting(&Config::STANDARD, Packet::Connect(good)), accepted);
}

#[test]
fn what_comes_first_is_a_connect() {
    // [MQTT-3.1.0-1]
    assert_eq!(refused_with(greeting(&Config::STANDARD, Packet::Pingreq(()))), (None, Reason::ProtocolError));
    let refused = |violation, version| {
        let mut handshake = Handshake::new(Config::STANDARD);
        refused_with(handshake.on_violation(&Error { violation, version })).0.map(|connack| connack.reason)
    };
    assert_eq!(refused(Violation::ConnectFlagReserved, Version::V5), Some(Reason::MalformedPacket));
    assert_eq!(refused(Violation::ConnectFlagReserved, Version::V311), None, "3.1.1 has no words for it");
    let version = Violation::ProtocolVersion(3);
    assert_eq!(refused(version, Version::V311), Some(Reason::UnsupportedProtocolVersion));
    assert_eq!(refused(Violation::ClientIdEmpty, Version::V311), Some(Reason::ClientIdentifierNotValid));
}

#[test]
fn a_second_connect_and_what_only_a_server_sends_end_the_connection() {
    for packet in [
        Packet::Connect(Box::new(connect())), // [MQTT-3.1.0-2]
        Packet::Pingresp(()),
        Packet::Connack(Box::new(sent_connack(&Bench::new(Config::STANDARD).connect(connect())))),
        Packet::Auth(Box::new(Auth {
            reason: Reason::ReAuthenticate,
            properties: AuthProperties::default(),
        })), // [MQTT-4.12.0-7]
    ] {
        let mut bench = Bench::connected(Config::STANDARD, connect());
        assert_ended(&bench.packet(packet), Reason::ProtocolError);
    }
}

#[test]
fn a_new_connection_takes_the_session_over() {
    let mut bench = Bench::subscribed(connect(), "rides/#", Options::default());
    let effects = bench.connect(connect());
    let close = effects.iter().position(|effect| *effect == Effect::Close(Reason::SessionTakenOver)).unwrap();
    assert_ended(&effects[..=close], Reason::SessionTakenOver); // [MQTT-3.1.4-3]
    assert!(sent_connack(&effects[close..]).session_present);
    let resumed = effects.iter().any(|effect| matches!(effect, Effect::Subscribe(to) if to.is_resumed));
    assert!(resumed, "its subscriptions go on");
}

#[test]
fn a_session_that_ends_with_its_connection_is_not_taken_over() {
    let short = Connect { properties: ConnectProperties::default(), ..connect() };
    let mut bench = Bench::connected(Config::STANDARD, short.clone());
    let effects = bench.connect(short);
    let close = effects.iter().position(|effect| matches!(effect, Effect::Close(_))).unwrap();
    assert!(!sent_connack(&effects[close..]).session_present);
}

#[test]
fn enhanced_authentication_goes_as_the_host_says() {
    let offering = Config { authentication_methods: vec![text("X")], ..Config::STANDARD };
    let mut asking = connect();
    asking.properties.authentication_method = Some(text("X"));
    asking.properties.authentication_data = Binary::new(&b"1"[..]);
    let auth = |reason, method: &str, data: &'static [u8]| {
        let properties = AuthProperties {
            authentication_method: Some(text(method)),
            authentication_data: Binary::new(data),
            ..AuthProperties::default()
        };
        Packet::Auth(Box::new(Auth { reason, properties }))
    };
    let ask = |data: &'static [u8]| (text("X"), Binary::new(data));
    let asked = |greeting| match greeting {
        Greeting::Authenticate { method, data } => (method, data),
        other => panic!("{other:?}"),
    };
    let mut handshake = Handshake::new(offering.clone());
    assert_eq!(asked(handshake.on_packet(Packet::Connect(Box::new(asking.clone())))), ask(b"1"));
    let more = handshake.on_authenticated(Authentication::Continue(Binary::new(&b"2"[..])));
    assert_eq!(more, Greeting::Send(auth(Reason::ContinueAuthentication, "X", b"2"))); // [MQTT-4.12.0-2]
    assert_eq!(asked(handshake.on_packet(auth(Reason::ContinueAuthentication, "X", b"3"))), ask(b"3"));
    let done = handshake.on_authenticated(Authentication::Done(Binary::new(&b"4"[..])));
    let Greeting::Accepted { connect, authentication_data } = done else { panic!("{done:?}") };
    let mut bench = Bench::new(offering.clone());
    let effects = bench.step(Input::Connect { connect, authentication_data, session_id: 1 });
    let properties = sent_connack(&effects).properties;
    assert_eq!(properties.authentication_method, Some(text("X"))); // [MQTT-4.12.0-5]
    assert_eq!(properties.authentication_data, Binary::new(&b"4"[..]));
    // Anew, 4.12.1.
    let again = Effect::Authenticate { method: text("X"), data: Binary::new(&b"5"[..]) };
    assert_eq!(bench.packet(auth(Reason::ReAuthenticate, "X", b"5")), [again]);
    let done = bench.step(Input::Authenticated(Authentication::Done(None)));
    assert!(matches!(&sent(&done)[..], [Packet::Auth(auth)] if auth.reason == Reason::Success));
    let other = bench.packet(auth(Reason::ReAuthenticate, "Y", b""));
    assert_ended(&other, Reason::ProtocolError); // [MQTT-4.12.1-1]

    for (packet, reason) in [
        (Packet::Pingreq(()), Reason::ProtocolError), // [MQTT-3.1.2-30]
        (auth(Reason::ReAuthenticate, "X", b""), Reason::ProtocolError),
        (auth(Reason::ContinueAuthentication, "Y", b""), Reason::ProtocolError),
        (Packet::Disconnect(Box::new(Disconnect::of(Reason::Success))), Reason::Success),
    ] {
        let mut handshake = Handshake::new(offering.clone());
        handshake.on_packet(Packet::Connect(Box::new(asking.clone())));
        assert_eq!(refused_with(handshake.on_packet(packet)).1, reason);
    }
    let mut handshake = Handshake::new(offering);
    handshake.on_packet(Packet::Connect(Box::new(asking)));
    let refused = handshake.on_authenticated(Authentication::Refused(Reason::NotAuthorized));
    assert_eq!(refused_with(refused).1, Reason::NotAuthorized); // [MQTT-4.12.0-4]
}

#[test]
fn a_client_that_takes_no_connack_gets_nothing_else() {
    let mut tiny = connect();
    tiny.properties.maximum_packet_size = NonZeroU32::new(4);
    let mut bench = Bench::new(Config::STANDARD);
    let effects = bench.connect(tiny);
    assert!(sent(&effects).is_empty(), "[MQTT-3.14.0-1]: {effects:?}");
    assert!(effects.contains(&Effect::Close(Reason::PacketTooLarge)));
}
