//! What is listed, and what is forgotten.

use super::desk::*;
use crate::*;

#[test]
fn an_id_that_nobody_uses_is_forgotten_and_one_with_a_transaction_is_not() {
    let mut desk = Desk::new();
    let producer = desk.init(None).unwrap();
    desk.advance(999);
    assert_eq!(desk.ask(Request::Expire), Ok(Reply::Expire(0)));
    desk.add(producer, &[partition("a", 0)], 2).unwrap();
    desk.advance(5000);
    assert_eq!(desk.ask(Request::Expire), Ok(Reply::Expire(0)));
    desk.end(producer, true, 2).unwrap();
    desk.complete();
    desk.advance(1000);
    assert_eq!(desk.ask(Request::Expire), Ok(Reply::Expire(1)));
    let gone = desk.ask(Request::Describe { id: ID.into() });
    assert_eq!(gone, Err(Error::TransactionalIdNotFound));
    assert_eq!(desk.init(Some(producer)), Ok((101, 0)), "its producer goes on under a new id");
}

#[test]
fn many_are_forgotten_in_batches_of_bounded_size() {
    let mut desk = Desk::new();
    let ids = 2000;
    for id in 0..ids {
        let request =
            InitProducerId { id: format!("transactional-id-{id}").into(), fresh_id: Some(id), ..init(None) };
        desk.ask(Request::InitProducerId(request)).unwrap();
    }
    desk.advance(1000);
    let mut forgotten = 0;
    loop {
        match desk.ask(Request::Expire) {
            Ok(Reply::Expire(0)) => break,
            Ok(Reply::Expire(count)) => {
                assert!(count < 1000);
                forgotten += count;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(forgotten, ids as usize);
}

#[test]
fn lists_are_filtered_by_state_producer_and_age() {
    let mut desk = Desk::new();
    let producer = desk.init(None).unwrap();
    desk.add(producer, &[partition("a", 0)], 2).unwrap();
    desk.advance(100);
    let listed = Listed { id: ID.into(), producer_id: 100, state: State::Ongoing };
    let mut list = |request: ListTransactions| match desk.ask(Request::List(request)) {
        Ok(Reply::List(listed)) => listed,
        other => panic!("{other:?}"),
    };
    let all = ListTransactions::default();
    assert_eq!(list(all.clone()), std::slice::from_ref(&listed));
    let states = |state| ListTransactions { states: Some(vec![state]), ..all.clone() };
    assert_eq!(list(states(State::Ongoing)), std::slice::from_ref(&listed));
    assert_eq!(list(states(State::Empty)), []);
    assert_eq!(list(ListTransactions { states: Some(vec![]), ..all.clone() }), [], "only unknown states");
    let producers = |id| ListTransactions { producer_ids: vec![id], ..all.clone() };
    assert_eq!((list(producers(100)).len(), list(producers(1)).len()), (1, 0));
    let open = |ms| ListTransactions { open_ms_min: Some(ms), ..all.clone() };
    assert_eq!((list(open(99)).len(), list(open(100)).len()), (1, 0));
}
