//! Clients that ask and push, and what is known of them afterwards.

use super::*;
use crate::otlp::kit;
use metadata::config::ClientMatch;
use proptest::prelude::*;

const BOUNDS: Bounds =
    Bounds { push_bytes_max: 1000, instances_max: 3, series_max: 4, series_bytes_max: 1000 };
const INTERVAL_MS: u64 = 1000;

fn subscription(metrics: &[&str]) -> Subscription {
    Subscription {
        metrics: metrics.iter().map(|metric| (*metric).to_owned()).collect(),
        interval_ms: INTERVAL_MS as i32,
        clients: ClientMatch::default(),
    }
}

fn clients() -> Clients {
    let mut clients = Clients::new(BOUNDS);
    clients.subscribe(vec![subscription(&["*"])]);
    clients
}

fn id(number: u8) -> Uuid {
    Uuid([number; 16])
}

fn ask(clients: &mut Clients, now_ms: u64, instance: u8) -> Result<i32, Refused> {
    let granted = clients.ask(now_ms, id(instance), id(99), Person::default())?;
    assert_eq!(granted.instance, id(if instance == 0 { 99 } else { instance }));
    Ok(granted.subscription_id)
}

fn push_of(instance: u8, subscription_id: i32, metrics: &[u8]) -> Push<'_> {
    Push { instance: id(instance), subscription_id, is_terminating: false, compression: 0, metrics }
}

fn push(clients: &mut Clients, now_ms: u64, push: &Push<'_>) -> Result<(), Refused> {
    clients.push(now_ms, push, Person::default())
}

fn shown(clients: &Clients) -> Vec<(u8, String, f64)> {
    clients.values().map(|(id, _, seen)| (id.0[0], seen.name.to_owned(), seen.value)).collect()
}

#[test]
fn a_client_without_an_id_gets_one_and_what_it_is_asked_for() {
    let mut clients = clients();
    let granted = clients.ask(5, Uuid::ZERO, id(9), Person::default()).unwrap();
    assert_eq!((granted.instance, &granted.metrics[..]), (id(9), &["*".to_owned()][..]));
    assert_eq!((granted.interval_ms, granted.compressions), (1000, vec![4, 3, 1, 2]));
}

#[test]
fn who_comes_too_soon_is_refused() {
    let mut clients = clients();
    let subscribed = ask(&mut clients, 100, 7).unwrap();
    assert_eq!(ask(&mut clients, 200, 7), Err(Refused::ThrottlingQuotaExceeded));
    let good = push_of(7, subscribed, &[]);
    assert_eq!(push(&mut clients, 300, &good), Ok(()), "the first push after a question may come early");
    assert_eq!(push(&mut clients, 1299, &good), Err(Refused::ThrottlingQuotaExceeded));
    assert_eq!(ask(&mut clients, 1299, 7), Err(Refused::ThrottlingQuotaExceeded));
    assert_eq!(push(&mut clients, 1300, &good), Ok(()));
    assert_eq!(ask(&mut clients, 2300, 7), Ok(subscribed));
}

#[test]
fn who_does_not_know_what_is_asked_may_ask_at_once() {
    let mut clients = clients();
    let subscribed = ask(&mut clients, 100, 7).unwrap();
    assert_eq!(
        push(&mut clients, 200, &push_of(7, subscribed + 1, &[])),
        Err(Refused::UnknownSubscriptionId)
    );
    assert_eq!(ask(&mut clients, 201, 7), Ok(subscribed));
    assert_eq!(ask(&mut clients, 202, 7), Err(Refused::ThrottlingQuotaExceeded));
    let unknown = Push { compression: 9, ..push_of(7, subscribed, &[]) };
    assert_eq!(push(&mut clients, 1300, &unknown), Err(Refused::UnsupportedCompressionType));
    assert_eq!(ask(&mut clients, 1301, 7), Ok(subscribed));
    clients.subscribe(vec![subscription(&["other."])]);
    let changed = ask(&mut clients, 1302, 7).unwrap();
    assert_ne!(changed, subscribed, "who is asked for something else hears of it at once");
    assert_eq!(push(&mut clients, 1303, &push_of(7, subscribed, &[])), Err(Refused::UnknownSubscriptionId));
}

#[test]
fn a_last_push_is_taken_at_any_time_and_nothing_after_it() {
    let mut clients = clients();
    let subscribed = ask(&mut clients, 0, 7).unwrap();
    let good = push_of(7, subscribed, &[]);
    assert_eq!(push(&mut clients, 1, &good), Ok(()));
    let last = Push { is_terminating: true, ..good };
    assert_eq!(push(&mut clients, 2, &last), Ok(()));
    assert_eq!(push(&mut clients, 2000, &good), Err(Refused::InvalidRequest));
}

