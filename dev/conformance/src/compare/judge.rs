//! Compares two brokers' answers field by field, learns which id of one is which of the other, and keeps what differs.
//!
//! It knows no API: what may differ is what `rules` say. Called by `replay`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::brought::Brought;
use super::rules::{Allows, Rules};

/// Fields that tell the elements of a list apart, the first that an element has.
const KEYS: [&str; 21] = [
    "Name",
    "ApiKey",
    "TopicName",
    "Topic",
    "TopicId",
    "GroupId",
    "TransactionalId",
    "MemberId",
    "ResourceName",
    "LogDir",
    "PartitionIndex",
    "PartitionId",
    "Partition",
    "NodeId",
    "BrokerId",
    "ReplicaId",
    "ProducerId",
    "Key",
    "EntityType",
    "DirectoryId",
    "Index",
];

/// How much of a value is shown.
const SHOWN_MAX: usize = 600;

/// The differences so far, and the ids.
#[derive(Debug)]
pub struct Judge {
    rules: Rules,
    texts: BTreeMap<String, String>,
    numbers: BTreeMap<(String, i64), i64>,
    found: BTreeMap<(String, String, String), Found>,
    fields: u64,
    /// What readers were brought, where not each answer is compared for itself.
    brought: Option<Brought>,
}

#[derive(Debug)]
struct Found {
    count: u64,
    versions: (i16, i16),
    first: String,
}

/// Where an answer belongs: its API and version, and what was asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Kafka's name of the API.
    pub api: &'a str,
    /// The version.
    pub version: i16,
    /// The session and the request, for whoever looks for the reason.
    pub words: &'a str,
}

impl Judge {
    /// Nothing is learnt and nothing is found.
    pub fn new(rules: Rules) -> Judge {
        let (texts, numbers, found) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Judge { rules, texts, numbers, found, fields: 0, brought: None }
    }

    /// The same of clients, whose answers with records hang on the moment: what they bring is compared together, by `judge_brought`.
    pub fn of_clients(rules: Rules) -> Judge {
        Judge { brought: Some(Brought::default()), ..Judge::new(rules) }
    }

    /// What one broker answered, beside the other.
    pub fn compare(&mut self, asked: &Asked<'_>, kafka: &Value, ours: &Value) {
        if Brought::is_of_a_reader(asked.api)
            && let Some(mut brought) = self.brought.take()
        {
            let (mut kafka, mut ours) = (kafka.clone(), ours.clone());
            brought.take(&mut kafka, false, |name| {
                let mut name = name.clone();
                self.translate("TopicId", &mut name);
                name.to_string()
            });
            brought.take(&mut ours, true, Value::to_string);
            self.brought = Some(brought);
            return self.walk(asked, &mut vec![asked.api.to_owned()], &kafka, &ours);
        }
        self.walk(asked, &mut vec![asked.api.to_owned()], kafka, ours);
    }

    /// What readers were brought by both, once there are no more answers: how many batches those were, and whether too many are missing.
    pub fn judge_brought(&mut self) -> (usize, Option<String>) {
        let (pairs, missing) = self.brought.take().unwrap_or_default().into_pairs();
        let mut count = 0;
        for ((topic, partition, _), pair) in pairs {
            let [Some(kafka), Some(ours)] = pair else { continue };
            count += 1;
            let words = format!("of {topic}-{partition}");
            let asked = Asked { api: "Fetch", version: -1, words: &words };
            self.walk(&asked, &mut ["Fetch", "Records"].map(str::to_owned).to_vec(), &kafka, &ours);
        }
        (count, missing)
    }

    /// A difference that is none of a field.
    pub fn note(&mut self, asked: &Asked<'_>, what: &str, kafka: &str, ours: &str) {
        let path = [asked.api.to_owned(), what.to_owned()];
        let rule = self.rules.at(&path).find(|(_, allows)| **allows == Allows::Any).map(|(number, _)| number);
        match rule {
            Some(number) => self.rules.note_use(number),
            None => self.keep(asked, &path, kafka.to_owned(), ours.to_owned()),
        }
    }

