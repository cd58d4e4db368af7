//! What clients asked and heard, in the order in which it happened, told to every check at once.
//!
//! It judges nothing itself: `checks` do. The run ends with the first event that
//! any check refuses. Clients and the schedule
//! write here.

use crate::{
    checks::{self, Check},
    note,
    plan::Durability,
    trace::Trace,
    value::ValueId,
    world::Plant,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use tokio::sync::Notify;

/// What is told when the node does not come back.
const AVAILABILITY: &str = "availability";

/// A partition of one of the topics that exist for the whole run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// What its acknowledgements promise.
    pub durability: Durability,
    /// Whether of each key only the last record stays.
    pub is_compacted: bool,
}

/// What happens to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends at once; the page cache lives on.
    Kill,
    /// Everything that was not synced may be gone.
    PowerCut,
    /// An ordinary stop.
    Stop,
    /// A medium has changed what it should keep.
    Damage,
}

/// A record as it was read: its offset and value; no value is one that nobody can have sent.
pub type Seen = (i64, Option<ValueId>);

/// A stretch of records that a share group was given: the first, the last, and how often they were delivered.
pub type Delivered = (i64, i64, i16);

/// A batch on a disk: its first offset, the offset after it, and the checksum of all its bytes.
pub type BatchSeen = (i64, i64, u32);

/// A transaction: the incarnation of its producer, and which of its transactions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Txn {
    /// The incarnation; values bear its number.
    pub producer: u32,
    /// Counted by it.
    pub number: u32,
}

/// The metadata that a node has, which the trace shows by their place only.
#[derive(Clone, PartialEq)]
pub struct SeenImage(pub Arc<metadata::Image>);

impl fmt::Debug for SeenImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.position())
    }
}

/// The state of a topic that an admin client looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicState {
    /// How many partitions.
    pub partitions: i32,
    /// Its value of the configuration that admins change, if it has one of its own.
    pub config: Option<String>,
}

