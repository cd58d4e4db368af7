//! A disk without room.

use crate::{
    Quorum,
    tests::{
        cluster::{Cluster, batch_of, replica},
        world::run,
    },
};
use std::sync::atomic::Ordering;

#[test]
fn a_full_disk_holds_records_up_until_there_is_room() {
    run(async {
        let cluster = Cluster::started(8, 1).await;
        cluster.propose().await;
        let quorum = cluster.running(replica(1)).unwrap();
        let (disk, epoch) = (cluster.disk(replica(1)), quorum.leadership().borrow().epoch);
        disk.switches().full_after.store(1, Ordering::Relaxed);
        let pending = quorum.propose(epoch, batch_of(1)).await.unwrap();
        cluster.clock.sleep_ms(2000).await;
        assert!(quorum.stuck().is_some());
        disk.switches().full_after.store(0, Ordering::Relaxed);
        pending.await.unwrap();
        assert_eq!((quorum.stuck(), quorum.failed()), (None, None));
        cluster.propose().await;
        disk.switches().full_after.store(1, Ordering::Relaxed);
        let _pending = quorum.propose(epoch, batch_of(2)).await.unwrap();
        cluster.clock.sleep_ms(2000).await;
        quorum.stop().await;
    });
}
