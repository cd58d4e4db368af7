//! Where reading begins, as people write it: `beginning`, `end`, `42`, `-5`, `s@1700000000000`.
//!
//! It asks no broker by itself; `consume` and `group reset-offsets` give it a client.

use client::{At, Client, Error};
use model::{Offset, Timestamp, TopicPartition};
use std::{collections::BTreeMap, str::FromStr};

/// A place in any partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first record that is kept.
    Beginning,
    /// Behind the last record.
    End,
    /// This offset.
    Offset(Offset),
    /// So many records before the end.
    Last(Offset),
    /// The first record of this time or later.
    Time(Timestamp),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is no place; use beginning, end, OFFSET, -COUNT or s@MILLISECONDS");
        let place = match text {
            "beginning" | "earliest" => Self::Beginning,
            "end" | "latest" => Self::End,
            _ => match (text.strip_prefix("s@"), text.strip_prefix('-')) {
                (Some(time), _) => Self::Time(time.parse().map_err(|_| wrong())?),
                (_, Some(count)) => Self::Last(count.parse().map_err(|_| wrong())?),
                _ => Self::Offset(text.parse().map_err(|_| wrong())?),
            },
        };
        match place {
            Self::Offset(number) | Self::Last(number) | Self::Time(number) if number < 0 => Err(wrong()),
            place => Ok(place),
        }
    }
}

impl Place {
    /// The offsets of this place in these partitions. A time after the last record is the end.
    pub(crate) async fn resolve(
        self,
        client: &Client,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        let ask = async |at| {
            let wanted = partitions.iter().map(|place| (place.clone(), at)).collect();
            client.offsets_at(&wanted, false).await
        };
        let ends = match self {
            Self::Last(_) | Self::Time(_) | Self::End => ask(At::End).await?,
            _ => BTreeMap::new(),
        };
        let found = match self {
            Self::Beginning | Self::Last(_) => ask(At::Beginning).await?,
            Self::Time(time) => ask(At::Time(time)).await?,
            Self::Offset(_) | Self::End => BTreeMap::new(),
        };
        let offset = |map: &BTreeMap<TopicPartition, client::OffsetAt>, place: &TopicPartition| {
            map.get(place).and_then(|at| at.offset)
        };
        let resolve = |place: &TopicPartition| {
            let end = offset(&ends, place).unwrap_or(0);
            match (self, offset(&found, place)) {
                (Self::Offset(offset), _) => offset,
                (Self::Last(count), begin) => end.saturating_sub(count).max(begin.unwrap_or(0)),
                (Self::Beginning | Self::Time(_), Some(offset)) => offset,
                _ => end,
            }
        };
        Ok(partitions.iter().map(|place| (place.clone(), resolve(place))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_kcat_reads_them() {
        let read = |text: &str| text.parse::<Place>();
        assert_eq!(read("beginning"), Ok(Place::Beginning));
        assert_eq!(read("end"), Ok(Place::End));
        assert_eq!(read("42"), Ok(Place::Offset(42)));
        assert_eq!(read("-5"), Ok(Place::Last(5)));
        assert_eq!(read("s@1700000000000"), Ok(Place::Time(1_700_000_000_000)));
        for wrong in ["", "--5", "s@", "s@-1", "start", "1.5", "-"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
