//! Voters that come, go, move, and lose their disks.

use crate::{
    ChangeError, Endpoint, Member, Quorum, Replica,
    tests::{
        cluster::{Cluster, member, replica},
        world::run,
    },
};
use stdx::Uuid;

fn voters(quorum: &impl Quorum) -> Vec<Replica> {
    quorum.describe().voters.iter().map(|state| state.replica).collect()
}

#[test]
fn a_quorum_grows_from_one_to_three_and_shrinks_again() {
    run(async {
        let cluster = Cluster::started(21, 1).await;
        for node in 2..=3 {
            cluster.start(replica(node)).await.unwrap();
            let leader = cluster.leader().await;
            leader.add_voter(replica(node), member(node)).await.unwrap();
            cluster.propose().await;
        }
        let leader = cluster.leader().await;
        assert_eq!(voters(&leader), [replica(1), replica(2), replica(3)]);
        cluster.cut_power(replica(1)).await;
        let placed = cluster.propose().await;
        cluster.start(replica(1)).await.unwrap();
        cluster.settle(placed.last_offset + 1).await;
        let leader = cluster.leader().await;
        let gone = leader.replica();
        leader.remove_voter(gone).await.unwrap();
        cluster.clock.sleep_ms(3000).await;
        let placed = cluster.propose().await;
        cluster.clock.sleep_ms(1000).await;
        let observer = cluster.running(gone).unwrap();
        assert!(
            observer.leadership().borrow().high_watermark > placed.last_offset,
            "it goes on as an observer"
        );
        drop(observer);
        cluster.stop(gone).await;
        let leader = cluster.leader().await;
        assert_ne!(leader.replica(), gone);
        assert_eq!(voters(&leader).len(), 2);
        cluster.propose().await;
        cluster.judge.finish();
    });
}

#[test]
fn a_replica_that_was_left_half_way_becomes_a_voter_where_it_listens_now() {
    run(async {
        let cluster = Cluster::started(27, 1).await;
        let leader = cluster.leader().await;
        // It is not there yet, and whoever asked gives up.
        let elsewhere = Member::new(vec![Endpoint { name: "X".into(), host: "elsewhere".into(), port: 1 }]);
        let late = env::Clock::sleep_until(&*cluster.clock, env::Clock::now(&*cluster.clock) + 1_000_000_000);
        tokio::select! {
            biased;
            added = leader.add_voter(replica(2), elsewhere) => panic!("{added:?}"),
            () = late => {}
        }
        cluster.start(replica(2)).await.unwrap();
        leader.add_voter(replica(2), member(2)).await.unwrap();
        let described = leader.describe();
        assert_eq!(voters(&leader), [replica(1), replica(2)]);
        assert_eq!(described.voters[1].member, member(2));
        let placed = cluster.propose().await;
        cluster.settle(placed.last_offset + 1).await;
        cluster.judge.finish();
    });
}

#[test]
fn a_change_that_its_leader_left_half_done_is_finished_by_the_next_one() {
    let mut left = 0;
    for ms in 0..60 {
        left += run(async move {
            let cluster = Cluster::started(29, 3).await;
            cluster.start(replica(4)).await.unwrap();
            let old = cluster.leader().await;
            tokio::select! {
                biased;
                _ = old.add_voter(replica(4), member(4)) => {}
                () = cluster.clock.sleep_ms(ms) => {}
            }
            cluster.cut_power(old.replica()).await;
            let was_left = cluster.all_running().iter().any(|quorum| quorum.is_half_changed());
            cluster.propose().await;
            cluster.clock.sleep_ms(3000).await;
            cluster.propose().await;
            assert!(!cluster.leader().await.is_half_changed(), "after {ms} ms");
            cluster.judge.finish();
            usize::from(was_left)
        });
    }
    assert!(left > 0, "no leader was gone between the steps");
}

#[test]
fn a_removed_voter_that_is_gone_is_told_of_no_more() {
    run(async {
        let cluster = Cluster::started(28, 3).await;
        let leader = cluster.leader().await;
        let gone = cluster.replicas().into_iter().find(|other| *other != leader.replica()).unwrap();
        leader.remove_voter(gone).await.unwrap();
        cluster.clock.sleep_ms(1000).await;
        let observers: Vec<_> = leader.describe().observers.iter().map(|one| one.replica).collect();
        assert_eq!(observers, [gone], "it follows still");
        cluster.kill(gone).await;
        cluster.clock.sleep_ms(301_000).await;
        assert_eq!(leader.describe().observers, []);
    });
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    run(async {
        let cluster = Cluster::started(22, 1).await;
        let leader = cluster.leader().await;
        let other_disk = Replica { directory: Uuid([99; 16]), ..replica(1) };
        assert_eq!(
            leader.add_voter(other_disk, member(1)).await,
            Err(ChangeError::DuplicateVoter(other_disk))
        );
        assert_eq!(leader.remove_voter(other_disk).await, Err(ChangeError::NoVoter(other_disk)));
        assert_eq!(leader.update_voter(replica(4), member(4)).await, Err(ChangeError::NoVoter(replica(4))));
        assert!(matches!(leader.remove_voter(replica(1)).await, Err(ChangeError::Refused(_))));
        cluster.propose().await;
    });
}

