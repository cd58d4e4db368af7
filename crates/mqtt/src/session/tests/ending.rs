use super::*;

fn with_will(delay: Option<u32>, expiry: u32) -> Connect {
    let properties = WillProperties { will_delay_interval: delay, ..WillProperties::default() };
    let (topic, payload) = (text("gone/c"), Binary::new(&b"bye"[..]).unwrap());
    let will = Some(Will { qos: QoS::AtLeastOnce, retain: true, properties, topic, payload });
    let session_expiry_interval = Some(expiry);
    Connect {
        will,
        properties: ConnectProperties { session_expiry_interval, ..ConnectProperties::default() },
        ..connect()
    }
}

fn disconnect(reason: Reason) -> Packet {
    Packet::Disconnect(Box::new(Disconnect::of(reason)))
}

fn wills(effects: &[Effect]) -> usize {
    stores(effects).iter().filter(|publication| publication.token == Token::Will).count()
}

#[test]
fn a_will_is_published_when_the_connection_ends_without_a_goodbye() {
    for (input, count) in [
        (Input::Lost, 1),
        (Input::Packet(disconnect(Reason::Success)), 0), // [MQTT-3.14.4-3]
        (Input::Packet(disconnect(Reason::DisconnectWithWill)), 1),
        (Input::Packet(Packet::Pingresp(())), 1), // a violation
        (Input::Close(Reason::ServerShuttingDown), 1),
    ] {
        let mut bench = Bench::connected(Config::STANDARD, with_will(None, 100));
        let effects = bench.step(input.clone());
        assert_eq!(wills(&effects), count, "{input:?}"); // [MQTT-3.1.2-8]
        assert_eq!(wills(&bench.after(1_000_000)), 0, "[MQTT-3.1.2-10]");
    }
    let mut bench = Bench::connected(Config::STANDARD, with_will(None, 100));
    let [will] = stores(&bench.step(Input::Lost)).try_into().unwrap();
    assert_eq!((will.name.as_str(), will.retain, &will.payload[..]), ("gone/c", true, &b"bye"[..])); // [MQTT-3.1.2-15]
}

#[test]
fn a_will_is_stored_before_it_is_forgotten_and_once() {
    let mut bench = Bench::connected(Config::STANDARD, with_will(None, 100));
    let before = bench.session.state().cloned();
    let effects = bench.step(Input::Lost);
    assert!(matches!(effects[..], [Effect::Store(_), Effect::Save(_)]), "{effects:?}");
    // A crash between the two: it is published again under its sequence, which the log knows.
    let mut restarted = bench.restarted(before);
    assert_eq!(stores(&restarted.after(0))[0].sequence, stores(&effects)[0].sequence);
}

#[test]
fn a_will_waits_for_its_delay_but_not_beyond_the_session() {
    for (delay, expiry, due_s) in [(10, 100, 10), (100, 10, 10), (10, 0, 0)] {
        let mut bench = Bench::connected(Config::STANDARD, with_will(Some(delay), expiry));
        let effects = bench.step(Input::Lost);
        if due_s == 0 {
            assert_eq!(wills(&effects), 1);
            continue;
        }
        assert_eq!(wills(&effects), 0);
        assert_eq!(bench.session.tick_in_ms(bench.now), Some(due_s * 1000));
        assert_eq!(wills(&bench.after(due_s * 1000 - 1)), 0);
        assert_eq!(wills(&bench.after(1)), 1, "delay {delay}, expiry {expiry}");
    }
}

#[test]
fn a_will_is_not_published_if_the_client_is_back_in_time() {
    let mut bench = Bench::connected(Config::STANDARD, with_will(Some(10), 100));
    bench.step(Input::Lost);
    bench.after(9_999);
    assert_eq!(wills(&bench.connect(connect())), 0); // [MQTT-3.1.3-9]
    assert_eq!(wills(&bench.step(Input::Lost)), 0, "nor later: this connection has none");
    // A new session ends the old one, and its will is published (3.1.2.5).
    let mut bench = Bench::connected(Config::STANDARD, with_will(Some(10), 100));
    bench.step(Input::Lost);
    assert_eq!(wills(&bench.connect(Connect { clean_start: true, ..connect() })), 1);
    // A take-over ends the connection, so a will without a delay is published.
    let mut bench = Bench::connected(Config::STANDARD, with_will(None, 100));
    assert_eq!(wills(&bench.connect(connect())), 1);
    let mut bench = Bench::connected(Config::STANDARD, with_will(Some(10), 100));
    assert_eq!(wills(&bench.connect(connect())), 0);
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    let mut bench = Bench::connected(Config::STANDARD, Connect { keep_alive: 10, ..with_will(None, 100) });
    assert_eq!(bench.session.tick_in_ms(bench.now), Some(15_000));
    assert!(sent(&bench.after(14_999)).is_empty());
    bench.packet(Packet::Pingreq(()));
    assert!(sent(&bench.after(14_999)).is_empty());
    let effects = bench.after(1);
    assert_ended(&effects, Reason::KeepAliveTimeout); // [MQTT-3.1.2-22]
    assert_eq!(wills(&effects), 1, "as if the network had failed");
    // A client that is held up is not silent.
    let mut bench = Bench::new(Config::STANDARD);
    bench.saves = false;
    bench.connect(Connect { keep_alive: 10, ..connect() });
    assert!(sent(&bench.after(20_000)).is_empty());
    // A client of 3.1.1 has no DISCONNECT from a server.
    let mut bench = Bench::connected(Config::STANDARD, Connect { keep_alive: 10, ..connect_v311(true) });
    let effects = bench.after(15_000);
    assert!(sent(&effects).is_empty() && effects.contains(&Effect::Close(Reason::KeepAliveTimeout)));
    // 0 turns it off.
    let mut bench = Bench::connected(Config::STANDARD, connect());
    assert!(sent(&bench.after(1_000_000_000)).is_empty());
}

