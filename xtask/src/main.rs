//! Development commands: `cargo xtask <command>`.

mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Development commands of tikv-operator.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Tools(tools::command::ToolsArgs),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Tools(args) => args.run(),
    }
}
