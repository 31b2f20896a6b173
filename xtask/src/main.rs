//! Which commands are there for development? `cargo xtask <command>`.

mod bench;
mod check;
mod demo;
mod e2e;
mod r#gen;
mod lab;
mod operator_image;
mod products;
mod sim;
mod site;
mod test;
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
    Bench(bench::BenchArgs),
    Chaos(e2e::ChaosArgs),
    Check(check::CheckArgs),
    Demo(demo::DemoArgs),
    E2e(e2e::E2eArgs),
    Gen(r#gen::GenArgs),
    Lab(lab::command::LabArgs),
    OperatorImage(operator_image::OperatorImageArgs),
    Sim(sim::SimArgs),
    Test(test::TestArgs),
    Tools(tools::command::ToolsArgs),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Bench(args) => args.run(),
        Command::Chaos(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Demo(args) => args.run(),
        Command::E2e(args) => args.run(),
        Command::Gen(args) => args.run(),
        Command::Lab(args) => args.run(),
        Command::OperatorImage(args) => args.run(),
        Command::Sim(args) => args.run(),
        Command::Test(args) => args.run(),
        Command::Tools(args) => args.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    /// Clap looks at a subcommand when it is called: a clash in one that is rarely used is found here.
    #[test]
    fn no_two_arguments_clash() {
        Arguments::command().debug_assert();
    }
}
