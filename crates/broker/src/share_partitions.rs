//! The share partitions of this broker: for each group what it knows of the records of a partition that this broker leads.
//!
//! One is made when it is first fetched from, and ends when the broker leads the partition no more, when a later state
//! takes over, or when no member of the group has a session here, nor a dead-letter topic is still to be told of something. It
//! can be lost at any time.

use crate::{Broker, partition::Partition, share_partition::ShareHost};
use model::{GroupId, LeaderEpoch, PartitionIndex, TopicId, limits};
use parking_lot::Mutex;
use share::{Key, Opened, PartitionKey, SessionFailure, SessionKey, Sessions};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::oneshot;
use wire::ErrorCode;

/// Something that is being written down.
type Writing = oneshot::Receiver<Result<(), ErrorCode>>;

/// See the head of the file.
pub(crate) struct SharePartitions {
    hosts: Mutex<BTreeMap<Key, Arc<ShareHost>>>,
    pub(crate) sessions: Mutex<Sessions>,
}

impl SharePartitions {
    pub(crate) fn new(sessions_max: usize, partitions_max: usize) -> Self {
        let sessions = Sessions::new(sessions_max, partitions_max, limits::SHARE_SESSION_PARTITIONS_MAX);
        Self { hosts: Mutex::default(), sessions: Mutex::new(sessions) }
    }

    /// The share partition, which may still have to be read.
    pub(crate) fn open(
        &self,
        broker: &Arc<Broker>,
        group: &GroupId,
        partition: PartitionKey,
    ) -> Result<Arc<ShareHost>, ErrorCode> {
        let (led, epoch) = led(broker, partition)?;
        let key = Key { group: group.clone(), topic: partition.topic, partition: partition.partition };
        let former = {
            let mut hosts = self.hosts.lock();
            match hosts.get(&key).filter(|host| host.leader_epoch() == epoch && !host.is_ended()) {
                Some(host) => return Ok(host.clone()),
                None => {
                    let host = ShareHost::new(broker, key.clone(), led, epoch);
                    let former = hosts.insert(key, host.clone());
                    ShareHost::load(&host);
                    (host, former)
                }
            }
        };
        former.1.iter().for_each(|former| former.end());
        Ok(former.0)
    }

    /// The share partition if it is there.
    pub(crate) fn get(&self, group: &GroupId, partition: PartitionKey) -> Option<Arc<ShareHost>> {
        let key = Key { group: group.clone(), topic: partition.topic, partition: partition.partition };
        self.hosts.lock().get(&key).filter(|host| !host.is_ended()).cloned()
    }

    /// The share partition has ended by itself.
    pub(crate) fn remove(&self, host: &Arc<ShareHost>) {
        let mut hosts = self.hosts.lock();
        if hosts.get(host.key()).is_some_and(|known| Arc::ptr_eq(known, host)) {
            hosts.remove(host.key());
        }
        drop(hosts);
        host.end();
    }

    /// This broker leads a partition no more.
    pub(crate) fn resign(&self, topic: TopicId, partition: PartitionIndex) {
        self.remove_all(|key| key.topic == topic && key.partition == partition);
    }

    /// Topics are gone.
    pub(crate) fn topics_deleted(&self, topics: &[TopicId]) {
        self.remove_all(|key| topics.contains(&key.topic));
    }

    fn remove_all(&self, is_gone: impl Fn(&Key) -> bool) {
        self.take_all(|key, _| is_gone(key)).iter().for_each(|host| host.end());
    }

    fn take_all(&self, is_gone: impl Fn(&Key, &ShareHost) -> bool) -> Vec<Arc<ShareHost>> {
        self.hosts.lock().extract_if(.., |key, host| is_gone(key, host)).map(|(_, host)| host).collect()
    }