#[test]
fn what_cannot_be_taken_is_refused_with_its_reason() {
    let data = kit::data("a", &[], 1.0, None);
    let large = vec![0; 1001];
    let mut bomb = Vec::new();
    records::compress(Codec::Zstd.into(), &vec![0; 100_000], &mut bomb).unwrap();
    for (compression, metrics, expected) in [
        (0, &data[..], Ok(())),
        (0, &[][..], Ok(())),
        (0, &data[..data.len() - 1], Err(Refused::InvalidRecord)),
        (1, &data[..], Err(Refused::InvalidRecord)),
        (4, &bomb[..], Err(Refused::InvalidRecord)),
        (0, &large[..], Err(Refused::TelemetryTooLarge)),
        (5, &data[..], Err(Refused::UnsupportedCompressionType)),
        (-1, &data[..], Err(Refused::UnsupportedCompressionType)),
    ] {
        let mut clients = clients();
        let subscribed = ask(&mut clients, 0, 7).unwrap();
        let pushed = Push { compression, ..push_of(7, subscribed, metrics) };
        assert_eq!(push(&mut clients, 0, &pushed), expected, "{compression} {}", metrics.len());
    }
    for reserved in [Uuid::ZERO, Uuid(1u128.to_be_bytes())] {
        let pushed = Push { instance: reserved, ..push_of(7, 0, &[]) };
        assert_eq!(push(&mut clients(), 0, &pushed), Err(Refused::InvalidRequest));
    }
}

#[test]
fn the_newest_values_are_kept_with_every_compression() {
    let mut clients = clients();
    let subscribed = ask(&mut clients, 0, 7).unwrap();
    for (turn, codec) in
        [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].into_iter().enumerate()
    {
        let data = [kit::data("sum", &[], 2.0, Some(1)), kit::data("gauge", &[], turn as f64, None)].concat();
        let mut metrics = Vec::new();
        records::compress(codec.into(), &data, &mut metrics).unwrap();
        let pushed = Push { compression: codec.id() as i8, ..push_of(7, subscribed, &metrics) };
        assert_eq!(push(&mut clients, turn as u64 * INTERVAL_MS, &pushed), Ok(()), "{codec:?}");
    }
    assert_eq!(shown(&clients), [(7, "gauge".into(), 4.0), (7, "sum".into(), 10.0)]);
    clients.subscribe(vec![subscription(&["other."])]);
    ask(&mut clients, 5000, 7).unwrap();
    assert_eq!(shown(&clients).len(), 2, "another subscription forgets nothing");
}

#[test]
fn nobody_is_remembered_for_ever_and_not_too_many_are() {
    let mut clients = clients();
    for instance in 1..=3 {
        let subscribed = ask(&mut clients, u64::from(instance), instance).unwrap();
        let data = kit::data(&format!("m{instance}"), &[], 1.0, None);
        push(&mut clients, u64::from(instance), &push_of(instance, subscribed, &data)).unwrap();
    }
    ask(&mut clients, 1500, 1).unwrap();
    ask(&mut clients, 1600, 4).unwrap();
    let names = |clients: &Clients| shown(clients).into_iter().map(|(_, name, _)| name).collect::<Vec<_>>();
    assert_eq!(
        (clients.count(), names(&clients)),
        (3, vec!["m1".into(), "m3".into()]),
        "2 was silent the longest"
    );
    clients.on_disconnected(id(3));
    assert_eq!(names(&clients), ["m1", "m3"], "what it has said last can still be read");
    assert!(ask(&mut clients, 1601, 3).is_ok(), "it begins anew");
    clients.expire(61_499);
    assert_eq!(clients.count(), 3);
    clients.expire(61_500);
    assert_eq!((clients.count(), names(&clients)), (2, vec!["m3".to_owned()]));
    clients.expire(61_601);
    assert_eq!((clients.count(), clients.series_bytes), (0, 0));
}

proptest! {
    #[test]
    fn whatever_comes_the_bounds_hold(
        steps in prop::collection::vec((0..2000u64, 0..6u8, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), 0..9u8), 0..200),
    ) {
        let (mut clients, mut now_ms) = (clients(), 0);
        for (pause, instance, is_push, bytes, name) in steps {
            now_ms += pause;
            let subscribed = ask(&mut clients, now_ms, instance);
            if is_push && let Ok(subscribed) = subscribed {
                let data = kit::data(&format!("{name}{}", "x".repeat(100)), &[], 1.0, None);
                let metrics = if name % 2 == 0 { &data } else { &bytes };
                let _ = push(&mut clients, now_ms, &push_of(instance, subscribed, metrics));
            }
            prop_assert!(clients.count() <= BOUNDS.instances_max && clients.ends.len() == clients.count());
            let bytes: usize = clients.instances.values().map(|one| one.series.bytes()).sum();
            prop_assert!(bytes == clients.series_bytes && bytes <= BOUNDS.series_bytes_max);
            prop_assert!(clients.instances.values().all(|one| one.series.iter().count() <= BOUNDS.series_max));
        }
    }
}
