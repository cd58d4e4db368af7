//! Connections that cost: half-open ones, idle ones by the thousand, readers that do not read.
//! What is sent over them is well-formed or nothing at all. Called by `bad_input`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{ensure_memory, memory_kib, serves};
use crate::main_job::fresh;
use crate::raw::{self, Raw, api, frame};
use crate::report::Report;
use crate::server::{Kind, Server};

const HALF_OPEN: usize = 500;
const IDLE: usize = 10_000;

/// What an idle connection may cost, in KiB.
const IDLE_KIB_MAX: u64 = 16;

/// A slow reader asks for this much and takes nothing of it.
const UNREAD_BATCHES: usize = 48;
const UNREAD_FETCHES: usize = 200;

pub(super) fn run(report: &mut Report, server: &mut Server) -> Result<()> {
    report.check(format!("{HALF_OPEN} half-open connections: others are served"), || {
        let mut held = Vec::new();
        for part in
            [&b""[..], b"\0", b"\0\0\0", b"\0\0\0\x14", b"\0\0\0\x14\0\x12\0"].iter().cycle().take(HALF_OPEN)
        {
            let mut raw = Raw::connect(server.bootstrap())?;
            raw.send(part);
            held.push(raw);
        }
        let took = serves(server)?;
        drop(held);
        serves(server)?;
        Ok(format!("a new client waited {took:?}"))
    });
    report.check("slow readers: the broker stops reading, others are served", || slow_readers(server));
    report.check(format!("{IDLE} idle connections"), || idle(server));
    Ok(())
}

fn slow_readers(server: &mut Server) -> Result<String> {
    let topic = fresh("unread");
    raw::ready_topic(server.bootstrap(), &topic, 1)?;
    let mut raw = Raw::greeted(server.bootstrap())?;
    let value = vec![b'v'; 1 << 20 >> 1];
    for _ in 0..UNREAD_BATCHES {
        let (code, _) = raw::produce(&mut raw, &topic, 0, &raw::batch(&value, true))?;
        ensure!(code == 0, "error code {code}");
    }
    let before = memory_kib(server).map_or(0, |(_, most)| most);
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = Raw::greeted(server.bootstrap())?;
        for _ in 0..UNREAD_FETCHES {
            reader.send(&raw::fetch_frame(&topic, 0, 0, 16 << 20));
        }
        readers.push(reader);
    }
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    while started.elapsed() < Duration::from_secs(5) {
        slowest = slowest.max(serves(server)?);
        std::thread::sleep(Duration::from_millis(100));
    }
    let memory = ensure_memory(server, before, 256)?;
    // Whoever begins to read gets everything that was asked for.
    let mut late = readers.pop().context("no reader")?;
    ensure!(!late.answer()?.is_empty(), "an empty answer");
    Ok(format!("a new client waited at most {slowest:?}, {memory}"))
}

fn idle(server: &mut Server) -> Result<String> {
    let before = memory_kib(server).map_or(0, |(now, _)| now);
    let started = Instant::now();
    let mut held = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        let mut raw = Raw::connect(server.bootstrap()).with_context(|| format!("connection {number}"))?;
        raw.call(&frame(api::API_VERSIONS, 0, false, &[])).with_context(|| format!("connection {number}"))?;
        held.push(raw);
    }
    let opened = started.elapsed();
    let took = serves(server)?;
    // The first and the last are still good.
    for raw in held.iter_mut().take(1) {
        raw.call(&frame(api::API_VERSIONS, 0, false, &[]))?;
    }
    let now = memory_kib(server).map_or(0, |(now, _)| now);
    let each = now.saturating_sub(before) as f64 / IDLE as f64;
    if server.kind() == &Kind::Odradek {
        ensure!(
            now.saturating_sub(before) <= IDLE_KIB_MAX * IDLE as u64,
            "{each:.1} KiB for each connection"
        );
    }
    drop(held);
    serves(server)?;
    Ok(format!("opened in {:.1} s, {each:.1} KiB each, a new client waited {took:?}", opened.as_secs_f64()))
}
