//! Names and filters, against tables of the standard's examples and against each other.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::codec::Text;

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn filter(filter: &str) -> Filter {
    Filter::new(text(filter)).unwrap()
}

#[test]
fn filters_match_as_the_standard_says() {
    for (pattern, name, matches) in [
        // 4.7.1.2
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player2", false),
        ("sport/#", "sport", true),
        ("#", "sport/tennis", true),
        // 4.7.1.3
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/tennis/#", "sport/tennis", true),
        // 4.7.2
        ("#", "$SYS/uptime", false),
        ("+/uptime", "$SYS/uptime", false),
        ("$SYS/#", "$SYS/uptime", true),
        ("$SYS/+", "$SYS/uptime", true),
        ("a/+", "a/$b", true),
        // 4.7.3: nothing is normalized
        ("ACCOUNTS", "Accounts", false),
        ("a//b", "a/b", false),
        // 4.8.2: the group has no part in it
        ("$share/g/sport/+", "sport/tennis", true),
        ("$share/g/#", "$SYS/uptime", false),
    ] {
        assert_eq!(filter(pattern).matches(name.as_bytes()), matches, "{pattern} and {name}");
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    use InvalidTopic as I;
    for (pattern, why) in [
        ("", I::EmptyFilter),
        ("sport/tennis#", I::MisplacedHash),
        ("sport/#/ranking", I::MisplacedHash),
        ("sport+", I::MisplacedPlus),
        ("sport/+x/a", I::MisplacedPlus),
        ("$share//a", I::EmptyGroup),
        ("$share/", I::GroupWithoutFilter),
        ("$share/g", I::GroupWithoutFilter),
        ("$share/g/", I::GroupWithoutFilter),
        ("$share/g+/a", I::WildcardInGroup),
        ("$share/g#/a", I::WildcardInGroup),
        ("$share/g/a#", I::MisplacedHash),
    ] {
        assert_eq!(Filter::new(text(pattern)), Err(why), "{pattern}");
    }
    let shared = filter("$share/drivers/rides/+");
    assert_eq!((shared.group(), shared.pattern()), (Some("drivers"), &b"rides/+"[..]));
    assert_eq!(filter("$shared/a").group(), None);
}

#[test]
fn a_name_is_a_topic_and_a_key() {
    for (name, topic, key) in [
        ("rides/u42", "rides", Some("u42")),
        ("rides/eu/u42", "rides", Some("eu/u42")),
        ("rides", "rides", None),
        ("rides/", "rides", Some("")),
        ("rides//", "rides", Some("/")),
    ] {
        let place = Place::of(&text(name)).unwrap();
        assert_eq!((&*place.topic, place.key.as_ref().map(Text::as_str)), (topic, key));
        let back = name_of(&place.topic, place.key.as_ref().map(|key| &key.bytes()[..]));
        assert_eq!(back, Some(text(name)), "and back");
    }
    for name in ["/u42", "$SYS/uptime", "my rides/u42", "./u42"] {
        assert!(matches!(Place::of(&text(name)), Err(Unplaceable::Topic(_))), "{name}");
    }
    assert!(matches!(Place::of(&text("__consumer_offsets/x")), Err(Unplaceable::Internal(_))));
    assert_eq!(Place::of(&text(&format!("t{}", "/".repeat(LEVELS_MAX)))), Err(Unplaceable::TooDeep));
    assert!(Place::of(&text(&format!("t{}", "/".repeat(LEVELS_MAX - 1)))).is_ok());
}

#[test]
fn a_key_that_no_name_can_carry_has_none() {
    let rides = model::TopicName::new("rides").unwrap();
    for key in [&b"\xff"[..], b"a+", b"#", b"a\0", &[b'k'; 65_536]] {
        assert_eq!(name_of(&rides, Some(key)), None);
    }
    assert_eq!(name_of(&rides, Some(b"a b")), Some(text("rides/a b")));
}

#[test]
fn a_filter_says_where_its_records_lie() {
    let rides = model::TopicName::new("rides").unwrap();
    let key = |key: Option<&str>| Reach::Place(Place { topic: rides.clone(), key: key.map(text) });
    let keys = |prefix: &str| Reach::Keys { topic: rides.clone(), prefix: text(prefix) };
    for (pattern, reach) in [
        ("rides", key(None)),
        ("rides/u42", key(Some("u42"))),
        ("rides/eu/u42", key(Some("eu/u42"))),
        ("rides/#", Reach::Topic(rides.clone())),
        ("$share/g/rides/#", Reach::Topic(rides.clone())),
        ("rides/+", keys("")),
        ("rides/eu/+", keys("eu/")),
        ("rides/eu/#", keys("eu")),
        ("rides/+/seat", keys("")),
        ("rides/eu/+/#", keys("eu/")),
    ] {
        assert_eq!(Reach::of(&filter(pattern)), Ok(reach), "{pattern}");
    }
    for pattern in ["#", "+", "+/u42", "+/#"] {
        assert_eq!(Reach::of(&filter(pattern)), Err(Unservable::AnyTopic), "{pattern}");
    }
    for pattern in ["/a", "$SYS/#", "__transaction_state/#"] {
        assert!(matches!(Reach::of(&filter(pattern)), Err(Unservable::Place(_))), "{pattern}");
    }
}

#[test]
fn a_filter_that_is_too_deep_is_not_indexed() {
    let mut index = Index::default();
    let deep = filter(&"+/".repeat(LEVELS_MAX));
    assert_eq!(index.insert(&deep, 1), Err(TooDeep { levels: LEVELS_MAX + 1 }));
    let deepest = filter(&format!("{}#", "+/".repeat(LEVELS_MAX - 1)));
    assert_eq!(index.insert(&deepest, 1), Ok(true));
    let mut found = 0;
    index.visit("a/".repeat(10_000).as_bytes(), &mut |_, _| found += 1);
    assert_eq!(found, 1, "a name may be deeper than any filter");
    assert!(index.remove(&deepest, &1));
    assert_eq!(index.len(), 0);
}

fn levels() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(proptest::sample::select(vec!["", "a", "b", "$c", "+"]), 1..5)
}

