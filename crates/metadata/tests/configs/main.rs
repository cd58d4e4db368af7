//! What becomes of every configuration key of the catalogue, as docs/configs.md says it: which ones have an effect, and where;
//! and why the others have none. It judges no values; `config::check` does.
//!
//! A key counts as effective where code outside of the catalogue names it, or where a topic's key that inherits it does. One
//! that nobody names needs a reason in [`REASONS`], and one that somebody names must have none of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and reads the sources of its own workspace"
)]

mod without_effect;

use metadata::config::{Default, Key, ResourceKind, Update, keys};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};
use without_effect::{REASONS, reason};

const KINDS: [(ResourceKind, &str); 4] = [
    (ResourceKind::Topic, "Topics"),
    (ResourceKind::Group, "Groups"),
    (ResourceKind::Broker, "Brokers"),
    (ResourceKind::ClientMetrics, "Client metrics subscriptions"),
];

const THROTTLES: &str = "broker/src/throttles.rs";
const RATE: &str = "{name}.replication.throttled.rate";
const REPLICAS: &str = "{name}.replication.throttled.replicas";

/// Keys whose names the code puts together or has in a constant: where, and what stands there.
const BUILT: &[(&str, &str, &str)] = &[
    ("leader.replication.throttled.rate", THROTTLES, RATE),
    ("follower.replication.throttled.rate", THROTTLES, RATE),
    ("leader.replication.throttled.replicas", THROTTLES, REPLICAS),
    ("follower.replication.throttled.replicas", THROTTLES, REPLICAS),
    ("odradek.ack.durability", "broker/src/log_config.rs", "ack_durability()"),
];

/// Keys that have less effect than their name promises.
const LIMITS: &[(&str, &str)] = &[
    ("log.cleaner.threads", "16 at most"),
    (
        "replica.selector.class",
        "`org.apache.kafka.common.replica.RackAwareReplicaSelector` only; others are refused",
    ),
    ("security.inter.broker.protocol", "PLAINTEXT only"),
    ("listener.security.protocol.map", "PLAINTEXT only; others are refused"),
];

/// Keys that take only the value by which nothing is asked of them.
const REFUSED: &[(&str, &str)] = &[(
    "remote.storage.enable",
    "`true`, because there is no tiered storage (without effect where remote.log.storage.system.enable is set)",
)];

/// What becomes of a key.
enum Verdict {
    /// Code names it there.
    Effective(String),
    /// So a key of a topic or group inherits it.
    Inherited(&'static str),
    /// Nothing, for this reason.
    Without(&'static str),
}

/// Which files name each text between quotation marks.
struct Sources {
    named: BTreeMap<String, BTreeSet<String>>,
}

impl Sources {
    fn read() -> Self {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (mut named, mut left) = (BTreeMap::<String, BTreeSet<String>>::new(), vec![crates.clone()]);
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let shown = path.strip_prefix(&crates).unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    left.push(path);
                } else if is_code(&shown) {
                    for text in quoted(&without_tests(&path)) {
                        named.entry(text).or_default().insert(shown.replace("/src/", "/"));
                    }
                }
            }
        }
        Self { named }
    }

    /// The file that says most: commands only pass on what the node reads, and the log has names of its own.
    fn place(&self, name: &str) -> Option<String> {
        let files = self.named.get(name)?.iter().filter(|file| !file.starts_with("odradek/"));
        files
            .min_by_key(|file| (file.starts_with("log/"), !file.ends_with("/log_config.rs"), file.len()))
            .cloned()
    }
}

/// Shipped code, but for the catalogue itself, which names every key.
fn is_code(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    path.ends_with(".rs")
        && parts.get(1) == Some(&"src")
        && !path.starts_with("metadata/src/config")
        && !path.starts_with("wire/")
        && !parts.iter().any(|part| ["tests", "tests.rs", "kit.rs"].contains(part))
}

fn without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let end = text.find("\nmod tests {").unwrap_or(text.len());
    text[..end].to_owned()
}

/// What stands between quotation marks and may be the name of a key.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    let is_name = |text: &&str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
    };
    text.split('"').filter(is_name).map(str::to_owned)
}

fn built(name: &str) -> Option<String> {
    let (_, file, text) = BUILT.iter().find(|(built, ..)| *built == name)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    assert!(fs::read_to_string(path).unwrap().contains(text), "{file} does not say {text:?}");
    Some(file.replace("/src/", "/"))
}

