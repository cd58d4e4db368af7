//! Statements of the standards, one line of bytes each.

use bytes::BytesMut;

use super::*;
use crate::topics::InvalidTopic;
use Version::{V5, V311};

fn decoded(version: Version, bytes: &[u8]) -> Result<Option<Packet>, Error> {
    decode(&mut BytesMut::from(bytes), 1000, version)
}

fn violation(version: Version, bytes: &[u8]) -> Violation {
    match decoded(version, bytes) {
        Err(error) => error.violation,
        Ok(packet) => panic!("{bytes:02x?} is {packet:?}"),
    }
}

fn check_refused(cases: &[(Version, &[u8], Violation, Reason)]) {
    for (version, bytes, expected, reason) in cases {
        assert_eq!(violation(*version, bytes), *expected, "{bytes:02x?}");
        assert_eq!(expected.reason(), *reason, "{expected}");
    }
}

/// A CONNECT of this level with these flags and what follows them.
fn connect(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend_from_slice(&[level, flags, 0, 10]);
    body.extend_from_slice(rest);
    let mut bytes = vec![0x10, body.len() as u8];
    bytes.extend_from_slice(&body);
    bytes
}

const MALFORMED: Reason = Reason::MalformedPacket;
const PROTOCOL: Reason = Reason::ProtocolError;

#[test]
fn a_header_that_cannot_be_is_refused_at_its_first_byte() {
    use PacketType as P;
    check_refused(&[
        (V5, &[0x00], Violation::PacketType(0), MALFORMED),
        (V311, &[0xF0], Violation::PacketType(15), MALFORMED),
        (V5, &[0x36], Violation::PublishQos, MALFORMED), // [MQTT-3.3.1-4]
        (V5, &[0x38], Violation::DupAtQos0, MALFORMED),  // [MQTT-3.3.1-2]
        (V5, &[0x11], Violation::Flags { packet: P::Connect, flags: 1 }, MALFORMED),
        (V5, &[0x60], Violation::Flags { packet: P::Pubrel, flags: 0 }, MALFORMED), // [MQTT-3.6.1-1]
        (V5, &[0x80], Violation::Flags { packet: P::Subscribe, flags: 0 }, MALFORMED), // [MQTT-3.8.1-1]
        (V5, &[0xA3], Violation::Flags { packet: P::Unsubscribe, flags: 3 }, MALFORMED), // [MQTT-3.10.1-1]
        (V5, &[0xE1], Violation::Flags { packet: P::Disconnect, flags: 1 }, MALFORMED), // [MQTT-3.14.1-1]
        (V5, &[0xF8], Violation::Flags { packet: P::Auth, flags: 8 }, MALFORMED),   // [MQTT-3.15.1-1]
        (V5, &[0xC0, 1, 0], Violation::Trailing(1), MALFORMED),
    ]);
}

#[test]
fn a_length_has_at_most_four_bytes_and_no_more_than_it_needs() {
    let field = "remaining length";
    check_refused(&[
        (V5, &[0x30, 0xff, 0xff, 0xff, 0xff], Violation::VarintTooLong(field), MALFORMED),
        (V5, &[0x30, 0x80, 0x00], Violation::VarintNotMinimal(field), MALFORMED), // [MQTT-1.5.5-1]
        (V5, &[0x30, 0xff, 0x80, 0x00], Violation::VarintNotMinimal(field), MALFORMED),
    ]);
    // Before a byte of the packet is there.
    let too_large = Violation::PacketTooLarge { bytes: 1001, max: 1000 };
    check_refused(&[(V5, &[0x30, 0xE6, 0x07], too_large, Reason::PacketTooLarge)]);
    assert_eq!(decoded(V5, &[0x30, 0xE5, 0x07]), Ok(None), "1000 bytes are taken");
    assert_eq!(decoded(V5, &[0x30, 0xff, 0xff, 0xff]), Ok(None), "the length may go on");
    assert_eq!(decoded(V5, &[]), Ok(None));
}

