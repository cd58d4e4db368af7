//! Any packet, for proptest.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use mqtt::codec::*;
use mqtt::topics::Filter;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Text> {
    "[a-z/ é☃]{0,9}".prop_map(|text| Text::new(&text).unwrap())
}

fn name() -> impl Strategy<Value = Text> {
    "[$a-c/]{1,9}".prop_map(|text| Text::new(&text).unwrap())
}

fn binary() -> impl Strategy<Value = Binary> {
    vec(any::<u8>(), 0..9).prop_map(|bytes| Binary::new(bytes).unwrap())
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3u8).prop_map(|number| QoS::of(number).unwrap())
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    prop_oneof![1..200u32, 1..=268_435_455u32].prop_map(|id| SubscriptionId::new(id).unwrap())
}

fn users() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..4).prop_map(|pairs| {
        let mut users = UserProperties::default();
        pairs.iter().for_each(|(name, value)| users.push(name, value));
        users
    })
}

fn ids() -> impl Strategy<Value = SubscriptionIds> {
    vec(subscription_id(), 0..4).prop_map(|all| {
        let mut ids = SubscriptionIds::default();
        all.into_iter().for_each(|id| ids.push(id));
        ids
    })
}

fn reason(packet: PacketType) -> impl Strategy<Value = Reason> {
    let of_it =
        Reason::ALL.iter().filter(move |(_, packets)| packets.contains(&packet)).map(|(reason, _)| *reason);
    proptest::sample::select(of_it.collect::<Vec<_>>())
}

fn filter() -> impl Strategy<Value = Filter> {
    let levels = vec(proptest::sample::select(vec!["", "+", "a", "bc"]), 1..5);
    (levels, any::<bool>(), option::of("[a-c]{1,3}")).prop_map(|(levels, hash, group)| {
        let mut text = group.map(|group| format!("$share/{group}/")).unwrap_or_default();
        text.push_str(&levels.join("/"));
        if text.is_empty() || text.ends_with('/') {
            text.push('a');
        }
        Filter::new(Text::new(&(text + if hash { "/#" } else { "" })).unwrap()).unwrap()
    })
}

