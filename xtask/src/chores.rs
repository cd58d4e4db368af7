//! The chores that only start other programs of the workspace: fix, conformance, sim, bench.
//! They check nothing themselves. Called by `main`, and in part by `verify`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// The profile of binaries that real clients and the simulator run.
pub(crate) const PROFILE: &str = "ci-release";

/// The top of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    // What cargo says now; what it said when it built this may be another checkout with the same build directory.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Ok(Path::new(&here).parent().context("xtask lies in the workspace")?.to_owned())
}

/// `cargo ARGS...` at the top of the workspace.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()?);
    Ok(command)
}

/// Formats everything and applies what clippy offers.
pub(crate) fn fix() -> Result<ExitCode> {
    status(cargo(&["fmt", "--all"])?)?;
    let args = ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--workspace", "--all-targets"];
    status(cargo(&args)?)?;
    status(cargo(&["fmt", "--all"])?)
}

/// Builds the binary and the harness, and runs the harness.
pub(crate) fn conformance(args: &[String]) -> Result<ExitCode> {
    status(cargo(&["build", "--profile", PROFILE, "-p", "odradek", "-p", "conformance"])?)?;
    run_package("conformance", &["--profile", PROFILE], args)
}

/// Runs the simulator.
pub(crate) fn sim(args: &[String]) -> Result<ExitCode> {
    run_package("sim", &["--profile", PROFILE], args)
}

/// Builds the binary and the harness, and torments a cluster of it.
pub(crate) fn torture(args: &[String]) -> Result<ExitCode> {
    status(cargo(&["build", "--profile", PROFILE, "-p", "odradek", "-p", "torture"])?)?;
    run_package("torture", &["--profile", PROFILE], args)
}

/// Builds the release binary as it is shipped, and measures it.
pub(crate) fn bench(args: &[String]) -> Result<ExitCode> {
    status(cargo(&["build", "--release", "-p", "odradek"])?)?;
    run_package("bench", &["--release"], args)
}

fn run_package(name: &str, profile: &[&str], args: &[String]) -> Result<ExitCode> {
    let mut command = cargo(&["run", "--quiet", "-p", name])?;
    command.args(profile).arg("--").args(args);
    status(command)
}

fn status(mut command: Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("starting {:?}", command.get_program()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    if code != 0 {
        anyhow::bail!("{:?} ended with {status}", command.get_args().collect::<Vec<_>>());
    }
    Ok(ExitCode::SUCCESS)
}
