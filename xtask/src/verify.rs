//! `cargo xtask verify`: everything that must hold before a change goes in. It writes nothing into the tree.
//! What is quick to know comes first; the real clients come last. Called by developers and by continuous integration.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::chores::{PROFILE, cargo};
use crate::steps::{Counts, Steps};
use crate::tidy;

/// Runs all steps, or with `--quick` those that need neither other languages nor a minute.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let quick = match args {
        [] => false,
        [one] if one == "--quick" => true,
        other => bail!("verify takes --quick or nothing, not {other:?}"),
    };
    let mut steps = Steps::default();
    steps.command("format", cargo(&["fmt", "--all", "--", "--check"])?);
    steps.step("tidy", tidy_counts);
    steps.command(
        "clippy",
        cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])?,
    );
    steps.command("tests", cargo(&["test", "--locked", "--workspace", "--all-targets", "--no-fail-fast"])?);
    steps.command("doc tests", cargo(&["test", "--locked", "--workspace", "--doc", "--no-fail-fast"])?);
    if !quick {
        steps.command("codegen", cargo(&["xtask", "codegen", "--check"])?);
        let packages = ["-p", "odradek", "-p", "conformance", "-p", "sim", "-p", "bench", "-p", "torture"];
        let build = [&["build", "--locked", "--profile", PROFILE, "--all-targets"], &packages[..]].concat();
        steps.command("build, with benches", cargo(&build)?);
        steps.command("sim meta", cargo(&["xtask", "sim", "meta"])?);
        steps.command("sim smoke", cargo(&["xtask", "sim", "--seeds", "1..200"])?);
        steps.command("sim meta of a cluster", cargo(&["xtask", "sim", "meta", "--nodes", "3"])?);
        let seeds = ["xtask", "sim", "--nodes", "3..7", "--seeds", "1..101"];
        steps.command("sim smoke of clusters", cargo(&seeds)?);
        steps.command("conformance", cargo(&["xtask", "conformance", "all"])?);
        steps.command("torture", cargo(&["xtask", "torture", "--seconds", "60", "--seed", "1"])?);
    }
    println!("{}", steps.summary());
    let failed = steps.counts().failed;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tidy_counts() -> Result<Counts> {
    let mut counts = Counts::default();
    for (check, findings) in tidy::check_all()? {
        for finding in &findings {
            println!("{check}: {finding}");
        }
        if findings.is_empty() { counts.passed += 1 } else { counts.failed += 1 }
    }
    Ok(counts)
}