/// Something that a client asked, heard, or that happened to the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request goes out that later events refer to by this number.
    Asked { request: u64 },
    /// Records may be on their way to a partition.
    ProduceSent { place: Place, idempotent: bool, values: Vec<ValueId> },
    /// The records have these offsets and are acknowledged.
    ProduceAcked { place: Place, idempotent: bool, request: u64, base_offset: i64, values: Vec<ValueId> },
    /// An acknowledgement has come, and on so many disks its record is safe.
    CopiesCounted { place: Place, offset: i64, copies: usize },
    /// A node has these metadata.
    ImageSeen { node: i32, image: SeenImage },
    /// What a replica in sync has when nothing else happens: the batches below the high watermark.
    ReplicaRead { place: Place, node: i32, high_watermark: i64, batches: Vec<BatchSeen> },
    /// The records are there already, at offsets that the broker no longer knows.
    ProduceKnown { place: Place, request: u64, values: Vec<ValueId> },
    /// The batch was refused, and what came behind it was taken: it never will be.
    ProduceRefused { place: Place, request: u64, values: Vec<ValueId> },
    /// A fetch has shown this much of a partition.
    Read {
        reader: u32,
        request: u64,
        place: Place,
        fetch_offset: i64,
        high_watermark: i64,
        log_start: i64,
        records: Vec<Seen>,
        /// The leader epoch that the reader knew and the broker confirmed; -1 if it did not say.
        leader_epoch: i32,
        /// Whether the broker was the leader all the while; a deposed one may answer with what is old.
        is_current: bool,
    },
    /// A reader of a cluster has read up to a place and hears that it is not there.
    OutOfRange { place: Place, position: i64, is_current: bool },
    /// Everything from the start of the log to its high watermark was read while nothing else happened.
    ReadAll { place: Place, log_start: i64, high_watermark: i64, records: Vec<Seen> },
    /// Where the records of a key are, by reading all of them and by looking for the key, while nothing else happened.
    KeyRead { place: Place, key: u8, scanned: Vec<i64>, found: Vec<i64>, newest: Option<i64> },
    /// Records before an offset may be deleted.
    DeleteRecordsSent { place: Place, before: i64 },
    /// Records before an offset are deleted.
    DeleteRecordsDone { place: Place, low_watermark: i64 },
    /// A producer has taken over a transactional id.
    TxnOwned { id: Arc<str>, producer_id: i64, epoch: i16 },
    /// Records of a transaction may be on their way.
    TxnSent { txn: Txn, place: Place, values: Vec<ValueId> },
    /// Records of a transaction are acknowledged to a producer of this epoch.
    TxnAcked { id: Arc<str>, producer_id: i64, epoch: i16, request: u64, txn: Txn, values: Vec<ValueId> },
    /// The producer has decided, and may have been heard.
    TxnEnding { txn: Txn, committed: bool },
    /// The decision is acknowledged to a producer of this epoch.
    TxnEnded { id: Arc<str>, producer_id: i64, epoch: i16, request: u64, txn: Txn, committed: bool },
    /// A reader of committed records keeps these, and leaves out those.
    TxnRead { place: Place, kept: Vec<Seen>, dropped: Vec<Seen> },
    /// Everything that a reader of committed records keeps of a partition when no transaction is open.
    TxnReadAll { place: Place, kept: Vec<Seen> },
    /// So it was of every partition.
    TxnAllRead,
    /// A commit goes out.
    CommitSent { group: Arc<str>, place: Place, offset: i64 },
    /// A commit was acknowledged.
    CommitAcked { group: Arc<str>, place: Place, offset: i64 },
    /// This is the committed offset; -1 for none.
    CommitFetched { group: Arc<str>, request: u64, place: Place, offset: i64, is_current: bool },
    /// A member of a share group was given records: stretches, with how often they were delivered.
    ShareAcquired {
        group: Arc<str>,
        member: Arc<str>,
        place: Place,
        request: u64,
        acquired: Vec<Delivered>,
        is_current: bool,
    },
    /// A fetch of a share group has had no answer.
    ShareUnanswered { group: Arc<str>, place: Place },
    /// A member may have said what became of records, from the first to the last.
    ShareSaid { of: (Arc<str>, Place), member: Arc<str>, about: (i64, i64), verdict: Verdict },
    /// That was taken.
    ShareTaken { of: (Arc<str>, Place), member: Arc<str>, request: u64, about: (i64, i64), verdict: Verdict },
    /// Nothing more is delivered of a partition in which these records are; a record that was delivered so often is given up.
    ShareDrained { group: Arc<str>, place: Place, records: Vec<i64>, count_max: i16 },
    /// This is all that the dead-letter topic of a share group was told of: topics, partitions and offsets.
    LettersRead { group: Arc<str>, letters: Vec<(String, i32, i64)> },
    /// A member was told what it owns.
    Assigned {
        group: Arc<str>,
        generation: i32,
        member: String,
        request: u64,
        places: Vec<Place>,
        is_current: bool,
    },
    /// A member of a group that the coordinator shares things out in is about to say that it has these and nothing else.
    MemberKeeps { group: Arc<str>, member: Arc<str>, units: BTreeSet<Unit> },
    /// A member has nothing any more: it is about to leave, or was told that it is out.
    MemberGone { group: Arc<str>, member: Arc<str> },
    /// A heartbeat was well received, and the member was perhaps told what it is to have: all of it.
    MemberHeard {
        group: Arc<str>,
        member: Arc<str>,
        /// When the heartbeat went out.
        sent_ms: u64,
        now_ms: u64,
        /// How long members may be silent.
        session_ms: u64,
        given: Option<BTreeSet<Unit>>,
        is_current: bool,
    },
    /// An admin client may have changed a topic: what it makes of the topic that is or is not there.
    AdminSent { topic: Arc<str>, change: Change },
    /// The change was acknowledged.
    AdminDone { topic: Arc<str>, change: Change },
    /// The change was refused: it has not happened.
    AdminRefused { topic: Arc<str>, change: Change },
    /// This is what the topic is.
    AdminSaw { topic: Arc<str>, state: Option<TopicState> },
    /// Something has happened to the machine.
    Faulted(Fault),
    /// The node serves again.
    Serves,
}

