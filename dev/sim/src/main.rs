//! The command: runs seeds and says how to see a violation again. It decides nothing; [`sim::run()`] does the work.

use sim::{Keep, Options, Plant, Report};
use std::{io::Write, ops::Range, process::ExitCode};

const USAGE: &str = "usage: sim --seed N [--nodes N] [--trace] [--log] [--draw] [--plant NAME]
       sim --seeds A..B [--nodes N|N..M] [--plant NAME]
       sim meta [--seed N] [--nodes N]
       sim plants
--nodes 3 is a cluster of three (up to 7); 3..7 takes these sizes in turn; without it one node is alone.
--draw draws a cluster over time.";
/// More nodes than this are not simulated.
const NODES_MAX: u64 = 7;

/// What the command line says.
#[derive(Default)]
struct Arguments {
    seeds: Option<Range<u64>>,
    /// The smallest and the largest cluster; 0 if it is not said.
    nodes: (u64, u64),
    draw: bool,
    trace: bool,
    log: bool,
    meta: bool,
    plants: bool,
    plant: Option<Plant>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if arguments.log {
        let level = tracing_subscriber::filter::LevelFilter::DEBUG;
        tracing_subscriber::fmt().with_max_level(level).without_time().with_writer(std::io::stderr).init();
    }
    let seeds = arguments.seeds.clone().unwrap_or(1..2);
    let fine = if arguments.plants {
        Plant::ALL.iter().for_each(|(name, _)| println!("{name}"));
        Ok(true)
    } else if arguments.meta {
        meta(seeds.start, &arguments)
    } else {
        all(seeds, &arguments)
    };
    match fine {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the simulator cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--seed" => {
                let seed = number(&value()?)?;
                arguments.seeds = Some(seed..seed + 1);
            }
            "--seeds" => {
                let text = value()?;
                let (from, to) = text.split_once("..").ok_or(format!("{text} is no range A..B"))?;
                arguments.seeds = Some(number(from)?..number(to)?);
            }
            "--plant" => {
                let name = value()?;
                arguments.plant = Some(Plant::by_name(&name).ok_or(format!("{name} is no planted bug"))?);
            }
            "--nodes" => arguments.nodes = sizes(&value()?)?,
            "--draw" => arguments.draw = true,
            "--trace" => arguments.trace = true,
            "--log" => arguments.log = true,
            "meta" => arguments.meta = true,
            "plants" => arguments.plants = true,
            _ => return Err(format!("{word} is not understood")),
        }
    }
    Ok(arguments)
}

/// `N` or `N..M`.
fn sizes(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    match (number(from)?, number(to)?) {
        (1, 1) => Ok((1, 1)),
        (from @ 3..=NODES_MAX, to @ 3..=NODES_MAX) if from <= to => Ok((from, to)),
        _ => Err(format!("{text} nodes are not simulated: 1, or 3 to {NODES_MAX}")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

impl Arguments {
    /// How many nodes a seed has.
    fn nodes(&self, seed: u64) -> i32 {
        let (from, to) = self.nodes;
        (from + seed % (to - from + 1)).clamp(1, NODES_MAX) as i32
    }

    fn options(&self, seed: u64, keep: Keep) -> Options {
        Options { nodes: self.nodes(seed), draw: self.draw, keep, plant: self.plant, only: None }
    }
}

/// Runs seeds one after the other; stops at the first violation.
fn all(seeds: Range<u64>, arguments: &Arguments) -> std::io::Result<bool> {
    let keep = if arguments.trace { Keep::Print } else { Keep::Recent };
    let is_one = seeds.end.saturating_sub(seeds.start) <= 1;
    for seed in seeds.clone() {
        let report = sim::run(seed, arguments.options(seed, keep))?;
        report.drawing.iter().for_each(|line| println!("{line}"));
        if !report.violations.is_empty() {
            tell_violation(&report, arguments);
            return Ok(false);
        }
        if is_one {
            println!("{}", summary(&report));
            report.counts.iter().for_each(|(what, count)| println!("  {count:>8} {what}"));
        } else {
            eprint!("\r{} of {}: {}   ", seed - seeds.start + 1, seeds.end - seeds.start, summary(&report));
            std::io::stderr().flush()?;
        }
    }
    if !is_one {
        eprintln!("\nno violation");
    }
    Ok(true)
}

fn summary(report: &Report) -> String {
    let (steps, hash) = report.digest;
    format!("seed {}, {} ms simulated, {steps} steps, trace {hash:016x}", report.seed, report.simulated_ms)
}

fn tell_violation(report: &Report, arguments: &Arguments) {
    if !arguments.trace {
        report.lines.iter().for_each(|line| eprintln!("{line}"));
    }
    eprintln!("\n{}", summary(report));
    for violation in &report.violations {
        eprintln!("VIOLATION of {}: {}", violation.check, violation.what);
    }
    let plant = Plant::ALL.iter().find(|(_, plant)| Some(*plant) == arguments.plant);
    let plant = plant.map(|(name, _)| format!(" --plant {name}")).unwrap_or_default();
    let nodes = match arguments.nodes(report.seed) {
        1 => String::new(),
        nodes => format!(" --nodes {nodes}"),
    };
    eprintln!("see it again: cargo xtask sim --seed {}{nodes} --trace{plant}", report.seed);
}

/// One seed twice: the traces must be equal byte for byte.
fn meta(seed: u64, arguments: &Arguments) -> std::io::Result<bool> {
    let options = arguments.options(seed, Keep::All);
    let (first, second) = (sim::run(seed, options)?, sim::run(seed, options)?);
    let differ = first.lines.iter().zip(&second.lines).position(|(a, b)| a != b);
    if let Some(index) = differ {
        eprintln!("seed {seed} gives two traces; they part at:");
        first.lines.iter().zip(&second.lines).skip(index.saturating_sub(5)).take(8).for_each(|(a, b)| {
            eprintln!("  first  {a}\n  second {b}");
        });
        return Ok(false);
    }
    let equal = first.digest == second.digest && first.lines.len() == second.lines.len();
    println!("{}: {}", summary(&first), if equal { "the same twice" } else { "NOT the same twice" });
    Ok(equal)
}
