//! Which of this project's programs are built, where do they lie, and what are their images?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::lab::image::{Archive, Image};
use crate::tools;

/// The stand-ins' workspace, whose older gRPC crates stay out of the main one.
pub(crate) const STANDIN: &str = "crates/standin/Cargo.toml";
/// The release whose recordings the stand-ins are tested against, and their images' tag.
pub(crate) const STANDIN_VERSION: &str = "v8.5.7";
/// The version that the suite changes clusters to.
pub(crate) const STANDIN_NEXT: &str = "v8.5.8";
/// The version that the founding manifest asks for.
pub(crate) const STANDIN_FOUNDING: &str = "v4.0.0";
/// The stand-ins' images say in their names what they are.
pub(crate) const STANDIN_PD: &str = "tikv-operator.test/standin-pd";
/// See [`STANDIN_PD`].
pub(crate) const STANDIN_TIKV: &str = "tikv-operator.test/standin-tikv";
/// The test client's image.
pub(crate) const CLIENT: &str = "tikv-operator.test/tikv-check:dev";
/// What a version gets appended when the images behind it are not the released ones that the
/// default names promise.
pub(crate) const TEST_SUFFIX: &str = "-e2e";

/// Set for what a run of all suites starts: that run has built the workspace with its tests, and a
/// package built by itself selects other features, so a hundred crates would be compiled again.
pub(crate) const WITH_TESTS: &str = "TIKV_OPERATOR_BUILD_WITH_TESTS";

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds for the main workspace.
pub(crate) fn target_dir() -> Result<PathBuf> {
    target_of(&root())
}

fn target_of(workspace: &Path) -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => {
            std::path::absolute(PathBuf::from(dir)).context("CARGO_TARGET_DIR")
        }
        _ => Ok(workspace.join("target")),
    }
}

/// Builds programs of the main workspace by their packages; the directory that they are in.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet"]).current_dir(root());
    if with_tests() {
        cargo.args(WHOLE);
    } else {
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    }
    run(&mut cargo, &packages.join(", "))?;
    Ok(target_dir()?.join("debug"))
}

/// Builds one program of the main workspace with optimisation; the directory that it is in.
pub(crate) fn build_release(package: &str) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--package", package]).current_dir(root());
    run(&mut cargo, package)?;
    Ok(target_dir()?.join("release"))
}

/// Builds the stand-ins and the test client; the directory that they are in.
pub(crate) fn build_standins() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--manifest-path", STANDIN]);
    cargo.args(if with_tests() { WHOLE } else { &["--workspace"] });
    run(cargo.current_dir(root()), "stand-ins and test client")?;
    let manifest = root().join(STANDIN);
    let workspace = manifest.parent().context("the stand-ins' workspace has no directory")?;
    Ok(target_of(workspace)?.join("debug"))
}

/// Selects everything of a workspace.
pub(crate) const WHOLE: &[&str] = &["--workspace", "--all-targets"];

fn with_tests() -> bool {
    std::env::var_os(WITH_TESTS).is_some()
}

fn run(cargo: &mut Command, what: &str) -> Result<()> {
    eprintln!("building {what} (the first time this takes minutes)");
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo could not build {what}");
    }
    Ok(())
}

/// The operator's image, under the name that its Deployment asks for.
pub(crate) fn operator(debug: &Path, name: &str) -> Result<Archive> {
    Image::new(name, &["/tikv-operator"])
        .with_program("/tikv-operator", &debug.join("tikv-operator"))?
        .archive()
}

/// The test client's image.
pub(crate) fn client(debug: &Path) -> Result<Archive> {
    Image::new(CLIENT, &["/tikv-check"])
        .with_program("/tikv-check", &debug.join("tikv-check"))?
        .archive()
}

/// Tells a stand-in which version to be.
const AS_VERSION: &str = "STANDIN_VERSION";

/// The stand-in for PD: the real etcd that keeps its data lies beside it.
pub(crate) fn standin_pd(debug: &Path, name: &str, version: &str) -> Result<Archive> {
    let etcd = tools::ensure(&["etcd"])?;
    Image::new(name, &["/pd-server"])
        .with_variable(AS_VERSION, version)
        .with_program("/pd-server", &debug.join("pd-server"))?
        .with_program("/etcd", etcd.path("etcd")?)?
        .archive()
}

/// The stand-in for TiKV.
pub(crate) fn standin_tikv(debug: &Path, name: &str, version: &str) -> Result<Archive> {
    Image::new(name, &["/tikv-server"])
        .with_variable(AS_VERSION, version)
        .with_program("/tikv-server", &debug.join("tikv-server"))?
        .with_program("/tikv-ctl", &debug.join("tikv-ctl"))?
        .archive()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_founding_manifest_asks_for_the_version_that_is_made_for_it() {
        let manifest = include_str!("../../examples/founding.yaml");
        assert!(manifest.contains(&format!("\n  version: {STANDIN_FOUNDING}\n")));
    }
}