/// What a coordinator shares out: a partition of a topic, or a task of a subtopology.
pub type Unit = (Arc<str>, i32);

/// What a member of a share group says of records, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are done.
    Accept = 1,
    /// They are to be delivered again.
    Release = 2,
    /// They are not to be delivered any more.
    Reject = 3,
    /// The member needs more time.
    Renew = 4,
}

impl Verdict {
    /// Whether the records are not to be delivered again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Accept | Self::Reject)
    }
}

/// A change of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is created.
    Create(TopicState),
    /// It is deleted.
    Delete,
    /// It has more partitions.
    Grow(i32),
    /// Its configuration is set or unset.
    Configure(Option<String>),
}

/// What was found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The check that found it.
    pub check: &'static str,
    /// What is wrong.
    pub what: String,
}

/// The history of one run.
pub struct History {
    trace: Arc<Trace>,
    state: Mutex<State>,
    violated: Notify,
}

struct State {
    checks: Vec<Box<dyn Check>>,
    violations: Vec<Violation>,
    requests: u64,
    counts: BTreeMap<&'static str, u64>,
    acknowledged: BTreeMap<Place, u64>,
    /// What the members of each group have.
    owned: BTreeMap<(Arc<str>, Arc<str>), BTreeSet<Unit>>,
    plant: Option<crate::plant::Corruption>,
    only: Option<&'static str>,
}

impl History {
    /// Nothing has happened; every check listens, or only the one of this name.
    pub fn new(trace: Arc<Trace>, plant: Option<Plant>, only: Option<&'static str>) -> Arc<Self> {
        let state = State {
            checks: checks::all(),
            violations: Vec::new(),
            requests: 0,
            counts: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            owned: BTreeMap::new(),
            plant: plant.map(crate::plant::Corruption::new),
            only,
        };
        Arc::new(Self { trace, state: Mutex::new(state), violated: Notify::new() })
    }

    /// A number for a request that goes out now.
    pub fn ask(&self) -> u64 {
        let request = {
            let mut state = self.state.lock();
            state.requests += 1;
            state.requests
        };
        self.tell(Event::Asked { request });
        request
    }

