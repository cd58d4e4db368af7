use super::*;
use crate::{Malformed, Place};
use proptest::prelude::*;

const NOW: i64 = 1_000_000;

fn open(content_type: &str) -> Life {
    match create(None, NOW, &Create { content_type: Some(content_type.to_owned()), ..Create::default() }) {
        Ok(Created::New(life)) => *life,
        other => panic!("{other:?}"),
    }
}

fn sent(epoch: u64, seq: u64) -> Sent {
    Sent { id: "phone".to_owned(), epoch, seq }
}

fn body<'a>() -> Append<'a> {
    Append { content_type: Some("text/plain"), has_body: true, ..Append::default() }
}

fn closing<'a>() -> Append<'a> {
    Append { closes: true, ..Append::default() }
}

/// Appends and takes what is written down for what is known.
fn run(
    life: &mut Option<Life>,
    producer: &mut Option<Producer>,
    request: &Append<'_>,
) -> Result<Appended, Refusal> {
    let appended = append(life.as_ref(), producer.as_ref(), NOW, request)?;
    if let Appended::New { life: new_life, producer: new_producer } = &appended {
        if let Some(new) = new_life {
            *life = Some(Life::decode(&new.encode()).unwrap());
        }
        if let Some(new) = new_producer {
            *producer = Some(Producer::decode(&new.encode()).unwrap());
        }
    }
    Ok(appended)
}

#[test]
fn put_is_idempotent_for_the_same_configuration_alone() {
    let life = open("text/plain; charset=utf-8");
    let put = |change: fn(&mut Create)| {
        let mut request = Create { content_type: Some("TEXT/plain".to_owned()), ..Create::default() };
        change(&mut request);
        create(Some(&life), NOW, &request)
    };
    assert_eq!(put(|_| {}), Ok(Created::Exists));
    for (change, what) in [
        ((|put| put.content_type = None) as fn(&mut Create), "Content-Type"),
        (|put| put.lifetime = Some(Lifetime::Idle(5)), "Stream-TTL or Stream-Expires-At"),
        (|put| put.is_closed = true, "Stream-Closed"),
        (|put| put.fork = Some(fork(&open("text/plain"), 7)), "origin"),
    ] {
        assert_eq!(put(change), Err(Refusal::OtherConfiguration(what)));
    }
    let plain = open("");
    assert_eq!(plain.content_type, "application/octet-stream");
    assert_eq!(create(Some(&plain), NOW, &Create::default()), Ok(Created::Exists));
}

#[test]
fn a_closed_mailbox_takes_nothing_but_what_closed_it() {
    let (mut life, mut producer) = (Some(open("text/plain")), None);
    let last = sent(0, 0);
    let final_append = Append { closes: true, sent: Some(&last), ..body() };
    assert!(matches!(run(&mut life, &mut producer, &final_append), Ok(Appended::New { .. })));
    assert_eq!(
        run(&mut life, &mut producer, &final_append),
        Ok(Appended::Again { seq: Some(0), is_closed: true })
    );
    assert_eq!(run(&mut life, &mut producer, &closing()), Ok(Appended::Again { seq: None, is_closed: true }));
    let other = sent(0, 1);
    for request in [
        body(),
        Append { closes: true, ..body() },
        Append { sent: Some(&other), ..body() },
        Append { sent: Some(&other), ..closing() },
        // What is closed is told first.
        Append { content_type: Some("image/png"), ..body() },
    ] {
        assert_eq!(run(&mut life, &mut producer, &request), Err(Refusal::Closed), "{request:?}");
    }
}

#[test]
fn appends_of_a_producer_count_once_and_in_order() {
    let (mut life, mut producer) = (Some(open("text/plain")), None);
    let mut post = |epoch, seq| {
        run(&mut life, &mut producer, &Append { sent: Some(&sent(epoch, seq)), ..body() }).map(|appended| {
            match appended {
                Appended::New { .. } => None,
                Appended::Again { seq, .. } => seq,
            }
        })
    };
    assert_eq!(post(3, 1), Err(Refusal::Gap { expected: 0, received: 1 }), "nothing is known of it");
    assert_eq!(post(3, 0), Ok(None));
    assert_eq!(post(3, 1), Ok(None));
    assert_eq!(post(3, 0), Ok(Some(1)), "the highest is told");
    assert_eq!(post(3, 3), Err(Refusal::Gap { expected: 2, received: 3 }));
    assert_eq!(post(2, 0), Err(Refusal::StaleEpoch { current: 3 }));
    assert_eq!(post(4, 1), Err(Refusal::NotFirst));
    assert_eq!(post(4, 0), Ok(None));
    assert_eq!(post(3, 2), Err(Refusal::StaleEpoch { current: 4 }));
}

