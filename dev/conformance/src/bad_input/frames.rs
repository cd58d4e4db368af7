//! Frames that lie: garbage, impossible lengths, unknown requests, counts as large as the frame, damaged batches.
//! One connection each; that many at once do no harm is the subject of `connections`. Called by `bad_input`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{ensure_memory, memory_kib, serves};
use crate::main_job::fresh;
use crate::raw::{self, Bytes, End, Raw, api, frame};
use crate::report::Report;
use crate::server::{Kind, Server};

const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const UNSUPPORTED_VERSION: i16 = 35;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// Kafka's `socket.request.max.bytes`.
const FRAME_MAX: i32 = 104_857_600;

/// What one such frame may cost, in MiB: itself and the memory of its elements.
const HUGE_MIB_MAX: u64 = 128;

/// How many such frames come at once, and what all of them may cost: the broker's budget for large frames (128 MiB), the
/// elements of one of them for each thread that decodes (16 MiB each), and what the allocator keeps of them for a moment.
/// Measured were 138 to 181 MiB with two threads.
const AT_ONCE: usize = 10;
const AT_ONCE_MIB_MAX: u64 = 224;

/// What may remain of it, in MiB, once they are gone.
const LEFT_MIB_MAX: u64 = 32;

/// Within so long the allocator gives memory back, also on a machine where it seldom gets to it.
const GIVEN_BACK_LIMIT: Duration = Duration::from_secs(40);
/// Time for that many frames to be read one after the other.
const AT_ONCE_LIMIT: Duration = Duration::from_secs(60);

/// Time for the broker to close a connection that it cannot go on with.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(report: &mut Report, server: &mut Server) -> Result<()> {
    let garbage: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x40).collect();
    closes(report, server, "garbage bytes", &garbage);
    closes(
        report,
        server,
        "a TLS hello on a plaintext port",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh",
    );
    closes(report, server, "an HTTP request", b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n");
    closes(report, server, "a length of 2 GiB", &i32::MAX.to_be_bytes());
    closes(report, server, "a negative length", &(-1_i32).to_be_bytes());
    closes(report, server, "a frame too short for a header", b"\0\0\0\x02\0\x12");
    closes(report, server, "an unknown request", &frame(9999, 0, false, &[]));
    closes(report, server, "an unknown version", &frame(api::METADATA, 999, true, &[0]));
    closes(
        report,
        server,
        "a request cut in its middle",
        &frame(api::PRODUCE, 3, false, &[0xff, 0xff, 0, 1, 0]),
    );
    report.check("an unknown version of ApiVersions: UNSUPPORTED_VERSION in version 0", || {
        let answer = Raw::connect(server.bootstrap())?.call(&frame(api::API_VERSIONS, 999, true, &[]))?;
        let code = raw::take_i16(&mut answer.as_slice())?;
        ensure!(code == UNSUPPORTED_VERSION, "error code {code}");
        serves(server).map(|_| String::new())
    });
    huge_counts(report, server);
    batches(report, server);
    topic_ids(report, server);
    Ok(())
}

/// The broker closes the connection, and goes on with everybody else.
fn closes(report: &mut Report, server: &mut Server, name: &str, bytes: &[u8]) {
    report.check(format!("{name}: the connection is closed"), || {
        let mut raw = Raw::connect(server.bootstrap())?;
        raw.send(bytes);
        let end = raw.end(CLOSE_LIMIT)?;
        ensure!(end == End::Closed, "{end:?}");
        serves(server).map(|_| String::new())
    });
}

/// Frames of 100 MiB that claim as many elements as they have bytes left, before and after ApiVersions.
fn huge_counts(report: &mut Report, server: &mut Server) {
    if server.kind() == &Kind::Kafka {
        report.skip("100 MiB frames of empty elements", "Kafka's heap is not made for it");
        return;
    }
    let Ok((_, before)) = memory_kib(server) else {
        report
            .skip("100 MiB frames of empty elements", "there is no process whose memory could be looked at");
        return;
    };
    let produce = Bytes::default().i16(-1).i16(-1).i32(1000);
    let fetch = Bytes::default().i32(-1).i32(0).i32(0).i32(i32::MAX).i8(0);
    for greeted in [false, true] {
        let heads = [
            (api::METADATA, 1, Bytes::default()),
            (api::PRODUCE, 3, produce.clone()),
            (api::FETCH, 4, fetch.clone()),
        ];
        for (key, version, head) in heads {
            let when = if greeted { "after" } else { "before" };
            report.check(format!("100 MiB of empty elements, request {key}, {when} ApiVersions"), || {
                let rest = FRAME_MAX - 64;
                let body = head.i32(rest).raw(&vec![0; usize::try_from(rest)?]).0;
                let address = server.bootstrap();
                let mut raw = if greeted { Raw::greeted(address)? } else { Raw::connect(address)? };
                let sent = raw.send(&frame(key, version, false, &body));
                let started = Instant::now();
                while raw.end(Duration::from_millis(200))? == End::Silent {
                    serves(server)?;
                    ensure!(started.elapsed() < CLOSE_LIMIT, "neither closed nor answered");
                }
                serves(server)?;
                ensure_memory(server, before, HUGE_MIB_MAX)
                    .map(|memory| format!("{memory}, taken in: {sent}"))
            });
        }
    }
    report
        .check(format!("{AT_ONCE} frames of 100 MiB at once, each with as many elements as may be"), || {
            huge_at_once(server, before)
        });
}

