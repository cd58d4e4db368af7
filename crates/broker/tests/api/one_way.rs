//! Links that carry one way only: one node hears the other, and is not heard. A switch or a firewall does that, and it is
//! worse than a cut, because each side sees something else.

use crate::{
    clusters::{ALL, create as create_plain, quorum},
    harness::Cluster,
    replication::{create, produce_somewhere, read_at, until_in_sync},
};

/// Whatever link it is, records are acknowledged again after this long: whoever does not get on is out of sync by then.
const SILENT_MS_MAX: u64 = 10_000;

#[tokio::test(start_paused = true)]
async fn whichever_link_carries_one_way_only_the_cluster_goes_on_and_is_whole_when_it_is_mended() {
    for (deaf, from) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
        let case = format!("{deaf} does not hear {from}");
        let statics = [("replica.lag.time.max.ms", "2000")];
        let cluster = Cluster::of_three_with(&statics).await;
        let third = ALL.into_iter().find(|node| ![deaf, from].contains(node)).unwrap();
        let replicas: [&[i32]; 3] = [&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]];
        let topic = create(&cluster, "t", &replicas, &[("min.insync.replicas", "2")]).await;
        until_in_sync(&cluster, third, &topic, &ALL).await;
        let before = quorum(&cluster, third).await.leader_epoch;
        cluster.set_deaf(deaf, from, true);
        let mut expected = Vec::new();
        for round in 0..3 {
            expected.push(format!("{round}"));
            for index in 0..3 {
                let begun = cluster.elapsed_ms();
                produce_somewhere(&cluster, third, &topic, index, &format!("{round}")).await;
                let took = cluster.elapsed_ms() - begun;
                assert!(took < SILENT_MS_MAX, "{case}: round {round}, {took} ms");
            }
            cluster.pass(2000).await;
        }
        let begun = cluster.elapsed_ms();
        while create_plain(&cluster, third, "u", 1).await.is_err() {
            assert!(cluster.elapsed_ms() - begun < SILENT_MS_MAX, "{case}: no topic");
            cluster.pass(100).await;
        }
        let after = quorum(&cluster, third).await.leader_epoch;
        assert!(after - before <= 3, "{case}: {} elections", after - before);
        cluster.set_deaf(deaf, from, false);
        // What was under way is lost for good: a follower gives it up after `replica.socket.timeout.ms`.
        cluster.pass(30_000).await;
        until_in_sync(&cluster, third, &topic, &ALL).await;
        cluster.pass(1000).await;
        for node in ALL {
            for index in 0..3 {
                let mut read = read_at(&cluster, node, &topic, index).await;
                // What was not acknowledged in time was sent again.
                read.dedup();
                assert_eq!(read, expected, "{case}: partition {index} on node {node}");
            }
        }
        cluster.assert_sound();
    }
}
