//! Client quotas altered.

use super::*;
use crate::{QuotaAlteration, client_quota::QuotaValue};

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];
type Changes<'a> = &'a [(&'a str, Option<f64>)];

fn alteration(entity: Entity<'_>, changes: Changes<'_>) -> QuotaAlteration {
    QuotaAlteration {
        entity: entity.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect(),
        changes: changes.iter().map(|(key, value)| ((*key).to_owned(), value.map(QuotaValue::new))).collect(),
    }
}

fn alter(cluster: &mut Cluster, alterations: Vec<QuotaAlteration>) -> (usize, Vec<Result<(), Error>>) {
    let request = Request::AlterClientQuotas { alterations, validate_only: false };
    let Ok((records, Reply::AlterClientQuotas(results))) = cluster.decide(request) else { panic!() };
    (records.len(), results.into_iter().map(|(_, result)| result).collect())
}

fn set(cluster: &Cluster) -> String {
    let all = cluster.image().all_quotas().flat_map(|(entity, quotas)| {
        let entity: Vec<_> =
            entity.iter().map(|(kind, name)| format!("{kind}:{}", name.as_deref().unwrap_or("*"))).collect();
        quotas.iter().map(move |(key, value)| format!("{} {key}={}", entity.join("+"), value.get()))
    });
    all.collect::<Vec<_>>().join("; ")
}

#[test]
fn quotas_are_set_changed_and_removed() {
    let mut cluster = Cluster::of(1);
    let user: Entity<'_> = &[("user", Some("u"))];
    let both: Entity<'_> = &[("user", None), ("client-id", Some("c"))];
    for (entity, changes, records, expected) in [
        (
            user,
            &[("producer_byte_rate", Some(5.0)), ("request_percentage", Some(0.5))][..],
            2,
            "user:u producer_byte_rate=5; user:u request_percentage=0.5",
        ),
        (
            user,
            &[("producer_byte_rate", Some(5.0))],
            0,
            "user:u producer_byte_rate=5; user:u request_percentage=0.5",
        ),
        (
            user,
            &[("producer_byte_rate", Some(6.0)), ("request_percentage", None)],
            2,
            "user:u producer_byte_rate=6",
        ),
        (
            both,
            &[("controller_mutation_rate", Some(1.5)), ("nothing", None)],
            1,
            "client-id:c+user:* controller_mutation_rate=1.5; user:u producer_byte_rate=6",
        ),
        (user, &[("producer_byte_rate", None)], 1, "client-id:c+user:* controller_mutation_rate=1.5"),
        (both, &[("controller_mutation_rate", None)], 1, ""),
        (
            &[("ip", Some("10.0.0.1"))],
            &[("connection_creation_rate", Some(7.0))],
            1,
            "ip:10.0.0.1 connection_creation_rate=7",
        ),
        (
            &[("ip", None)],
            &[("connection_creation_rate", Some(8.0))],
            1,
            "ip:* connection_creation_rate=8; ip:10.0.0.1 connection_creation_rate=7",
        ),
    ] {
        let (written, results) = alter(&mut cluster, vec![alteration(entity, changes)]);
        assert_eq!((written, results), (records, vec![Ok(())]), "{entity:?} {changes:?}");
        assert_eq!(set(&cluster), expected, "{entity:?} {changes:?}");
    }
}

#[test]
fn what_is_no_quota_is_refused_and_its_entity_stays_as_it_is() {
    let mut cluster = Cluster::of(1);
    let good = ("producer_byte_rate", Some(5.0));
    for (entity, bad) in [
        (&[][..], good),
        (&[("topic", Some("t"))], good),
        (&[("user", Some(""))], good),
        (&[("user", Some("u")), ("ip", None)], good),
        (&[("ip", Some("no address"))], ("connection_creation_rate", Some(1.0))),
        (&[("ip", None)], good),
        (&[("user", None)], ("connection_creation_rate", Some(1.0))),
        (&[("user", None)], ("no_rate", Some(1.0))),
        (&[("user", None)], ("consumer_byte_rate", Some(0.0))),
        (&[("user", None)], ("consumer_byte_rate", Some(-1.0))),
        (&[("user", None)], ("consumer_byte_rate", Some(1.5))),
        (&[("user", None)], ("consumer_byte_rate", Some(1e19))),
        (&[("user", None)], ("request_percentage", Some(f64::NAN))),
        (&[("user", None)], good),
    ] {
        let (written, results) = alter(&mut cluster, vec![alteration(entity, &[good, bad])]);
        assert_eq!(written, 0, "{entity:?} {bad:?}");
        assert_eq!(variant(&results[0]), "InvalidRequest", "{entity:?} {bad:?}");
    }
    assert_eq!(set(&cluster), "");
}

#[test]
fn an_entity_that_is_there_twice_is_answered_once_and_the_others_are_altered() {
    let mut cluster = Cluster::of(1);
    let change: Changes<'_> = &[("producer_byte_rate", Some(5.0))];
    let twice = || alteration(&[("user", Some("twice"))], change);
    let alterations = vec![twice(), alteration(&[("user", Some("once"))], change), twice()];
    let request = Request::AlterClientQuotas { alterations: alterations.clone(), validate_only: true };
    assert!(cluster.decide(request).unwrap().0.is_empty(), "only validated");
    let (written, results) = alter(&mut cluster, alterations);
    assert_eq!((written, results.len()), (1, 2));
    assert_eq!((variant(&results[0]), results[1].is_ok()), ("InvalidRequest".to_owned(), true));
    assert_eq!(set(&cluster), "user:once producer_byte_rate=5");
}

#[test]
fn too_many_changes_for_one_request_are_refused_as_a_whole() {
    let mut cluster = Cluster::of(1);
    let names: Vec<_> = (0..10_001).map(|number| format!("u{number}")).collect();
    let change: Changes<'_> = &[("producer_byte_rate", Some(5.0))];
    let alterations: Vec<_> = names.iter().map(|name| alteration(&[("user", Some(name))], change)).collect();
    let request = Request::AlterClientQuotas { alterations: alterations.clone(), validate_only: false };
    assert_eq!(variant(&cluster.decide(request)), "PolicyViolation");
    let (written, results) = alter(&mut cluster, alterations[..10_000].to_vec());
    assert!(written == 10_000 && results.iter().all(Result::is_ok));
}
