//! The binary: one command after the other, each in a file of its own.
//!
//! It decides nothing; `node` runs the broker, `client` speaks with one.

mod commands;

use clap::{Parser, Subcommand};

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
}

fn main() -> anyhow::Result<()> {
    match Odradek::parse().command {
        Command::Dev(dev) => commands::dev::run(dev),
        Command::Serve(serve) => commands::serve::run(serve),
    }
}
