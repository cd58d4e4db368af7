//! What goes wrong and when: the seed draws one trouble after the other, with calm between, until the time is over. It
//! knows nothing of what clients do; it switches the machine, its disk, its clock and its network.

use crate::{
    dice::Dice,
    history::{Event, Fault, History},
    node::Node,
    note,
    trace::Trace,
    world::{Clocked, SimClock},
};
use std::sync::Arc;

/// Makes trouble.
pub struct Schedule {
    node: Arc<Node>,
    clock: Arc<SimClock>,
    history: Arc<History>,
    trace: Arc<Trace>,
    dice: Dice,
}

/// A node that has not started by then never will.
const START_MS_MAX: u64 = 60_000;
const STOP_MS_MAX: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;

impl Schedule {
    /// A schedule for this machine.
    pub fn new(
        node: Arc<Node>,
        clock: Arc<SimClock>,
        history: Arc<History>,
        trace: Arc<Trace>,
        dice: Dice,
    ) -> Self {
        Self { node, clock, history, trace, dice }
    }

    /// Makes trouble for so long, then heals everything; the node serves afterwards.
    pub async fn run(&mut self, duration_ms: u64) {
        let end = self.clock.elapsed_ms() + duration_ms;
        while self.clock.elapsed_ms() < end {
            self.clock.sleep_ms(self.dice.range(200..=2500)).await;
            self.trouble().await;
            self.inspect();
        }
        note!(self.trace, "schedule heals");
        self.node.disk.set_faults(|faults| {
            faults.full = false;
            faults.sync_errors = 0;
            faults.power_cut_after = None;
        });
        self.node.lanes.set(1);
        self.node.network.set_delay(1);
        match self.dice.below(3) {
            0 => self.kill().await,
            1 => self.cut_power().await,
            _ => self.stop().await,
        }
        self.start().await;
    }

    async fn trouble(&mut self) {
        match self.dice.below(13) {
            0 | 1 => {
                self.kill().await;
                self.rest_and_start().await;
            }
            2 => {
                self.cut_power().await;
                self.rest_and_start().await;
            }
            3..=5 => self.cut_power_soon().await,
            6 => {
                self.stop().await;
                self.rest_and_start().await;
            }
            7 => self.fail_syncs().await,
            8 => self.fill_disk().await,
            9 => {
                let ms = self.dice.range(50..=250);
                note!(self.trace, "schedule slow disk {ms} ms");
                self.node.lanes.set(ms);
                self.clock.sleep_ms(self.dice.range(500..=3000)).await;
                self.node.lanes.set(self.dice.range(0..=3));
            }
            10 => {
                let ms = self.dice.pick(&[2_000, 60_000, HOUR_MS], 2000) as i64;
                let ms = if self.dice.chance(50) { ms } else { -ms };
                note!(self.trace, "schedule clock jumps {ms} ms");
                self.clock.jump(ms);
            }
            11 => {
                note!(self.trace, "schedule resets connections");
                self.node.network.reset_some(self.dice.pick(&[20, 50, 100], 50));
            }
            _ => {
                let ms = self.dice.pick(&[0, 3, 30, 150], 3);
                note!(self.trace, "schedule network delay {ms} ms");
                self.node.network.set_delay(ms);
            }
        }
    }

    /// The process is killed.
    pub async fn kill(&mut self) {
        self.node.kill().await;
        self.history.tell(Event::Faulted(Fault::Kill));
    }

    /// The power is cut between two operations of the disk, or now.
    pub async fn cut_power(&mut self) {
        self.node.cut_power().await;
        self.history.tell(Event::Faulted(Fault::PowerCut));
    }

    /// The node is stopped as an operator would.
    pub async fn stop(&mut self) {
        if self.node.stop().within(&self.clock, STOP_MS_MAX).await.is_err() {
            self.history.violated("availability", "the node does not stop".into());
        }
        self.history.tell(Event::Faulted(Fault::Stop));
    }

    async fn cut_power_soon(&mut self) {
        let operations = self.dice.range(0..=80);
        note!(self.trace, "schedule power cut after {operations} operations");
        self.node.disk.set_faults(|faults| faults.power_cut_after = Some(operations));
        if self.node.disk.until_power_cut().within(&self.clock, 3000).await.is_ok() {
            self.node.end().await;
            self.history.tell(Event::Faulted(Fault::PowerCut));
            // Now and then once more while it recovers.
            if self.dice.chance(40) {
                let operations = self.dice.range(0..=150);
                self.node.disk.set_faults(|faults| faults.power_cut_after = Some(operations));
            }
            self.rest_and_start().await;
        }
        self.node.disk.set_faults(|faults| faults.power_cut_after = None);
        // The cut may have come while the node was starting or just before the switch was turned back.
        if self.node.disk.take_power_cut() {
            self.node.end().await;
            self.history.tell(Event::Faulted(Fault::PowerCut));
            self.rest_and_start().await;
        }
    }

    async fn fail_syncs(&mut self) {
        let count = self.dice.range(1..=2) as u32;
        note!(self.trace, "schedule {count} syncs fail");
        self.node.disk.set_faults(|faults| faults.sync_errors = count);
        self.clock.sleep_ms(self.dice.range(100..=2000)).await;
        self.node.disk.set_faults(|faults| faults.sync_errors = 0);
        self.repair().await;
    }

    async fn fill_disk(&mut self) {
        note!(self.trace, "schedule full disk");
        self.node.disk.set_faults(|faults| faults.full = true);
        self.clock.sleep_ms(self.dice.range(100..=2000)).await;
        self.node.disk.set_faults(|faults| faults.full = false);
        self.repair().await;
    }

    /// What has failed for good is back after a restart of any kind.
    async fn repair(&mut self) {
        match self.dice.below(3) {
            0 => self.kill().await,
            1 => self.cut_power().await,
            _ => self.stop().await,
        }
        self.rest_and_start().await;
    }

    async fn rest_and_start(&mut self) {
        self.clock.sleep_ms(self.dice.range(0..=1500)).await;
        self.start().await;
    }

    /// Starts the node; a power cut on the way is followed by another start.
    pub async fn start(&mut self) {
        loop {
            let started = self.node.start().within(&self.clock, START_MS_MAX).await;
            let power_was_cut = self.node.disk.take_power_cut();
            match started {
                Ok(Ok(())) if !power_was_cut => return self.history.tell(Event::Serves),
                _ if power_was_cut => {
                    self.node.end().await;
                    self.history.tell(Event::Faulted(Fault::PowerCut));
                }
                Ok(Err(why)) => {
                    self.history.violated("availability", format!("the node does not start: {why}"));
                    return;
                }
                _ => {
                    self.history.violated("availability", "the node hangs while it starts".into());
                    return;
                }
            }
        }
    }

    /// Tells what the node must never have done.
    pub fn inspect(&self) {
        for panic in self.node.panics.lock().drain(..) {
            self.history.violated("panic", panic);
        }
        for misdeed in self.node.disk.take_misdeeds() {
            self.history.violated("failed_syncs", misdeed);
        }
    }
}
