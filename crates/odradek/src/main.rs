//! The binary: one command after the other, each in a file of its own.
//!
//! It decides nothing; `node` runs the broker, `client` speaks with one.

mod commands;
mod connection;
mod deletions;
mod json_record;
mod output;
mod place;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Event streaming, compatible with Apache Kafka.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Odradek {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(commands::dev::Dev),
    Serve(commands::serve::Serve),
    Topic(commands::topic::TopicArgs),
    Group(commands::group::GroupArgs),
    Produce(commands::produce::Produce),
    Consume(commands::consume::Consume),
    Doctor(commands::doctor::Doctor),
}

fn main() -> ExitCode {
    let outcome = match Odradek::parse().command {
        Command::Dev(dev) => commands::dev::run(dev),
        Command::Serve(serve) => commands::serve::run(serve),
        Command::Topic(topic) => commands::topic::run(topic),
        Command::Group(group) => commands::group::run(group),
        Command::Produce(produce) => commands::produce::run(produce),
        Command::Consume(consume) => commands::consume::run(consume),
        Command::Doctor(doctor) => commands::doctor::run(doctor),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("odradek: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_without_contradictions() {
        Odradek::command().debug_assert();
    }
}
