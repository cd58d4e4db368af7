//! A coordinator whose records are committed at once, and short words for its requests.

use crate::*;
use ::coordinator::{Now, Outcome, Shard};
use model::{ProducerEpoch, ProducerId, TopicName, TopicPartition};

pub(super) const ID: &str = "t-1";

pub(super) struct Desk {
    pub(super) coordinator: Coordinator,
    timeouts: Timeouts,
    pub(super) now: Now,
    /// The ids that are given out next.
    pub(super) fresh_id: ProducerId,
}

pub(super) fn config() -> Config {
    Config { timeout_ms_max: 900_000, id_expiration_ms: 1000, two_phase_commit: false, version: 2 }
}

pub(super) fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic).unwrap(), partition)
}

pub(super) fn producer(producer_id: ProducerId, producer_epoch: ProducerEpoch) -> Producer {
    Producer { id: ID.into(), producer_id, producer_epoch }
}

pub(super) fn init(expected: Option<(ProducerId, ProducerEpoch)>) -> InitProducerId {
    InitProducerId {
        id: ID.into(),
        timeout_ms: 60_000,
        two_phase_commit: false,
        keep_prepared: false,
        expected,
        fresh_id: None,
    }
}

impl Desk {
    pub(super) fn new() -> Self {
        let now = Now { wall: 10_000, monotonic: 0 };
        Self { coordinator: Coordinator::new(config()), timeouts: Timeouts::new(), now, fresh_id: 100 }
    }

    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        let Outcome { records, reply } = self.coordinator.handle(self.now, request)?;
        records.into_iter().for_each(|record| self.coordinator.replay(record));
        Ok(reply)
    }

    pub(super) fn late(&mut self) -> Vec<Late> {
        self.timeouts.late(&self.coordinator, self.now)
    }

    /// Asks again with a fresh id if one is needed.
    pub(super) fn ask_with_id(
        &mut self,
        request: impl Fn(Option<ProducerId>) -> Request,
    ) -> Result<Reply, Error> {
        match self.ask(request(None)) {
            Err(Error::ProducerIdNeeded) => {
                self.fresh_id += 1;
                self.ask(request(Some(self.fresh_id - 1)))
            }
            reply => reply,
        }
    }

    pub(super) fn init(
        &mut self,
        expected: Option<(ProducerId, ProducerEpoch)>,
    ) -> Result<(ProducerId, ProducerEpoch), Error> {
        let reply = self
            .ask_with_id(|fresh_id| Request::InitProducerId(InitProducerId { fresh_id, ..init(expected) }))?;
        match reply {
            Reply::InitProducerId { producer_id, producer_epoch } => Ok((producer_id, producer_epoch)),
            Reply::Aborting => Err(Error::ConcurrentTransactions),
            reply => panic!("{reply:?}"),
        }
    }

    pub(super) fn add(
        &mut self,
        (producer_id, epoch): (ProducerId, ProducerEpoch),
        partitions: &[TopicPartition],
        version: TransactionVersion,
    ) -> Result<(), Error> {
        let (producer, partitions) = (producer(producer_id, epoch), partitions.to_vec());
        self.ask(Request::AddPartitions(AddPartitions { producer, partitions, version })).map(drop)
    }

    pub(super) fn end(
        &mut self,
        (producer_id, epoch): (ProducerId, ProducerEpoch),
        committed: bool,
        version: TransactionVersion,
    ) -> Result<(ProducerId, ProducerEpoch), Error> {
        let reply = self.ask_with_id(|fresh_id| {
            Request::EndTxn(EndTxn { producer: producer(producer_id, epoch), committed, version, fresh_id })
        })?;
        match reply {
            Reply::EndTxn { producer_id, producer_epoch } => Ok((producer_id, producer_epoch)),
            reply => panic!("{reply:?}"),
        }
    }

    /// All markers of what is prepared are written.
    pub(super) fn complete(&mut self) -> Vec<Markers> {
        let prepared: Vec<_> = self.coordinator.prepared().collect();
        for markers in &prepared {
            let producer = Producer {
                id: markers.id.clone(),
                producer_id: markers.producer_id,
                producer_epoch: markers.producer_epoch,
            };
            assert_eq!(self.ask(Request::Complete { producer }), Ok(Reply::Complete));
        }
        prepared
    }

    pub(super) fn known(&mut self) -> Transaction {
        match self.ask(Request::Describe { id: ID.into() }) {
            Ok(Reply::Describe(known)) => known,
            reply => panic!("{reply:?}"),
        }
    }

    pub(super) fn advance(&mut self, ms: u32) {
        self.now = self.now.plus_ms(ms);
    }

    /// Puts the producer's epoch where it seldom is.
    pub(super) fn set_epoch(&mut self, epoch: ProducerEpoch) {
        let transaction = Transaction { producer_epoch: epoch, ..self.known() };
        self.coordinator.replay(Record::Changed { id: ID.into(), transaction });
    }
}
