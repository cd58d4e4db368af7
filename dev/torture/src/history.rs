//! What clients did and saw, as data: one event for each line of a client, in the client's order.
//! It judges nothing; `checks` does.

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

/// A record's value: who wrote it, for which partition, as the how manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// The number in the writer's name.
    pub writer: u32,
    /// The partition that it was written to.
    pub partition: u32,
    /// Counted by writer and partition from 0.
    pub number: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A record was handed to the library.
    Send(Value),
    /// It was acknowledged at this offset, if the client was told: of a repetition that is too old to be looked up it was not.
    Ack(Value, Option<i64>),
    /// It was given up and may be in the log or not.
    Fail(Value),
    /// A producer can go on no more, and another one goes on for it.
    Fatal(String),
    /// A record was polled.
    Read {
        /// Of this partition.
        partition: u32,
        /// At this offset.
        offset: i64,
        /// Nothing if nobody here writes such values.
        value: Option<Value>,
    },
    /// A reader of this partition was told that what it reads next is not in the log; and why.
    Reset(u32, String),
    /// A reader read nothing of this partition for so many seconds, and began anew; where its library's last words are.
    Silent(u32, u64, String),
    /// The coordinator told a new owner where each partition's group is, asked at this time; -1: nowhere.
    Assign(u64, Vec<(u32, i64)>),
    /// The coordinator acknowledged these offsets, asked at this time.
    Commit(u64, Vec<(u32, i64)>),
    /// The client came to its end by itself.
    End,
    /// It did not when it was asked to, and was killed.
    Killed,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds of the monotonic clock.
    pub at_us: u64,
    /// What happened.
    pub what: What,
}

/// What kind of client it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An idempotent producer with acks=all.
    Producer,
    /// Follows all partitions from their beginning.
    Reader,
    /// Shares the partitions with other members of the one group.
    Member,
    /// Reads everything once all is healed.
    Last,
}

/// All that one client did and saw.
#[derive(Clone, Debug)]
pub struct History {
    /// Its name.
    pub name: String,
    /// What it was.
    pub role: Role,
    /// Its events in their order.
    pub events: Vec<Event>,
}

/// The name of a writer.
pub fn writer_name(number: usize) -> String {
    format!("w{number}")
}

impl Event {
    /// Reads a line of a client whose own number as a writer is `writer`.
    pub fn parse(line: &str, writer: u32) -> Result<Event> {
        let row: Json =
            serde_json::from_str(line).with_context(|| format!("not a line of a history: {line}"))?;
        let number = |place: usize| {
            row.get(place).and_then(Json::as_i64).with_context(|| format!("field {place} of {line}"))
        };
        let unsigned = |place: usize| number(place).map(|n| u64::try_from(n).unwrap_or_default());
        let partition = || unsigned(2).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let text = |place: usize| {
            let text = row.get(place).and_then(Json::as_str);
            text.map(str::to_owned).with_context(|| format!("field {place} of {line}"))
        };
        let own = || Ok::<_, anyhow::Error>(Value { writer, partition: partition()?, number: unsigned(3)? });
        let what = match row.get(0).and_then(Json::as_str) {
            Some("send") => What::Send(own()?),
            Some("ack") => What::Ack(own()?, row.get(4).and_then(Json::as_i64)),
            Some("fail") => What::Fail(own()?),
            Some("fatal") => What::Fatal(text(2)?),
            Some("reset") => What::Reset(partition()?, text(3)?),
            Some("silent") => What::Silent(partition()?, unsigned(3)?, text(4)?),
            Some("read") => What::Read {
                partition: partition()?,
                offset: number(3)?,
                value: row.get(4).and_then(Json::as_str).and_then(Value::parse),
            },
            Some("assign") => What::Assign(unsigned(2)?, offsets(&row)?),
            Some("commit") => What::Commit(unsigned(2)?, offsets(&row)?),
            Some("end") => What::End,
            _ => bail!("not a line of a history: {line}"),
        };
        Ok(Event { at_us: unsigned(1)?, what })
    }
}

impl Value {
    fn parse(text: &str) -> Option<Value> {
        let mut parts = text.strip_prefix('w')?.split(':');
        let mut next = || parts.next();
        let value = Value {
            writer: next()?.parse().ok()?,
            partition: next()?.parse().ok()?,
            number: next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(value)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "w{}:{}:{}", self.writer, self.partition, self.number)
    }
}

fn offsets(row: &Json) -> Result<Vec<(u32, i64)>> {
    let map = row.get(3).and_then(Json::as_object).context("no offsets")?;
    let pair = |(partition, offset): (&String, &Json)| Some((partition.parse().ok()?, offset.as_i64()?));
    Ok(map.iter().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_client_become_events() {
        let parse = |line: &str| Event::parse(line, 7).unwrap().what;
        let value = Value { writer: 7, partition: 2, number: 9 };
        assert_eq!(parse(r#"["send",5,2,9]"#), What::Send(value));
        assert_eq!(parse(r#"["ack",5,2,9,31]"#), What::Ack(value, Some(31)));
        assert_eq!(parse(r#"["ack",5,2,9,null]"#), What::Ack(value, None));
        assert_eq!(parse(r#"["fail",5,2,9,"why"]"#), What::Fail(value));
        assert_eq!(parse(r#"["fatal",5,"why"]"#), What::Fatal("why".to_owned()));
        assert_eq!(parse(r#"["reset",5,2,"why"]"#), What::Reset(2, "why".to_owned()));
        assert_eq!(parse(r#"["silent",5,2,60,"words"]"#), What::Silent(2, 60, "words".to_owned()));
        let read = What::Read { partition: 2, offset: 31, value: Some(value) };
        assert_eq!(parse(r#"["read",5,2,31,"w7:2:9"]"#), read);
        assert_eq!(parse(r#"["commit",5,4,{"1":3}]"#), What::Commit(4, vec![(1, 3)]));
        assert_eq!(parse(r#"["assign",5,4,{"1":-1}]"#), What::Assign(4, vec![(1, -1)]));
        assert_eq!(Event::parse(r#"["end",5]"#, 7).unwrap(), Event { at_us: 5, what: What::End });
        assert!(Event::parse("Traceback", 7).is_err());
    }
}