fn place(sources: &Sources, key: &Key) -> Option<String> {
    built(key.name).or_else(|| sources.place(key.name))
}

fn verdict(sources: &Sources, kind: ResourceKind, key: &Key) -> Result<Verdict, String> {
    let reason = reason(key.name);
    let mut heirs = [ResourceKind::Topic, ResourceKind::Group].into_iter().flat_map(keys);
    let heir = heirs.find(|heir| {
        kind == ResourceKind::Broker && heir.broker_keys.contains(&key.name) && place(sources, heir).is_some()
    });
    let found =
        place(sources, key).map(Verdict::Effective).or(heir.map(|heir| Verdict::Inherited(heir.name)));
    match (found, reason) {
        (Some(_), Some((known, _))) if known == key.name => {
            Err(format!("{} is said to have no effect, and the code names it", key.name))
        }
        (Some(found), _) => Ok(found),
        (None, Some((_, why))) => Ok(Verdict::Without(why)),
        (None, None) => Err(format!("nobody reads {}, and REASONS does not say why", key.name)),
    }
}

fn row(sources: &Sources, kind: ResourceKind, key: &Key) -> String {
    let default = match key.default {
        Default::Required => "required".to_owned(),
        Default::Null => String::new(),
        Default::Text("") => "empty".to_owned(),
        Default::Text(text) => format!("`{}`", text.replace('|', "\\|")),
    };
    let changed = match key.update {
        _ if kind != ResourceKind::Broker => "at any time",
        Update::ReadOnly => "with a restart",
        Update::PerBroker => "for one broker",
        Update::ClusterWide => "at any time",
    };
    let limit = LIMITS.iter().find(|(name, _)| *name == key.name);
    let limit = limit.map(|(_, limit)| format!(" ({limit})")).unwrap_or_default();
    let effect = match verdict(sources, kind, key).unwrap() {
        Verdict::Effective(place) => format!("yes, `{place}`{limit}"),
        Verdict::Inherited(heir) => format!("yes, as `{heir}`{limit}"),
        Verdict::Without(why) => match REFUSED.iter().find(|(name, _)| *name == key.name) {
            Some((_, what)) => format!("refused: {what}"),
            None => format!("none: {why}"),
        },
    };
    format!("| `{}` | {default} | {changed} | {effect} |\n", key.name)
}

fn page(sources: &Sources) -> String {
    let mut text = String::from(
        "# What becomes of each configuration key\n\n\
         Every key of Apache Kafka 4.4, and ours, is known: its type, its default, its limits, and when it may be changed. A value\n\
         that breaks them is refused, and so is a name that nobody knows. The tables say which keys have an effect, and where they\n\
         are read; the others are accepted, kept and described. Made from the catalogue and the sources by\n\
         `crates/metadata/tests/configs/main.rs`; `UPDATE_DOCS=1 cargo test -p metadata --test configs` writes it.\n",
    );
    for (kind, title) in KINDS {
        let rows: Vec<_> = keys(kind).map(|key| row(sources, kind, key)).collect();
        let counted = rows.iter().filter(|row| row.contains("| yes, ")).count();
        write!(text, "\n## {title}\n\n{counted} of {} have an effect.\n\n", rows.len()).unwrap();
        text.push_str("| key | default | changed | effect |\n|---|---|---|---|\n");
        rows.iter().for_each(|row| text.push_str(row));
    }
    text
}

#[test]
fn every_key_has_a_verdict_that_the_code_bears_out() {
    let sources = Sources::read();
    let all: Vec<_> = KINDS.iter().flat_map(|(kind, _)| keys(*kind).map(|key| (*kind, key))).collect();
    let wrong: Vec<_> = all.iter().filter_map(|(kind, key)| verdict(&sources, *kind, key).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let used: BTreeSet<_> =
        all.iter().filter_map(|(_, key)| reason(key.name)).map(|(known, _)| known).collect();
    let useless: Vec<_> =
        REASONS.iter().map(|(known, _)| known).filter(|known| !used.contains(*known)).collect();
    assert!(useless.is_empty(), "reasons for no key: {useless:?}");
}

#[test]
fn the_page_of_configurations_says_so() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configs.md");
    let text = page(&Sources::read());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/configs.md is out of date: UPDATE_DOCS=1 cargo test -p metadata --test configs"
    );
}