#[test]
fn a_follower_refuses_changes_and_says_who_leads() {
    run(async {
        let cluster = Cluster::started(23, 3).await;
        let leader = cluster.leader().await.replica();
        let follower = cluster.all_running().into_iter().find(|quorum| quorum.replica() != leader).unwrap();
        let refused = follower.add_voter(replica(9), member(9)).await;
        assert_eq!(refused, Err(ChangeError::NotLeader { leader: Some(leader) }));
    });
}

#[test]
fn a_voter_that_moved_is_told_to_all_and_survives_a_restart() {
    run(async {
        let cluster = Cluster::started(24, 3).await;
        let moved = Member::new(vec![Endpoint { name: "X".into(), host: "elsewhere".into(), port: 1 }]);
        cluster.leader().await.update_voter(replica(2), moved.clone()).await.unwrap();
        for node in 1..=3 {
            cluster.cut_power(replica(node)).await;
        }
        for node in 1..=3 {
            cluster.start(replica(node)).await.unwrap();
        }
        let placed = cluster.propose().await;
        cluster.settle(placed.last_offset + 1).await;
        for quorum in cluster.all_running() {
            let described = quorum.describe();
            let state = described.voters.iter().find(|state| state.replica == replica(2)).unwrap();
            assert_eq!(state.member, moved);
        }
    });
}

#[test]
fn a_node_that_lost_its_disk_is_another_replica_and_has_no_vote() {
    run(async {
        let cluster = Cluster::started(25, 3).await;
        cluster.propose().await;
        let leader = cluster.leader().await.replica();
        let lost = cluster.replicas().into_iter().find(|other| *other != leader).unwrap();
        cluster.cut_power(lost).await;
        let anew = Replica { directory: Uuid([77; 16]), ..lost };
        cluster.start(anew).await.unwrap();
        let rest =
            cluster.replicas().into_iter().find(|other| *other != leader && *other != lost && *other != anew);
        cluster.cut_power(rest.unwrap()).await;
        // One of three voters is left; the new disk does not count.
        cluster.clock.sleep_ms(5000).await;
        let alone = cluster.running(leader).unwrap();
        let epoch = alone.leadership().borrow().epoch;
        assert!(cluster.propose_to(&alone, epoch, 3000).await.is_err());
        cluster.start(rest.unwrap()).await.unwrap();
        // Until the leader hears of a quorum again, it takes nothing on.
        cluster.clock.sleep_ms(2000).await;
        let quorum = cluster.leader().await;
        quorum.remove_voter(lost).await.unwrap();
        quorum.add_voter(anew, member(anew.node)).await.unwrap();
        let placed = cluster.propose().await;
        cluster.settle(placed.last_offset + 1).await;
        assert!(voters(&cluster.leader().await).contains(&anew));
        cluster.judge.finish();
    });
}

#[test]
fn a_description_tells_who_is_behind() {
    run(async {
        let cluster = Cluster::started(26, 3).await;
        let leader = cluster.leader().await;
        let behind = cluster.replicas().into_iter().find(|other| *other != leader.replica()).unwrap();
        cluster.propose().await;
        cluster.clock.sleep_ms(500).await;
        leader.describe();
        cluster.cut_power(behind).await;
        cluster.clock.sleep_ms(5000).await;
        let end = cluster.propose().await.last_offset + 1;
        cluster.clock.sleep_ms(500).await;
        let described = leader.describe();
        let now = env::Clock::wall(&*cluster.clock);
        for state in described.voters {
            let late = state.replica == behind;
            assert_eq!(state.log_end_offset < end, late, "{state:?}");
            assert_eq!(now - state.last_fetch_ms > 4000, late, "{state:?}");
            assert_eq!(now - state.last_caught_up_ms > 4000, late, "{state:?}");
        }
        assert!(described.observers.is_empty());
    });
}

#[test]
fn a_replica_that_cannot_be_reached_does_not_become_a_voter() {
    run(async {
        let cluster = Cluster::started(23, 1).await;
        let leader = cluster.leader().await;
        let adding = leader.add_voter(replica(2), member(2));
        let late = env::Clock::sleep_until(&*cluster.clock, env::Clock::now(&*cluster.clock) + 3_000_000_000);
        tokio::select! {
            biased;
            added = adding => panic!("{added:?}"),
            () = late => {}
        }
        assert_eq!(leader.describe().voters.len(), 1);
        cluster.propose().await;
        cluster.judge.finish();
    });
}
