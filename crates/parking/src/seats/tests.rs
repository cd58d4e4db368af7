use super::*;
use gateway::testing::shape;
use model::TopicName;
use std::collections::{BTreeMap, BTreeSet};

fn stream(key: &str) -> Address {
    Address { topic: TopicName::new("rides").unwrap(), key: Bytes::copy_from_slice(key.as_bytes()) }
}

fn seat(held: u32, next: u64) -> Seat<u32> {
    Seat { held, next: Token::new(0, next), shape: shape(), until: 100, is_mortal: false }
}

/// Parks a reader that has everything up to there.
fn park(seats: &mut Seats<u32>, key: &str, held: u32, next: u64) -> (Id, Option<Id>) {
    match seats.park(&stream(key), seat(held, next), (false, None), 0) {
        Parking::There(id, row) => (id, row),
        Parking::Behind(_) => panic!("{held} is behind"),
    }
}

/// What is still due in the round of a row.
fn due(seats: &mut Seats<u32>, row: Id) -> Vec<u32> {
    let mut due: Vec<u32> =
        std::iter::from_fn(|| seats.next_due(row).map(|id| seats.get(id).unwrap().seat.held)).collect();
    due.sort_unstable();
    due
}

#[test]
fn readers_of_a_stream_have_one_row_that_hears_of_news() {
    let mut seats = Seats::new(0);
    let (one, row) = park(&mut seats, "a", 1, 5);
    let row = row.unwrap();
    assert_eq!(park(&mut seats, "a", 2, 5).1, None);
    let (other, _) = park(&mut seats, "b", 3, 0);
    assert!(!seats.ring(row, false), "somebody is about to listen");
    assert_eq!(seats.task(row), Some((stream("a"), Token::new(0, 5), true)));
    seats.hang(row, Some(Box::new(())));
    assert_eq!(seats.task(row), Some((stream("a"), Token::new(0, 5), false)));
    seats.begin_round(row, Token::new(0, 9));
    assert_eq!(park(&mut seats, "a", 4, 9).1, None);
    assert_eq!(due(&mut seats, row), [1, 2], "who came meanwhile has it");
    assert!(seats.is_behind(one) && !seats.is_behind(other));
    assert_eq!(seats.task(row), None);
    assert!(seats.ring(row, true), "nobody reads for it now");
    assert_eq!(seats.task(row), Some((stream("a"), Token::new(0, 9), true)), "it listens anew");
    seats.hang(row, None);
    assert_eq!(seats.task(row).unwrap().1, Token::new(0, 9), "what cannot be known is read");
}

#[test]
fn a_row_that_goes_deaf_while_it_listens_listens_again() {
    let mut seats = Seats::new(0);
    let row = park(&mut seats, "a", 1, 5).1.unwrap();
    assert!(seats.task(row).unwrap().2);
    assert!(!seats.ring(row, true));
    seats.hang(row, Some(Box::new(())));
    assert!(seats.task(row).unwrap().2);
}

#[test]
fn who_is_behind_reads_by_itself_unless_it_has_no_room() {
    let mut seats = Seats::new(0);
    let row = park(&mut seats, "a", 1, 5).1.unwrap();
    let behind = seats.park(&stream("a"), seat(2, 4), (false, None), 0);
    assert!(matches!(behind, Parking::Behind(Seat { held: 2, .. })));
    let rest = Box::new(Rest { bytes: Bytes::from_static(b"x"), is_last: false });
    let Parking::There(slow, None) = seats.park(&stream("a"), seat(2, 4), (true, Some(rest)), 0) else {
        panic!()
    };
    assert!(seats.is_behind(slow));
    seats.begin_round(row, Token::new(0, 7));
    assert_eq!(due(&mut seats, row), [1, 2]);
}

#[test]
fn a_row_goes_with_its_last_reader_and_its_place_is_another_ones_afterwards() {
    let mut seats = Seats::new(0);
    let (one, row) = park(&mut seats, "a", 1, 5);
    let row = row.unwrap();
    seats.leave(one).unwrap();
    assert!(seats.leave(one).is_none() && seats.parked.is_empty());
    assert_eq!(seats.task(row), None, "who was about to listen sees that nobody is there");
    assert!(seats.by_stream.is_empty() && seats.rows.is_empty());
    let (other, next) = park(&mut seats, "b", 2, 0);
    assert_eq!((other.place, next.unwrap().place), (one.place, row.place));
    assert!(seats.get(one).is_none() && !seats.ring(row, false) && seats.next_due(row).is_none());
    seats.look_after(one, 3);
    assert!(!seats.has_time(), "who is gone is not looked after");
    assert_eq!(Id::from_u64(other.to_u64()), other);
    seats.look_after(other, 3);
    assert_eq!((seats.up(2), seats.up(3)), (None, Some(other)));
}

#[test]
fn each_reader_is_in_its_row_whatever_comes_and_goes() {
    let (mut seats, mut known) = (Seats::new(0), BTreeMap::new());
    let mut rows: BTreeMap<u32, Id> = BTreeMap::new();
    let mut random = 88172645463325252u64;
    for held in 0..20_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = (random >> 20) as u32 % 5;
        match (random >> 10) % 4 {
            0 | 1 => {
                let (id, row) = park(&mut seats, &key.to_string(), held, 0);
                known.insert(held, (id, key));
                if let Some(row) = row {
                    seats.task(row);
                    seats.hang(row, Some(Box::new(())));
                    assert_eq!(seats.task(row), None);
                    rows.insert(key, row);
                }
            }
            2 => {
                let ids: Vec<u32> = known.keys().copied().collect();
                if let Some(held) = ids.get((random >> 30) as usize % ids.len().max(1)) {
                    let (id, key) = known.remove(held).unwrap();
                    let (at, parked) = seats.leave(id).unwrap();
                    assert_eq!((at, parked.seat.held), (stream(&key.to_string()), *held));
                }
            }
            _ => {
                let of_row: BTreeSet<u32> =
                    known.iter().filter(|(_, (_, of))| *of == key).map(|(held, _)| *held).collect();
                let Some(row) = rows.get(&key).copied().filter(|_| !of_row.is_empty()) else { continue };
                seats.begin_round(row, Token::new(0, 0));
                // One goes in the middle of it.
                let mut due: Vec<u32> =
                    seats.next_due(row).map(|id| seats.get(id).unwrap().seat.held).into_iter().collect();
                let gone = *of_row.last().unwrap();
                if due.first() != Some(&gone) {
                    seats.leave(known.remove(&gone).unwrap().0).unwrap();
                    due.push(gone);
                }
                due.extend(super::tests::due(&mut seats, row));
                assert_eq!(BTreeSet::from_iter(due), of_row);
            }
        }
        assert_eq!(seats.parked.len(), known.len());
        assert_eq!(seats.rows.len(), BTreeSet::from_iter(known.values().map(|(_, key)| *key)).len());
    }
}