    /// The dead-letter topic has been told of everything: if the group has no member here any more, that was what the share
    /// partition was still there for.
    pub(crate) fn on_told(&self, host: &Arc<ShareHost>) {
        let is_unused = {
            // Whoever begins a session meanwhile makes a new one.
            let sessions = self.sessions.lock();
            !sessions.has_group(&host.key().group)
        };
        if is_unused {
            self.remove(host);
        }
    }

    /// Begins a ShareFetch. A session that outgrows its room ends: what its member has comes back.
    pub(crate) fn open_session(
        broker: &Arc<Broker>,
        session: &SessionKey,
        of: (i32, u64),
        (wanted, forgotten): (&[PartitionKey], &[PartitionKey]),
        has_acknowledgements: bool,
    ) -> Result<Opened, SessionFailure> {
        let mut sessions = broker.shares.sessions.lock();
        let is_first = !sessions.has_group(&session.group);
        let opened = sessions.open(session, of, wanted, forgotten, has_acknowledgements);
        if is_first && opened.is_ok() {
            broker.shares.forget_told(&session.group);
        }
        if opened == Err(SessionFailure::ShareSessionLimitReached) {
            Self::end_locked(broker, &mut sessions, session.clone());
        }
        opened
    }

    /// What is only there because a dead-letter topic is still to be told of something knows nothing of what has become of the
    /// group meanwhile: it may have been deleted, or moved to other offsets. It is read anew, and the topic told again.
    fn forget_told(&self, group: &GroupId) {
        let told = self.take_all(|key, host| key.group == *group && host.is_only_telling());
        told.iter().for_each(|host| host.end());
    }

    /// Ends a member's session: what it has comes back. Without members the group's share partitions end.
    pub(crate) fn end_session(broker: &Arc<Broker>, session: SessionKey) {
        Self::end_locked(broker, &mut broker.shares.sessions.lock(), session);
    }

    /// All of it before the member can begin another session, whose records are not meant.
    fn end_locked(broker: &Arc<Broker>, sessions: &mut Sessions, session: SessionKey) {
        let shares = &broker.shares;
        let Some(partitions) = sessions.end(&session) else { return };
        let hosts = partitions.into_iter().filter_map(|partition| shares.get(&session.group, partition));
        let releasing: Vec<_> = hosts.map(|host| (host.release(&session.member), host)).collect();
        let on = broker.clone();
        broker.world.tasks.spawn(Box::pin(async move { on.shares.released(&session, releasing).await }));
    }

    async fn released(&self, session: &SessionKey, releasing: Vec<(Option<Writing>, Arc<ShareHost>)>) {
        for (writing, host) in releasing {
            if let Err(error) = host.written(writing).await {
                let key = host.key();
                tracing::info!(?key, ?error, "records of a member that has gone could not be released");
            }
        }
        let gone = {
            // Whoever begins a session meanwhile finds the share partitions there, or makes new ones.
            let sessions = self.sessions.lock();
            match sessions.has_group(&session.group) {
                true => Vec::new(),
                false => self.take_all(|key, host| key.group == session.group && !host.is_telling()),
            }
        };
        gone.iter().for_each(|host| host.end());
    }

    /// A connection has ended, and the sessions of its members with it.
    pub(crate) fn on_disconnected(broker: &Arc<Broker>, connection: u64) {
        let sessions = broker.shares.sessions.lock().of_connection(connection);
        for session in sessions {
            Self::end_session(broker, session);
        }
    }
}

/// A partition that this broker leads, and in which epoch.
fn led(broker: &Broker, partition: PartitionKey) -> Result<(Arc<Partition>, LeaderEpoch), ErrorCode> {
    let PartitionKey { topic, partition: index } = partition;
    let image = broker.image();
    let known = image.topic_by_id(topic).ok_or(ErrorCode::UnknownTopicId)?;
    let known = known.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let here = broker.partitions.topic_by_id(topic).and_then(|topic| topic.partition(index));
    let here = here.filter(|_| known.leader == broker.config.node_id);
    here.map(|here| (here, known.leader_epoch)).ok_or(ErrorCode::NotLeaderOrFollower)
}