#[test]
fn what_a_connect_may_not_say_is_refused() {
    let id = b"\0\0\x01c";
    let auth_data_alone = b"\x04\x16\0\x01d\0\x01c";
    for (bytes, expected, reason) in [
        (connect(5, 0x03, id), Violation::ConnectFlagReserved, MALFORMED), // [MQTT-3.1.2-3]
        (connect(5, 0x0A, id), Violation::WillFlags(0x0A), MALFORMED),     // [MQTT-3.1.2-11]
        (connect(5, 0x22, id), Violation::WillFlags(0x22), MALFORMED),     // [MQTT-3.1.2-13]
        (connect(5, 0x1E, id), Violation::WillFlags(0x1E), MALFORMED),     // [MQTT-3.1.2-12]
        (connect(5, 0x06, id), Violation::Short("property length"), MALFORMED), // [MQTT-3.1.2-9]
        (connect(5, 0x82, id), Violation::Short("user name"), MALFORMED),  // [MQTT-3.1.2-17]
        (connect(5, 0x02, b"\0\0\x01c\0\x01u"), Violation::Trailing(3), MALFORMED), // [MQTT-3.1.2-16]
        (connect(5, 0x02, b"\0"), Violation::Short("client identifier"), MALFORMED), // [MQTT-3.1.3-3]
        (connect(5, 0x02, b"\0\0\x01\xff"), Violation::NotUtf8("client identifier"), MALFORMED), // [MQTT-3.1.3-4]
        (connect(5, 0x02, auth_data_alone), Violation::AuthenticationDataAlone, PROTOCOL),
        (connect(4, 0x42, b"\0\x01c\0\x01p"), Violation::PasswordWithoutUserName, MALFORMED),
        (connect(4, 0x00, b"\0\0"), Violation::ClientIdEmpty, Reason::ClientIdentifierNotValid),
        (connect(6, 0x02, id), Violation::ProtocolVersion(6), Reason::UnsupportedProtocolVersion), // [MQTT-3.1.2-2]
    ] {
        assert_eq!(violation(V5, &bytes), expected, "{bytes:02x?}");
        assert_eq!(expected.reason(), reason, "{expected}");
    }
}

#[test]
fn a_version_that_is_not_served_is_told_so_in_words_that_it_knows() {
    let of_3_1 = b"\x10\x0F\0\x06MQIsdp\x03\x02\0\x0A\0\x01c";
    let other = b"\x10\x08\0\x04HTTP\x05\x02";
    for (bytes, violation, version) in [
        (&of_3_1[..], Violation::ProtocolVersion(3), V311),
        (&connect(3, 2, b"\0\x01c"), Violation::ProtocolVersion(3), V311),
        (&connect(9, 2, b"\0\0\x01c"), Violation::ProtocolVersion(9), V5),
        (&other[..], Violation::ProtocolName, V5), // [MQTT-3.1.2-1]
    ] {
        assert_eq!(decoded(V5, bytes), Err(Error { violation, version }));
    }
}

#[test]
fn texts_are_utf_8_without_null_and_keep_their_byte_order_mark() {
    let publish = |topic: &[u8]| [&[0x30, topic.len() as u8 + 3, 0, topic.len() as u8], topic, &[0]].concat();
    for (topic, expected) in [
        (&b"\xed\xa0\x80"[..], Violation::NotUtf8("topic name")), // [MQTT-1.5.4-1]: a surrogate
        (b"\xc0\x80", Violation::NotUtf8("topic name")),          // an overlong null
        (b"a\0b", Violation::NullCharacter("topic name")),        // [MQTT-1.5.4-2]
    ] {
        assert_eq!(violation(V5, &publish(topic)), expected);
        assert_eq!(expected.reason(), MALFORMED);
    }
    let Ok(Some(Packet::Publish(publish))) = decoded(V5, &publish(b"\xef\xbb\xbfa")) else {
        panic!("refused")
    };
    assert_eq!(publish.topic.as_str(), "\u{feff}a"); // [MQTT-1.5.4-3]
}

