use super::*;

fn suback(effects: &[Effect]) -> Vec<Reason> {
    match sent(effects).as_slice() {
        [Packet::Suback(suback)] | [Packet::Unsuback(suback)] => suback.codes.iter().collect(),
        other => panic!("no SUBACK but {other:?}"),
    }
}

fn asked(effects: &[Effect]) -> Vec<Subscribing> {
    let subscribing = |effect: &Effect| match effect {
        Effect::Subscribe(subscribing) => Some((**subscribing).clone()),
        _ => None,
    };
    effects.iter().filter_map(subscribing).collect()
}

fn granted(subscription: u64) -> Input {
    Input::Subscribed { subscription, result: Ok(vec![(0, 5)]) }
}

#[test]
fn a_suback_has_a_code_for_each_filter_in_their_order() {
    let mut bench = Bench::connected(Config { subscriptions_max: 3, ..Config::STANDARD }, connect());
    let options = |qos| Options { qos, ..Options::default() };
    let filters = [
        (filter("rides/#"), options(QoS::ExactlyOnce)),
        (filter("#"), options(QoS::AtMostOnce)),
        (filter("rides/u42"), options(QoS::AtLeastOnce)),
        (filter("secret/u42"), options(QoS::AtLeastOnce)),
        (filter("more/u42"), options(QoS::AtLeastOnce)),
    ];
    let effects = bench.packet(Packet::Subscribe(Subscribe::new(id(4), &filters)));
    assert_eq!(asked(&effects).iter().map(|to| to.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(sent(&bench.step(granted(2))), []);
    bench.step(Input::Subscribed { subscription: 3, result: Err(Reason::NotAuthorized) });
    let effects = bench.step(granted(1));
    use Reason::{GrantedQos1, GrantedQos2, NotAuthorized, QuotaExceeded, TopicFilterInvalid};
    assert_eq!(
        suback(&effects),
        [GrantedQos2, TopicFilterInvalid, GrantedQos1, NotAuthorized, QuotaExceeded]
    );
    let Some(Packet::Suback(suback)) = sent(&effects).pop() else { panic!() };
    assert_eq!(suback.packet_id, id(4)); // [MQTT-3.8.4-2]
    assert!(suback.properties.reason_string.unwrap().as_str().contains("first level"), "and says why");
    let state = bench.session.state().unwrap();
    assert_eq!(state.subscriptions.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_suback_leaves_when_the_subscription_is_durable() {
    let mut bench = Bench::connected(Config::STANDARD, connect());
    bench.subscribe(1, "rides/#", Options::default());
    bench.saves = false;
    let effects = bench.step(granted(1));
    let [Effect::Save(number)] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(bench.session.state().unwrap().subscriptions[&1].positions[&0], 5);
    assert_eq!(suback(&bench.step(Input::Saved(number))), [Reason::Success]);
}

#[test]
fn what_the_server_does_not_have_is_refused() {
    let without = Config {
        has_wildcards: false,
        has_shared: false,
        has_subscription_ids: false,
        maximum_qos: QoS::AtLeastOnce,
        ..Config::STANDARD
    };
    let mut bench = Bench::connected(without, connect());
    let wildcard = bench.subscribe(1, "rides/#", Options::default());
    assert_eq!(suback(&wildcard), [Reason::WildcardSubscriptionsNotSupported]);
    let shared = bench.subscribe(1, "$share/g/rides", Options::default());
    assert_eq!(suback(&shared), [Reason::SharedSubscriptionsNotSupported]);
    let mut identified = Subscribe::new(id(1), &[(filter("rides"), Options::default())]);
    identified.properties.subscription_id = SubscriptionId::new(1);
    let identified = bench.packet(Packet::Subscribe(identified));
    assert_eq!(suback(&identified), [Reason::SubscriptionIdentifiersNotSupported]);
    // [MQTT-3.2.2-10]: any QoS may be asked for.
    bench.subscribe(1, "rides", Options { qos: QoS::ExactlyOnce, ..Options::default() });
    assert_eq!(suback(&bench.step(granted(1))), [Reason::GrantedQos1]);
}

#[test]
fn retained_messages_come_as_the_option_says() {
    for (retain_handling, first, second) in [
        (RetainHandling::Always, true, true),  // [MQTT-3.3.1-9]
        (RetainHandling::IfNew, true, false),  // [MQTT-3.3.1-10]
        (RetainHandling::Never, false, false), // [MQTT-3.3.1-11]
    ] {
        let mut bench = Bench::connected(Config::STANDARD, connect());
        for with_retained in [first, second] {
            let effects = bench.subscribe(1, "rides/#", Options { retain_handling, ..Options::default() });
            assert_eq!(asked(&effects)[0].with_retained, with_retained, "{retain_handling:?}");
            bench.step(granted(1));
        }
    }
    let mut bench = Bench::connected(Config::STANDARD, connect());
    let shared = bench.subscribe(1, "$share/g/rides/#", Options::default());
    assert!(!asked(&shared)[0].with_retained, "4.8.2");
}

#[test]
fn retained_messages_that_were_not_all_sent_are_sent_when_the_client_is_back() {
    let mut bench = Bench::subscribed(connect(), "rides/#", Options::default());
    let again = |bench: &mut Bench| {
        bench.step(Input::Lost);
        asked(&bench.connect(connect()))[0].with_retained
    };
    assert!(again(&mut bench));
    bench.step(Input::RetainedSent(1));
    assert!(!again(&mut bench));
}

#[test]
fn a_subscription_is_replaced_and_goes_on_where_it_was() {
    let mut bench = Bench::subscribed(connect(), "rides/#", Options::default());
    bench.step(Input::Passed { subscription: 1, partition: 0, from: 0, to: 8 });
    let effects = bench.subscribe(9, "rides/#", Options { qos: QoS::AtLeastOnce, ..Options::default() });
    let to = &asked(&effects)[0];
    assert_eq!((to.number, to.is_new, to.positions[&0]), (1, false, 8)); // [MQTT-3.8.4-3], [MQTT-3.8.4-4]
    bench.step(Input::Passed { subscription: 1, partition: 0, from: 8, to: 9 });
    assert_eq!(
        suback(&bench.step(Input::Subscribed { subscription: 1, result: Ok(Vec::new()) })),
        [Reason::GrantedQos1]
    );
    let subscription = &bench.session.state().unwrap().subscriptions[&1];
    assert_eq!((subscription.options.qos, subscription.positions[&0]), (QoS::AtLeastOnce, 9));
    // Refused, the one before stays.
    bench.subscribe(9, "rides/#", Options::default());
    bench.step(Input::Subscribed { subscription: 1, result: Err(Reason::NotAuthorized) });
    assert_eq!(bench.session.state().unwrap().subscriptions[&1].options.qos, QoS::AtLeastOnce);
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let config = Config { requests_max: 2, ..Config::STANDARD };
    let mut bench = Bench::connected(config, connect());
    bench.subscribe(1, "rides/#", Options::default());
    let unsubscribe = Packet::Unsubscribe(Unsubscribe::new(id(2), &[filter("rides/#"), filter("rides/+")]));
    assert_eq!(bench.packet(unsubscribe.clone()), [], "the SUBSCRIBE is not answered");
    assert!(!bench.session.accepts(), "and no more are taken");
    let effects = bench.step(granted(1));
    let packets = sent(&effects);
    let [Packet::Suback(_), Packet::Unsuback(unsuback)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(unsuback.codes, Codes::new(&[Reason::Success, Reason::NoSubscriptionExisted])); // [MQTT-3.11.3-1]
    assert!(effects.contains(&Effect::Unsubscribe(1)));
    assert!(bench.session.accepts() && bench.session.state().unwrap().subscriptions.is_empty());
    assert_eq!(suback(&bench.packet(unsubscribe)), [Reason::NoSubscriptionExisted; 2]); // [MQTT-3.10.4-5]
}

#[test]
fn what_is_in_flight_is_completed_after_the_end_of_its_subscription() {
    let options = Options { qos: QoS::ExactlyOnce, ..Options::default() };
    let mut bench = Bench::subscribed(connect(), "rides/#", options);
    bench.deliver(delivery(0, record("u42", QoS::ExactlyOnce)));
    bench.packet(Packet::Unsubscribe(Unsubscribe::new(id(2), &[filter("rides/#")])));
    assert_eq!(bench.deliver(delivery(1, record("u42", QoS::ExactlyOnce))), []); // [MQTT-3.10.4-2]
    bench.step(Input::Lost);
    bench.connect(connect());
    let record = Some(Box::new(record("u42", QoS::ExactlyOnce)));
    let again = sent_publish(&bench.step(Input::Reread { packet_id: id(1), record })); // [MQTT-3.10.4-3]
    assert_eq!((again.topic.as_str(), again.dup), ("rides/u42", true));
}

#[test]
fn a_shared_subscription_has_the_position_of_its_group() {
    let options = Options { qos: QoS::AtLeastOnce, ..Options::default() };
    let mut bench = Bench::subscribed(connect(), "$share/g/rides/#", options);
    assert!(bench.session.state().unwrap().subscriptions[&1].positions.is_empty());
    for offset in [7, 3] {
        assert_eq!(sent(&bench.deliver(delivery(offset, record("u42", QoS::AtLeastOnce)))).len(), 1);
    }
    let effects = bench.packet(Packet::Puback(Ack::success(id(1))));
    let Some(Effect::Commit { subscription: 1, source, outcome: Outcome::Acknowledged }) = effects.first()
    else {
        panic!("{effects:?}")
    };
    assert_eq!(source.offset, 7);
}

#[test]
fn who_asks_for_no_explanations_gets_none() {
    let mut quiet = connect();
    quiet.properties.request_problem_information = Some(false);
    let mut bench = Bench::connected(Config::STANDARD, quiet);
    let effects = bench.subscribe(1, "#", Options::default());
    let Some(Packet::Suback(suback)) = sent(&effects).pop() else { panic!() };
    assert_eq!(suback.properties, AckProperties::default()); // [MQTT-3.1.2-29]
}
