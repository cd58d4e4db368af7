//! How controllers with empty directories find or found their quorum: each asks all that are listed who they are.
//!
//! If one belongs to a cluster that exists, this node joins that one. If all are empty, the one with the lowest node id
//! has them found its cluster together. Otherwise it waits and says for whom. It holds no metadata; `start` calls it,
//! and docs/formats/quorum-rpc.md lists the messages.

use crate::{
    failure_code,
    link::{Address, Links, read_frame},
    log_dir::LogDir,
    partition::on_lane,
    peer_frames::PeerFrame,
};
use env::{Incoming, Nanos};
use futures_util::future::join_all;
use model::{LeaderEpoch, Offset};
use quorum::{
    DISCOVERY_VERSION, DiscoveryReply, Inquiry, Introduction, Member, Replica, Watched, Watching, watch,
};
use std::{collections::BTreeMap, io, sync::Arc};
use wire::{DescribeQuorumRequest, describe_quorum_request};

/// How long one controller may take to answer.
const ANSWER_MS_MAX: i64 = 1000;
/// How often they are asked.
const ASK_MS: i64 = 150;
/// How often a node that waits says so.
const TELL_NS: Nanos = 5_000_000_000;
/// No message of discovery is longer.
const FRAME_BYTES_MAX: usize = 256 << 10;

/// Voters by their replicas.
pub(crate) type Voters = BTreeMap<Replica, Member>;

/// This node before its quorum is there.
pub(crate) struct Discovery {
    dir: Arc<LogDir>,
    me: Introduction,
    /// The log directory has logs of the cluster that it says it belongs to.
    has_logs: bool,
    invited: Watched<Option<Voters>>,
    invitation: Watching<Option<Voters>>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// This node is one of the founding voters.
    Found(Voters),
    /// There is a quorum.
    Join,
}

/// Who was asked, and the answer, or why there is none.
pub(crate) type Answers = Vec<(Address, Result<Introduction, String>)>;

/// What the answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The cluster exists.
    Join(String),
    /// This node founds the cluster with these.
    Found(Voters),
    Wait(String),
    /// This node must not start.
    Refuse(String),
}

impl Discovery {
    pub(crate) fn new(dir: Arc<LogDir>, me: Introduction, has_logs: bool) -> Arc<Self> {
        let (invited, invitation) = watch(None);
        Arc::new(Self { dir, me, has_logs, invited, invitation })
    }

    /// Answers one who asks before this node has a quorum.
    pub(crate) async fn serve(&self, incoming: Incoming) {
        let mut connection = incoming.connection;
        while let Ok(Some(frame)) = read_frame(&mut *connection, FRAME_BYTES_MAX).await {
            let Some(frame) = PeerFrame::read(&frame).filter(|frame| frame.version == DISCOVERY_VERSION)
            else {
                return;
            };
            let reply = match Inquiry::decode(&frame.body) {
                Ok(inquiry) => self.on_inquiry(inquiry).await,
                Err(error) => DiscoveryReply::Refused(error.to_string()),
            };
            if connection.write(frame.answer(reply.encode())).await.is_err() {
                return;
            }
        }
    }

    async fn on_inquiry(&self, inquiry: Inquiry) -> DiscoveryReply {
        let (cluster_id, voters) = match inquiry {
            Inquiry::Who => return DiscoveryReply::Me(self.introduction()),
            Inquiry::Found { cluster_id, voters } => (cluster_id, voters),
        };
        if !voters.contains_key(&self.me.replica) {
            return DiscoveryReply::Refused(format!("this is replica {}", self.me.replica));
        }
        let other = self.invitation.borrow().clone().filter(|known| *known != voters);
        if other.is_some() {
            return DiscoveryReply::Refused("another controller has asked for another quorum".into());
        }
        if let Err(why) = self.adopt(&cluster_id).await {
            return DiscoveryReply::Refused(why);
        }
        self.invited.send(Some(voters));
        DiscoveryReply::Agreed
    }

