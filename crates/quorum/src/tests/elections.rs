//! Who leads, and what a leader may do.

use crate::{
    ProposeError, Quorum,
    tests::{
        cluster::{Cluster, batch_of, replica},
        world::run,
    },
};

#[test]
fn a_quorum_of_one_leads_itself_and_commits() {
    run(async {
        let cluster = Cluster::started(1, 1).await;
        let first = cluster.propose().await;
        assert_eq!((first.base_offset, first.last_offset, first.epoch), (3, 3, 1));
        cluster.cut_power(replica(1)).await;
        cluster.start(replica(1)).await.unwrap();
        let second = cluster.propose().await;
        assert_eq!((second.base_offset, second.epoch), (5, 2));
        cluster.settle(6).await;
        cluster.judge.finish();
    });
}

#[test]
fn the_loss_of_a_leader_costs_a_second_and_no_record() {
    run(async {
        let cluster = Cluster::started(2, 3).await;
        cluster.propose().await;
        let old = cluster.leader().await;
        let epoch = old.leadership().borrow().epoch;
        cluster.cut_power(old.replica()).await;
        let before = cluster.clock.elapsed_ms();
        let new = cluster.leader().await;
        assert!(cluster.clock.elapsed_ms() - before < 1500, "{} ms", cluster.clock.elapsed_ms() - before);
        assert!(new.leadership().borrow().epoch > epoch);
        let placed = cluster.propose().await;
        cluster.start(old.replica()).await.unwrap();
        cluster.settle(placed.last_offset + 1).await;
        cluster.judge.finish();
    });
}

#[test]
fn a_leader_that_is_known_to_be_gone_is_replaced_at_once() {
    // All have heard of it, or only the last in the line.
    for (seed, everybody) in [(5, true), (6, false)] {
        run(async move {
            let cluster = Cluster::started(seed, 3).await;
            cluster.propose().await;
            let old = cluster.leader().await;
            cluster.cut_power(old.replica()).await;
            let before = cluster.clock.elapsed_ms();
            let left = cluster.all_running();
            let told = if everybody { &left[..] } else { &left[1..] };
            futures_util::future::join_all(told.iter().map(|one| one.on_leader_gone(old.replica()))).await;
            let new = cluster.leader().await;
            let took = cluster.clock.elapsed_ms() - before;
            assert!(took < 300, "{took} ms");
            assert_ne!(new.replica(), old.replica());
            // Nobody cares any more for what was heard of an earlier leader.
            new.on_leader_gone(old.replica()).await;
            let placed = cluster.propose().await;
            cluster.start(old.replica()).await.unwrap();
            cluster.settle(placed.last_offset + 1).await;
            cluster.judge.finish();
        });
    }
}

#[test]
fn a_leader_that_is_cut_off_commits_nothing_and_its_records_are_gone() {
    run(async {
        let cluster = Cluster::started(3, 3).await;
        cluster.propose().await;
        let old = cluster.leader().await;
        let epoch = old.leadership().borrow().epoch;
        cluster.cut_off(old.replica());
        let lost = old.propose(epoch, batch_of(999)).await.unwrap();
        cluster.clock.sleep_ms(3000).await;
        let placed = cluster.propose().await;
        assert!(placed.epoch > epoch);
        cluster.net.heal();
        cluster.settle(placed.last_offset + 1).await;
        assert!(matches!(lost.await, Err(ProposeError::Unknown { .. } | ProposeError::NotLeader { .. })));
        cluster.judge.finish();
    });
}

#[test]
fn a_leader_that_no_quorum_hears_leads_no_more_and_goes_on_in_its_epoch_when_one_does() {
    run(async {
        let cluster = Cluster::started(9, 3).await;
        cluster.propose().await;
        let old = cluster.leader().await;
        let epoch = old.leadership().borrow().epoch;
        // The others hear it, so that nobody else is elected; their answers are lost.
        for other in cluster.replicas().into_iter().filter(|other| *other != old.replica()) {
            cluster.net.cut(other, old.replica());
        }
        let lost = old.propose(epoch, batch_of(999)).await.unwrap();
        cluster.clock.sleep_ms(800).await;
        let known = *old.leadership().borrow();
        assert_eq!((known.leader, known.is_active, known.epoch), (None, false, epoch));
        cluster.net.heal();
        cluster.clock.sleep_ms(100).await;
        let known = *old.leadership().borrow();
        assert_eq!((known.leader, known.is_active, known.epoch), (Some(old.replica()), true, epoch));
        // What was under way is committed now: who decides has to wait for it.
        assert_eq!(lost.await.unwrap().epoch, epoch);
    });
}

