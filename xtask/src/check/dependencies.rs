//! Are the shipped programs made of what they may be made of?
//!
//! cargo-deny judges by `deny.toml`: licences, one version of each crate, crates.io only, and known
//! advisories. It is compiled once, which takes minutes, into the cache of built programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::products;
use crate::tools::cache::Cache;

/// The release of cargo-deny that `deny.toml` is written for.
const VERSION: &str = "0.20.2";
/// What is shipped.
const SHIPPED: [&str; 2] = ["crates/operator", "crates/kubectl-tikv"];

/// Judges every shipped program; an error if one does not pass.
pub(crate) fn run() -> Result<()> {
    let program = cargo_deny(&Cache::open()?.directory(&format!("cargo-deny-{VERSION}")))?;
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

/// cargo-deny below `root`, compiled there if it is not.
fn cargo_deny(root: &Path) -> Result<PathBuf> {
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        eprintln!("building cargo-deny {VERSION} (once, takes minutes)");
        let status = Command::new("cargo")
            .args(["install", "--locked", "--quiet", "--version", VERSION, "--root"])
            .arg(root)
            .arg("cargo-deny")
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("cargo could not build cargo-deny {VERSION}");
        }
    }
    Ok(program)
}
