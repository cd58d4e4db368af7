//! Incremental fetch sessions (KIP-227), as a client sees them.

use crate::harness::{Client, Node, Topic, batch, bytes_of, code, fetch, fetch_topic, values};
use wire::{ErrorCode, FetchRequest, FetchResponse, fetch_request::ForgottenTopic};

async fn session() -> (Node, Client, Topic, i32) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 3, &[]).await;
    let topics = vec![fetch_topic(&topic, &[(0, 0), (1, 0), (2, 0)])];
    let request = FetchRequest { session_epoch: 0, topics, ..fetch(&topic, 0, 0) };
    let response = client.call(18, &request).await;
    assert_eq!((response.error_code, response.responses[0].partitions.len()), (0, 3));
    assert_ne!(response.session_id, 0);
    (node, client, topic, response.session_id)
}

fn next(session_id: i32, session_epoch: i32, topics: Vec<wire::fetch_request::FetchTopic>) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_id,
        session_epoch,
        topics,
        ..FetchRequest::default()
    }
}

/// The partitions of an answer and how many records each has.
fn told(response: &FetchResponse) -> Vec<(i32, usize)> {
    assert_eq!(response.error_code, 0);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|data| (data.partition_index, values(bytes_of(data)).len())).collect()
}

#[tokio::test(start_paused = true)]
async fn an_incremental_answer_names_only_partitions_with_news() {
    let (_node, mut client, topic, id) = session().await;
    let response = client.call(18, &next(id, 1, vec![])).await;
    assert_eq!((told(&response), response.session_id), (vec![], id));
    client.produce_at(13, &topic, 1, batch(&["a"])).await;
    let response = client.call(18, &next(id, 2, vec![])).await;
    assert_eq!(told(&response), [(1, 1)]);
    let response = client.call(18, &next(id, 3, vec![fetch_topic(&topic, &[(1, 1)])])).await;
    assert_eq!(told(&response), [], "read up to its end, whose watermark was told");
    client.produce_at(13, &topic, 1, batch(&["b"])).await;
    client.produce_at(13, &topic, 2, batch(&["c"])).await;
    let response = client.call(18, &next(id, 4, vec![])).await;
    let mut partitions = told(&response);
    partitions.sort();
    assert_eq!(partitions, [(1, 1), (2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn forgotten_partitions_are_not_read_any_more() {
    let (_node, mut client, topic, id) = session().await;
    for partition in [0, 1, 2] {
        client.produce_at(13, &topic, partition, batch(&["a"])).await;
    }
    let mut request = next(id, 1, vec![]);
    let forgotten = ForgottenTopic { topic: "t".into(), topic_id: topic.id, partitions: vec![0, 2] };
    request.forgotten_topics_data = vec![forgotten];
    assert_eq!(told(&client.call(18, &request).await), [(1, 1)]);
    assert_eq!(told(&client.call(18, &next(id, 2, vec![])).await), [(1, 1)], "not yet read on");
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_not_the_next_of_their_session_are_refused() {
    let (_node, mut client, topic, id) = session().await;
    let cases = [
        (18, next(id.wrapping_add(1).max(1), 1, vec![]), ErrorCode::FetchSessionIdNotFound),
        (18, next(id, 2, vec![]), ErrorCode::InvalidFetchSessionEpoch),
        (12, next(id, 1, vec![]), ErrorCode::FetchSessionTopicIdError),
    ];
    for (version, request, error) in cases {
        let response = client.call(version, &request).await;
        assert_eq!((response.error_code, response.responses.len()), (code(error), 0));
        assert_eq!(response.session_id, 0);
    }
    assert_eq!(told(&client.call(18, &next(id, 1, vec![])).await), [], "the session still lives");
    let response = client.call(18, &next(id, 1, vec![])).await;
    assert_eq!(response.error_code, code(ErrorCode::InvalidFetchSessionEpoch), "a repeated request");
    // A full request closes the session that it names.
    let request = FetchRequest { session_id: id, ..fetch(&topic, 0, 0) };
    assert_eq!(client.call(18, &request).await.error_code, 0);
    let response = client.call(18, &next(id, 2, vec![])).await;
    assert_eq!(response.error_code, code(ErrorCode::FetchSessionIdNotFound));
}

#[tokio::test(start_paused = true)]
async fn an_incremental_fetch_waits_for_all_partitions_of_its_session() {
    let (node, mut client, topic, id) = session().await;
    let start = node.now_ms();
    client.send(18, &FetchRequest { max_wait_ms: 500, ..next(id, 1, vec![]) }).await;
    node.pass(100).await;
    node.client().produce_at(13, &topic, 2, batch(&["a"])).await;
    let response = client.receive::<FetchRequest>(18).await;
    assert_eq!((told(&response), node.now_ms() - start), (vec![(2, 1)], 100));
}

#[tokio::test(start_paused = true)]
async fn a_session_learns_of_a_moved_log_start() {
    let (_node, mut client, topic, id) = session().await;
    client.produce(&topic, batch(&["a", "b"])).await;
    assert_eq!(told(&client.call(18, &next(id, 1, vec![fetch_topic(&topic, &[(0, 2)])])).await), [(0, 0)]);
    assert_eq!(told(&client.call(18, &next(id, 2, vec![])).await), []);
    client.delete_before(&topic, 1).await;
    let response = client.call(18, &next(id, 3, vec![])).await;
    assert_eq!(told(&response), [(0, 0)]);
    assert_eq!(response.responses[0].partitions[0].log_start_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_survives_no_restart() {
    let (node, _, _, id) = session().await;
    let node = node.restart().await;
    let response = node.client().call(18, &next(id, 1, vec![])).await;
    assert_eq!(response.error_code, code(ErrorCode::FetchSessionIdNotFound));
}
