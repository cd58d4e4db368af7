//! The life of a cluster: it forms, clients work while storms come and go, everything is healed, and the cluster must serve
//! again in bounded time; then everything is read back, once more after all have lost their power, once more after a
//! rolling restart, and where lost voters come back by themselves once more after a disk was replaced. `run` calls it; for one node alone it does the same in its own way.

use crate::{
    client::{Ground, Rules},
    cluster::{Cluster, METADATA_TOPIC},
    dice::Dice,
    drawing::Drawing,
    history::{Event, History, Place},
    node::Node,
    note,
    plan::{Durability, Plan},
    run::{Options, Run},
    storms::{Storms, World},
    trace::Trace,
    world::{Network, SimClock},
};
use std::{future::Future, sync::Arc};

/// How long a client waits for an answer before it looks for another node.
const PATIENCE_MS: u64 = 2500;
/// A healed cluster acknowledges records of every partition within this.
const SERVES_AGAIN_MS_MAX: u64 = 15_000;
/// How long clients may take to come to an end after that.
const END_MS_MAX: u64 = 40_000;
/// What is under way when clients have ended.
const SETTLE_MS: u64 = 2500;
const LOOK_MS: u64 = 50;
/// How long controllers may take that become voters by themselves.
const VOTES_MS: u64 = 12_000;
/// How long it may take until damage is found and repaired.
const REPAIRED_MS_MAX: u64 = 60_000;
/// How long replicas may take to be equal.
const EQUAL_MS_MAX: u64 = 15_000;

/// Runs the whole life; it ends early when something takes for ever.
pub async fn live(
    (clock, trace, history): (Arc<SimClock>, Arc<Trace>, Arc<History>),
    options: Options,
    dice: &Dice,
    drawing: Arc<Drawing>,
) {
    let plan = Plan::of_cluster(dice, options.nodes);
    note!(trace, "plan {plan:?}");
    let network = Network::new(clock.clone(), trace.clone(), dice.fork("network"));
    let machine = |id| Node::member(&plan, id, (&clock, network.clone()), trace.clone(), dice);
    let cluster = Cluster::new((1..=plan.nodes).map(machine).collect(), history.clone());
    for node in cluster.nodes() {
        node.disk.set_faults(|faults| faults.plant = options.plant);
    }
    let ground = Ground {
        clock: clock.clone(),
        cluster: cluster.clone(),
        history: history.clone(),
        rules: Arc::new(Rules::default()),
        patience_ms: PATIENCE_MS,
        epochs: Arc::default(),
    };
    let world = World { cluster, network, clock, history, trace, drawing };
    let mut storms = Storms::new(world, dice.fork("storms"));
    let mut run = Run::new(ground, &plan, dice);
    storms.start_all().await;
    let created = alongside(&mut storms, run.create_topics(&plan)).await;
    if !created {
        return;
    }
    let clients = run.clients(&plan, dice);
    storms.run(plan.duration_ms).await;
    storms.start_all().await;
    if !serves_again(&mut storms, &run).await {
        return;
    }
    if !alongside(&mut storms, run.groups_settle()).await {
        return;
    }
    if !alongside(&mut storms, run.end(clients, END_MS_MAX)).await {
        return;
    }
    if !storms.until_repaired(REPAIRED_MS_MAX).await {
        return;
    }
    storms.wait(SETTLE_MS).await;
    alongside(&mut storms, run.read_back("after the calm")).await;
    compare(&mut storms, &run).await;
    storms.black_out().await;
    storms.heal().await;
    storms.start_all().await;
    alongside(&mut storms, run.read_back("after a power cut of all in the calm")).await;
    compare(&mut storms, &run).await;
    storms.roll().await;
    alongside(&mut storms, run.read_back("after a rolling restart in the calm")).await;
    compare(&mut storms, &run).await;
    if plan.joins {
        // Those whose votes were taken have come back.
        storms.wait(VOTES_MS).await;
        storms.replace_disk().await;
        compare(&mut storms, &run).await;
        storms.wait(VOTES_MS).await;
        storms.black_out().await;
        storms.heal().await;
        storms.start_all().await;
        alongside(&mut storms, run.read_back("after a disk was replaced in the calm")).await;
        compare(&mut storms, &run).await;
    }
}