    /// The log directory is one of that cluster from now on. A node without a vote keeps no metadata, but its logs are of one
    /// cluster all the same: another one knows nothing of them, and they would be set aside.
    async fn adopt(&self, cluster_id: &str) -> Result<(), String> {
        let own = self.dir.meta().cluster_id;
        if self.has_logs && own != cluster_id {
            return Err(format!(
                "the log directory has logs of cluster {own}, and the controllers belong to cluster {cluster_id}; correct \
                 controller.quorum.bootstrap.servers, or start with an empty directory to join that cluster"
            ));
        }
        let (dir, cluster_id) = (self.dir.clone(), cluster_id.to_owned());
        let adopted = on_lane(&self.dir.world, move || dir.adopt(&cluster_id)).await;
        let adopted = adopted.unwrap_or_else(|| Err(io::Error::other("the node stops")));
        adopted.map_err(|error| format!("meta.properties cannot be written: {error}"))
    }

    fn introduction(&self) -> Introduction {
        Introduction { cluster_id: self.dir.meta().cluster_id, ..self.me.clone() }
    }

    /// Waits until it is known how this node comes to its quorum; an error says why it must not start.
    pub(crate) async fn settle(&self, links: &Links, peers: &[Address]) -> Result<Settled, String> {
        let clock = self.dir.world.clock.clone();
        let (mut invitation, mut told_at) = (self.invitation.clone(), None);
        loop {
            let answers = ask_all(links, peers).await;
            let why = match judge(&self.introduction(), &answers) {
                Verdict::Refuse(why) => return Err(why),
                Verdict::Join(cluster_id) => {
                    self.adopt(&cluster_id).await?;
                    return Ok(Settled::Join);
                }
                Verdict::Found(voters) => match self.invite(links, peers, &voters).await {
                    Ok(()) => return Ok(Settled::Found(voters)),
                    Err(why) => why,
                },
                Verdict::Wait(why) => why,
            };
            let now = clock.now();
            if told_at.is_none_or(|at| now.saturating_sub(at) >= TELL_NS) {
                tracing::info!("no quorum yet: {why}");
                told_at = Some(now);
            }
            tokio::select! {
                biased;
                voters = invitation.wait_for(Option::is_some) => {
                    if let Ok(Some(voters)) = voters {
                        return Ok(Settled::Found(voters));
                    }
                }
                () = clock.sleep_until(clock.after_millis(ASK_MS)) => {}
            }
        }
    }

    /// Has all others agree; says who does not.
    async fn invite(&self, links: &Links, peers: &[Address], voters: &Voters) -> Result<(), String> {
        let cluster_id = self.dir.meta().cluster_id;
        let inquiry = Inquiry::Found { cluster_id, voters: voters.clone() };
        for (address, reply) in join_all(peers.iter().map(|peer| ask(links, peer, &inquiry))).await {
            match reply {
                Ok(DiscoveryReply::Agreed) => {}
                Ok(DiscoveryReply::Refused(why)) => return Err(format!("{address} refuses: {why}")),
                Ok(DiscoveryReply::Me(_)) => return Err(format!("{address} answers another question")),
                Err(error) => return Err(format!("{address} does not answer ({error})")),
            }
        }
        Ok(())
    }
}

/// What a controller that serves already answers.
pub(crate) fn answer_as_member(me: Introduction, body: &[u8]) -> DiscoveryReply {
    match Inquiry::decode(body) {
        Ok(Inquiry::Who) => DiscoveryReply::Me(me),
        Ok(Inquiry::Found { cluster_id, .. }) if cluster_id == me.cluster_id => DiscoveryReply::Agreed,
        Ok(Inquiry::Found { .. }) => {
            DiscoveryReply::Refused(format!("this controller belongs to cluster {}", me.cluster_id))
        }
        Err(error) => DiscoveryReply::Refused(error.to_string()),
    }
}