fn options() -> impl Strategy<Value = Options> {
    let handling = vec![RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never];
    (qos(), any::<bool>(), any::<bool>(), proptest::sample::select(handling)).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| Options {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

prop_compose! {
    fn connect_properties()(
        session_expiry_interval in option::of(any::<u32>()),
        receive_maximum in option::of(any::<NonZeroU16>()),
        maximum_packet_size in option::of(any::<NonZeroU32>()),
        topic_alias_maximum in option::of(any::<u16>()),
        request_response_information in option::of(any::<bool>()),
        request_problem_information in option::of(any::<bool>()),
        authentication in option::of((text(), option::of(binary()))),
        user_properties in users(),
    ) -> ConnectProperties {
        let (authentication_method, authentication_data) = match authentication {
            Some((method, data)) => (Some(method), data),
            None => (None, None),
        };
        ConnectProperties {
            session_expiry_interval, receive_maximum, maximum_packet_size, topic_alias_maximum,
            request_response_information, request_problem_information, authentication_method,
            authentication_data, user_properties,
        }
    }
}

prop_compose! {
    fn will()(
        (qos, retain) in (qos(), any::<bool>()),
        will_delay_interval in option::of(any::<u32>()),
        payload_format_indicator in option::of(any::<bool>()),
        message_expiry_interval in option::of(any::<u32>()),
        content_type in option::of(text()),
        response_topic in option::of(name()),
        correlation_data in option::of(binary()),
        user_properties in users(),
        (topic, payload) in (name(), binary()),
    ) -> Will {
        let properties = WillProperties {
            will_delay_interval, payload_format_indicator, message_expiry_interval, content_type,
            response_topic, correlation_data, user_properties,
        };
        Will { qos, retain, properties, topic, payload }
    }
}

fn connect() -> impl Strategy<Value = Packet> {
    let rest = (any::<bool>(), any::<u16>(), connect_properties(), text(), option::of(will()));
    (rest, option::of(text()), option::of(binary())).prop_map(|(rest, user_name, password)| {
        let (clean_start, keep_alive, properties, client_id, will) = rest;
        let version = Version::V5;
        let connect =
            Connect { version, clean_start, keep_alive, properties, client_id, will, user_name, password };
        Packet::Connect(Box::new(connect))
    })
}

prop_compose! {
    fn connack_properties()(
        numbers in (option::of(any::<u32>()), option::of(any::<NonZeroU16>()), option::of(any::<NonZeroU32>())),
        more in (option::of(any::<u16>()), option::of(any::<u16>()), option::of(0..2u8)),
        flags in vec(option::of(any::<bool>()), 4),
        texts in vec(option::of(text()), 5),
        authentication_data in option::of(binary()),
        user_properties in users(),
    ) -> ConnackProperties {
        ConnackProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2,
            topic_alias_maximum: more.0,
            server_keep_alive: more.1,
            maximum_qos: more.2.and_then(QoS::of),
            retain_available: flags[0],
            wildcard_subscription_available: flags[1],
            subscription_identifiers_available: flags[2],
            shared_subscription_available: flags[3],
            assigned_client_identifier: texts[0].clone(),
            reason_string: texts[1].clone(),
            response_information: texts[2].clone(),
            server_reference: texts[3].clone(),
            authentication_method: texts[4].clone(),
            authentication_data,
            user_properties,
        }
    }
}

fn connack() -> impl Strategy<Value = Packet> {
    (any::<bool>(), reason(PacketType::Connack), connack_properties()).prop_map(
        |(present, reason, properties)| {
            let session_present = present && reason == Reason::Success;
            Packet::Connack(Box::new(Connack { session_present, reason, properties }))
        },
    )
}

prop_compose! {
    fn publish()(
        (dup, qos, retain, id) in (any::<bool>(), qos(), any::<bool>(), packet_id()),
        payload_format_indicator in option::of(any::<bool>()),
        message_expiry_interval in option::of(any::<u32>()),
        topic_alias in option::of(any::<NonZeroU16>()),
        response_topic in option::of(name()),
        correlation_data in option::of(binary()),
        (subscription_ids, user_properties) in (ids(), users()),
        content_type in option::of(text()),
        (topic, no_topic) in (name(), any::<bool>()),
        payload in vec(any::<u8>(), 0..300),
    ) -> Packet {
        let topic = if no_topic && topic_alias.is_some() { Text::default() } else { topic };
        let properties = PublishProperties {
            payload_format_indicator, message_expiry_interval, topic_alias, response_topic,
            correlation_data, subscription_ids, content_type, user_properties,
        };
        let is_reliable = qos != QoS::AtMostOnce;
        Packet::Publish(Box::new(Publish {
            dup: dup && is_reliable, qos, retain, topic, packet_id: is_reliable.then_some(id), properties,
            payload: Bytes::from(payload),
        }))
    }
}

fn ack_properties() -> impl Strategy<Value = AckProperties> {
    (option::of(text()), users())
        .prop_map(|(reason_string, user_properties)| AckProperties { reason_string, user_properties })
}

fn ack(packet: PacketType, make: fn(Ack) -> Packet) -> impl Strategy<Value = Packet> {
    (packet_id(), reason(packet), ack_properties())
        .prop_map(move |(packet_id, reason, properties)| make(Ack { packet_id, reason, properties }))
}

fn suback(packet: PacketType, make: fn(Suback) -> Packet) -> impl Strategy<Value = Packet> {
    (packet_id(), ack_properties(), vec(reason(packet), 1..5)).prop_map(
        move |(packet_id, properties, reasons)| {
            make(Suback { packet_id, properties, codes: Codes::new(&reasons) })
        },
    )
}

fn subscribe() -> impl Strategy<Value = Packet> {
    let pair = (filter(), options()).prop_map(|(filter, mut options)| {
        options.no_local &= filter.group().is_none();
        (filter, options)
    });
    (packet_id(), option::of(subscription_id()), users(), vec(pair, 1..4)).prop_map(
        |(packet_id, subscription_id, user_properties, pairs)| {
            let mut subscribe = Subscribe::new(packet_id, &pairs);
            subscribe.properties = SubscribeProperties { subscription_id, user_properties };
            Packet::Subscribe(subscribe)
        },
    )
}

fn unsubscribe() -> impl Strategy<Value = Packet> {
    (packet_id(), users(), vec(filter(), 1..4)).prop_map(|(packet_id, user_properties, filters)| {
        let mut unsubscribe = Unsubscribe::new(packet_id, &filters);
        unsubscribe.properties = UnsubscribeProperties { user_properties };
        Packet::Unsubscribe(unsubscribe)
    })
}

fn disconnect() -> impl Strategy<Value = Packet> {
    let properties = (option::of(any::<u32>()), option::of(text()), option::of(text()), users());
    (reason(PacketType::Disconnect), properties).prop_map(|(reason, properties)| {
        let (session_expiry_interval, reason_string, server_reference, user_properties) = properties;
        let properties = DisconnectProperties {
            session_expiry_interval,
            reason_string,
            server_reference,
            user_properties,
        };
        Packet::Disconnect(Box::new(Disconnect { reason, properties }))
    })
}

fn auth() -> impl Strategy<Value = Packet> {
    let properties = (text(), option::of(binary()), option::of(text()), users());
    (reason(PacketType::Auth), properties).prop_map(|(reason, properties)| {
        let (method, authentication_data, reason_string, user_properties) = properties;
        let authentication_method = Some(method);
        let properties =
            AuthProperties { authentication_method, authentication_data, reason_string, user_properties };
        Packet::Auth(Box::new(Auth { reason, properties }))
    })
}

/// Any packet that MQTT 5.0 can carry.
pub(crate) fn packet() -> BoxedStrategy<Packet> {
    prop_oneof![
        connect(),
        connack(),
        publish(),
        ack(PacketType::Puback, Packet::Puback),
        ack(PacketType::Pubrec, Packet::Pubrec),
        ack(PacketType::Pubrel, Packet::Pubrel),
        ack(PacketType::Pubcomp, Packet::Pubcomp),
        subscribe(),
        suback(PacketType::Suback, Packet::Suback),
        unsubscribe(),
        suback(PacketType::Unsuback, Packet::Unsuback),
        Just(Packet::Pingreq(())),
        Just(Packet::Pingresp(())),
        disconnect(),
        auth(),
    ]
    .boxed()
}

/// What of a packet comes through MQTT 3.1.1; none: it has no such packet, or no words for it.
pub(crate) fn in_v311(packet: Packet) -> Option<Packet> {
    let plain = |ack: Ack| Ack::success(ack.packet_id);
    Some(match packet {
        Packet::Connect(mut connect) => {
            connect.version = Version::V311;
            connect.properties = ConnectProperties::default();
            if let Some(will) = &mut connect.will {
                will.properties = WillProperties::default();
            }
            connect.clean_start |= connect.client_id.is_empty();
            connect.password = connect.password.filter(|_| connect.user_name.is_some());
            Packet::Connect(connect)
        }
        Packet::Connack(mut connack) => {
            connack.properties = ConnackProperties::default();
            connack.reason = Reason::from_return_code(connack.reason.to_return_code()?)?;
            Packet::Connack(connack)
        }
        Packet::Publish(mut publish) => {
            publish.properties = PublishProperties::default();
            (!publish.topic.is_empty()).then_some(Packet::Publish(publish))?
        }
        Packet::Puback(ack) => Packet::Puback(plain(ack)),
        Packet::Pubrec(ack) => Packet::Pubrec(plain(ack)),
        Packet::Pubrel(ack) => Packet::Pubrel(plain(ack)),
        Packet::Pubcomp(ack) => Packet::Pubcomp(plain(ack)),
        Packet::Subscribe(subscribe) => {
            let pairs: Vec<(Filter, Options)> = subscribe
                .filters
                .iter()
                .map(|(filter, options)| (filter, Options { qos: options.qos, ..Options::default() }))
                .collect();
            Packet::Subscribe(Subscribe::new(subscribe.packet_id, &pairs))
        }
        Packet::Suback(suback) => {
            let failed = |reason: Reason| if reason.is_failure() { Reason::UnspecifiedError } else { reason };
            let reasons: Vec<Reason> = suback.codes.iter().map(failed).collect();
            let properties = AckProperties::default();
            Packet::Suback(Suback { packet_id: suback.packet_id, properties, codes: Codes::new(&reasons) })
        }
        Packet::Unsubscribe(mut unsubscribe) => {
            unsubscribe.properties = UnsubscribeProperties::default();
            Packet::Unsubscribe(unsubscribe)
        }
        Packet::Unsuback(unsuback) => Packet::Unsuback(Suback {
            packet_id: unsuback.packet_id,
            properties: AckProperties::default(),
            codes: Codes::default(),
        }),
        Packet::Disconnect(_) => Packet::Disconnect(Box::new(Disconnect::of(Reason::Success))),
        Packet::Auth(_) => return None,
        packet => packet,
    })
}