#[test]
fn a_leader_that_a_quorum_hears_leads_on_while_one_voter_is_away() {
    run(async {
        let cluster = Cluster::started(10, 3).await;
        let old = cluster.leader().await;
        let away = cluster.replicas().into_iter().find(|other| *other != old.replica()).unwrap();
        cluster.kill(away).await;
        let mut leadership = old.leadership();
        drop(leadership.borrow_and_update());
        cluster.clock.sleep_ms(5000).await;
        assert!(leadership.borrow().is_active);
        // Nobody else leads, and it has never said otherwise.
        assert_eq!(leadership.borrow().leader, Some(old.replica()));
        assert!(futures_util::FutureExt::now_or_never(leadership.changed()).is_none());
    });
}

#[test]
fn who_cannot_hear_the_others_does_not_disturb_them() {
    run(async {
        let cluster = Cluster::started(4, 3).await;
        let leader = cluster.leader().await;
        let epoch = leader.leadership().borrow().epoch;
        let deaf = cluster.replicas().into_iter().find(|other| *other != leader.replica()).unwrap();
        for other in cluster.replicas() {
            cluster.net.cut(other, deaf);
        }
        cluster.clock.sleep_ms(10_000).await;
        assert_eq!(cluster.propose().await.epoch, epoch, "pre-votes keep the epoch");
        cluster.net.heal();
        cluster.clock.sleep_ms(2000).await;
        let placed = cluster.propose().await;
        assert_eq!(placed.epoch, epoch);
        cluster.settle(placed.last_offset + 1).await;
        cluster.judge.finish();
    });
}

#[test]
fn proposals_of_another_epoch_are_refused() {
    run(async {
        let cluster = Cluster::started(5, 3).await;
        let leader = cluster.leader().await;
        let epoch = leader.leadership().borrow().epoch;
        for wrong in [epoch - 1, epoch + 1, 0, -1, i32::MAX] {
            let outcome = cluster.propose_to(&leader, wrong, 1000).await;
            assert!(matches!(outcome, Err(ProposeError::NotLeader { .. })), "{wrong}: {outcome:?}");
        }
        let follower = cluster.all_running().into_iter().find(|quorum| quorum.replica() != leader.replica());
        let outcome = cluster.propose_to(&follower.unwrap(), epoch, 1000).await;
        let hint = ProposeError::NotLeader { leader: Some(leader.replica()) };
        assert_eq!(outcome, Err(hint));
        let two = [&batch_of(1)[..], &batch_of(2)].concat();
        let refused = leader.propose(epoch, two.into()).await.map(drop);
        assert!(matches!(refused, Err(ProposeError::Refused(_))));
    });
}

#[test]
fn a_leader_hands_over_when_it_is_asked() {
    run(async {
        let cluster = Cluster::started(6, 3).await;
        let leader = cluster.leader().await;
        let next = cluster.replicas().into_iter().find(|other| *other != leader.replica()).unwrap();
        leader.transfer_leadership(next).await.unwrap();
        cluster.clock.sleep_ms(1000).await;
        assert_eq!(cluster.leader().await.replica(), next);
        let placed = cluster.propose().await;
        cluster.settle(placed.last_offset + 1).await;
        cluster.judge.finish();
    });
}

#[test]
fn an_orderly_stop_and_a_start_keep_everything() {
    run(async {
        let cluster = Cluster::started(7, 3).await;
        for _ in 0..5 {
            cluster.propose().await;
        }
        for node in 1..=3 {
            cluster.stop(replica(node)).await;
        }
        for node in 1..=3 {
            cluster.start(replica(node)).await.unwrap();
        }
        let placed = cluster.propose().await;
        cluster.settle(placed.last_offset + 1).await;
        cluster.judge.finish();
    });
}

#[test]
fn a_leader_whose_disk_fails_stops_and_the_others_go_on() {
    run(async {
        let cluster = Cluster::started(8, 3).await;
        cluster.propose().await;
        let broken = cluster.leader().await;
        let epoch = broken.leadership().borrow().epoch;
        cluster
            .disk(broken.replica())
            .switches()
            .fail_writes
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let outcome = cluster.propose_to(&broken, epoch, 5000).await;
        assert!(outcome.is_err(), "{outcome:?}");
        cluster.clock.sleep_ms(100).await;
        assert!(!broken.leadership().borrow().is_active);
        assert!(broken.propose(epoch, batch_of(1)).await.is_err());
        let new = cluster.leader().await;
        assert_ne!(new.replica(), broken.replica());
        let placed = cluster.propose().await;
        cluster.cut_power(broken.replica()).await;
        cluster.start(broken.replica()).await.unwrap();
        cluster.settle(placed.last_offset + 1).await;
        cluster.judge.finish();
    });
}
