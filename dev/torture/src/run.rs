//! One run: the cluster, the clients, the faults, the healing, the last reading, the judgement.
//! It holds no rule of what is right. Called by `main`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conformance::clients::python_script;
use conformance::program::Program;

use crate::checks::{Anomaly, Extent, judge};
use crate::drawing::Drawing;
use crate::faults::Draws;
use crate::history::{History, Role, writer_name};
use crate::nemesis::Nemesis;
use crate::origins::Written;
use crate::place::{Place, address};
use crate::recorder::{Gauges, Recorder};

const TOPIC: &str = "torture";
const GROUP: &str = "torture";
const PARTITIONS: usize = 6;
const PRODUCERS: usize = 3;
const READERS: usize = 2;
const MEMBERS: usize = 2;
/// Records in a second of each producer.
const RATE: usize = 200;
/// A healed cluster acknowledges again for every partition within this time.
const HEALED_LIMIT: Duration = Duration::from_secs(30);
/// The first acknowledgements of a new cluster on a busy machine.
const FOUNDED_LIMIT: Duration = Duration::from_secs(60);
/// For clients to come to their end, and for the last reading.
const END_LIMIT: Duration = Duration::from_secs(150);

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// How long faults happen.
    pub lasts: Duration,
    /// How many nodes.
    pub nodes: usize,
    /// Draws the faults.
    pub seed: u64,
    /// Everything that is written goes below.
    pub dir: PathBuf,
    /// The binary.
    pub binary: PathBuf,
    /// The clients' virtual environment.
    pub python: PathBuf,
    /// `key=value` of the nodes' configurations, besides what they have in any case.
    pub settings: Vec<String>,
}

/// How it went.
#[derive(Debug)]
pub struct Verdict {
    /// What must not be.
    pub anomalies: Vec<Anomaly>,
    /// How much was judged.
    pub extent: Extent,
    /// How many faults there were.
    pub faults: usize,
    /// The longest time without an acknowledgement while faults happened, over all partitions.
    pub longest: Duration,
    /// From the last healing until every partition was acknowledged again.
    pub healed_in: Duration,
}

/// Runs it.
pub fn run(options: &Options) -> Result<Verdict> {
    let place = Place::new(options.nodes, &options.dir)?;
    let disks: Vec<PathBuf> = (1..=options.nodes).map(|node| place.disk(node)).collect();
    let mut nemesis = Nemesis::start(place, options)?;
    let clients = Clients::new(options);
    let (partitions, replicas) = (PARTITIONS.to_string(), options.nodes.min(3).to_string());
    let created = ["create", &clients.bootstrap, TOPIC, &partitions, &replicas, "min.insync.replicas=2"];
    clients.start("create", &created)?.finish(FOUNDED_LIMIT)?;
    let gauges = Gauges::new(PARTITIONS);
    let mut recorders = clients.start_all(&gauges)?;
    await_acks(&gauges, FOUNDED_LIMIT, || nemesis.ensure_alive()).context("a new cluster does not serve")?;
    let _ = gauges.take_longest();
    let faults = torment(options, &mut nemesis, &gauges, &mut recorders)?;
    nemesis.heal()?;
    let healed_in = await_acks(&gauges, HEALED_LIMIT, || nemesis.ensure_alive())
        .context("a healed cluster does not serve again")?;
    let longest = gauges.take_longest().into_iter().max().unwrap_or_default();
    println!("healed; every partition was acknowledged again after {:.2} s", healed_in.as_secs_f64());
    for recorder in &recorders {
        recorder.ask_to_end()?;
    }
    let histories: Result<Vec<History>> =
        recorders.into_iter().map(|recorder| recorder.finish(END_LIMIT)).collect();
    let mut histories = histories?;
    println!("reading everything");
    let seconds = END_LIMIT.as_secs().to_string();
    let last = clients.start("last", &["read_all", &clients.bootstrap, TOPIC, &partitions, &seconds])?;
    histories
        .push(Recorder::new(("last", Role::Last), last, u32::MAX, gauges, &options.dir)?.finish(END_LIMIT)?);
    nemesis.stop_all()?;
    let (anomalies, extent) = judge(&histories, &written(&disks)?);
    Ok(Verdict { anomalies, extent, faults, longest, healed_in })
}

