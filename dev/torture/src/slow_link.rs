//! A second way out of a node, on which packets take their time: two packet devices, one in the node's namespace and one beside
//! the bridge, and two threads between them. A kernel that can delay packets itself (netem) is not needed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::RngExt;

use crate::kernel::packet_device;

/// Longer packets than that are not on this network.
const PACKET_MAX: usize = 2048;
/// Packets under way; a link drops what is more.
const UNDER_WAY_MAX: usize = 20_000;

/// A link that delays what it is given. Its devices and threads last as long as the program.
#[derive(Debug)]
pub struct SlowLink {
    delay_us: Arc<AtomicU64>,
}

impl SlowLink {
    /// An interface `name` in a namespace, and one of the same name here where its packets come out.
    pub fn new(namespace: &Path, name: &str) -> Result<SlowLink> {
        let (from, to) = (packet_device(Some(namespace), name)?, packet_device(None, name)?);
        let delay_us = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = sync_channel(UNDER_WAY_MAX);
        let delay = delay_us.clone();
        std::thread::spawn(move || take(from, &delay, &sender));
        std::thread::spawn(move || pass_on(to, &receiver));
        Ok(SlowLink { delay_us })
    }

    /// So long packets take from now on, and up to half as long again.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

type Late = (Instant, Vec<u8>);

fn take(mut from: File, delay_us: &AtomicU64, sender: &SyncSender<Late>) {
    let mut packet = vec![0; PACKET_MAX];
    // A device that is down for a moment gives an error; one that has gone goes with the program.
    loop {
        let Ok(length) = from.read(&mut packet) else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let least = delay_us.load(Relaxed);
        let delay = least + rand::rng().random_range(0..=least / 2);
        let due = Instant::now() + Duration::from_micros(delay);
        // A full link drops.
        let _ = sender.try_send((due, packet.iter().take(length).copied().collect()));
    }
}

/// In the order in which they came.
fn pass_on(mut to: File, receiver: &Receiver<Late>) {
    for (due, packet) in receiver {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // What cannot be sent is lost, as on any link.
        let _ = to.write_all(&packet);
    }
}