#[test]
fn properties_stand_where_they_may_as_often_as_they_may_with_the_values_they_may_have() {
    let publish = |properties: &[u8]| {
        let block = [&[0, 1, b't', properties.len() as u8], properties].concat();
        [&[0x30, block.len() as u8], &block[..]].concat()
    };
    let subscribe = |properties: &[u8]| {
        let block = [&[0, 1, properties.len() as u8], properties, b"\0\x01f\0"].concat();
        [&[0x82, block.len() as u8], &block[..]].concat()
    };
    let value = |id, value| Violation::PropertyValue { id, value };
    for (bytes, expected, reason) in [
        (publish(&[1, 1, 1, 1]), Violation::PropertyTwice(1), PROTOCOL),
        (
            publish(&[0x11, 0, 0, 0, 1]),
            Violation::PropertyNotAllowed { packet: "PUBLISH", id: 0x11 },
            MALFORMED,
        ),
        (publish(&[0x7f]), Violation::PropertyNotAllowed { packet: "PUBLISH", id: 0x7f }, MALFORMED),
        (publish(&[1, 2]), value(1, 2), PROTOCOL),
        (publish(&[0x23, 0, 0]), value(0x23, 0), Reason::TopicAliasInvalid), // [MQTT-3.3.2-8]
        (publish(&[0x0B, 0]), value(0x0B, 0), PROTOCOL),
        (publish(&[2, 0, 0]), Violation::Short("property value"), MALFORMED),
        (publish(b"\x08\0\x01#"), Violation::ResponseTopic(InvalidTopic::WildcardInName), PROTOCOL), // [MQTT-3.3.2-14]
        (publish(b"\x26\0\x01a\0\x01\0"), Violation::NullCharacter("user property value"), MALFORMED), // [MQTT-1.5.7-1]
        (subscribe(&[0x0B, 1, 0x0B, 2]), Violation::PropertyTwice(0x0B), PROTOCOL),
        (connect(5, 2, b"\x03\x21\0\0\0\x01c"), value(0x21, 0), PROTOCOL), // Receive Maximum
        (connect(5, 2, b"\x05\x27\0\0\0\0\0\x01c"), value(0x27, 0), PROTOCOL), // Maximum Packet Size
        (connect(5, 2, b"\x02\x17\x02\0\x01c"), value(0x17, 2), PROTOCOL), // Request Problem Information
        (vec![0x20, 5, 0, 0, 2, 0x24, 2], value(0x24, 2), PROTOCOL),       // Maximum QoS
    ] {
        assert_eq!(violation(V5, &bytes), expected, "{bytes:02x?}");
        assert_eq!(expected.reason(), reason, "{expected}");
    }
    assert!(decoded(V5, &publish(&[0x0B, 1, 0x26, 0, 0, 0, 0, 0x0B, 2, 0x26, 0, 0, 0, 0])).is_ok());
}

#[test]
fn packet_identifiers_topics_and_filters_are_checked() {
    let topic = Violation::Topic;
    check_refused(&[
        (V5, &[0x32, 6, 0, 1, b't', 0, 0, 0], Violation::PacketIdZero, PROTOCOL),
        (V5, &[0x40, 2, 0, 0], Violation::PacketIdZero, PROTOCOL),
        (V5, b"\x82\x07\0\0\0\0\x01f\0", Violation::PacketIdZero, PROTOCOL),
        (V5, b"\x30\x04\0\x01#\0", topic(InvalidTopic::WildcardInName), MALFORMED), // [MQTT-3.3.2-2]
        (V5, b"\x30\x03\0\0\0", topic(InvalidTopic::EmptyName), PROTOCOL),
        (V311, b"\x30\x02\0\0", topic(InvalidTopic::EmptyName), PROTOCOL),
        (V5, b"\x82\x03\0\x01\0", Violation::NoFilters(PacketType::Subscribe), PROTOCOL), // [MQTT-3.8.3-2]
        (V5, b"\xA2\x03\0\x01\0", Violation::NoFilters(PacketType::Unsubscribe), PROTOCOL), // [MQTT-3.10.3-2]
        (V5, b"\x82\x08\0\x01\0\0\x02#a\0", topic(InvalidTopic::MisplacedHash), MALFORMED), // [MQTT-4.7.1-1]
        (V5, b"\xA2\x07\0\x01\0\0\x02a+", topic(InvalidTopic::MisplacedPlus), MALFORMED), // [MQTT-4.7.1-2]
        (V5, b"\x82\x07\0\x01\0\0\x01f\x40", Violation::OptionsReserved(0x40), MALFORMED), // [MQTT-3.8.3-5]
        (V5, b"\x82\x07\0\x01\0\0\x01f\x03", Violation::OptionsValue(3), PROTOCOL),
        (V5, b"\x82\x07\0\x01\0\0\x01f\x30", Violation::OptionsValue(0x30), PROTOCOL),
        (V311, b"\x82\x06\0\x01\0\x01f\x04", Violation::OptionsReserved(4), MALFORMED),
        (V5, b"\x82\x10\0\x01\0\0\x0A$share/g/f\x04", Violation::NoLocalShared, PROTOCOL), // [MQTT-3.8.3-4]
        (V5, b"\x82\x06\0\x01\0\0\x01f", Violation::Short("subscription options"), MALFORMED),
    ]);
}

