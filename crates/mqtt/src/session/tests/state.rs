use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn full() -> State {
    let topic = TopicName::new("rides").unwrap();
    let mut properties = WillProperties { will_delay_interval: Some(10), ..WillProperties::default() };
    properties.user_properties.push(&text("a"), &text("b"));
    let (topic_name, payload) = (text("gone/c"), Binary::new(&b"bye"[..]).unwrap());
    let will = Will { qos: QoS::AtLeastOnce, retain: true, properties, topic: topic_name, payload };
    let subscription = Subscription {
        filter: filter("rides/+"),
        topic: topic.clone(),
        options: Options { qos: QoS::ExactlyOnce, retain_as_published: true, ..Options::default() },
        id: SubscriptionId::new(300),
        is_retained_due: true,
        positions: BTreeMap::from([(0, 5), (3, 1 << 40)]),
    };
    let in_flight = |packet_id, phase, offset| InFlight {
        packet_id: id(packet_id),
        phase,
        retain: false,
        subscription_id: None,
        subscription: 2,
        source: Source { topic: topic.clone(), partition: 3, offset },
        is_on_wire: false,
    };
    State {
        id: 0x0102_0304_0506_0708,
        expiry_interval: 100,
        closed_at_ms: Some(1_000_000),
        next_sequence: 4,
        next_subscription: 2,
        will: Some(StoredWill { sequence: 3, will }),
        subscriptions: BTreeMap::from([(2, subscription)]),
        received: BTreeMap::from([(id(7), Received { sequence: 2, is_stored: true })]),
        in_flight: [in_flight(1, Phase::Qos1, 9), in_flight(2, Phase::Released, 10)].into(),
    }
}

/// docs/formats/mqtt-session.md. What was written must be read for ever.
const GOLDEN: &str = "\
    01 03 0102030405060708 00000064 0000000000000004 0000000000000002 00000000000f4240 \
    0000000000000003 2c 0c 180000000a 26 000161 000162 0006 676f6e652f63 0003 627965 \
    00000001 0000000000000002 0007 72696465732f2b 0a 0000012c 01 00000002 \
    00000000 0000000000000005 00000003 0000010000000000 \
    00000001 0007 0000000000000002 01 \
    00000002 0001 01 00 00000000 0000000000000002 0005 7269646573 00000003 0000000000000009 \
    0002 03 00 00000000 0000000000000002 0005 7269646573 00000003 000000000000000a";

fn golden() -> Vec<u8> {
    let digits: String = GOLDEN.chars().filter(|c| !c.is_whitespace()).collect();
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn a_state_has_the_bytes_of_its_document() {
    let written: String = full().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: String = golden().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, expected);
    assert_eq!(State::decode(&golden()), Ok(full()));
}

#[test]
fn a_state_that_is_cut_or_from_a_later_version_is_not_read() {
    let bytes = golden();
    for cut in 0..bytes.len() {
        assert!(matches!(State::decode(&bytes[..cut]), Err(Unreadable::Damaged(_))), "{cut}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(State::decode(&longer), Err(Unreadable::Damaged(Violation::Trailing(1)))));
    let mut later = bytes;
    later[0] = 2;
    assert_eq!(State::decode(&later), Err(Unreadable::Version(2)));
}

proptest! {
    #[test]
    fn a_damaged_state_is_read_as_something_or_not_at_all(
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let mut bytes = golden();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
        }
    }
}