/// Asks all listed controllers who they are.
pub(crate) async fn ask_all(links: &Links, peers: &[Address]) -> Answers {
    let answers = join_all(peers.iter().map(|peer| ask(links, peer, &Inquiry::Who))).await;
    let introduced = answers.into_iter().map(|(peer, reply)| match reply {
        Ok(DiscoveryReply::Me(introduction)) => (peer.clone(), Ok(introduction)),
        Ok(_) => (peer.clone(), Err("it answers another question".into())),
        Err(error) => (peer.clone(), Err(error.to_string())),
    });
    introduced.collect()
}

/// What the leader of the quorum says, if it is among those and answers: its epoch, and up to which offset this voter has
/// acknowledged the metadata log to it.
pub(crate) async fn acknowledged(
    links: &Links,
    peers: &[Address],
    me: Replica,
) -> Option<(LeaderEpoch, Offset)> {
    let partitions = vec![describe_quorum_request::PartitionData { partition_index: 0 }];
    let topic = describe_quorum_request::TopicData { topic_name: "__cluster_metadata".into(), partitions };
    let request = DescribeQuorumRequest { topics: vec![topic] };
    let answers = join_all(peers.iter().map(|peer| links.call(peer, &request, ANSWER_MS_MAX))).await;
    let told = answers.into_iter().flatten().flat_map(|answer| answer.topics);
    // Only who leads, or takes itself for the leader, answers without an error.
    let told = told.flat_map(|topic| topic.partitions).filter(|told| told.error_code == failure_code::NONE);
    let newest = told.max_by_key(|told| told.leader_epoch)?;
    let is_me = |id, directory| Replica { node: id, directory } == me;
    let mut voters = newest.current_voters.iter();
    let own = voters.find(|voter| is_me(voter.replica_id, voter.replica_directory_id))?;
    (own.log_end_offset >= 0).then_some((newest.leader_epoch, own.log_end_offset))
}

async fn ask<'a>(
    links: &Links,
    peer: &'a Address,
    inquiry: &Inquiry,
) -> (&'a Address, io::Result<DiscoveryReply>) {
    let frame = PeerFrame::request(DISCOVERY_VERSION, &inquiry.encode());
    let answer = links.exchange(peer, frame, ANSWER_MS_MAX).await;
    // The first four bytes are the number of the question.
    (peer, answer.and_then(|answer| DiscoveryReply::decode(answer.get(4..).unwrap_or_default())))
}

/// What is wrong about those who have answered, whether this node is empty or not.
pub(crate) fn conflict(me: &Introduction, answers: &Answers) -> Option<String> {
    let heard = || answers.iter().filter_map(|(address, one)| Some((address, one.as_ref().ok()?)));
    for (address, one) in heard().filter(|(_, one)| one.incarnation != me.incarnation) {
        if one.replica.directory == me.replica.directory {
            return Some(format!(
                "{address} serves a copy of this log directory (directory.id {}); stop one of the two, and start \
                 the other with an empty directory",
                me.replica.directory
            ));
        }
        if one.replica.node == me.replica.node {
            return Some(format!(
                "{address} has the node.id {} too; give one of the two another node.id",
                me.replica.node
            ));
        }
        if one.is_founded && me.is_founded && one.cluster_id != me.cluster_id {
            return Some(format!(
                "{address} belongs to cluster {}, but this log directory to cluster {}; correct \
                 controller.quorum.bootstrap.servers, or start with an empty directory to join that cluster",
                one.cluster_id, me.cluster_id
            ));
        }
    }
    let mut clusters = heard().filter(|(_, one)| one.is_founded);
    let (first, known) = clusters.next()?;
    let (second, other) = clusters.find(|(_, other)| other.cluster_id != known.cluster_id)?;
    Some(format!(
        "{first} belongs to cluster {}, but {second} to cluster {}; correct controller.quorum.bootstrap.servers",
        known.cluster_id, other.cluster_id
    ))
}