#[test]
fn reason_codes_stand_in_the_packets_that_have_them() {
    let code = |packet, code| Violation::ReasonCode { packet, code };
    check_refused(&[
        (V5, &[0x40, 3, 0, 1, 0x92], code(PacketType::Puback, 0x92), PROTOCOL),
        (V5, &[0x62, 3, 0, 1, 0x10], code(PacketType::Pubrel, 0x10), PROTOCOL),
        (V5, &[0xE0, 1, 0x10], code(PacketType::Disconnect, 0x10), PROTOCOL),
        (V5, &[0x90, 4, 0, 1, 0, 0x11], code(PacketType::Suback, 0x11), PROTOCOL),
        (V311, &[0x90, 3, 0, 1, 0x87], code(PacketType::Suback, 0x87), PROTOCOL),
        (V5, &[0x90, 3, 0, 1, 0], Violation::NoReasonCodes(PacketType::Suback), PROTOCOL),
        (V5, &[0xF0, 2, 0x18, 0], Violation::AuthenticationMethodMissing, PROTOCOL),
        (V5, &[0x20, 3, 1, 0x87, 0], Violation::SessionPresentWithRefusal, PROTOCOL), // [MQTT-3.2.2-6]
        (V5, &[0x20, 3, 2, 0, 0], Violation::ConnackFlags(2), MALFORMED),             // [MQTT-3.2.2-1]
        (V311, &[0x20, 2, 0, 6], code(PacketType::Connack, 6), PROTOCOL),
    ]);
}

#[test]
fn acknowledgements_may_end_before_what_they_do_not_say() {
    let id = PacketId::MIN;
    let puback = |bytes: &[u8]| match decoded(V5, bytes) {
        Ok(Some(Packet::Puback(ack))) => ack,
        other => panic!("{other:?}"),
    };
    assert_eq!(puback(&[0x40, 2, 0, 1]), Ack::success(id));
    assert_eq!(puback(&[0x40, 3, 0, 1, 0x10]), Ack::of(id, Reason::NoMatchingSubscribers));
    assert_eq!(puback(&[0x40, 4, 0, 1, 0x87, 0]), Ack::of(id, Reason::NotAuthorized));
    let disconnect = Packet::Disconnect(Box::new(Disconnect::of(Reason::Success)));
    assert_eq!(decoded(V5, &[0xE0, 0]), Ok(Some(disconnect)));
}

#[test]
fn known_packets_have_these_bytes() {
    let out = |packet: &Packet, version| {
        let mut out = BytesMut::new();
        encode(packet, version, 1000, &mut out).unwrap();
        out.to_vec()
    };
    let ack = Packet::Pubrel(Ack::success(PacketId::MIN));
    assert_eq!(out(&ack, V5), [0x62, 2, 0, 1]);
    let mut connack = Connack {
        session_present: false,
        reason: Reason::UnsupportedProtocolVersion,
        properties: ConnackProperties::default(),
    };
    assert_eq!(out(&Packet::Connack(Box::new(connack.clone())), V311), [0x20, 2, 0, 1]);
    assert_eq!(out(&Packet::Connack(Box::new(connack.clone())), V5), [0x20, 3, 0, 0x84, 0]);
    connack.reason = Reason::NotAuthorized;
    assert_eq!(out(&Packet::Connack(Box::new(connack)), V311), [0x20, 2, 0, 5]);
    assert_eq!(out(&Packet::Pingresp(()), V311), [0xD0, 0]);
    let suback = Suback {
        packet_id: PacketId::MIN,
        properties: AckProperties::default(),
        codes: Codes::new(&[Reason::GrantedQos2, Reason::TopicFilterInvalid]),
    };
    assert_eq!(out(&Packet::Suback(suback), V311), [0x90, 4, 0, 1, 2, 0x80]);
}

#[test]
fn a_payload_is_a_slice_of_what_came() {
    let mut buffer = BytesMut::from(&b"\x30\x09\0\x01t\0hello"[..]);
    let came = buffer.as_ptr_range();
    let Ok(Some(Packet::Publish(publish))) = decode(&mut buffer, 100, V5) else { panic!("refused") };
    assert_eq!(&publish.payload[..], b"hello");
    assert!(came.contains(&publish.payload.as_ptr()));
}
