//! Topics for the gateway, partition by partition: every record, whatever its key, as Kafka's readers of committed records see it.
//!
//! What is appended here is no more than what Kafka's producers write: the streams of keys have no say in it.

use super::{
    Mailboxes, denied, find::Room, is_served, marks, offset, partition_of, walk::Ground, write::token,
};
use crate::{
    acks::{Acks, AllSettled},
    mailboxes::GATEWAY_LISTENER,
    partition::Refused,
};
use gateway::{Denied, From, NewRecord, Reach, Records, Shape, Token};
use mailbox::{Producer, Refusal, Sent, headers};
use model::{Offset, TopicName, TopicPartition, limits};
use records::{BatchBuilder, Decompressor, Invalid, Unchecked};

/// What is read at once; for readers of whole topics a lane must not be busy for longer.
const ENOUGH_WALKS: usize = 8;

impl Mailboxes {
    /// The partition, as its leader reads it.
    fn ground(&self, of: &TopicPartition) -> Result<Ground, Denied> {
        let broker = &self.0;
        let image = broker.image();
        let topic = image.topic(&of.topic).filter(|_| is_served(&of.topic)).ok_or(Denied::UnknownTopic)?;
        if topic.partition(of.partition).is_none() {
            return Err(Denied::UnknownPartition(topic.partitions.len()));
        }
        let elsewhere = || {
            Denied::Unavailable(format!("this node does not lead partition {} of {}", of.partition, of.topic))
        };
        let partition = broker.partitions.topic_by_id(topic.id);
        let partition = partition.and_then(|topic| topic.partition(of.partition)).ok_or_else(elsewhere)?;
        let epoch = partition.leads_in().ok_or_else(elsewhere)?;
        let (world, reads) = (broker.world.clone(), broker.desks.reads.clone());
        Ok(Ground { world, partition, epoch, reads })
    }

    async fn do_read_records(
        &self,
        of: &TopicPartition,
        from: From,
        bytes_max: usize,
    ) -> Result<Records, Denied> {
        let ground = self.ground(of)?;
        let ends = ground.partition.ends(ground.epoch).map_err(denied)?;
        let gone = || Denied::Gone(token(0, ends.start));
        let begin = match from {
            From::Begin | From::At(Token::BEGIN) => ends.start,
            From::End => ends.stable,
            From::At(Token(place)) if place.generation == 0 => offset(place.offset),
            From::At(_) => return Err(gone()),
        };
        // Behind the end: it is of a topic that had this name before, or of what a leader has lost.
        if begin < ends.start || begin > ends.end {
            return Err(gone());
        }
        let room = Room { bytes: bytes_max, records: limits::MAILBOX_RECORDS_MAX };
        let (mut next, mut records) = (begin, Vec::new());
        // What nobody sees, such as what an aborted transaction has written, is passed over.
        for _ in 0..ENOUGH_WALKS {
            if next >= ends.stable || !records.is_empty() {
                break;
            }
            let piece = ground.walk_all((next, ends.stable), room).await.map_err(denied)?;
            if piece.from > next && next > ends.start {
                return Err(Denied::Gone(token(0, piece.from)));
            }
            (next, records) = (piece.next, piece.seen);
        }
        let is_up_to_date = next >= ends.stable;
        Ok(Records { records, next: token(0, next), is_up_to_date })
    }

    async fn do_wait_for_records(&self, of: &TopicPartition, seen: Token) {
        let Ok(ground) = self.ground(of) else { return };
        loop {
            let Ok(ends) = ground.partition.ends(ground.epoch) else { return };
            if token(0, ends.stable) > seen {
                return;
            }
            ground.partition.moved(crate::partition::Isolation::LastStable, ends.stable).await;
        }
    }

    async fn do_append_records(
        &self,
        of: &TopicPartition,
        new: Vec<NewRecord>,
        expected: Option<Token>,
    ) -> Result<Token, Denied> {
        let (last, settled) = self.put_records(&self.ground(of)?, new, expected).await?;
        self.settled(settled).await?;
        Ok(token(0, last.saturating_add(1)))
    }

    /// What a request has brought that is to be taken once lies with it, beside its last record (docs/decisions/0024).
    async fn do_append_once(
        &self,
        of: &TopicPartition,
        mut new: Vec<NewRecord>,
        sent: Sent,
    ) -> Result<(Token, bool), Denied> {
        let desk = self.0.desks.open(self.ground(of)?).map_err(denied)?;
        let last = new.last_mut().and_then(|last| Some((last.key.clone()?, last)));
        let no_key = || Denied::NotTaken("what has no key is not found again".to_owned());
        let (key, last) = last.ok_or_else(no_key)?;
        let turn = desk.turn(&key).await;
        let known = desk.state(&key, Some(&sent.id)).await.map_err(denied)?.producer;
        let taken = sent.was_taken(known.as_ref().map(|(_, producer)| producer));
        if let (true, Some((at, _))) = (taken.map_err(|refusal| Denied::Refused(refusal, None))?, &known) {
            drop(turn);
            let next = at.saturating_add(1);
            self.until_safe(&desk, next).await?;
            return Ok((token(0, next), false));
        }
        last.headers.push(marks::header(headers::PRODUCER, Producer { sent }.encode()));
        let (last, settled) = self.put_records(desk.ground(), new, None).await?;
        drop(turn);
        self.settled(settled).await?;
        Ok((token(0, last.saturating_add(1)), true))
    }

