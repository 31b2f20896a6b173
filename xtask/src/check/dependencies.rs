//! Are the shipped programs made of what they may be made of?
//!
//! cargo-deny judges by `deny.toml`: licences, one version of each crate, crates.io only, and known
//! advisories. It is compiled once, which takes minutes, into the cache of built programs.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::installed;
use crate::products;
use crate::tools::cache::Cache;

/// The release of cargo-deny that `deny.toml` is written for.
const VERSION: &str = "0.20.2";
/// What is shipped.
const SHIPPED: [&str; 2] = ["crates/operator", "crates/kubectl-tikv"];

/// Judges every shipped program; an error if one does not pass.
pub(crate) fn run() -> Result<()> {
    let directory = Cache::open()?.directory(&format!("cargo-deny-{VERSION}"));
    let program = installed(&directory, "cargo-deny", VERSION)?;
    let mut refused = Vec::new();
    for package in SHIPPED {
        let manifest = products::root().join(package).join("Cargo.toml");
        let status = Command::new(&program)
            .current_dir(products::root())
            .arg("--manifest-path")
            .arg(manifest)
            .arg("check")
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        if !status.success() {
            refused.push(package);
        }
    }
    println!(
        "test result: dependencies. {} passed; {} failed; 0 ignored",
        SHIPPED.len().saturating_sub(refused.len()),
        refused.len()
    );
    if refused.is_empty() {
        return Ok(());
    }
    bail!("not as deny.toml asks: {}", refused.join(", "))
}
