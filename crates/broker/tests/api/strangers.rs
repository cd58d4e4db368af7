//! What a cluster meets that is none of its nodes: garbage at its controllers' listeners, something else in the place of a
//! node, names that nobody resolves, directories and features of a newer version. It is refused or kept apart, with what
//! to do about it, and those who belong together go on.

use crate::{
    clusters::{ALL, controller, create, known, refusal, until_brokers},
    harness::Cluster,
};
use broker::{Address, Config};
use bytes::Bytes;
use std::path::Path;

/// Frames and no frames that mean nothing to a controller.
fn garbage() -> Vec<Bytes> {
    let framed = |body: &[u8]| {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        Bytes::from(frame)
    };
    let mut all = vec![
        Bytes::from_static(b"GET / HTTP/1.1\r\nHost: node1\r\n\r\n"),
        Bytes::from_static(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        Bytes::from_static(&[0xff; 64]),
        Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 1, 2, 3]),
        framed(&[]),
        framed(&[0; 3]),
        framed(&[0xff; 300]),
    ];
    // What controllers say to each other, with every version and nonsense behind it.
    for version in [-1i16, 0, 1, 2, 0x7fff] {
        for body in [&[][..], &[0; 40], &[0xff; 40], &[0x80; 200]] {
            let mut frame = quorum::PEER_API.to_be_bytes().to_vec();
            frame.extend_from_slice(&version.to_be_bytes());
            frame.extend_from_slice(&[0, 0, 0, 1]);
            frame.extend_from_slice(body);
            all.push(framed(&frame));
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn garbage_at_the_listeners_of_a_cluster_harms_nobody() {
    let cluster = Cluster::of_three().await;
    for node in ALL {
        for listener in ["CONTROLLER", "PLAINTEXT"] {
            for bytes in garbage() {
                let mut wire = cluster.wire(node, listener);
                let _ = wire.to_broker.as_ref().unwrap().send(bytes).await;
                cluster.pass(20).await;
                wire.to_broker = None;
                while wire.from_broker.recv().await.is_some() {}
            }
        }
    }
    cluster.assert_sound();
    until_brokers(&cluster, 1, &ALL).await;
    create(&cluster, 1, "t", 3).await.unwrap();
    for node in ALL {
        known(&cluster, node, "t").await;
    }
    cluster.assert_sound();
}

/// What answers in the place of a node.
const ANSWERS: [&[u8]; 4] = [
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    &[0xff; 64],
    &[0, 0, 0, 8, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    &[0, 0, 0, 4, 0, 0, 0, 1],
];

#[tokio::test(start_paused = true)]
async fn something_else_in_the_place_of_a_node_is_as_good_as_nobody() {
    let cluster = Cluster::of_three().await;
    create(&cluster, 1, "t", 3).await.unwrap();
    for answer in ANSWERS {
        let gone = controller(&cluster, 1).await;
        let rest: Vec<_> = ALL.into_iter().filter(|node| *node != gone).collect();
        cluster.kill(gone);
        cluster.set_stranger(gone, Some(answer));
        until_brokers(&cluster, rest[0], &rest).await;
        while create(&cluster, rest[0], "after", 1).await
            == Err(crate::harness::code(wire::ErrorCode::NotController))
        {
            cluster.pass(50).await;
        }
        cluster.set_stranger(gone, None);
        cluster.start(gone, &ALL).await.unwrap().unwrap();
        until_brokers(&cluster, rest[0], &ALL).await;
        cluster.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_joins_although_strangers_and_names_that_nobody_resolves_are_listed_too() {
    let cluster = Cluster::of_three().await;
    for (place, answer) in (11..).zip(ANSWERS) {
        cluster.set_stranger(place, Some(answer));
    }
    let lists = |config: &mut Config| {
        config.controllers.insert(0, Address { host: "nowhere.invalid".into(), port: 9093 });
    };
    let started = cluster.start_as(4, 4, &[11, 12, 13, 14, 1, 2, 3], lists);
    started.await.unwrap().unwrap();
    until_brokers(&cluster, 1, &[1, 2, 3, 4]).await;
    cluster.assert_sound();
    // With nobody else it waits, and founds nothing.
    let alone = cluster.start_as(6, 6, &[11, 12, 13, 14], |_| {});
    cluster.pass(30_000).await;
    assert!(!alone.is_finished());
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_nobody_can_reach_by_the_name_it_gives_keeps_nobody_from_work() {
    let cluster = Cluster::of_three().await;
    let unreachable = |config: &mut Config| {
        config.is_controller = false;
        config.controller_endpoints.clear();
        config.endpoints[0].host = "nowhere.invalid".into();
    };
    cluster.start_as(4, 4, &ALL, unreachable).await.unwrap().unwrap();
    until_brokers(&cluster, 1, &[1, 2, 3, 4]).await;
    create(&cluster, 1, "t", 4).await.unwrap();
    cluster.pass(30_000).await;
    for node in ALL {
        known(&cluster, node, "t").await;
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_directory_of_a_newer_version_is_refused_with_the_remedy() {
    let cluster = Cluster::of_three().await;
    cluster.kill(3);
    let path = Path::new("/data/meta.properties");
    let meta = cluster.disk(3).contents(path).unwrap();
    let newer = String::from_utf8(meta.clone()).unwrap().replace("version=1", "version=2");
    cluster.disk(3).put(path, newer.into_bytes());
    let told = refusal(cluster.start(3, &ALL).await.unwrap());
    assert!(told.contains("meta.properties") && told.contains("newer version"), "{told}");
    cluster.kill(3);
    cluster.disk(3).put(path, meta);
    cluster.start(3, &ALL).await.unwrap().unwrap();
    until_brokers(&cluster, 1, &ALL).await;
}
