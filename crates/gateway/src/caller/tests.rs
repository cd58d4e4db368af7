use super::*;
use crate::rates::Rate;

fn caller(claims: &Value) -> Result<Caller, String> {
    let claims = claims.as_object().unwrap();
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    Caller::new(text("sub"), text("iss"), 1000, claims)
}

fn allow(caller: &Caller, verb: Verb, topic: &str, key: Option<&str>) -> Result<Allowed, Problem> {
    caller.allow(verb, &TopicName::new(topic).unwrap(), key.map(str::as_bytes))
}

fn may(caller: &Caller, verb: Verb, topic: &str, key: Option<&str>) -> bool {
    allow(caller, verb, topic, key).is_ok()
}

#[test]
fn a_phone_reads_its_rides_and_says_where_it_is() {
    let phone = caller(&json!({"sub": "u42", "od": [
        {"do": ["read"], "topic": "rides", "key": "${sub}"},
        {"do": ["append"], "topic": "gps", "key": "${sub}", "rate": "5/s", "max_bytes": 2048},
    ]}));
    let phone = phone.unwrap();
    assert_eq!(allow(&phone, Verb::Read, "rides", Some("u42")), Ok(Allowed { rate: None, bytes_max: None }));
    let gps = allow(&phone, Verb::Append, "gps", Some("u42")).unwrap();
    assert_eq!((gps.rate.unwrap().0, gps.bytes_max), (Rate { count: 5, seconds: 1 }, Some(2048)));
    for (verb, topic, key) in [
        (Verb::Read, "rides", Some("u43")),
        (Verb::Read, "rides", Some("u4")),
        (Verb::Read, "rides", Some("u42/x")),
        (Verb::Read, "rides", None),
        (Verb::Read, "gps", Some("u42")),
        (Verb::Append, "rides", Some("u42")),
        (Verb::Create, "gps", Some("u42")),
        (Verb::Delete, "rides", Some("u42")),
        (Verb::Read, "rides2", Some("u42")),
    ] {
        assert!(!may(&phone, verb, topic, key), "{verb:?} {topic} {key:?}");
    }
    let refused = allow(&phone, Verb::Read, "rides", Some("u43")).unwrap_err();
    assert_eq!(refused.status, 403);
    assert!(refused.detail.contains(r#"{"do":["read"],"key":"u43","topic":"rides"}"#), "{}", refused.detail);
    assert!(refused.headers[0].1.contains("insufficient_scope"));
}

#[test]
fn a_star_at_the_end_is_any_rest_and_what_a_claim_says_is_never_one() {
    let some = caller(&json!({"sub": "*", "team": "a", "od": [
        {"do": ["read"], "topic": "t-*", "key": "${team}-*"},
        {"do": ["append"], "topic": "log", "key": "${sub}"},
        {"do": ["delete"], "topic": "*", "key": "*"},
        {"do": ["create"], "topic": "all", "key": "x${sub}y"},
    ]}));
    let some = some.unwrap();
    assert!(may(&some, Verb::Read, "t-1", Some("a-1")) && may(&some, Verb::Read, "t-", Some("a-")));
    assert!(!may(&some, Verb::Read, "t1", Some("a-1")) && !may(&some, Verb::Read, "t-1", Some("b-1")));
    assert!(!may(&some, Verb::Read, "t-1", None), "a part of the keys is not all of the topic");
    assert!(may(&some, Verb::Append, "log", Some("*")) && !may(&some, Verb::Append, "log", Some("u42")));
    assert!(may(&some, Verb::Delete, "any", Some("x")) && may(&some, Verb::Delete, "any", None));
    assert!(may(&some, Verb::Create, "all", Some("x*y")) && !may(&some, Verb::Create, "all", Some("xay")));
}

#[test]
fn a_claim_that_is_not_there_allows_nothing() {
    for claims in
        [json!({}), json!({"sub": ""}), json!({"sub": 42}), json!({"sub": null}), json!({"sub": ["a"]})]
    {
        let mut claims = claims;
        claims["od"] = json!([
            {"do": ["read"], "topic": "t", "key": "${sub}"}, {"do": ["read"], "topic": "t", "key": "${sub}*"},
        ]);
        let none = caller(&claims).unwrap();
        for key in [None, Some(""), Some("42"), Some("null"), Some("${sub}"), Some("a")] {
            assert!(!may(&none, Verb::Read, "t", key), "{claims} {key:?}");
        }
    }
    assert!(
        !may(&caller(&json!({"sub": "a"})).unwrap(), Verb::Read, "t", Some("a")),
        "nor does a token without od"
    );
}

#[test]
fn what_is_not_understood_is_refused_as_a_whole() {
    let good = json!({"do": ["read"], "topic": "t", "key": "k"});
    for (name, value, part) in [
        ("do", json!("read"), "array of read"),
        ("do", json!([]), "array of read"),
        ("do", json!(["read", "write"]), "array of read"),
        ("topic", json!(null), "names a topic"),
        ("key", json!(""), "names a key, or *"),
        ("key", json!(7), "names a key"),
        ("key", json!("${sub"), "no } behind it"),
        ("rate", json!("5"), "5/s"),
        ("rate", json!("0/s"), "5/s"),
        ("rate", json!("+5/s"), "5/s"),
        ("rate", json!("5/d"), "5/s"),
        ("rate", json!(5), "5/s"),
        ("max_bytes", json!(-1), "whole number"),
        ("max_bytes", json!("1"), "whole number"),
        ("cidr", json!("10.0.0.0/8"), "has \"cidr\""),
    ] {
        let mut grant = good.clone();
        grant[name] = value;
        let told = caller(&json!({"od": [good, grant]})).unwrap_err();
        assert!(told.starts_with("grant 2 of its claim od ") && told.contains(part), "{grant}: {told}");
    }
    for wrong in [json!({}), json!("read"), json!(vec![good.clone(); 65])] {
        assert!(caller(&json!({"od": wrong})).unwrap_err().contains("array of at most 64"));
    }
    assert!(caller(&json!({"od": [7]})).unwrap_err().contains("no object"));
}

#[test]
fn one_subject_is_counted_as_one_and_another_as_another() {
    let name = |issuer: &str, subject: &str, key: &str, rate: &str| {
        let od = json!([{"do": ["append"], "topic": "t", "key": key, "rate": rate}]);
        let caller = caller(&json!({"iss": issuer, "sub": subject, "od": od})).unwrap();
        allow(&caller, Verb::Append, "t", Some("k")).unwrap().rate.unwrap().1
    };
    assert_eq!(name("i", "s", "*", "5/s"), name("i", "s", "*", "50/s"), "another token, another rate");
    let all = [
        name("i", "s", "*", "5/s"),
        name("i", "t", "*", "5/s"),
        name("is", "", "*", "5/s"),
        name("i", "s", "k", "5/s"),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn its_time_ends() {
    let some = caller(&json!({})).unwrap();
    assert!(some.check_time(999).is_ok());
    let over = some.check_time(1000).unwrap_err();
    assert_eq!(over.status, 401);
    assert!(over.headers[0].1.contains("invalid_token"));
}
