//! Kafka's DumpLogSegments over every file that a worked broker leaves behind, after a clean stop and after a kill.
//! It does not parse files itself: it wants Kafka's reader to find every record and to complain of nothing.
//! Called as `conformance dump-log`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::clients::{Client, Clients};
use crate::java_tools::JavaTools;
use crate::main_job::{CODECS, fresh};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";

/// Enough for several segments of 1 MiB, the smallest that Kafka allows, in each of two partitions.
const ROWS: u64 = 30_000;

/// What DumpLogSegments prints where a file is wrong. It ends well all the same.
const COMPLAINTS: [&str; 8] = [
    "isvalid: false",
    "Mismatches in",
    "Found timestamp mismatch",
    "Found out of order timestamp",
    "Non-consecutive offsets",
    "Non-secutive offsets",
    "Exception",
    "Could not",
];

/// Lets a broker work, and reads its files twice.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    if matches!(kind, Kind::External(_)) {
        report.skip("dump-log", "the files of a foreign broker are out of reach");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let tools = JavaTools::install()?;
    let setup = Setup::new(kind.clone(), dir.path())
        .set("log.segment.bytes", 1 << 20)
        .set("log.retention.ms", -1)
        .set("metadata.log.max.record.bytes.between.snapshots", 1024);
    let mut server = Server::start(setup)?;
    let topic = fresh("dumped");
    report.check("dump-log: records, offsets and deletions are written", || work(&clients, &server, &topic));
    server.kill()?;
    server.start_again()?;
    report.check("dump-log: written again after kill -9", || write(&clients, &server, &topic, "zstd"));
    server.stop()?;
    let files = Files::below(&server.data_dir())?;
    files.judge(report, &tools, &topic);
    Ok(())
}

fn work(clients: &Clients, server: &Server, topic: &str) -> Result<String> {
    clients.call(
        Client::Librdkafka,
        "create",
        server.bootstrap(),
        &[topic, "2", "index.interval.bytes=1024"],
    )?;
    for codec in CODECS {
        write(clients, server, topic, codec)?;
    }
    let member =
        clients.start(Client::Librdkafka, "member", server.bootstrap(), &[topic, "dumpers", "range"])?;
    let wait = std::time::Duration::from_secs(60);
    let mut seen = 0;
    while seen < 3 {
        let line = member.line(wait).context("the group member ended")?;
        seen += usize::from(line.contains("records"));
    }
    member.terminate()?;
    member.finish(wait)?;
    Ok(format!("{} records", ROWS * CODECS.len() as u64))
}

fn write(clients: &Clients, server: &Server, topic: &str, codec: &str) -> Result<String> {
    let file = clients.flights.display().to_string();
    let compression = format!("compression.type={codec}");
    let more = ["own", "enable.idempotence=true", "batch.size=32768", &compression];
    let rows = ROWS.to_string();
    let args = [&[topic, &file, "0", &rows], &more[..]].concat();
    let written = clients.call(Client::Librdkafka, "write", server.bootstrap(), &args)?;
    ensure!(crate::main_job::number(&written, "acked")? == ROWS, "{written}");
    Ok(format!("{ROWS} records, {codec}"))
}

/// Files of the data directory by their ending.
struct Files {
    by_ending: BTreeMap<String, Vec<PathBuf>>,
}

impl Files {
    fn below(data: &Path) -> Result<Files> {
        let mut by_ending: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for dir in std::fs::read_dir(data)? {
            let dir = dir?.path();
            if !dir.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(&dir)? {
                let file = file?.path();
                let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
                by_ending.entry(ending).or_default().push(file);
            }
        }
        Ok(Files { by_ending })
    }

    /// Those with this ending, of partitions whose name begins like this, that are not empty.
    fn of(&self, ending: &str, partition: &str) -> Vec<&PathBuf> {
        let all = self.by_ending.get(ending).map(Vec::as_slice).unwrap_or_default();
        let named = |file: &&PathBuf| {
            let dir = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            dir.is_some_and(|dir| dir.starts_with(partition))
        };
        all.iter().filter(named).filter(|file| file.metadata().is_ok_and(|m| m.len() > 0)).collect()
    }