#[test]
fn another_producer_with_the_same_hash_is_not_taken_for_this_one() {
    let known = Producer { sent: Sent { id: "other".to_owned(), epoch: 9, seq: 9 } };
    let first = sent(0, 0);
    let request = Append { sent: Some(&first), ..body() };
    assert!(append(Some(&open("text/plain")), Some(&known), NOW, &request).is_ok());
}

#[test]
fn what_is_sent_again_is_known_before_its_stream_seq_is_looked_at() {
    let (mut life, mut producer) = (Some(open("text/plain")), None);
    let first = sent(0, 0);
    let request = Append { sent: Some(&first), seq: Some("b"), ..body() };
    assert!(matches!(run(&mut life, &mut producer, &request), Ok(Appended::New { .. })));
    assert!(matches!(run(&mut life, &mut producer, &request), Ok(Appended::Again { .. })));
    for seq in ["b", "a", ""] {
        let request = Append { seq: Some(seq), ..body() };
        assert_eq!(run(&mut life, &mut producer, &request), Err(Refusal::SeqNotHigher("b".to_owned())));
    }
    // By bytes, and not by number.
    assert!(run(&mut life, &mut producer, &Append { seq: Some("c"), ..body() }).is_ok());
    assert!(run(&mut life, &mut producer, &Append { seq: Some("10"), ..body() }).is_err());
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let life = open("text/plain");
    let post = |request: &Append<'_>| append(Some(&life), None, NOW, request);
    assert_eq!(post(&Append::default()), Err(Refusal::Empty));
    assert_eq!(post(&Append { content_type: None, ..body() }), Err(Refusal::NoContentType));
    let other = Append { content_type: Some("application/json"), ..body() };
    assert_eq!(post(&other), Err(Refusal::ContentType("text/plain".to_owned())));
    assert!(post(&Append { content_type: Some("application/json"), ..closing() }).is_ok(), "nothing comes");
    assert_eq!(post(&Append { expected: Some((4, 5)), ..body() }), Err(Refusal::OtherOffset { end: 5 }));
    assert_eq!(
        post(&Append { expected: Some((5, 5)), ..body() }),
        Ok(Appended::New { life: None, producer: None })
    );
    let long = "x".repeat(256);
    let too_long = Append { seq: Some(&long), ..body() };
    assert!(matches!(post(&too_long), Err(Refusal::TooLong { what: "Stream-Seq", length: 256, max: 255 })));
    assert_eq!(append(None, None, NOW, &body()), Err(Refusal::NotFound));
}

#[test]
fn an_idle_mailbox_ends_and_every_use_puts_that_off() {
    let request = Create { lifetime: Some(Lifetime::Idle(10)), ..Create::default() };
    let Ok(Created::New(mut life)) = create(None, NOW, &request) else { panic!() };
    assert_eq!(touch(&life, NOW + 999), None, "less than a tenth is not written down");
    for second in (5..100).step_by(5) {
        *life = touch(&life, NOW + second * 1000).unwrap();
    }
    let last = NOW + 95_000;
    assert!(delete(Some(&life), last + 9_999).is_ok());
    assert_eq!(delete(Some(&life), last + 10_000), Err(Refusal::NotFound));
    assert!(matches!(create(Some(&life), last + 10_000, &Create::default()), Ok(Created::New(_))));
    let until = Lifetime::Until { at_ms: NOW + 5, text: "some time".to_owned() };
    let request = Create { lifetime: Some(until), ..Create::default() };
    let Ok(Created::New(life)) = create(None, NOW, &request) else { panic!() };
    assert_eq!(touch(&life, NOW + 4), None);
    assert!(!life.is_expired(NOW + 4) && life.is_expired(NOW + 5));
}

fn fork(source: &Life, offset: u64) -> Fork {
    let at = Place { generation: 0, offset };
    let origin = Origin { path: "/s/t/k".to_owned(), at, sub_offset: 0, generation: 1 };
    Fork { origin, is_given: true, source: source.clone() }
}

