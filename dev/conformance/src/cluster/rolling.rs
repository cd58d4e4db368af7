//! One node after the other is restarted while records are produced, two groups read them, and a program copies records in
//! transactions: none of them may show its user an error, and nothing may be missing or doubled. Called by `cluster`.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{CALM, PARTITIONS, Trial, silence, within};
use crate::clients::{Client, WORK_LIMIT};
use crate::fleet::{Fleet, Start};
use crate::main_job::{fresh, number};
use crate::program::Program;
use crate::transactions;

/// Records in each partition that is copied; seven in a transaction, with a rest after each, take longer than the restarts.
const COPIED: u64 = 300;
/// Seconds of rest after each transaction.
const REST: &str = "0.15";

/// Two members of each protocol.
const GROUPS: [[(Client, &str); 2]; 2] = [
    [(Client::Librdkafka, "range"), (Client::Java, "RangeAssignor")],
    [(Client::Librdkafka, "consumer:uniform"), (Client::Java, "consumer:uniform")],
];

impl<'a> Trial<'a> {
    /// See the head of the file; on a topic of its own, which those who come later find full.
    pub(super) fn rolling_restart(&mut self) -> Result<String> {
        self.topic = fresh("rolling");
        self.create(&self.topic)?;
        let mut groups = GROUPS.iter().map(|cast| self.group(cast)).collect::<Result<Vec<_>>>()?;
        let (copying, target) = self.copying()?;
        let pulse = self.pulse(&[])?;
        let mut took = Vec::new();
        for id in 1..=3 {
            thread::sleep(CALM);
            took.push(format!("{:.2} s", self.nodes.stop(id)?.as_secs_f64()));
            self.nodes.start_again(id)?;
            self.until_in_sync()?;
        }
        thread::sleep(CALM);
        ensure!(copied_so_far(&copying)? < COPIED * PARTITIONS as u64, "all was copied before the end");
        let seen = silence(pulse)?;
        let gap = within(&seen)?;
        for group in &mut groups {
            group.consume_to(number(&seen, "sent")?, WORK_LIMIT)?;
            group.dismiss_all(WORK_LIMIT)?;
        }
        let copied = self.copied(copying, &target)?;
        Ok(format!(
            "the longest silence {gap} ms; two groups have read {}, {copied}; stopping took {}",
            seen.get("acked").unwrap_or(&Value::Null),
            took.join(", ")
        ))
    }

    fn create(&self, topic: &str) -> Result<()> {
        self.odradek(&["topic", "create", topic, "-p", &PARTITIONS.to_string(), "-r", "3"]).map(|_| ())
    }

    /// Members that share the topic.
    fn group(&self, cast: &[(Client, &'static str)]) -> Result<Fleet<'a>> {
        let group = fresh("rolled");
        let mut fleet = Fleet::new(self.clients, &self.topic, &group, PARTITIONS as u64);
        for (client, strategy) in cast {
            fleet.start(&self.nodes.bootstrap(), Start { client: *client, strategy, instance: None })?;
        }
        fleet.settle(WORK_LIMIT)?;
        Ok(fleet)
    }

    /// A program that copies, and where to.
    fn copying(&self) -> Result<(Program, String)> {
        let (source, target, bootstrap) = (fresh("copy-from"), fresh("copy-to"), self.nodes.bootstrap());
        self.create(&source)?;
        self.create(&target)?;
        let (partitions, each) = (PARTITIONS.to_string(), COPIED.to_string());
        self.clients.call(Client::Librdkafka, "count_up", &bootstrap, &[&source, &partitions, &each])?;
        let (group, id) = (format!("{source}.group"), format!("{source}.id"));
        let count = (COPIED * PARTITIONS as u64).to_string();
        let args = [source.as_str(), &target, &group, &id, &count, REST];
        Ok((self.clients.transactions(Client::Librdkafka, "copy", &bootstrap, &args)?, target))
    }

    /// Waits for its end: every record must be there once.
    fn copied(&self, copying: Program, target: &str) -> Result<String> {
        let anew = number(&copying.json(WORK_LIMIT)?, "anew")?;
        let bootstrap = self.nodes.bootstrap();
        let copied =
            transactions::read(self.clients, Client::Librdkafka, &bootstrap, target, "read_committed")?;
        let wanted = COPIED * PARTITIONS as u64;
        ensure!(copied.len() as u64 == wanted, "{} of {wanted} records were copied", copied.len());
        // Each partition holds the same numbers.
        let distinct: BTreeSet<_> = copied.iter().collect();
        ensure!(distinct.len() as u64 == COPIED, "{} of {COPIED} numbers were copied", distinct.len());
        let anew = if anew == 0 { String::new() } else { format!(", librdkafka 5511 met {anew} times") };
        Ok(format!("{} copied in transactions{anew}", copied.len()))
    }
}

fn copied_so_far(copying: &Program) -> Result<u64> {
    let mut copied = 0;
    while let Ok(line) = copying.next_line(Duration::ZERO) {
        copied = number(&serde_json::from_str(&line)?, "copied")?;
    }
    Ok(copied)
}
