//! Data of former releases: each version reads what the ones before it wrote, with everything that lies in it.
//!
//! `crates/broker/tests/releases/` keeps small data directories, each written by the program of that release. A new one is
//! written once for each release, and never again:
//!
//! ```sh
//! RELEASE=1.2.3 RELEASE_BINARY=/path/to/odradek cargo test -p broker --test api a_release_is_written
//! ```
//!
//! The same is written and read by this version in every run, so that the test is known to hold before a release.

mod program;
mod reader;
mod writer;

use crate::{harness::Node, log_dirs::MORE};
use log::testing::MemoryDisk;
use program::Program;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What nodes are configured with that write releases: all that any of them knows.
const STATICS: [(&str, &str); 6] = [
    ("offsets.topic.num.partitions", "2"),
    ("transaction.state.log.num.partitions", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("log.cleaner.backoff.ms", "100"),
    ("metadata.log.max.record.bytes.between.snapshots", "3000"),
    ("share.coordinator.snapshot.update.records.per.snapshot", "3"),
];

/// What a release says of its data, beside them in the file `release.txt`: a key and its values in each line.
#[derive(Debug, Default)]
struct Release(BTreeMap<String, String>);

impl Release {
    fn read(dir: &Path) -> Self {
        let text = fs::read_to_string(dir.join(TEXT)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let entry = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self(lines.filter_map(entry).collect())
    }

    fn write(&self, dir: &Path, head: &str) {
        let lines: String = self.0.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        fs::write(dir.join(TEXT), format!("# {head}\n{lines}")).unwrap();
    }

    fn set(&mut self, key: &str, values: &[&dyn std::fmt::Display]) {
        let values: Vec<_> = values.iter().map(|value| value.to_string()).collect();
        self.0.insert(key.to_owned(), values.join(" "));
    }

    /// One of a key's values.
    fn value<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, key: &str, place: usize) -> T {
        self.0[key].split(' ').nth(place).unwrap().parse().unwrap()
    }

    /// Whether the release could do that, and so has data of it.
    fn has(&self, part: &str) -> bool {
        self.0["parts"].split(' ').any(|one| one == part)
    }
}

const TEXT: &str = "release.txt";
const DIRS: [(&str, &str); 2] = [("first", crate::harness::LOG_DIR), ("second", MORE)];

fn releases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/releases")
}

/// Everything below `from`, as it lies below `to` on a disk in memory.
fn load(disk: &MemoryDisk, from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let at = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            load(disk, &entry.path(), &at);
        } else {
            disk.put(&at, fs::read(entry.path()).unwrap());
        }
    }
}

fn two_dirs(config: &mut broker::Config) {
    config.log_dirs.push(MORE.into());
}

#[tokio::test(start_paused = true)]
async fn what_this_version_writes_it_reads_after_a_kill_and_after_a_stop() {
    for is_killed in [true, false] {
        let node = Node::with_config(&STATICS, two_dirs).await;
        let release = writer::write(&mut node.client(), true).await;
        let node = if is_killed { node.start_on(|_| {}).await.unwrap() } else { node.restart().await };
        reader::read(&node, &release).await;
        let node = reader::go_on(node, &release).await;
        node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn what_former_releases_wrote_is_read_with_everything_that_lies_in_it() {
    let mut count = 0;
    for entry in fs::read_dir(releases()).unwrap() {
        let dir = entry.unwrap().path();
        println!("{}", dir.display());
        let release = Release::read(&dir);
        let disk = MemoryDisk::new();
        let dirs: Vec<_> = DIRS.iter().filter(|(name, _)| dir.join(name).exists()).collect();
        dirs.iter().for_each(|(name, path)| load(&disk, &dir.join(name), Path::new(path)));
        reader::assert_rich(&disk, dirs.len());
        let set_dirs = |config: &mut broker::Config| {
            config.log_dirs = dirs.iter().map(|(_, path)| PathBuf::from(path)).collect();
        };
        let node = Node::on(disk, release.value("written", 0), set_dirs).await.unwrap();
        reader::read(&node, &release).await;
        // What this version makes of it, it reads too.
        let node = node.cut_power().await;
        reader::read(&node, &release).await;
        reader::go_on(node, &release).await.assert_sound();
        count += 1;
    }
    assert!(count >= 2, "one of a former release, and one of this version");
}

/// Writes a release, if one is asked for; see the head of the file.
#[tokio::test]
async fn a_release_is_written() {
    let (Ok(name), Ok(binary)) = (std::env::var("RELEASE"), std::env::var("RELEASE_BINARY")) else { return };
    let dir = releases().join(&name);
    assert!(!dir.exists(), "{} is there already, and what a release wrote does not change", dir.display());
    let mut program = None;
    // A version that keeps one directory only refuses two.
    for count in [2, 1] {
        let paths = DIRS[..count].iter().map(|(name, _)| dir.join(name)).collect::<Vec<_>>();
        program = Program::start(Path::new(&binary), &paths, &STATICS).await;
        if program.is_some() {
            break;
        }
        fs::remove_dir_all(&dir).unwrap();
    }
    let program = program.expect("it starts");
    let mut release = writer::write(&mut program.client(), program.dirs == 2).await;
    // The last snapshots and checkpoints are on their way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    program.stop();
    let written = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    release.set("written", &[&written]);
    release.write(
        &dir,
        &format!("Data that odradek {name} wrote. crates/broker/tests/api/releases.rs reads it."),
    );
    for (name, _) in DIRS.iter().filter(|(name, _)| dir.join(name).exists()) {
        fs::remove_file(dir.join(name).join(".lock")).unwrap();
    }
}
