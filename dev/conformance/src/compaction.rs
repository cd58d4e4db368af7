//! A compacted topic under the Java client's transactions, over a `kill -9` of the broker: readers always end up with what was
//! committed, and Kafka's DumpLogSegments reads what is left. It does not ask how it is compacted. Called as
//! `conformance compaction`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::clients::Clients;
use crate::dump_log::dump_files;
use crate::java_tools::JavaTools;
use crate::main_job::{fresh, number};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

/// A reader gets no more records than this of the 40000 that are sent: 300 keys in two partitions, and what the active segments hold.
const LEFT_MAX: u64 = 3000;
/// Waiting for compaction, on a slow and busy machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(400);

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let setup = Setup::new(kind.clone(), dir.path())
        .set("transaction.state.log.replication.factor", 1)
        .set("transaction.state.log.min.isr", 1)
        .set("log.cleaner.backoff.ms", 500);
    let mut server = Server::start(setup)?;
    let topic = fresh("compacted");
    let call = |server: &Server, verb: &str, more: &[&str]| {
        let args = [&[topic.as_str()], more].concat();
        clients.compaction(verb, server.bootstrap(), &args)?.json(LIMIT)
    };
    report.check("compaction: transactions with tombstones are written", || {
        Ok(format!("{} records", number(&call(&server, "work", &[])?, "sent")?))
    });
    report.check("compaction: few records are left, and they say what was committed", || {
        let awaited = call(&server, "await", &[&LEFT_MAX.to_string()])?;
        let last = awaited.get("last").context("no last")?;
        judge(last)?;
        ensure!(number(last, "count")? <= LEFT_MAX, "{awaited}");
        Ok(format!("{} records of {}", number(last, "count")?, number(&awaited, "first")?))
    });
    if !server.is_ours() {
        report.skip("compaction: over kill -9", "the broker is not ours to kill");
        return Ok(());
    }
    server.kill()?;
    server.start_again()?;
    report.check("compaction: the same after kill -9", || {
        let read = call(&server, "read", &[])?;
        judge(&read)?;
        Ok(format!("{} records", number(&read, "count")?))
    });
    server.stop()?;
    let tools = JavaTools::install()?;
    report.check("compaction: DumpLogSegments reads what is left", || {
        dump_files(&tools, &server.data_dir(), &topic)
    });
    Ok(())
}

fn judge(read: &Value) -> Result<()> {
    ensure!(number(read, "differences")? == 0, "what is read is not what was committed: {read}");
    ensure!(number(read, "keys")? > 100, "{read}");
    Ok(())
}
