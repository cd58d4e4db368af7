//! The first minute of the README, run as it stands there: what a newcomer copies must work.
//! It does not know the commands: it takes them from the README and puts the built binary in cargo's place.
//! Called as `conformance quick-start`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::program::{Program, run as run_program};
use crate::report::Report;
use crate::server::{Kind, answers, odradek_binary};

/// Where `odradek dev` listens.
const ADDRESS: &str = "127.0.0.1:9092";
const GATEWAY: &str = "127.0.0.1:8080";
const MQTT: &str = "127.0.0.1:1883";

/// What a newcomer types, and what stands for it here.
const TYPED: &str = "cargo run --release --";

/// Starts `dev`, then runs the other commands in their order.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    if kind != &Kind::Odradek {
        report.skip("quick start", "it is about our own commands");
        return Ok(());
    }
    if let Some(taken) = [ADDRESS, GATEWAY, MQTT].iter().find(|address| TcpListener::bind(address).is_err()) {
        report.skip("quick start", format!("{taken} is taken on this machine"));
        return Ok(());
    }
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"))?;
    let commands = commands(&readme);
    let (dev, others) = commands.split_first().context("the README has no commands")?;
    let binary = odradek_binary()?.display().to_string();
    let dir = tempfile::tempdir()?;
    let shell = |line: &str| {
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .arg(format!("set -o pipefail; {}", line.replace(TYPED, &binary)))
            .current_dir(dir.path());
        command
    };
    let mut started = None;
    report.check(format!("README: {dev}"), || {
        let mut program = Program::start("dev", shell(&format!("exec {dev}")))?;
        let asked = Instant::now();
        while !answers(ADDRESS) {
            if asked.elapsed() > Duration::from_secs(20) {
                program.kill();
                bail!("no answer on {ADDRESS}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        started = Some(program);
        Ok(format!("answers after {:.2} s", asked.elapsed().as_secs_f64()))
    });
    for line in others {
        if line.starts_with("kcat") && run_program("kcat", shell("kcat -V"), Duration::from_secs(5)).is_err()
        {
            report.skip(format!("README: {line}"), "kcat is not installed");
            continue;
        }
        report.check(format!("README: {line}"), || {
            let printed = run_program("a command of the README", shell(line), Duration::from_secs(30))?;
            let reads =
                line.contains(" consume ") || line.starts_with("kcat") || line.contains("/s/greetings");
            ensure!(!reads || printed.contains("hello"), "it printed {printed:?}");
            Ok(printed.lines().next().unwrap_or_default().to_owned())
        });
    }
    Ok(())
}

/// The lines of the README's shell blocks, without their comments, up to the next heading.
fn commands(readme: &str) -> Vec<String> {
    let section =
        readme.split("\n## ").find(|section| section.starts_with("Sixty seconds")).unwrap_or_default();
    let blocks = section.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    blocks
        .flat_map(str::lines)
        .map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_without_comments_and_from_their_section_only() {
        let readme = "# A\n## Sixty seconds\n```sh\none  # why\n\ntwo\n```\ntext\n```sh\nthree\n```\n## B\n```sh\nfour\n```\n";
        assert_eq!(commands(readme), ["one", "two", "three"]);
    }
}
