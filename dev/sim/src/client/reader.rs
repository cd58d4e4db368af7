//! A consumer without a group: follows every partition in a loop, with and without incremental sessions (KIP-227), by
//! names and by ids, and now and then begins anew, so that the same offsets are read again and again.

use super::{Ground, Link, Lost, Seek, fetching};
use crate::{
    dice::Dice,
    history::{Event, Place},
};
use std::collections::BTreeMap;
use stdx::Uuid;
use wire::{
    ErrorCode, FetchRequest, FetchResponse, ListOffsetsRequest,
    fetch_response::PartitionData,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

/// A consumer of all partitions.
pub struct Reader {
    ground: Ground,
    dice: Dice,
    number: u32,
    places: Vec<(Place, Uuid)>,
    positions: BTreeMap<Place, i64>,
    /// Whether the node that was asked led everything when it was asked.
    was_leader: bool,
}

/// One connection's way of fetching.
struct Session {
    version: i16,
    isolation: i8,
    uses_sessions: bool,
    id: i32,
    epoch: i32,
    /// Where the session thinks that this reader is.
    told: BTreeMap<Place, i64>,
}

const EARLIEST: i64 = -2;

impl Reader {
    /// A reader of its own number.
    pub fn new(ground: Ground, dice: Dice, number: u32, places: Vec<(Place, Uuid)>) -> Self {
        Self { ground, dice, number, places, positions: BTreeMap::new(), was_leader: true }
    }

    /// Reads until the run ends.
    pub async fn run(mut self) {
        let name = format!("reader{}", self.number);
        while !self.ground.rules.is_ended() {
            let place = self.places.first().map(|(place, _)| place.clone());
            let to = place.as_ref().map_or(Seek::Anyone, Seek::Leader);
            let mut link = self.ground.connect(to, &name, &mut self.dice).await;
            let _ = self.follow(&mut link).await;
        }
    }

    async fn follow(&mut self, link: &mut Link) -> Result<(), Lost> {
        let mut session = Session::new(&mut self.dice);
        while !self.ground.rules.is_ended() {
            if self.dice.chance(3) {
                self.positions.clear();
            }
            let request = self.request(&mut session, link.leader_epoch);
            let asked = self.ground.history.ask();
            self.was_leader = self.places.iter().all(|(place, _)| self.ground.is_leader(link, place));
            let answer = link.ask(session.version, &request).await?;
            if !session.follow(&answer) {
                continue;
            }
            for topic in &answer.responses {
                for partition in &topic.partitions {
                    self.take(link, &session, asked, (&topic.topic, topic.topic_id), partition).await?;
                }
            }
            if self.dice.chance(30) {
                self.ground.clock.sleep_ms(self.dice.range(1..=300)).await;
            }
        }
        Ok(())
    }

    fn request(&mut self, session: &mut Session, leader_epoch: i32) -> FetchRequest {
        let is_full = session.epoch <= 0;
        let bytes_max = self.dice.pick(&[1, 500, 4000, 1 << 20], 4000);
        let mut topics = Vec::new();
        for (place, id) in &self.places {
            let position = *self.positions.entry(place.clone()).or_insert(0);
            if is_full || session.told.get(place) != Some(&position) {
                session.told.insert(place.clone(), position);
                topics.push(fetching::topic(place, *id, position, bytes_max, leader_epoch));
            }
        }
        FetchRequest {
            replica_id: -1,
            max_wait_ms: self.dice.range(0..=400) as i32,
            min_bytes: self.dice.pick(&[0, 1, 1, 2000], 1),
            max_bytes: self.dice.pick(&[1, 1000, 1 << 20], 1000),
            isolation_level: session.isolation,
            session_id: session.id,
            session_epoch: session.epoch,
            topics,
            ..Default::default()
        }
    }

    async fn take(
        &mut self,
        link: &mut Link,
        session: &Session,
        request: u64,
        (name, id): (&str, Uuid),
        data: &PartitionData,
    ) -> Result<(), Lost> {
        let is_meant = |(place, known): &&(Place, Uuid)| {
            let same_topic = if session.version >= fetching::VERSION_WITH_IDS {
                *known == id
            } else {
                &*place.topic == name
            };
            same_topic && place.partition == data.partition_index
        };
        let Some((place, _)) = self.places.iter().find(is_meant).cloned() else { return Ok(()) };
        let fetch_offset = session.told.get(&place).copied().unwrap_or(0);
        match ErrorCode::from_i16(data.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::OffsetOutOfRange) => {
                if self.ground.cluster.is_several() && fetch_offset > 0 {
                    let is_current = self.was_leader && self.ground.is_leader(link, &place);
                    let (place, position) = (place.clone(), fetch_offset);
                    self.ground.history.tell(Event::OutOfRange { place, position, is_current });
                }
                let start = earliest(link, &place, self.dice.range(1..=8) as i16).await?;
                self.positions.insert(place, start.unwrap_or(0));
                return Ok(());
            }
            _ => {
                self.ground.clock.sleep_ms(50).await;
                return if self.ground.cluster.is_several() { Err(Lost) } else { Ok(()) };
            }
        }
        let damaged = self.ground.cluster.was_damaged();
        let (records, next) = fetching::records(data.records.as_ref(), fetch_offset, damaged);
        if next > fetch_offset {
            self.positions.insert(place.clone(), next);
        }
        self.ground.history.tell(Event::Read {
            reader: self.number,
            request,
            fetch_offset,
            high_watermark: data.high_watermark,
            log_start: data.log_start_offset,
            records,
            leader_epoch: if session.version >= fetching::VERSION_WITH_EPOCHS {
                link.leader_epoch
            } else {
                -1
            },
            is_current: self.was_leader && self.ground.is_leader(link, &place),
            place,
        });
        Ok(())
    }
}

impl Session {
    fn new(dice: &mut Dice) -> Self {
        let version = dice.range(4..=17) as i16;
        let uses_sessions = version >= fetching::VERSION_WITH_SESSIONS && dice.chance(70);
        let epoch = if uses_sessions { 0 } else { -1 };
        let isolation = i8::from(dice.chance(50));
        Self { version, isolation, uses_sessions, id: 0, epoch, told: BTreeMap::new() }
    }

    /// Takes the session's part of an answer; false if the session must begin anew.
    fn follow(&mut self, answer: &FetchResponse) -> bool {
        if answer.error_code != 0 {
            (self.id, self.epoch) = (0, if self.uses_sessions { 0 } else { -1 });
            self.told.clear();
            return false;
        }
        if self.uses_sessions {
            self.id = answer.session_id;
            self.epoch = if self.id == 0 { 0 } else { self.epoch + 1 };
        }
        true
    }
}

/// Where a log starts.
pub(super) async fn earliest(link: &mut Link, place: &Place, version: i16) -> Result<Option<i64>, Lost> {
    let partition = ListOffsetsPartition {
        partition_index: place.partition,
        current_leader_epoch: -1,
        timestamp: EARLIEST,
    };
    let topic = ListOffsetsTopic { name: place.topic.to_string(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let answer = link.ask(version, &request).await?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    Ok(partition.filter(|partition| partition.error_code == 0).map(|partition| partition.offset))
}