fn any_filter() -> impl Strategy<Value = Filter> {
    (levels(), any::<bool>(), any::<bool>()).prop_map(|(levels, hash, shared)| {
        let pattern = format!("{}{}", levels.join("/"), if hash { "/#" } else { "" });
        let pattern = if pattern.is_empty() { "#".to_owned() } else { pattern };
        filter(&format!("{}{pattern}", if shared { "$share/g/" } else { "" }))
    })
}

proptest! {
    /// The index finds what a walk over all filters finds, while they come and go.
    #[test]
    fn the_index_finds_whose_filters_match(
        changes in proptest::collection::vec((any_filter(), 0..4u8, any::<bool>()), 1..40),
        name in levels(),
    ) {
        let mut index = Index::default();
        let mut all = BTreeSet::new();
        for (filter, subscriber, comes) in changes {
            if comes {
                prop_assert_eq!(index.insert(&filter, subscriber), Ok(all.insert((filter, subscriber))));
            } else {
                prop_assert_eq!(index.remove(&filter, &subscriber), all.remove(&(filter, subscriber)));
            }
        }
        prop_assert_eq!(index.len(), all.len());
        let name = name.join("/").replace('+', "d");
        let mut found = Vec::new();
        index.visit(name.as_bytes(), &mut |group, subscriber| found.push((group.map(str::to_owned), *subscriber)));
        let mut expected: Vec<(Option<String>, u8)> = all
            .iter()
            .filter(|(filter, _)| !name.is_empty() && filter.matches(name.as_bytes()))
            .map(|(filter, subscriber)| (filter.group().map(str::to_owned), *subscriber))
            .collect();
        found.sort();
        expected.sort();
        if !name.is_empty() {
            prop_assert_eq!(found, expected);
        }
        all.iter().for_each(|(filter, subscriber)| assert!(index.remove(filter, subscriber)));
        prop_assert!(index.is_empty());
    }

    /// Every name that matches a filter lies where the filter says.
    #[test]
    fn what_matches_is_within_reach(pattern in any_filter(), name in levels()) {
        let name = text(&format!("a/{}", name.join("/").replace('+', "d")));
        let Ok(reach) = Reach::of(&pattern) else { return Ok(()) };
        if pattern.matches(name.bytes()) {
            let place = Place::of(&name).unwrap();
            let key = place.key.clone().unwrap_or_default();
            prop_assert_eq!(reach.topic(), &place.topic);
            match reach {
                Reach::Place(only) => prop_assert_eq!(only, place),
                Reach::Topic(_) => {}
                Reach::Keys { prefix, .. } => prop_assert!(key.bytes().starts_with(prefix.bytes())),
            }
        }
    }
}
