//! Development commands: `cargo xtask <command>`.

mod lab;
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
    Lab(lab::command::LabArgs),
    Tools(tools::command::ToolsArgs),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Lab(args) => args.run(),
        Command::Tools(args) => args.run(),
    }
}