    fn judge(&self, report: &mut Report, tools: &JavaTools, topic: &str) {
        report.check("dump-log: .log, every record of every batch", || {
            let files = self.of("log", topic);
            ensure!(files.len() >= 4, "only {} segments", files.len());
            let printed = dump(tools, &files, &["--deep-iteration"])?;
            let records = printed.lines().filter(|line| line.starts_with("| offset: ")).count() as u64;
            let wanted = ROWS * (CODECS.len() as u64 + 1);
            ensure!(records == wanted, "{records} records instead of {wanted}");
            for codec in CODECS {
                ensure!(printed.contains(&format!("compresscodec: {codec}")), "no batch with {codec}");
            }
            Ok(format!("{} segments, {records} records", files.len()))
        });
        for ending in ["index", "timeindex", "snapshot"] {
            report.check(format!("dump-log: .{ending}"), || {
                let files = self.of(ending, topic);
                ensure!(!files.is_empty(), "there is none");
                let printed = dump(tools, &files, &[])?;
                Ok(format!("{} files, {} lines", files.len(), printed.lines().count()))
            });
        }
        report.check("dump-log: __consumer_offsets", || {
            let files = self.of("log", "__consumer_offsets");
            let printed = dump(tools, &files, &["--offsets-decoder", "--print-data-log"])?;
            for wanted in ["dumpers", topic, "\"offset\""] {
                ensure!(
                    printed.contains(wanted),
                    "{wanted:?} is missing in {} files:\n{printed}",
                    files.len()
                );
            }
            Ok(format!("{} files", files.len()))
        });
        for (what, ending, wanted) in [
            ("", "log", ["TOPIC_RECORD", "PARTITION_RECORD", "REGISTER_BROKER_RECORD"]),
            (", snapshots", "checkpoint", ["KRaftVersion", "FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD"]),
        ] {
            report.check(format!("dump-log: __cluster_metadata{what}"), || {
                let files = self.of(ending, "__cluster_metadata");
                let printed = dump(tools, &files, &["--cluster-metadata-decoder"])?;
                for wanted in wanted.iter().chain([&topic]) {
                    ensure!(printed.contains(wanted), "{wanted:?} is missing:\n{printed}");
                }
                Ok(format!("{} files", files.len()))
            });
        }
    }
}

/// All files of a compacted topic that have something in them; how many there are. Offsets may be missing between batches.
pub fn dump_files(tools: &JavaTools, data: &Path, topic: &str) -> Result<String> {
    let files = Files::below(data)?;
    let mut told = Vec::new();
    for (ending, more) in [
        ("log", &["--deep-iteration"][..]),
        ("index", &[]),
        ("timeindex", &[]),
        ("txnindex", &[]),
        ("snapshot", &[]),
    ] {
        let these = files.of(ending, topic);
        if these.is_empty() {
            continue;
        }
        let printed = print(tools, &these, more)?;
        let complains = |line: &&str| is_complaint(line) && !line.contains("secutive offsets");
        if let Some(line) = printed.lines().find(complains) {
            bail!("{line}");
        }
        told.push(format!("{} .{ending}", these.len()));
    }
    ensure!(told.len() >= 3, "only {told:?}");
    Ok(told.join(", "))
}

fn dump(tools: &JavaTools, files: &[&PathBuf], more: &[&str]) -> Result<String> {
    let printed = print(tools, files, more)?;
    if let Some(line) = printed.lines().find(|line| is_complaint(line)) {
        bail!("{line}");
    }
    Ok(printed)
}

fn print(tools: &JavaTools, files: &[&PathBuf], more: &[&str]) -> Result<String> {
    ensure!(!files.is_empty(), "there is no such file");
    let list = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(",");
    tools.run(DUMP, &[&["--files", &list], more].concat(), None)
}

fn is_complaint(line: &str) -> bool {
    COMPLAINTS.iter().any(|complaint| line.contains(complaint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_checksum_is_a_complaint_and_a_good_one_is_not() {
        assert!(is_complaint("baseOffset: 0 ... crc: 1 isvalid: false"));
        assert!(is_complaint("Found timestamp mismatch in :/data/t-0/0.timeindex"));
        assert!(!is_complaint("baseOffset: 0 ... crc: 1 isvalid: true"));
    }
}