#[test]
fn a_fork_has_what_its_source_has_and_nothing_of_its_writers() {
    let (mut source, mut producer) = (Some(open("text/plain")), None);
    let first = sent(0, 0);
    run(&mut source, &mut producer, &Append { seq: Some("z"), sent: Some(&first), ..body() }).unwrap();
    let mut source = source.unwrap();
    source.lifetime = Lifetime::Idle(60);
    let mut request = Create { fork: Some(fork(&source, 7)), ..Create::default() };
    let Ok(Created::New(made)) = create(None, NOW, &request) else { panic!() };
    assert_eq!((made.content_type.as_str(), &made.lifetime), ("text/plain", &Lifetime::Idle(60)));
    assert_eq!((made.seq.as_deref(), made.is_closed), (None, false));
    assert_eq!(create(Some(&made), NOW, &request), Ok(Created::Exists));
    request.fork.as_mut().unwrap().origin.at.offset = 8;
    assert_eq!(create(Some(&made), NOW, &request), Err(Refusal::OtherConfiguration("origin")));
    request.fork.as_mut().unwrap().origin.generation = limits::GENERATION_MAX + 1;
    assert_eq!(create(None, NOW, &request), Err(Refusal::TooDeep(limits::GENERATION_MAX)));
    request.fork.as_mut().unwrap().is_given = false;
    assert_eq!(create(Some(&made), NOW, &request), Ok(Created::Exists), "where it began then is not asked");
    request.content_type = Some("image/png".to_owned());
    assert_eq!(create(None, NOW, &request), Err(Refusal::ContentType("text/plain".to_owned())));
}

#[test]
fn a_source_is_kept_for_its_forks_and_goes_with_the_last() {
    let (one, two) = ([1; 16], [2; 16]);
    let life = retain(Some(&open("text/plain")), NOW, one).unwrap().unwrap();
    assert_eq!(retain(Some(&life), NOW, one), Ok(None));
    let life = retain(Some(&life), NOW, two).unwrap().unwrap();
    let kept = delete(Some(&life), NOW).unwrap().unwrap();
    assert_eq!(delete(Some(&kept), NOW), Err(Refusal::Deleted));
    assert_eq!(append(Some(&kept), None, NOW, &body()), Err(Refusal::Deleted));
    assert_eq!(create(Some(&kept), NOW, &Create::default()), Err(Refusal::InUse));
    assert_eq!(retain(Some(&kept), NOW, [3; 16]), Err(Refusal::InUse));
    let kept = release(&kept, NOW, &one).unwrap();
    assert_eq!(release(&kept, NOW, &two), None);
    assert!(release(&life, NOW, &one).is_some_and(|life| !life.is_deleted), "it was not deleted");
    let mut many = open("text/plain");
    many.forks = (0..limits::FORKS_MAX as u128).map(u128::to_be_bytes).collect();
    assert_eq!(retain(Some(&many), NOW, [255; 16]), Err(Refusal::TooManyForks(limits::FORKS_MAX)));
    many.lifetime = Lifetime::Idle(0);
    assert_eq!(append(Some(&many), None, NOW, &body()), Err(Refusal::Deleted), "its time is over");
}

fn text(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![prop::string::string_regex(&format!(".{{0,{}}}", max / 4)).unwrap(), Just("x".repeat(max))]
}

fn a_sent() -> impl Strategy<Value = Sent> {
    ("[a-z]{1,9}", 0..=limits::NUMBER_MAX, 0..=limits::NUMBER_MAX).prop_map(|(id, epoch, seq)| Sent {
        id,
        epoch,
        seq,
    })
}

prop_compose! {
    fn a_life()(
        content_type in text(limits::CONTENT_TYPE_BYTES_MAX),
        lifetime in prop_oneof![
            Just(Lifetime::Endless),
            any::<u64>().prop_map(Lifetime::Idle),
            (any::<i64>(), text(limits::EXPIRY_BYTES_MAX)).prop_map(|(at_ms, text)| Lifetime::Until { at_ms, text }),
        ],
        used_ms in any::<i64>(),
        is_closed in any::<bool>(),
        closed_by in prop::option::of(a_sent()),
        seq in prop::option::of(text(limits::SEQ_BYTES_MAX)),
        origin in prop::option::of((text(limits::PATH_BYTES_MAX), any::<(u16, u64)>(), any::<u64>(), any::<u16>())),
        forks in prop::collection::btree_set(any::<[u8; 16]>(), 0..9),
        is_deleted in any::<bool>(),
    ) -> Life {
        let origin = origin.map(|(path, (at, offset), sub_offset, generation)| {
            Origin { path, at: Place { generation: at, offset }, sub_offset, generation }
        });
        Life { content_type, lifetime, used_ms, is_closed, closed_by, seq, origin, forks, is_deleted }
    }
}