/// The batches of each partition, as these disks have them.
fn written(disks: &[PathBuf]) -> Result<BTreeMap<u32, Written>> {
    let partitions = 0..u32::try_from(PARTITIONS)?;
    let of = |partition| {
        let name = format!("data/{TOPIC}-{partition}");
        let dirs: Vec<PathBuf> = disks.iter().map(|disk| disk.join(&name)).collect();
        Ok((partition, Written::read(&dirs)?))
    };
    partitions.map(of).collect()
}

/// Spell after spell until the time is over; a line for each second. Gives the number of faults.
fn torment(
    options: &Options,
    nemesis: &mut Nemesis,
    gauges: &Gauges,
    recorders: &mut Vec<Recorder>,
) -> Result<usize> {
    println!("{}", Drawing::head(options.nodes));
    let (mut drawing, began) = (Drawing::default(), Instant::now());
    let (mut faults, mut seconds) = (0, 0);
    for spell in Draws::new(options.seed, options.nodes) {
        let words: Vec<String> = spell.faults.iter().map(ToString::to_string).collect();
        drawing.note(format!("{}, {:.1} s", words.join(" and "), spell.lasts.as_secs_f64()));
        faults += spell.faults.len();
        nemesis.suffer(&spell, |nodes| {
            drawing.look(nodes);
            if began.elapsed().as_secs() > seconds {
                seconds += 1;
                println!("{}", drawing.end_second(gauges.acks().iter().sum()));
            }
        })?;
        if let Some(ended) = recorders.iter().position(Recorder::has_ended) {
            // Its last words say why.
            recorders.swap_remove(ended).finish(END_LIMIT)?;
            bail!("a client has ended by itself");
        }
        if began.elapsed() >= options.lasts {
            break;
        }
    }
    Ok(faults)
}

/// Waits until every partition was acknowledged once more.
fn await_acks(
    gauges: &Gauges,
    limit: Duration,
    mut ensure_alive: impl FnMut() -> Result<()>,
) -> Result<Duration> {
    let (began, before) = (Instant::now(), gauges.acks());
    loop {
        let now = gauges.acks();
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            return Ok(began.elapsed());
        }
        ensure_alive()?;
        ensure!(began.elapsed() < limit, "within {limit:?}: acknowledged were {before:?} and are {now:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Clients<'a> {
    python: &'a Path,
    /// Their histories go here.
    dir: &'a Path,
    bootstrap: String,
}

impl<'a> Clients<'a> {
    fn new(options: &'a Options) -> Clients<'a> {
        let all: Vec<String> = (1..=options.nodes).map(|node| format!("{}:9092", address(node))).collect();
        Clients { python: &options.python, dir: &options.dir, bootstrap: all.join(",") }
    }

    fn start(&self, name: &str, args: &[&str]) -> Result<Program> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/history.py");
        let mut command: Command = python_script(self.python, &script);
        command.args(args);
        Program::start(name, command)
    }

    fn start_all(&self, gauges: &Arc<Gauges>) -> Result<Vec<Recorder>> {
        let (partitions, rate) = (PARTITIONS.to_string(), RATE.to_string());
        let dir = self.dir.to_string_lossy();
        let mut recorders = Vec::new();
        let mut add = |role: Role, name: String, args: &[&str], writer: usize| -> Result<()> {
            let program = self.start(&name, args)?;
            let writer = u32::try_from(writer)?;
            recorders.push(Recorder::new((&name, role), program, writer, gauges.clone(), self.dir)?);
            Ok(())
        };
        for number in 0..PRODUCERS {
            let name = writer_name(number);
            let args = ["send", &self.bootstrap, TOPIC, &partitions, &name, &rate];
            add(Role::Producer, name.clone(), &args, number)?;
        }
        for number in 0..READERS {
            let name = format!("reader-{number}");
            add(
                Role::Reader,
                name.clone(),
                &["poll", &self.bootstrap, TOPIC, &partitions, &name, &dir],
                usize::from(u16::MAX),
            )?;
        }
        for number in 0..MEMBERS {
            let name = format!("member-{number}");
            add(
                Role::Member,
                name.clone(),
                &["member", &self.bootstrap, TOPIC, GROUP, &name],
                usize::from(u16::MAX),
            )?;
        }
        Ok(recorders)
    }
}