    /// The request as the other broker must get it: with its ids.
    pub fn translate(&self, name: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| self.translate(name, value)),
            Value::Array(all) => all.iter_mut().for_each(|one| self.translate(name, one)),
            Value::String(text) => {
                if let Some(ours) = self.texts.get(text.as_str()) {
                    ours.clone_into(text);
                }
            }
            Value::Number(number) => {
                let kafka = number.as_i64().unwrap_or_default();
                if let Some(ours) = self.numbers.get(&(name.to_owned(), kafka)) {
                    *value = Value::from(*ours);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// How many fields were compared.
    pub fn fields(&self) -> u64 {
        self.fields
    }

    /// A line or two for each difference, and one for each rule that excused nothing.
    pub fn findings(&self) -> Vec<String> {
        let found = self.found.iter().map(|((path, kafka, ours), found)| {
            let (from, to) = found.versions;
            format!(
                "{path}: {kafka} / {ours}  ({}, v{from}..{to})\n        {}",
                times(found.count),
                found.first
            )
        });
        found.collect()
    }

    /// The rules that excused nothing.
    pub fn unused(&self) -> Vec<&str> {
        self.rules.unused()
    }

    fn walk(&mut self, asked: &Asked<'_>, path: &mut Vec<String>, kafka: &Value, ours: &Value) {
        if kafka != ours || matches!(kafka, Value::String(_) | Value::Number(_)) {
            let allowed: Vec<(usize, Allows)> = self.rules.at(path).map(|(n, a)| (n, a.clone())).collect();
            for (number, allows) in allowed {
                if self.is_excused(&allows, path, kafka, ours) {
                    if kafka != ours {
                        self.rules.note_use(number);
                    }
                    self.fields += 1;
                    return;
                }
                if allows == Allows::Set
                    && let (Value::Array(kafka), Value::Array(ours)) = (kafka, ours)
                {
                    return self.walk_set(asked, path, (kafka, ours), number);
                }
            }
        }
        match (kafka, ours) {
            (Value::Object(kafka), Value::Object(ours)) => {
                for (name, value) in kafka {
                    path.push(name.clone());
                    self.walk(asked, path, value, ours.get(name).unwrap_or(&Value::Null));
                    path.pop();
                }
                for (name, value) in ours.iter().filter(|(name, _)| !kafka.contains_key(*name)) {
                    let path = [path.as_slice(), std::slice::from_ref(name)].concat();
                    self.keep(asked, &path, "nothing".into(), value.to_string());
                }
            }
            (Value::Array(kafka), Value::Array(ours)) if kafka.len() == ours.len() => {
                for (kafka, ours) in kafka.iter().zip(ours) {
                    self.walk_element(asked, path, kafka, ours);
                }
            }
            _ => {
                self.fields += 1;
                let mut translated = kafka.clone();
                self.translate(path.last().map_or("", |name| name.as_str()), &mut translated);
                if translated != *ours {
                    self.keep(asked, path, kafka.to_string(), ours.to_string());
                }
            }
        }
    }

    /// The elements of two lists, matched by their keys.
    fn walk_set(
        &mut self,
        asked: &Asked<'_>,
        path: &mut Vec<String>,
        (kafka, ours): (&[Value], &[Value]),
        rule: usize,
    ) {
        let name = path.last().cloned().unwrap_or_default();
        let mut left: Vec<(String, &Value)> = ours.iter().map(|value| (key(value), value)).collect();
        let mut is_moved = false;
        for (place, value) in kafka.iter().enumerate() {
            let mut translated = value.clone();
            self.translate(&name, &mut translated);
            let wanted = key(&translated);
            let only = kafka.len() == 1 && left.len() == 1;
            match left.iter().position(|(key, _)| only || *key == wanted) {
                Some(at) => {
                    is_moved |= !only && ours.get(place).is_none_or(|other| key(other) != wanted);
                    let (_, other) = left.remove(at);
                    self.walk_element(asked, path, value, other);
                }
                None => {
                    let is_again = kafka.iter().take(place).any(|other| key(other) == key(value));
                    let once = self.rules.at(path).find(|(_, allows)| is_again && **allows == Allows::Once);
                    match once.map(|(number, _)| number) {
                        Some(number) => self.rules.note_use(number),
                        None => self.keep_missing(asked, path, value, false),
                    }
                }
            }
        }
        if is_moved {
            self.rules.note_use(rule);
        }
        for (_, value) in left {
            self.keep_missing(asked, path, value, true);
        }
    }

    /// An element that only one of two lists has: excused if anything may differ there.
    fn keep_missing(&mut self, asked: &Asked<'_>, path: &[String], value: &Value, is_ours: bool) {
        let mut at = path.to_vec();
        if let Some(last) = at.last_mut() {
            *last = format!("{last}[{}]", key(value));
        }
        if let Some((number, _)) = self.rules.at(&at).find(|(_, allows)| **allows == Allows::Any) {
            return self.rules.note_use(number);
        }
        let (value, nothing) = (value.to_string(), "nothing".to_owned());
        let (kafka, ours) = if is_ours { (nothing, value) } else { (value, nothing) };
        self.keep(asked, &at, kafka, ours);
    }

    fn walk_element(&mut self, asked: &Asked<'_>, path: &mut Vec<String>, kafka: &Value, ours: &Value) {
        let name = path.pop().unwrap_or_default();
        path.push(if kafka.is_object() { format!("{name}[{}]", key(kafka)) } else { name.clone() });
        self.walk(asked, path, kafka, ours);
        path.pop();
        path.push(name);
    }

    fn is_excused(&mut self, allows: &Allows, path: &[String], kafka: &Value, ours: &Value) -> bool {
        let name = path.last().map_or("", |name| name.as_str());
        match allows {
            Allows::Any => true,
            Allows::Words => ours.is_string() && (kafka.is_string() || kafka.is_null()),
            Allows::Pair(theirs, other) => kafka == theirs && ours == other,
            Allows::Set | Allows::Once => false,
            Allows::Id => match (kafka, ours) {
                (Value::String(kafka), Value::String(ours)) if !is_none(kafka) && !is_none(ours) => {
                    self.texts.entry(kafka.clone()).or_insert_with(|| ours.clone()) == ours
                }
                (Value::Number(kafka), Value::Number(ours)) => {
                    let (kafka, ours) = (kafka.as_i64().unwrap_or(-1), ours.as_i64().unwrap_or(-1));
                    let is_id = |number: i64| number > 0 || (number == 0 && name == "ProducerId");
                    let known = (name.to_owned(), kafka);
                    is_id(kafka) && is_id(ours) && *self.numbers.entry(known).or_insert(ours) == ours
                }
                _ => false,
            },
        }
    }

    fn keep(&mut self, asked: &Asked<'_>, path: &[String], kafka: String, ours: String) {
        let plain: Vec<&str> = path.iter().map(|step| step.split('[').next().unwrap_or(step)).collect();
        let found =
            self.found.entry((plain.join("/"), shown(&kafka), shown(&ours))).or_insert_with(|| Found {
                count: 0,
                versions: (asked.version, asked.version),
                first: format!("at {} {}", path.join("/"), asked.words),
            });
        found.count += 1;
        found.versions = (found.versions.0.min(asked.version), found.versions.1.max(asked.version));
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".into() } else { format!("{count} times") }
}

/// What tells an element of a list from the others: its key, or all that it says but for how it went.
fn key(value: &Value) -> String {
    match KEYS.iter().find_map(|name| value.get(name).filter(|value| !value.is_null())) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        // A quota is of who it is for.
        None if value.get("Entity").is_some() => {
            let entity = value.get("Entity").and_then(Value::as_array).into_iter().flatten();
            let mut parts: Vec<String> = entity.map(|part| part.to_string()).collect();
            parts.sort();
            parts.concat()
        }
        None => {
            let mut rest = value.clone();
            if let Some(fields) = rest.as_object_mut() {
                fields.retain(|name, value| !name.starts_with("Error") && !value.is_array());
            }
            rest.as_str().map_or_else(|| rest.to_string(), str::to_owned)
        }
    }
}

fn is_none(text: &str) -> bool {
    text.is_empty() || text == "AAAAAAAAAAAAAAAAAAAAAA"
}

/// The start of a long text, at a character boundary.
pub(super) fn shown(text: &str) -> String {
    let end = (0..=SHOWN_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = text.get(..end).unwrap_or_default();
    if end < text.len() { format!("{start}...") } else { start.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ASKED: Asked<'_> = Asked { api: "Thing", version: 3, words: "" };

    fn judged(rules: &str, pairs: &[(Value, Value)]) -> Judge {
        let mut judge = Judge::new(Rules::parse(rules).unwrap());
        for (kafka, ours) in pairs {
            judge.compare(&ASKED, kafka, ours);
        }
        judge
    }

    fn check(rules: &str, pairs: &[(Value, Value)], findings: &[&str]) {
        let found = judged(rules, pairs).findings();
        let firsts: Vec<&str> = found.iter().map(|one| one.split("  (").next().unwrap()).collect();
        assert_eq!(firsts, findings);
    }

    #[test]
    fn each_field_that_differs_is_told_with_both_values() {
        let pairs = [(
            json!({"A": 1, "B": [{"Name": "x", "C": "y"}]}),
            json!({"A": 2, "B": [{"Name": "x", "C": null}]}),
        )];
        check("", &pairs, &["Thing/A: 1 / 2", "Thing/B/C: \"y\" / null"]);
        check("pair Thing/A 1 2 # known\nany Thing/B[x]/C # known\n", &pairs, &[]);
    }

    #[test]
    fn an_id_may_be_another_but_must_stay_it() {
        let one = (json!({"TopicId": "a"}), json!({"TopicId": "b"}));
        let other = (json!({"TopicId": "a"}), json!({"TopicId": "c"}));
        check("id */TopicId # random\n", &[one.clone(), one.clone()], &[]);
        check("id */TopicId # random\n", &[one, other], &["Thing/TopicId: \"a\" / \"c\""]);
        check(
            "id */SessionId # random\n",
            &[(json!({"SessionId": 0}), json!({"SessionId": 5}))],
            &["Thing/SessionId: 0 / 5"],
        );
    }

    #[test]
    fn a_request_carries_the_ids_of_whom_it_goes_to() {
        let rules = "id */TopicId # random\nid */ProducerId # random\n";
        let pair = (json!({"TopicId": "a", "ProducerId": 0}), json!({"TopicId": "b", "ProducerId": 9}));
        let judge = judged(rules, &[pair]);
        let mut request = json!({"Topics": ["a", "x"], "ProducerId": 0, "Other": 0});
        judge.translate("", &mut request);
        assert_eq!(request, json!({"Topics": ["b", "x"], "ProducerId": 9, "Other": 0}));
    }

    #[test]
    fn a_set_may_come_in_any_order_but_must_be_whole() {
        let (kafka, ours) = (json!({"A": [1, 2, 3]}), json!({"A": [3, 1]}));
        check("set Thing/A # hashed\n", &[(kafka, ours)], &["Thing/A: 2 / nothing"]);
        let (kafka, ours) = (json!({"A": [1, 2]}), json!({"A": [2, 1]}));
        check("", &[(kafka.clone(), ours.clone())], &["Thing/A: 1 / 2", "Thing/A: 2 / 1"]);
        assert!(judged("set Thing/A # hashed\n", &[(kafka, ours)]).unused().is_empty());
    }

    #[test]
    fn words_may_differ_but_where_kafka_explains_ours_must() {
        let rules = "words */ErrorMessage # our own\n";
        check(rules, &[(json!({"ErrorMessage": "a"}), json!({"ErrorMessage": "b"}))], &[]);
        check(rules, &[(json!({"ErrorMessage": null}), json!({"ErrorMessage": "b"}))], &[]);
        let found = ["Thing/ErrorMessage: \"b\" / null"];
        check(rules, &[(json!({"ErrorMessage": "b"}), json!({"ErrorMessage": null}))], &found);
    }
}