/// What an empty node does.
fn judge(me: &Introduction, answers: &Answers) -> Verdict {
    if let Some(why) = conflict(me, answers) {
        return Verdict::Refuse(why);
    }
    let heard = || answers.iter().filter_map(|(_, one)| one.as_ref().ok());
    if let Some(member) = heard().find(|one| one.is_founded) {
        return Verdict::Join(member.cluster_id.clone());
    }
    let silent = answers.iter().filter_map(|(address, one)| Some((address, one.as_ref().err()?)));
    let silent: Vec<_> = silent.map(|(address, why)| format!("{address} ({why})")).collect();
    if !silent.is_empty() {
        return Verdict::Wait(format!(
            "{} cannot be reached; start them, or correct controller.quorum.bootstrap.servers or \
             controller.quorum.voters, which list them",
            silent.join(", ")
        ));
    }
    if !heard().any(|one| one.incarnation == me.incarnation) {
        return Verdict::Wait(
            "the listed controllers have not founded it; this one is not among them".into(),
        );
    }
    let voters: Voters = heard().map(|one| (one.replica, one.member.clone())).collect();
    match voters.keys().next() {
        Some(first) if *first == me.replica => Verdict::Found(voters),
        first => {
            let node = first.map_or(-1, |first| first.node);
            Verdict::Wait(format!("node {node} is about to found it with all that are listed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Uuid;

    fn introduction(node: i32) -> Introduction {
        Introduction {
            replica: Replica { node, directory: Uuid([node as u8; 16]) },
            incarnation: Uuid([node as u8; 16]),
            cluster_id: format!("cluster{node}"),
            member: Member::default(),
            is_founded: false,
            voters: Voters::new(),
        }
    }

    fn address(node: i32) -> Address {
        Address { host: format!("node{node}"), port: 9093 }
    }

    fn answers(nodes: &[i32]) -> Answers {
        nodes.iter().map(|node| (address(*node), Ok(introduction(*node)))).collect()
    }

    fn refusal(me: &Introduction, answers: &Answers) -> String {
        match judge(me, answers) {
            Verdict::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn when_all_are_empty_the_lowest_founds_with_all_and_the_others_wait() {
        let all = answers(&[3, 1, 2]);
        let Verdict::Found(voters) = judge(&introduction(1), &all) else { panic!("it founds") };
        assert_eq!(voters.keys().map(|voter| voter.node).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(matches!(judge(&introduction(2), &all), Verdict::Wait(why) if why.contains("node 1")));
        assert!(matches!(judge(&introduction(9), &all), Verdict::Wait(why) if why.contains("not among")));
    }

    #[test]
    fn nobody_founds_while_one_is_silent_and_it_is_named() {
        let mut all = answers(&[1, 2]);
        all.push((address(3), Err("no such name".into())));
        let Verdict::Wait(why) = judge(&introduction(1), &all) else { panic!("it waits") };
        assert!(
            why.starts_with("node3:9093 (no such name) cannot be reached; start them, or correct"),
            "{why}"
        );
    }

    #[test]
    fn a_cluster_that_exists_is_joined_whoever_is_silent() {
        let mut all = answers(&[1, 2]);
        all[1].1 = Ok(Introduction { is_founded: true, ..introduction(2) });
        all.push((address(3), Err("no such name".into())));
        assert_eq!(judge(&introduction(1), &all), Verdict::Join("cluster2".into()));
    }

    #[test]
    fn copies_and_duplicates_and_foreign_clusters_are_refused_with_the_remedy() {
        let me = introduction(1);
        let other = Uuid([77; 16]);
        let copy = vec![(address(5), Ok(Introduction { incarnation: other, ..me.clone() }))];
        assert!(refusal(&me, &copy).contains("copy of this log directory"));
        let replica = Replica { node: 1, directory: other };
        let twin = vec![(address(5), Ok(Introduction { incarnation: other, replica, ..me.clone() }))];
        assert!(refusal(&me, &twin).contains("another node.id"));
        let founded = |node| Introduction { is_founded: true, ..introduction(node) };
        let two = vec![(address(2), Ok(founded(2))), (address(3), Ok(founded(3)))];
        assert!(refusal(&me, &two).contains("controller.quorum.bootstrap.servers"));
        let foreign = conflict(&founded(1), &vec![(address(2), Ok(founded(2)))]).unwrap();
        assert!(foreign.contains("cluster2") && foreign.contains("empty directory"));
    }
}