#[test]
fn the_servers_keep_alive_counts_where_it_is_told() {
    let mut bench = Bench::new(Config::STANDARD);
    bench.session.config.keep_alive_max_s = 4;
    bench.connect(Connect { keep_alive: 100, ..connect() });
    assert_ended(&bench.after(6_000), Reason::KeepAliveTimeout);
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let mut bench = Bench::subscribed(connect(), "rides/#", Options::default());
    bench.after(1_000_000); // [MQTT-4.1.0-1]: not while it is open
    let effects = bench.step(Input::Lost);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Save(_)))); // [MQTT-3.1.2-23]
    assert!(!bench.after(99_999).contains(&Effect::Discard));
    let effects = bench.after(1); // [MQTT-4.1.0-2]
    assert_eq!(effects, [Effect::Unsubscribe(1), Effect::Discard]);
    assert_eq!((bench.session.state(), bench.session.tick_in_ms(bench.now)), (None, None));
    let mut for_ever = connect();
    for_ever.properties.session_expiry_interval = Some(u32::MAX);
    let config = Config { session_expiry_max_s: u32::MAX, ..Config::STANDARD };
    let mut bench = Bench::connected(config, for_ever);
    bench.step(Input::Lost);
    assert_eq!(bench.after(i64::MAX / 4), []);
}

#[test]
fn a_session_whose_node_was_lost_counts_from_the_next_start() {
    let bench = Bench::connected(Config::STANDARD, with_will(Some(10), 100));
    let mut bench = bench.restarted(bench.session.state().cloned());
    assert_eq!(wills(&bench.after(9_999)), 0);
    assert_eq!(wills(&bench.after(1)), 1);
    assert!(bench.after(90_000).contains(&Effect::Discard));
}

#[test]
fn a_disconnect_may_change_how_long_the_session_stays() {
    let bye = |expiry| {
        let mut disconnect = Disconnect::of(Reason::Success);
        disconnect.properties.session_expiry_interval = Some(expiry);
        Packet::Disconnect(Box::new(disconnect))
    };
    let mut bench = Bench::connected(Config::STANDARD, connect());
    assert!(bench.packet(bye(0)).contains(&Effect::Discard));
    let mut bench = Bench::connected(Config::STANDARD, connect());
    bench.packet(bye(7));
    assert_eq!(bench.session.tick_in_ms(bench.now), Some(7_000));
    let mut bench = Bench::connected(Config { session_expiry_max_s: 100, ..Config::STANDARD }, connect());
    bench.packet(bye(u32::MAX));
    assert_eq!(bench.session.tick_in_ms(bench.now), Some(100_000));
    let short = Connect { properties: ConnectProperties::default(), ..connect() };
    let mut bench = Bench::connected(Config::STANDARD, short);
    assert_ended(&bench.packet(bye(7)), Reason::ProtocolError); // 3.14.2.2.2
}

#[test]
fn a_client_gives_only_reasons_of_a_client() {
    for (reason, is_allowed) in [
        (Reason::Success, true),
        (Reason::DisconnectWithWill, true),
        (Reason::AdministrativeAction, true),
        (Reason::ServerShuttingDown, false),
        (Reason::SessionTakenOver, false),
    ] {
        let mut bench = Bench::connected(Config::STANDARD, connect());
        let effects = bench.packet(disconnect(reason));
        let close = if is_allowed { reason } else { Reason::ProtocolError };
        assert!(effects.contains(&Effect::Close(close)), "{reason:?}");
        assert_eq!(sent(&effects).is_empty(), is_allowed, "{effects:?}");
    }
}

#[test]
fn a_violation_is_answered_with_its_reason() {
    let mut bench = Bench::connected(Config::STANDARD, connect());
    let error = Error { violation: Violation::PublishQos, version: Version::V5 };
    let effects = bench.step(Input::Violation(error)); // [MQTT-4.13.1-1]
    assert_ended(&effects, Reason::MalformedPacket);
    let Some(Packet::Disconnect(disconnect)) = sent(&effects).pop() else { panic!() };
    assert_eq!(disconnect.properties.reason_string, Some(text("there is no QoS 3")));
    assert_eq!(bench.packet(Packet::Pingreq(())), [], "[MQTT-3.14.4-1]");
    assert_eq!(bench.step(Input::Lost), []);
}
