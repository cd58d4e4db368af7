//! The members of one consumer group as processes, and what they have said so far: held, consumed, closed.
//! It judges one thing only: whether the living members share all partitions fairly and without overlap.
//! Called by `groups`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::clients::{Client, Clients};
use crate::program::Program;

/// One member to be started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Which client.
    pub client: Client,
    /// Its name for the way of assigning.
    pub strategy: &'a str,
    /// `group.instance.id`, for a static member.
    pub instance: Option<&'a str>,
}

/// The members of one group, oldest first.
#[derive(Debug)]
pub struct Fleet<'a> {
    clients: &'a Clients,
    topic: String,
    group: String,
    partitions: u64,
    members: Vec<Member>,
    leaving: Vec<Member>,
    consumed: BTreeMap<u64, BTreeSet<u64>>,
    firsts: BTreeMap<u64, u64>,
    started: usize,
}

#[derive(Debug)]
struct Member {
    name: String,
    program: Program,
    held: BTreeSet<u64>,
    assignments: usize,
    closed: bool,
    killed: bool,
}

impl<'a> Fleet<'a> {
    /// No members yet.
    pub fn new(clients: &'a Clients, topic: &str, group: &str, partitions: u64) -> Fleet<'a> {
        Fleet {
            clients,
            topic: topic.to_owned(),
            group: group.to_owned(),
            partitions,
            members: Vec::new(),
            leaving: Vec::new(),
            consumed: BTreeMap::new(),
            firsts: BTreeMap::new(),
            started: 0,
        }
    }

    /// One more member.
    pub fn start(&mut self, bootstrap: &str, member: Start<'_>) -> Result<()> {
        let mut args = vec![self.topic.as_str(), self.group.as_str(), member.strategy];
        args.extend(member.instance);
        let program = self.clients.start(member.client, "member", bootstrap, &args)?;
        self.started += 1;
        let name = format!("{}#{}", member.client.name(), self.started);
        self.members.push(Member {
            name,
            program,
            held: BTreeSet::new(),
            assignments: 0,
            closed: false,
            killed: false,
        });
        Ok(())
    }

    /// How many were ever started.
    pub fn started(&self) -> usize {
        self.started
    }

    /// SIGKILL: it leaves without a word.
    pub fn kill_oldest(&mut self) -> Result<()> {
        self.listen()?;
        ensure!(!self.members.is_empty(), "there is no member");
        let mut member = self.members.remove(0);
        member.program.kill();
        member.killed = true;
        // What it had said before its end still counts.
        self.hear(&mut member)
    }

    /// SIGTERM: it leaves the group in good order.
    pub fn dismiss_oldest(&mut self) -> Result<()> {
        ensure!(!self.members.is_empty(), "there is no member");
        let member = self.members.remove(0);
        member.program.terminate()?;
        self.leaving.push(member);
        Ok(())
    }

    /// SIGTERM to all, and waits until each has said that it left.
    pub fn dismiss_all(&mut self, limit: Duration) -> Result<()> {
        while !self.members.is_empty() {
            self.dismiss_oldest()?;
        }
        self.wait("every member to leave", limit, |fleet| fleet.leaving.iter().all(|m| m.closed))?;
        self.leaving.clear();
        Ok(())
    }

    /// Ends whatever still runs.
    pub fn end(&mut self) {
        self.members.clear();
        self.leaving.clear();
    }

    /// Waits until the members share all partitions, and for half a second more that it stays so.
    pub fn settle(&mut self, limit: Duration) -> Result<Duration> {
        let started = Instant::now();
        loop {
            let left = limit.saturating_sub(started.elapsed());
            self.wait("the members to share all partitions", left, |fleet| fleet.is_shared())?;
            let settled = started.elapsed();
            let calm = Instant::now();
            while self.is_shared() && calm.elapsed() < Duration::from_millis(500) {
                self.listen()?;
                thread::sleep(Duration::from_millis(20));
            }
            if self.is_shared() {
                return Ok(settled);
            }
        }
    }

    /// Waits until every offset below `end` of every partition was consumed by somebody.
    pub fn consume_to(&mut self, end: u64, limit: Duration) -> Result<Duration> {
        self.wait("every record to be consumed", limit, |fleet| {
            fleet.consumed.len() as u64 == fleet.partitions
                && fleet.consumed.values().all(|offsets| offsets.len() as u64 >= end)
        })
    }

    /// From here on, `firsts` begins anew.
    pub fn forget_firsts(&mut self) {
        self.firsts.clear();
    }

    /// The first offset that was read of each partition since `forget_firsts`.
    pub fn firsts(&self) -> &BTreeMap<u64, u64> {
        &self.firsts
    }

    /// The partitions of the member that is longest there.
    pub fn held_by_oldest(&self) -> Result<BTreeSet<u64>> {
        Ok(self.members.first().context("no member")?.held.clone())
    }

    /// The partitions of the member that came last.
    pub fn held_by_youngest(&self) -> Result<BTreeSet<u64>> {
        Ok(self.members.last().context("no member")?.held.clone())
    }

    /// How often the longest member was told its partitions.
    pub fn assignments_of_oldest(&self) -> Result<usize> {
        Ok(self.members.first().context("no member")?.assignments)
    }

    /// How often the last member was told its partitions.
    pub fn assignments_of_youngest(&self) -> Result<usize> {
        Ok(self.members.last().context("no member")?.assignments)
    }

    fn is_shared(&self) -> bool {
        let held: Vec<&BTreeSet<u64>> = self.members.iter().map(|member| &member.held).collect();
        is_shared(&held, self.partitions)
    }

    fn wait(&mut self, what: &str, limit: Duration, done: impl Fn(&Fleet<'_>) -> bool) -> Result<Duration> {
        let started = Instant::now();
        loop {
            self.listen()?;
            if done(self) {
                return Ok(started.elapsed());
            }
            if started.elapsed() >= limit {
                let state = self.describe();
                bail!("waited {} s for {what}: {state}{}", limit.as_secs(), self.last_words());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn listen(&mut self) -> Result<()> {
        let (mut members, mut leaving) =
            (std::mem::take(&mut self.members), std::mem::take(&mut self.leaving));
        let heard = members.iter_mut().chain(&mut leaving).try_for_each(|member| self.hear(member));
        (self.members, self.leaving) = (members, leaving);
        heard
    }

    fn hear(&mut self, member: &mut Member) -> Result<()> {
        loop {
            let line = match member.program.next_line(Duration::ZERO) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) if !member.closed && !member.killed => {
                    bail!("{} ended by itself: {}", member.name, member.program.last_words());
                }
                Err(_) => return Ok(()),
            };
            let event: Value =
                serde_json::from_str(&line).with_context(|| format!("{} said {line:?}", member.name))?;
            if let Some(held) = event.get("assigned").and_then(Value::as_array) {
                member.held = held.iter().filter_map(Value::as_u64).collect();
                member.assignments += 1;
            }
            member.closed |= event.get("closed").is_some();
            for run in event.get("records").and_then(Value::as_array).into_iter().flatten() {
                let at = |index: usize| run.get(index).and_then(Value::as_u64);
                if let (Some(partition), Some(first), Some(last)) = (at(0), at(1), at(2)) {
                    self.consumed.entry(partition).or_default().extend(first..=last);
                    self.firsts.entry(partition).or_insert(first);
                }
            }
        }
    }

    /// Ends everybody; what each had written to its error output.
    fn last_words(&mut self) -> String {
        let members = self.members.iter_mut().chain(&mut self.leaving);
        members.map(|member| format!("\n{} wrote: {}", member.name, member.program.last_words())).collect()
    }

    fn describe(&self) -> String {
        let members = self.members.iter().map(|m| format!("{} holds {:?}", m.name, m.held));
        let leaving = self.leaving.iter().filter(|m| !m.closed).map(|m| format!("{} is leaving", m.name));
        let consumed = self.consumed.iter().map(|(p, offsets)| format!("p{p}: {} read", offsets.len()));
        members.chain(leaving).chain(consumed).collect::<Vec<_>>().join(", ")
    }
}

/// Everybody holds as many as the others, give or take one; nothing is held twice and nothing by nobody.
fn is_shared(held: &[&BTreeSet<u64>], partitions: u64) -> bool {
    let sizes = || held.iter().map(|one| one.len());
    let union: BTreeSet<u64> = held.iter().flat_map(|one| one.iter().copied()).collect();
    let spread = sizes().max().unwrap_or_default() - sizes().min().unwrap_or_default();
    union.len() as u64 == partitions && sizes().sum::<usize>() == union.len() && spread <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(held: &[&[u64]]) -> bool {
        let held: Vec<BTreeSet<u64>> = held.iter().map(|one| one.iter().copied().collect()).collect();
        is_shared(&held.iter().collect::<Vec<_>>(), 4)
    }

    #[test]
    fn partitions_are_shared_only_without_gap_overlap_and_favour() {
        assert!(shared(&[&[0, 1], &[2, 3]]));
        assert!(shared(&[&[0, 1], &[2], &[3]]));
        assert!(!shared(&[&[0, 1], &[2]]));
        assert!(!shared(&[&[0, 1], &[1, 2, 3]]));
        assert!(!shared(&[&[0, 1, 2], &[3]]));
        assert!(!shared(&[]));
    }
}
