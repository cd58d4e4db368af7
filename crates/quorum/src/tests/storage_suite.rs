//! The Raft library's own test kit for log storages and state machines, run against ours.
//!
//! It applies entries that were never stored, lets logs begin at any index, and snapshots what was applied: here is
//! what our host does for that. The transfer of a snapshot between two storages is in `snapshots`.

use crate::{
    Config,
    checkpoint::{Checkpoint, SnapshotId},
    control_records::{self, SnapshotHead},
    entry::Payload,
    state_machine::{Snapshot, StateMachine},
    store::Store,
    tests::{
        cluster::{Cluster, batch_of, log_config},
        world::{Dice, TestClock, TestTasks, run, world},
    },
    type_config::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig, Vote, log_id},
};
use futures_util::{Stream, StreamExt};
use log::testing::MemoryDisk;
use openraft::{
    LogState, OptionalSend, RaftSnapshotBuilder, StorageError,
    storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
};
use std::{io, sync::Arc};

struct Builder;

/// Our state machine, for entries that were never stored.
struct Machine(StateMachine, Store);

/// Our log storage, for logs that begin anywhere.
struct Log(Store, Option<LogId>);

/// Snapshots what was applied.
struct Build(Store, Option<LogId>, StoredMembership);

/// A snapshot that ends behind everything in the log.
fn write_snapshot(store: &Store, last: LogId, membership: StoredMembership) -> Arc<Checkpoint> {
    let shared = &store.0;
    let end_offset = shared.state.lock().log.log.end_offset() + 10;
    let id = SnapshotId { end_offset, epoch: *last.leader_id as i32 };
    let head = SnapshotHead { timestamp: 0, last, membership };
    Arc::new(Checkpoint::write(&*shared.world.disk, &shared.dir, id, &head, &[]).unwrap())
}

impl Log {
    async fn purge_anything(&mut self, upto: LogId) -> io::Result<()> {
        let before = self.0.0.state.lock().checkpoint.clone();
        let snapshot = write_snapshot(&self.0, upto, StoredMembership::default());
        self.0.0.state.lock().checkpoint = Some(snapshot);
        let purged = self.0.purge(upto).await;
        self.0.0.state.lock().checkpoint = before;
        purged
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Store;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let mut state = self.0.get_log_state().await?;
        // What stands before the first entry of the kit is no purged entry.
        state.last_purged_log_id = state.last_purged_log_id.filter(|id| Some(*id) != self.1);
        Ok(state)
    }

    async fn get_log_reader(&mut self) -> Store {
        self.0.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.0.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let first = entries.first().map_or(0, |entry| entry.log_id.index);
        let next = self.0.get_log_state().await?.last_log_id.map_or(0, |last| last.index + 1);
        if first > next {
            self.1 = Some(log_id(0, first - 1));
            self.purge_anything(log_id(0, first - 1)).await?;
        }
        self.0.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.0.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.1 = None;
        match self.0.purge(upto).await {
            Err(_) => self.purge_anything(upto).await,
            done => done,
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Build {
    type SnapshotData = Arc<Checkpoint>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let snapshot = write_snapshot(&self.0, self.1.unwrap_or(log_id(0, 0)), self.2.clone());
        self.0.0.state.lock().checkpoint = self.1.map(|_| snapshot.clone());
        let meta = SnapshotMeta { last_log_id: self.1, last_membership: self.2.clone() };
        Ok(Snapshot { meta, snapshot })
    }
}

fn stored(entry: Entry) -> Entry {
    let membership = openraft::entry::RaftEntry::get_membership(&entry).map(Arc::new);
    let batch = match &membership {
        Some(membership) => control_records::voters(0, membership, false).unwrap().bytes,
        None => batch_of(entry.log_id.index),
    };
    Entry { payload: Payload::Stored { batch, membership }, ..entry }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = <StateMachine as RaftStateMachine<TypeConfig>>::SnapshotData;
    type SnapshotBuilder = Build;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.0.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let entries = entries.map(|item| item.map(|(entry, responder)| (stored(entry), responder)));
        self.0.apply(entries).await
    }

    async fn get_snapshot_builder(&mut self) -> Build {
        let (applied, membership) = self.0.applied_state().await.unwrap();
        Build(self.1.clone(), applied, membership)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Self::SnapshotData) -> io::Result<()> {
        self.0.install_snapshot(meta, data).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.0.get_current_snapshot().await
    }
}

impl StoreBuilder<TypeConfig, Log, Machine, Arc<TestTasks>> for Builder {
    async fn build(&self) -> Result<(Arc<TestTasks>, Log, Machine), StorageError<TypeConfig>> {
        let (world, tasks) = world(&TestClock::new(), &Arc::new(MemoryDisk::new()), &mut Dice::new(1));
        // Nothing stays in memory, so that entries are read from the files.
        let config = Config { log: log_config(2000), tail_bytes_max: 0, ..Cluster::config(0.into()) };
        let opened = Store::open(&world, &config).await;
        let store = opened.unwrap().store;
        let (machine, _) = StateMachine::new(store.clone());
        Ok((tasks, Log(store.clone(), None), Machine(machine, store)))
    }
}

type Kit = Suite<TypeConfig, Log, Machine, Builder, Arc<TestTasks>>;

macro_rules! library_tests {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            run(async {
                let (world, _tasks) = world(&TestClock::new(), &Arc::new(MemoryDisk::new()), &mut Dice::new(2));
                crate::runtime::in_world(world, async {
                    let (_tasks, store, machine) = Builder.build().await.unwrap();
                    Kit::$name(store, machine).await.unwrap();
                })
                .await;
            });
        }
    )*};
}

library_tests! {
    last_membership_in_log_initial
    last_membership_in_log
    last_membership_in_log_multi_step
    get_membership_initial
    get_membership_from_log_and_empty_sm
    get_membership_from_empty_log_and_sm
    get_membership_from_log_le_sm_last_applied
    get_membership_from_log_gt_sm_last_applied_1
    get_membership_from_log_gt_sm_last_applied_2
    get_initial_state_without_init
    get_initial_state_membership_from_empty_log_and_sm
    get_initial_state_membership_from_sm_inlog_is_smaller
    get_initial_state_membership_from_log_insm_is_smaller
    get_initial_state_with_state
    get_initial_state_last_log_gt_sm
    get_initial_state_last_log_lt_sm
    get_initial_state_inverted_log_order
    get_initial_state_conflict_at_same_index
    get_initial_state_log_ids
    get_initial_state_re_apply_committed
    save_vote
    get_log_entries
    limited_get_log_entries
    leader_bounded_stream
    entries_stream
    try_get_log_entry
    log_reader_reads_new_entries
    initial_logs
    get_log_state
    get_log_id
    last_id_in_log
    last_applied_state
    purge_logs_upto_0
    purge_logs_upto_5
    purge_logs_upto_20
    delete_logs_after_11
    delete_logs_after_5
    delete_logs_after_0
    delete_logs_after_none
    append_to_log
    snapshot_meta
    snapshot_meta_optional
    apply_single
    apply_multiple
}
