//! Requests that name something twice, name what cannot be, or leave no time: Apache Kafka's answers, which nobody would
//! guess. What single APIs do with sensible requests is in the other files.

use crate::harness::{Client, Node, Topic, batch, code};
use stdx::Uuid;
use wire::{CreateTopicsRequest, ErrorCode, MetadataRequest, create_topics_request::CreatableTopic};

async fn node_and_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    for value in ["a", "b", "c"] {
        assert_eq!(client.produce(&topic, batch(&[value])).await.error_code, 0);
    }
    (node, client, topic)
}

fn creatable(name: &str) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() }
}

fn create(names: &[&str], timeout_ms: i32) -> CreateTopicsRequest {
    let topics = names.iter().map(|name| creatable(name)).collect();
    CreateTopicsRequest { topics, timeout_ms, validate_only: false }
}

async fn created(client: &mut Client, request: &CreateTopicsRequest) -> Vec<(String, i16)> {
    let response = client.call(7, request).await;
    response.topics.into_iter().map(|topic| (topic.name, topic.error_code)).collect()
}

async fn topic_names(client: &mut Client) -> Vec<String> {
    let response = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    response.topics.into_iter().filter_map(|topic| topic.name).collect()
}

#[tokio::test(start_paused = true)]
async fn names_collide_with_topics_that_exist_and_not_within_a_request() {
    let node = Node::start().await;
    let mut client = node.client();
    let both = created(&mut client, &create(&["a.b", "a_b"], 1000)).await;
    assert_eq!(both, [("a.b".into(), 0), ("a_b".into(), 0)]);
    let exists = code(ErrorCode::TopicAlreadyExists);
    assert_eq!(created(&mut client, &create(&["a_b"], 1000)).await, [("a_b".into(), exists)]);
    client.create("c.d", 1, &[]).await;
    let collides = code(ErrorCode::InvalidTopicException);
    assert_eq!(created(&mut client, &create(&["c_d"], 1000)).await, [("c_d".into(), collides)]);
}
