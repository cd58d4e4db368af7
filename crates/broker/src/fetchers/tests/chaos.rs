//! Random lives of a cluster: nodes are killed or lose their power, come back or do not, are fenced or not noticed,
//! lanes are slow, leaderships move; what was acknowledged is there in the end, once and in order.

use super::{Cluster, batch, client::produce};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many records, one behind the other, with acks=all.
    Produce(usize),
    /// One whose answer nobody awaits.
    Burst(usize),
    /// With acks=1: they may be lost.
    Hasty(usize),
    Kill(i32, bool),
    Fence(i32),
    Run(i32),
    Pass(u64),
    /// The next job of a disk takes long.
    SlowDisk(i32, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 1i32..=3;
    let step = prop_oneof![
        6 => (1usize..6).prop_map(Step::Produce),
        3 => (1usize..6).prop_map(Step::Burst),
        2 => (1usize..4).prop_map(Step::Hasty),
        4 => (node.clone(), any::<bool>()).prop_map(|(node, is_power_cut)| Step::Kill(node, is_power_cut)),
        4 => node.clone().prop_map(Step::Fence),
        5 => node.clone().prop_map(Step::Run),
        4 => (1u64..3000).prop_map(Step::Pass),
        1 => Just(Step::Pass(12_000)),
        2 => (node, 1u64..400).prop_map(|(node, ms)| Step::SlowDisk(node, ms)),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What must be true of the values in the log.
#[derive(Default)]
struct Written {
    next: usize,
    acknowledged: Vec<String>,
    sent: BTreeSet<String>,
}

impl Written {
    fn value(&mut self) -> String {
        self.next += 1;
        let value = format!("{:05}", self.next);
        self.sent.insert(value.clone());
        value
    }
}

async fn take(cluster: &mut Cluster, topic: &super::client::Topic, written: &mut Written, step: Step) {
    let leader = Some(cluster.partition("t").0).filter(|leader| cluster.is_running(*leader));
    match step {
        Step::Produce(count) => {
            for _ in 0..count {
                let Some(leader) = leader else { return };
                let value = written.value();
                if cluster.produce(leader, topic, -1, &value).await.error_code == 0 {
                    written.acknowledged.push(value);
                }
            }
        }
        Step::Burst(count) => {
            let Some(leader) = leader else { return };
            let mut client = cluster.client(leader);
            for _ in 0..count {
                client.send(13, &produce(topic, 0, -1, batch(&[&written.value()]))).await;
            }
            for _ in 0..count * 3 {
                tokio::task::yield_now().await;
            }
        }
        Step::Hasty(count) => {
            let Some(leader) = leader else { return };
            for _ in 0..count {
                let value = written.value();
                cluster.produce(leader, topic, 1, &value).await;
            }
        }
        Step::Kill(node, is_power_cut) if cluster.is_running(node) => cluster.kill(node, is_power_cut),
        Step::Run(node) if !cluster.is_running(node) => cluster.run(node).await,
        // The controller hears of those who run.
        Step::Fence(node) if !cluster.is_running(node) => cluster.fence(node),
        Step::Kill(..) | Step::Run(_) | Step::Fence(_) => {}
        Step::Pass(ms) => cluster.pass(ms).await,
        Step::SlowDisk(node, ms) if cluster.is_running(node) => {
            let tasks = cluster.tasks(node);
            tasks.hold_next_job();
            cluster.pass(ms).await;
            tasks.release_if_held();
        }
        Step::SlowDisk(..) => {}
    }
}

async fn live(steps: Vec<Step>) {
    let mut cluster = Cluster::start(3, &[]).await;
    let configs = [("min.insync.replicas", "2"), ("segment.bytes", "1048576")];
    let topic = cluster.create("t", &[1, 2, 3], &configs).await;
    let mut written = Written::default();
    for step in steps {
        take(&mut cluster, &topic, &mut written, step).await;
    }
    for node in 1..=3 {
        if !cluster.is_running(node) {
            cluster.run(node).await;
        }
    }
    cluster.pass(20_000).await;
    let (leader, isr) = cluster.partition("t");
    assert_eq!(isr, [1, 2, 3], "a healed cluster is whole again");
    let last = written.value();
    cluster.produce_all(leader, &topic, -1, &[&last]).await;
    written.acknowledged.push(last);
    cluster.pass(2000).await;
    cluster.assert_equal(&topic).await;
    let read = cluster.read(1, &topic).await;
    assert!(read.is_sorted_by(|a, b| a < b), "twice, or out of order: {read:?}");
    assert!(read.iter().all(|value| written.sent.contains(value)), "invented: {read:?}");
    let there: BTreeSet<_> = read.iter().collect();
    let lost: Vec<_> = written.acknowledged.iter().filter(|value| !there.contains(value)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}, there are {read:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn nothing_acknowledged_is_lost_whatever_happens_to_the_nodes(steps in steps()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(live(steps));
    }
}
