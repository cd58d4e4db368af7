//! What the readers of a client were brought, in all their answers together: how many batches one answer has hangs on the moment, what
//! stands at an offset does not.
//!
//! It compares nothing itself; `judge` does, with the pairs that are kept here.

use std::collections::BTreeMap;

use serde_json::Value;

/// Of the batches that Kafka brought so many in a hundred may be missing: a reader that waits is answered with what is there then, and
/// the recorded client goes on behind what it got from Kafka.
const MISSING_PERCENT_MAX: usize = 10;

/// Which records are read so.
const READERS: [&str; 2] = ["Fetch", "ShareFetch"];

/// Batches by where they stand, of each broker.
#[derive(Debug, Default)]
pub struct Brought {
    batches: BTreeMap<Place, Pair>,
}

/// The topic as ours calls it, the partition, the first offset.
pub type Place = (String, i64, i64);

/// What each broker said stands there, Kafka first.
pub type Pair = [Option<Value>; 2];

impl Brought {
    /// Whether an answer is one of a reader.
    pub fn is_of_a_reader(api: &str) -> bool {
        READERS.contains(&api)
    }

    /// Takes the records out of the answer of one broker; `name` is what ours calls a topic.
    pub fn take(&mut self, answer: &mut Value, is_ours: bool, name: impl Fn(&Value) -> String) {
        let Some(responses) = answer.get_mut("Responses").map(Value::take) else { return };
        for topic in list(&responses) {
            let topic_name = ["TopicId", "Topic"].into_iter().find_map(|field| topic.get(field));
            let topic_name = topic_name.map_or_else(String::new, &name);
            for partition in topic.get("Partitions").into_iter().flat_map(list) {
                let index = partition.get("PartitionIndex").and_then(Value::as_i64).unwrap_or(-1);
                for batch in partition.get("Records").into_iter().flat_map(list) {
                    let Some(first) = first_offset(batch) else { continue };
                    let pair = self.batches.entry((topic_name.clone(), index, first)).or_default();
                    if let Some(own) = pair.get_mut(usize::from(is_ours)) {
                        *own = Some(batch.clone());
                    }
                }
            }
        }
    }

    /// All of it; and an error if too much is missing.
    pub fn into_pairs(self) -> (BTreeMap<Place, Pair>, Option<String>) {
        let of_kafka = self.batches.values().filter(|[kafka, _]| kafka.is_some()).count();
        let missing = self.batches.values().filter(|[kafka, ours]| kafka.is_some() && ours.is_none()).count();
        let is_too_much = missing * 100 > of_kafka * MISSING_PERCENT_MAX;
        (self.batches, is_too_much.then(|| format!("{missing} of {of_kafka} batches were not brought")))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Batches are objects of one field, which says of what kind they are.
fn first_offset(batch: &Value) -> Option<i64> {
    batch.as_object()?.values().find_map(|fields| fields.get("BaseOffset")?.as_i64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(offsets: &[i64]) -> Value {
        let records: Vec<Value> = offsets.iter().map(|at| json!({"Data": {"BaseOffset": at}})).collect();
        json!({"Responses": [{"Topic": "t", "Partitions": [{"PartitionIndex": 0, "Records": records}]}]})
    }

    fn brought(kafka: &[&[i64]], ours: &[&[i64]]) -> Brought {
        let mut brought = Brought::default();
        for (answers, is_ours) in [(kafka, false), (ours, true)] {
            for offsets in answers {
                brought.take(&mut answer(offsets), is_ours, |name| name.to_string());
            }
        }
        brought
    }

    #[test]
    fn in_how_many_answers_it_came_means_nothing() {
        let (pairs, missing) = brought(&[&[0, 1], &[2]], &[&[0], &[1, 2], &[3]]).into_pairs();
        assert_eq!(missing, None);
        assert_eq!(pairs.values().filter(|[kafka, ours]| kafka.is_some() && kafka == ours).count(), 3);
        let mut rest = answer(&[0]);
        Brought::default().take(&mut rest, true, |name| name.to_string());
        assert_eq!(rest, json!({"Responses": null}));
    }

    #[test]
    fn what_is_missing_is_counted() {
        let all: Vec<i64> = (0..20).collect();
        assert_eq!(brought(&[&all], &[&all[2..]]).into_pairs().1, None);
        let told = brought(&[&all], &[&all[3..]]).into_pairs().1;
        assert_eq!(told.as_deref(), Some("3 of 20 batches were not brought"));
    }
}