    /// Appends a batch; its last offset, and what says that it is safe.
    async fn put_records(
        &self,
        ground: &Ground,
        new: Vec<NewRecord>,
        expected: Option<Token>,
    ) -> Result<(Offset, AllSettled), Denied> {
        let now = self.now_ms();
        let rules = ground.partition.rules(now, true);
        let too_large = || Denied::TooLarge(rules.batch_bytes_max);
        let stops = || Denied::Unavailable("the node stops".to_owned());
        let mut builder = BatchBuilder::new();
        for NewRecord { key, value, headers } in &new {
            builder.push(now, key.as_deref(), value.as_deref(), headers);
            if builder.plain_bytes() > rules.batch_bytes_max {
                return Err(too_large());
            }
        }
        let built = builder.build();
        let batch =
            built.map_err(|error| Denied::Unavailable(format!("no batch could be built: {error}")))?;
        let is_packed = rules.compression.is_some();
        let check = move || Unchecked::new(batch.bytes, true)?.check(&rules, &mut Decompressor::new());
        let checked = match is_packed {
            true => self.0.on_worker(check).await.ok_or_else(stops)?,
            false => check(),
        };
        let checked = checked.map_err(|invalid| match invalid {
            Invalid::TooLarge { bytes_max, .. } => Denied::TooLarge(bytes_max),
            other => Denied::NotTaken(other.to_string()),
        })?;
        let at = match expected {
            None => None,
            Some(Token(place)) if place.generation == 0 => Some(offset(place.offset)),
            Some(_) => return Err(self.other_offset(ground)),
        };
        let acks = Acks::new();
        acks.open(0);
        let appended = ground.partition.append_if(now, (ground.epoch, at), checked, acks.clone());
        let last = match appended {
            Ok(appended) => appended.last_offset,
            Err(Refused::Overtaken) => return Err(self.other_offset(ground)),
            Err(refused) => return Err(denied(refused)),
        };
        Ok((last, acks.wait()))
    }

    /// The partition does not end where it was expected to.
    fn other_offset(&self, ground: &Ground) -> Denied {
        match ground.partition.ends(ground.epoch) {
            Ok(ends) => {
                let end = token(0, ends.end);
                Denied::Refused(Refusal::OtherOffset { end: end.0.offset }, Some(end))
            }
            Err(refused) => denied(refused),
        }
    }
}

impl gateway::Topics for Mailboxes {
    fn shape(&self, topic: &TopicName) -> Option<Shape> {
        let image = self.0.image();
        let partitions = image.topic(topic).filter(|_| is_served(topic))?.partitions.len();
        Some(Shape { partitions, content_type: self.content_type(topic) })
    }

    fn partition_elsewhere(&self, of: &TopicPartition) -> Option<Reach> {
        let image = self.0.image();
        let leader = image.topic(&of.topic).filter(|_| is_served(&of.topic))?.partition(of.partition)?.leader;
        if leader == self.0.config.node_id {
            return None;
        }
        let endpoint = image.broker(leader)?.endpoint(GATEWAY_LISTENER)?;
        Some(Reach { host: endpoint.host.clone(), port: endpoint.port })
    }

    fn partition_of(&self, topic: &TopicName, key: &[u8]) -> Option<TopicPartition> {
        let count = self.shape(topic)?.partitions;
        Some(TopicPartition { topic: topic.clone(), partition: partition_of(key, count) })
    }

    fn is_here(&self, of: &TopicPartition) -> bool {
        self.ground(of).is_ok()
    }

    fn read_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        from: From,
        bytes_max: usize,
    ) -> env::BoxFuture<'a, Result<Records, Denied>> {
        Box::pin(self.do_read_records(of, from, bytes_max))
    }

    fn records_changed<'a>(&'a self, of: &'a TopicPartition, seen: Token) -> env::BoxFuture<'a, ()> {
        Box::pin(self.do_wait_for_records(of, seen))
    }

    fn append_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        records: Vec<NewRecord>,
        expected: Option<Token>,
    ) -> env::BoxFuture<'a, Result<Token, Denied>> {
        Box::pin(self.do_append_records(of, records, expected))
    }

    fn append_once<'a>(
        &'a self,
        of: &'a TopicPartition,
        records: Vec<NewRecord>,
        sent: Sent,
    ) -> env::BoxFuture<'a, Result<(Token, bool), Denied>> {
        Box::pin(self.do_append_once(of, records, sent))
    }
}
