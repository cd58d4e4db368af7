use super::*;
use records::BatchBuilder;
use stdx::Uuid;

fn replica(node: i32) -> Replica {
    Replica { node, directory: Uuid([node as u8; 16]) }
}

fn envelope() -> Envelope {
    Envelope { cluster_id: "c".into(), from: replica(1), to: replica(2) }
}

fn batch(epoch: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new().leader_epoch(epoch).base_offset(4);
    builder.push(1, None, Some(value.as_bytes()), &[]);
    builder.build().unwrap().bytes
}

fn append(epochs: &[i32]) -> AppendEntriesRequest<TypeConfig> {
    let entry = |(at, epoch): (usize, &i32)| {
        let payload = Payload::Stored { batch: batch(*epoch, "v"), membership: None };
        Entry::new(log_id(*epoch, 8 + at as u64), payload)
    };
    AppendEntriesRequest {
        vote: Vote::new_committed(5, replica(1)),
        prev_log_id: Some(log_id(4, 7)),
        entries: epochs.iter().enumerate().map(entry).collect(),
        leader_commit: Some(log_id(4, 6)),
    }
}

fn chunk() -> Chunk {
    let id = SnapshotId { end_offset: 9, epoch: 4 };
    let bytes = Bytes::from_static(b"part");
    Chunk { vote: Vote::new_committed(5, replica(1)), id, size: 10, position: 6, bytes }
}

fn requests() -> Vec<Request> {
    let mut asked = VoteRequest::new(Vote::new(6, replica(1)), Some(log_id(5, 8)));
    asked.leadership_transfer = true;
    vec![
        Request::Vote(asked.clone()),
        Request::PreVote(VoteRequest::new(Vote::new(6, replica(1)), None)),
        Request::Append(append(&[4, 5, 5])),
        Request::Append(append(&[])),
        Request::Snapshot(chunk()),
        Request::Transfer(TransferLeaderRequest::new(
            Vote::new_committed(5, replica(1)),
            replica(2),
            Some(log_id(5, 8)),
        )),
    ]
}

fn answers() -> Vec<Answer> {
    let vote = Vote::new(6, replica(1));
    let changed = TransferLeaderError::VoteChanged { expected: vote, actual: vote };
    let missing = TransferLeaderError::LogNotFlushed { expected: Some(log_id(1, 2)), actual: None };
    vec![
        Answer::Refused("why".into()),
        Answer::Vote(VoteResponse::new(vote, Some(log_id(5, 8)), true)),
        Answer::Append(AppendEntriesResponse::Success),
        Answer::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(5, 8)))),
        Answer::Append(AppendEntriesResponse::Conflict),
        Answer::Append(AppendEntriesResponse::HigherVote(vote)),
        Answer::Snapshot { vote, next_position: 7 },
        Answer::Transfer(Ok(())),
        Answer::Transfer(Err(changed)),
        Answer::Transfer(Err(missing)),
    ]
}

#[test]
fn messages_read_back_as_they_were_written() {
    for request in requests() {
        let (found, again) = Request::decode(&request.encode(&envelope())).unwrap();
        assert_eq!(found, envelope());
        assert_eq!(format!("{again:?}"), format!("{request:?}"));
        assert_eq!(again.encode(&envelope()), request.encode(&envelope()));
    }
    for answer in answers() {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}

#[test]
fn the_bytes_of_messages_stay_the_same() {
    let head = [&[0, 2, b'c', 0, 0, 0, 1][..], &[1; 16], &[0, 0, 0, 2], &[2; 16]].concat();
    let vote = [&[0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1][..], &[1; 16], &[0]].concat();
    let last = [1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 8];
    let request = [&head[..], &[1], &vote, &last, &[1]].concat();
    assert_eq!(requests()[0].encode(&envelope()), request);
    assert_eq!(answers()[1].encode(), [&[0, 1][..], &vote, &[1], &last].concat());
    assert_eq!(answers()[4].encode(), [0, 3, 2][..]);
    assert_eq!(answers()[0].encode(), &b"\x00\x00\x04why"[..]);
}

#[test]
fn cut_and_lengthened_messages_are_refused() {
    for request in requests() {
        let bytes = request.encode(&envelope());
        for len in 0..bytes.len() {
            assert!(Request::decode(&bytes.slice(..len)).is_err(), "{len} of {request:?}");
        }
        let longer = [&bytes[..], &[0]].concat().into();
        assert!(Request::decode(&longer).is_err());
    }
    for answer in answers() {
        let bytes = answer.encode();
        for len in 0..bytes.len() {
            assert!(Answer::decode(&bytes.slice(..len)).is_err(), "{len} of {answer:?}");
        }
    }
}

#[test]
fn flipped_bits_and_noise_never_panic() {
    let mut noise = 1u64;
    for request in requests() {
        let bytes = request.encode(&envelope());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Request::decode(&flipped.clone().into());
            let _ = Answer::decode(&flipped.into());
        }
        for _ in 0..2000 {
            let mut spoilt = bytes.to_vec();
            for _ in 0..4 {
                noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = (noise >> 33) as usize % spoilt.len();
                spoilt[at] = (noise >> 8) as u8;
            }
            let _ = Request::decode(&spoilt.into());
        }
    }
}

#[test]
fn what_the_library_would_stumble_over_is_refused() {
    let refused = |request: Request| Request::decode(&request.encode(&envelope())).is_err();
    assert!(refused(Request::Append(append(&[5, 4]))), "epochs go back");
    assert!(refused(Request::Append(append(&[3]))), "before the entry before");
    assert!(refused(Request::Append(append(&[6]))), "of a later leader");
    let early = AppendEntriesRequest { leader_commit: Some(log_id(6, 1)), ..append(&[]) };
    assert!(refused(Request::Append(early)), "committed by a later leader");
    let candidate = AppendEntriesRequest { vote: Vote::new(5, replica(1)), ..append(&[]) };
    assert!(refused(Request::Append(candidate)), "not elected");
    let later = VoteRequest::new(Vote::new(6, replica(1)), Some(log_id(7, 8)));
    assert!(refused(Request::Vote(later)), "a voter from the future");
    let mut request = append(&[5]);
    let two = [&batch(5, "a")[..], &batch(5, "b")].concat().into();
    request.entries[0].payload = Payload::Stored { batch: two, membership: None };
    assert!(refused(Request::Append(request)), "two batches");
    assert!(refused(Request::Snapshot(Chunk { position: 7, ..chunk() })), "beyond the end");
    let id = SnapshotId { end_offset: 9, epoch: 6 };
    assert!(refused(Request::Snapshot(Chunk { id, ..chunk() })), "of a later leader");
}