fn huge_at_once(server: &mut Server, before_kib: u64) -> Result<String> {
    const ELEMENTS: i32 = 150_000;
    let body = Bytes::default().i16(-1).i16(-1).i32(1000).i32(ELEMENTS);
    let rest = usize::try_from(FRAME_MAX)? - 64;
    let bytes = frame(api::PRODUCE, 3, false, &body.raw(&vec![0; rest]).0);
    let address = server.bootstrap().to_owned();
    let mut slowest = Duration::ZERO;
    let ends = thread::scope(|scope| {
        let send = || {
            let mut raw = Raw::greeted(&address)?;
            raw.send(&bytes);
            raw.end(AT_ONCE_LIMIT)
        };
        let senders: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(send)).collect();
        while senders.iter().any(|sender| !sender.is_finished()) {
            slowest = slowest.max(serves(server)?);
            thread::sleep(Duration::from_millis(50));
        }
        let ended = senders.into_iter().map(|sender| sender.join());
        ended.map(|end| end.unwrap_or_else(|_| bail!("a sender panicked"))).collect::<Result<Vec<_>>>()
    })?;
    ensure!(!ends.contains(&End::Silent), "neither closed nor answered: {ends:?}");
    let memory = ensure_memory(server, before_kib, AT_ONCE_MIB_MAX)?;
    let asked = Instant::now();
    loop {
        serves(server)?;
        let left = memory_kib(server)?.0.saturating_sub(before_kib) / 1024;
        if left <= LEFT_MIB_MAX {
            return Ok(format!(
                "{memory}, {left} MiB more than before, a new client waited at most {slowest:?}"
            ));
        }
        ensure!(asked.elapsed() < GIVEN_BACK_LIMIT, "{left} MiB are not given back to the system");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Batches that must be refused, each with Kafka's code, and a good one after each.
fn batches(report: &mut Report, server: &mut Server) {
    let topic = fresh("batches");
    report.check("a topic for batches", || {
        raw::ready_topic(server.bootstrap(), &topic, 1)?;
        Ok(String::new())
    });
    let large = vec![b'x'; 2 << 20];
    let cases = [
        ("a corrupt batch: CORRUPT_MESSAGE", topic.as_str(), raw::batch(b"x", false), CORRUPT_MESSAGE),
        (
            "an oversized batch: MESSAGE_TOO_LARGE",
            topic.as_str(),
            raw::batch(&large, true),
            MESSAGE_TOO_LARGE,
        ),
        (
            "an unknown topic: UNKNOWN_TOPIC_OR_PARTITION",
            "unheard-of",
            raw::batch(b"x", true),
            UNKNOWN_TOPIC_OR_PARTITION,
        ),
    ];
    for (wanted, (name, to, batch, code)) in (0_i64..).zip(cases) {
        report.check(name, || {
            let mut raw = Raw::greeted(server.bootstrap())?;
            let answered = raw::produce(&mut raw, to, 0, &batch)?.0;
            ensure!(answered == code, "error code {answered} instead of {code}");
            let good = raw::produce(&mut raw, &topic, 0, &raw::batch(b"good", true))?;
            ensure!(good == (0, wanted), "the next good batch got {good:?} instead of offset {wanted}");
            Ok(String::new())
        });
    }
}

/// A fetch by an id that no topic has.
fn topic_ids(report: &mut Report, server: &mut Server) {
    report.check("an unknown topic id: UNKNOWN_TOPIC_ID", || {
        let head = Bytes::default().i32(-1).i32(100).i32(1).i32(1 << 20).i8(0).i32(0).i32(-1);
        let partition = Bytes::default().i32(0).i32(-1).i64(0).i32(-1).i64(-1).i32(1 << 20).i8(0);
        let topics = head.i8(2).raw(&[0x5a; 16]).i8(2).raw(&partition.0).i8(0);
        let body = topics.i8(1).i8(1).i8(0);
        let answer = Raw::connect(server.bootstrap())?.call(&frame(api::FETCH, 13, true, &body.0))?;
        let mut left = answer.as_slice();
        raw::take(&mut left, 1 + 4)?;
        let whole = raw::take_i16(&mut left)?;
        raw::take(&mut left, 4)?;
        let topics = raw::take(&mut left, 1)?.first().copied();
        let code = if topics == Some(2) {
            raw::take(&mut left, 16 + 1 + 4)?;
            raw::take_i16(&mut left)?
        } else {
            whole
        };
        ensure!(code == UNKNOWN_TOPIC_ID, "error code {code}");
        serves(server).map(|_| String::new())
    });
}
