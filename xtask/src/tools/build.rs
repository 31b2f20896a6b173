//! How is a Go program built, visibly and from its pins alone?

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cache::Cache;
use super::catalog::Program;
use super::{INSTEAD, debian, shell};

/// The oldest Go that builds the pinned modules (their `go` directives).
const OLDEST_GO: (u32, u32) = (1, 26);
/// How often a running build says that it still runs.
const STILL_BUILDING: Duration = Duration::from_secs(15);

/// Builds the programs one after the other; a Go build uses all cores by itself.
pub(crate) fn all(cache: &Cache, programs: &[&Program]) -> Result<()> {
    check_go()?;
    if programs.iter().any(|program| program.cgo) {
        debian::ensure(debian::FOR_CGO)?;
    }
    let lock = cache.lock()?;
    for (done, program) in programs.iter().enumerate() {
        // The holder of the lock before us may have built it.
        if cache.entry(program)?.is_dir() {
            continue;
        }
        let title = format!(
            "{} {} ({} of {})",
            program.name,
            program.version,
            done.saturating_add(1),
            programs.len()
        );
        let begin = Instant::now();
        eprintln!("building {title}");
        cache.fill(&lock, program, |dir| one(program, dir, &title))?;
        eprintln!("built {title} in {} s", begin.elapsed().as_secs());
    }
    Ok(())
}

/// Everything beyond the module's files that decides what is built, as one line.
pub(crate) fn recipe(program: &Program) -> String {
    let packages: Vec<&str> = program.binaries.iter().map(|b| b.package).collect();
    format!(
        "cgo={} tags={} ldflags={} packages={}",
        program.cgo,
        program.tags,
        program.ldflags,
        packages.join(" ")
    )
}

fn one(program: &Program, dir: &Path, title: &str) -> Result<()> {
    let log = dir.join("build.log");
    for binary in program.binaries {
        let begin = Instant::now();
        let mut child = Command::new("go")
            .current_dir(super::module_dir(program.module)?)
            .env("CGO_ENABLED", if program.cgo { "1" } else { "0" })
            // The checkout's state is no part of the program, and go.mod is never changed by a build.
            .env("GOFLAGS", "-buildvcs=false -mod=readonly")
            .env("GOWORK", "off")
            .args(["build", "-trimpath", "-tags", program.tags])
            .arg(format!("-ldflags=-s -w {}", program.ldflags))
            .arg("-o")
            .arg(dir.join(binary.name))
            .arg(binary.package)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot run `go`")?;
        let mut told = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if told.elapsed() >= STILL_BUILDING {
                told = Instant::now();
                eprintln!(
                    "  still building {title}: {}, {} s",
                    binary.name,
                    begin.elapsed().as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        if !status.success() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("building {title} failed: {}", said.trim());
        }
    }
    fs::remove_file(&log)?;
    Ok(())
}

fn check_go() -> Result<()> {
    if shell::find("go").is_none() {
        bail!(
            "building Kubernetes' programs needs Go {}.{} or later in PATH (https://go.dev/dl); {INSTEAD}",
            OLDEST_GO.0,
            OLDEST_GO.1
        );
    }
    let said = shell::output(Command::new("go").args(["env", "GOVERSION"]))?;
    match go_version(&said) {
        Some(version) if version >= OLDEST_GO => Ok(()),
        Some(_) | None => bail!(
            "building Kubernetes' programs needs Go {}.{} or later, and the one in PATH is {}; {INSTEAD}",
            OLDEST_GO.0,
            OLDEST_GO.1,
            said.trim()
        ),
    }
}

/// Major and minor version from `go1.26.8` or `go1.27rc1`.
fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut parts = said.trim().strip_prefix("go")?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_understood() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(go_version("devel +abc"), None);
        assert!(go_version("go1.9.7") < Some(OLDEST_GO));
    }
}
