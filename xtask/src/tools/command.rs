//! `cargo xtask tools`: which paths do the built programs have?

use anyhow::Result;
use clap::Args;

use super::catalog::PROGRAMS;

/// Builds programs into the cache and prints `name=path` for each.
#[derive(Debug, Args)]
pub(crate) struct ToolsArgs {
    /// Programs, for example `etcd kube-apiserver`; without any, all that the lab uses.
    names: Vec<String>,
}

impl ToolsArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let all: Vec<&str> =
            PROGRAMS.iter().flat_map(|program| program.binaries.iter().map(|b| b.name)).collect();
        let chosen: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let binaries = super::ensure(if chosen.is_empty() { &all } else { &chosen })?;
        for (name, path) in binaries.iter() {
            println!("{name}={}", path.display());
        }
        Ok(())
    }
}