proptest! {
    #[test]
    fn what_is_written_down_is_read_again(life in a_life(), sent in a_sent()) {
        prop_assert_eq!(Life::decode(&life.encode()), Ok(life.clone()));
        let producer = Producer { sent };
        prop_assert_eq!(Producer::decode(&producer.encode()), Ok(producer));
        let bytes = life.encode();
        for length in 0..bytes.len() {
            prop_assert!(Life::decode(&bytes[..length]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(Life::decode(&longer), Err(Malformed("something follows")));
    }

    #[test]
    fn foreign_bytes_are_refused_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Life::decode(&bytes);
        let _ = Producer::decode(&bytes);
    }

    /// A phone that sends each of its messages until it hears of it, over a network that loses requests and answers, from
    /// several lives, one of which it believes to be over.
    #[test]
    fn each_message_counts_once_however_often_it_is_sent(
        fates in prop::collection::vec((0..4u8, any::<bool>()), 1..200),
    ) {
        let (mut life, mut producer, mut log) = (Some(open("text/plain")), None, Vec::new());
        let (mut epoch, mut seq, mut message) = (0u64, 0u64, 0u64);
        for (fate, is_heard) in fates {
            let (now, next) = match fate {
                // A request of a former life that was under way for long.
                0 if epoch > 0 => (Sent { id: "phone".into(), epoch: epoch - 1, seq }, None),
                _ => (sent(epoch, seq), Some(message)),
            };
            if fate == 1 {
                // Lost on its way there.
                continue;
            }
            match run(&mut life, &mut producer, &Append { sent: Some(&now), ..body() }) {
                Ok(Appended::New { .. }) => {
                    prop_assert!(next.is_some(), "a former life has written");
                    log.push(message);
                }
                Ok(Appended::Again { .. }) => prop_assert_eq!(log.last(), Some(&message)),
                Err(Refusal::StaleEpoch { .. }) => prop_assert!(next.is_none()),
                Err(other) => prop_assert!(next.is_none(), "{}", other),
            }
            if next.is_some() && is_heard {
                (message, seq) = (message + 1, seq + 1);
                if fate == 3 {
                    // It begins anew once it knows that all has arrived.
                    (epoch, seq) = (epoch + 1, 0);
                    let first = sent(epoch, seq);
                    let begun = run(&mut life, &mut producer, &Append { sent: Some(&first), ..body() });
                    prop_assert!(matches!(begun, Ok(Appended::New { .. })), "{:?}", begun);
                    log.push(message);
                    (message, seq) = (message + 1, seq + 1);
                }
            }
        }
        prop_assert!(log.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?}", log);
    }
}

#[test]
fn a_request_that_is_to_be_taken_once_is_whatever_comes_between() {
    let life = open("text/plain");
    let (sent, other) = (Sent::once("k", 7), Sent::once("k", 8));
    fn request(sent: &Sent) -> Append<'_> {
        Append { sent: Some(sent), ..body() }
    }
    let Ok(Appended::New { producer: known, .. }) = append(Some(&life), None, NOW, &request(&sent)) else {
        panic!("it is new");
    };
    let again = Ok(Appended::Again { seq: None, is_closed: false });
    assert_eq!(append(Some(&life), known.as_ref(), NOW, &request(&sent)), again);
    for fingerprint in [6, 8] {
        let other = Sent::once("k", fingerprint);
        assert_eq!(append(Some(&life), known.as_ref(), NOW, &request(&other)), Err(Refusal::OtherRequest));
    }
    let closed = Life { is_closed: true, ..life };
    let again = Ok(Appended::Again { seq: None, is_closed: true });
    assert_eq!(append(Some(&closed), known.as_ref(), NOW, &request(&sent)), again, "others have closed it");
    assert_eq!(append(Some(&closed), None, NOW, &request(&other)), Err(Refusal::Closed));
    let closing = Append { closes: true, ..request(&sent) };
    let life = Life { is_closed: false, ..closed };
    let Ok(Appended::New { life: Some(after), producer }) = append(Some(&life), None, NOW, &closing) else {
        panic!("it closes");
    };
    let again = Ok(Appended::Again { seq: None, is_closed: true });
    assert_eq!(append(Some(&after), producer.as_ref(), NOW, &closing), again);
    assert_eq!(append(Some(&after), producer.as_ref(), NOW, &request(&other)), Err(Refusal::OtherRequest));
    let decoded = Producer::decode(&known.unwrap().encode()).unwrap();
    assert_eq!(decoded.sent, sent, "it is written down as any producer is");
}