    /// Something has happened.
    pub fn tell(&self, event: Event) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let event = match &mut state.plant {
            Some(plant) => plant.corrupt(event),
            None => event,
        };
        if !matches!(event, Event::Asked { .. }) {
            note!(self.trace, "history {event:?}");
        }
        *state.counts.entry(event.name()).or_default() += 1;
        match &event {
            Event::ProduceAcked { place, .. } => {
                *state.acknowledged.entry(place.clone()).or_default() += 1;
            }
            Event::MemberKeeps { group, member, units } => {
                state.owned.insert((group.clone(), member.clone()), units.clone());
            }
            Event::MemberGone { group, member } => {
                state.owned.remove(&(group.clone(), member.clone()));
            }
            _ => {}
        }
        for check in &mut state.checks {
            if let Err(what) = check.on(&event) {
                self.keep(state.only, &mut state.violations, Violation { check: check.name(), what });
            }
        }
    }

    /// Something is wrong that no check watches for: a panic, an answer that cannot be read.
    pub fn violated(&self, check: &'static str, what: String) {
        let mut state = self.state.lock();
        let state = &mut *state;
        self.keep(state.only, &mut state.violations, Violation { check, what });
    }

    fn keep(&self, only: Option<&str>, all: &mut Vec<Violation>, violation: Violation) {
        if only.is_some_and(|only| only != violation.check) {
            // Whatever counts, a node that is gone for good ends the run.
            if violation.check == AVAILABILITY {
                self.violated.notify_one();
            }
            return;
        }
        note!(self.trace, "VIOLATION {}: {}", violation.check, violation.what);
        all.push(violation);
        self.violated.notify_one();
    }

    /// Ends when something is wrong.
    pub async fn until_violated(&self) {
        self.violated.notified().await;
    }

    /// What was found wrong until the run ended: the first first.
    pub fn violations(&self) -> Vec<Violation> {
        self.state.lock().violations.clone()
    }

    /// How many batches of each partition were acknowledged.
    pub fn acknowledged(&self) -> BTreeMap<Place, u64> {
        self.state.lock().acknowledged.clone()
    }

    /// What the members of a group say that they have: how many of them say so of each.
    pub fn owned(&self, group: &str) -> BTreeMap<Unit, u32> {
        let mut all = BTreeMap::new();
        let state = self.state.lock();
        for (_, units) in state.owned.iter().filter(|((of, _), _)| **of == *group) {
            units.iter().for_each(|unit| *all.entry(unit.clone()).or_default() += 1);
        }
        all
    }

    /// How often each kind of event happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().counts.clone()
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Event::Asked { .. } => "requests",
            Event::ProduceSent { .. } => "batches sent",
            Event::ProduceAcked { .. } => "batches acknowledged",
            Event::CopiesCounted { .. } => "acknowledgements whose copies were counted",
            Event::ImageSeen { .. } => "metadata seen",
            Event::ReplicaRead { .. } => "replicas read",
            Event::ProduceKnown { .. } => "batches known already",
            Event::ProduceRefused { .. } => "batches refused for good",
            Event::Read { records, .. } if records.is_empty() => "empty reads",
            Event::Read { .. } => "reads",
            Event::ReadAll { .. } => "full reads",
            Event::KeyRead { .. } => "keys looked up",
            Event::OutOfRange { .. } => "readers sent away",
            Event::DeleteRecordsSent { .. } => "record deletions sent",
            Event::DeleteRecordsDone { .. } => "record deletions",
            Event::TxnOwned { .. } => "transactional ids taken over",
            Event::TxnSent { .. } => "transactional batches sent",
            Event::TxnAcked { .. } => "transactional batches acknowledged",
            Event::TxnEnding { .. } => "transactions to be ended",
            Event::TxnEnded { committed: true, .. } => "transactions committed",
            Event::TxnEnded { .. } => "transactions aborted",
            Event::TxnRead { dropped, .. } if !dropped.is_empty() => "committed reads beside aborted records",
            Event::TxnRead { .. } => "committed reads",
            Event::TxnReadAll { .. } => "full committed reads",
            Event::TxnAllRead => "full committed readings",
            Event::CommitSent { .. } => "commits sent",
            Event::CommitAcked { .. } => "commits",
            Event::CommitFetched { .. } => "commits fetched",
            Event::Assigned { .. } => "assignments",
            Event::MemberKeeps { .. } => "members' words of what they have",
            Event::MemberGone { .. } => "members gone",
            Event::MemberHeard { given: Some(_), .. } => "members told what to have",
            Event::MemberHeard { .. } => "heartbeats",
            Event::ShareAcquired { .. } => "share deliveries",
            Event::ShareUnanswered { .. } => "share fetches without an answer",
            Event::ShareSaid { .. } => "share acknowledgements sent",
            Event::ShareTaken { .. } => "share acknowledgements",
            Event::LettersRead { letters, .. } if letters.is_empty() => "empty dead-letter topics",
            Event::LettersRead { .. } => "dead-letter topics read",
            Event::ShareDrained { .. } => "share partitions drained",
            Event::AdminSent { .. } => "topic changes sent",
            Event::AdminDone { .. } => "topic changes",
            Event::AdminRefused { .. } => "topic changes refused",
            Event::AdminSaw { .. } => "topics looked at",
            Event::Faulted(Fault::Kill) => "kills",
            Event::Faulted(Fault::PowerCut) => "power cuts",
            Event::Faulted(Fault::Stop) => "stops",
            Event::Faulted(Fault::Damage) => "damages",
            Event::Serves => "starts",
        }
    }
}

impl Place {
    /// Whether a power cut may take acknowledged records away.
    pub fn is_lossy(&self) -> bool {
        self.durability == Durability::PageCache
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