/// Does something while somebody watches the machines.
async fn alongside<T>(storms: &mut Storms, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            () = storms.wait(LOOK_MS) => {}
        }
    }
}

/// Waits until records of every partition were acknowledged.
async fn serves_again(storms: &mut Storms, run: &Run) -> bool {
    let (clock, history) = (run.ground.clock.clone(), run.ground.history.clone());
    let before = history.acknowledged();
    let begun = clock.elapsed_ms();
    loop {
        let now = history.acknowledged();
        let waits = |(place, _): &&(Place, _)| now.get(place).copied() <= before.get(place).copied();
        let Some((place, _)) = run.places.iter().find(waits) else {
            note!(storms.world().trace, "serves again after {} ms", clock.elapsed_ms() - begun);
            return true;
        };
        if clock.elapsed_ms() > begun + SERVES_AGAIN_MS_MAX {
            let what =
                format!("{SERVES_AGAIN_MS_MAX} ms after all was healed nothing is acknowledged in {place:?}");
            history.violated("availability", what);
            return false;
        }
        storms.wait(LOOK_MS).await;
    }
}

/// Tells the history what each replica in sync has, once all replicas are in sync.
async fn compare(storms: &mut Storms, run: &Run) {
    let (cluster, history) = (run.ground.cluster.clone(), run.ground.history.clone());
    let deadline = run.ground.clock.elapsed_ms() + EQUAL_MS_MAX;
    for (place, _) in &run.places {
        loop {
            let Some(image) = cluster.newest() else { return };
            let Some(partition) = image.partition(&place.topic, place.partition) else { return };
            if partition.isr.len() == partition.replicas.len() {
                break;
            }
            if run.ground.clock.elapsed_ms() > deadline {
                let what = format!("{place:?}: {:?} of {:?} are in sync", partition.isr, partition.replicas);
                history.violated("availability", what);
                return;
            }
            storms.wait(LOOK_MS).await;
        }
    }
    storms.wait(SETTLE_MS).await;
    // Each replica compacts on its own: what they have in common is only what a reader ends up with.
    for (place, _) in run.places.iter().filter(|(place, _)| !place.is_compacted) {
        let Some(image) = cluster.newest() else { return };
        let Some(partition) = image.partition(&place.topic, place.partition) else { return };
        tell(&cluster, &history, place, &partition.isr);
    }
    let (topic, durability) = (METADATA_TOPIC.into(), Durability::Fsync);
    let metadata = Place { topic, partition: 0, durability, is_compacted: false };
    let all: Vec<_> = cluster.nodes().iter().map(|node| node.id).collect();
    tell(&cluster, &history, &metadata, &all);
}

/// What these nodes have of a partition, up to where all of them have it: nobody writes any more.
fn tell(cluster: &Cluster, history: &History, place: &Place, replicas: &[i32]) {
    let logs: Vec<_> = replicas
        .iter()
        .filter_map(|id| cluster.node(*id))
        .map(|node| (node.id, cluster.batches(node, &node.dir_of(&place.topic, place.partition))))
        .collect();
    let ends = logs.iter().map(|(_, batches)| batches.last().map_or(0, |batch| batch.1));
    let high_watermark = match &*place.topic {
        // It grows all the time; nodes may be a little behind.
        METADATA_TOPIC => ends.min().unwrap_or(0),
        _ => ends.max().unwrap_or(0),
    };
    for (node, batches) in logs {
        let place = place.clone();
        history.tell(Event::ReplicaRead { place, node, high_watermark, batches });
    }
}
