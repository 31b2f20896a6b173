//! `cargo xtask e2e`: on which cluster, with which images and which operator does the suite run?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::products;
use crate::site::{Site, SiteArgs};

/// Where the operator is installed.
pub(crate) const OPERATOR_NAMESPACE: &str = "tikv-operator-system";

/// Open files that a TiKV with default settings wants; it exits if it may have fewer.
const DEFAULT_OPEN_FILES: u64 = 131_072;

/// Runs the end-to-end suite, by default with the stand-ins on the lab.
#[derive(Debug, Args)]
pub(crate) struct E2eArgs {
    /// PD's image (default: the stand-in's). On the lab: load it with `cargo xtask lab load-image`.
    #[arg(long, requires = "tikv_image")]
    pd_image: Option<String>,
    /// TiKV's image (default: the stand-in's).
    #[arg(long, requires = "pd_image")]
    tikv_image: Option<String>,
    /// Tag of images that are given without one.
    #[arg(long, default_value = products::STANDIN_VERSION)]
    version: String,
    /// Tag of other images of the same names, to which running clusters are changed (default: a
    /// second name of the same images on the lab; without a lab, no version is changed).
    #[arg(long)]
    next_version: Option<String>,
    /// Tag of further images of the same names, with which the founding manifest runs (default: with
    /// the stand-ins the one that it asks for; with other images theirs).
    #[arg(long)]
    founding_version: Option<String>,
    /// StorageClass whose volumes can grow (default: the lab's; without a lab volumes are not
    /// grown).
    #[arg(long)]
    growing_class: Option<String>,
    #[command(flatten)]
    site: SiteArgs,
    /// Run this case only (repeatable).
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Run this case with its control, a sabotage: it passes only if the case turns red with the
    /// right words (repeatable).
    #[arg(long, value_name = "NAME", conflicts_with = "only")]
    control: Vec<String>,
    /// Also the long versions of the cases.
    #[arg(long)]
    all: bool,
    /// List the cases and what each proves.
    #[arg(long)]
    list: bool,
}

/// Images and what the suite must know about them.
struct Servers {
    pd: String,
    tikv: String,
    default_version: String,
    next_version: Option<String>,
    founding_version: Option<String>,
    few_open_files: bool,
}

/// Mixes voluntary operations and faults on the lab, drawn from a seed, while a client keeps books.
#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
    #[command(flatten)]
    suite: E2eArgs,
    /// No round begins after so many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// What is drawn; the same seed draws the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The report, one HTML file.
    #[arg(long, default_value = "target/chaos.html")]
    report: PathBuf,
}

impl ChaosArgs {
    /// Runs the command; an error if something was violated.
    pub(crate) fn run(&self) -> Result<()> {
        let [minutes, seed] = [self.minutes, self.seed].map(|number| number.to_string());
        let report = products::root().join(&self.report).display().to_string();
        self.suite.run_with(&[
            "--chaos-minutes",
            &minutes,
            "--chaos-seed",
            &seed,
            "--chaos-report",
            &report,
        ])
    }
}

impl E2eArgs {
    /// Runs the command; an error if a case failed.
    pub(crate) fn run(&self) -> Result<()> {
        self.run_with(&[])
    }

    /// As [`E2eArgs::run`], with more words for the suite.
    fn run_with(&self, more: &[&str]) -> Result<()> {
        let debug = products::build(&["e2e", "tikv-operator"])?;
        let program = debug.join("e2e");
        if self.list {
            return finish(Command::new(&program).args([
                "--list",
                "--version=-",
                "--client-image=-",
            ]));
        }
        let site = Site::open(&self.site)?;
        let standins = products::build_standins()?;
        let servers = self.servers(&site, &standins)?;
        site.load_client(&standins)?;
        site.install_operator()?;
        let mut command = Command::new(&program);
        command
            .args(["--pd-image", &servers.pd, "--tikv-image", &servers.tikv])
            .args(["--version", &self.version, "--default-version", &servers.default_version])
            .args(["--client-image", products::CLIENT]);
        if let Some(file) = &site.kubeconfig {
            command.arg("--kubeconfig").arg(file);
        }
        if let Some(context) = &site.context {
            command.args(["--context", context]);
        }
        if let Some(lab) = &site.lab {
            command.arg("--audit-log").arg(lab.audit_log());
            // Not this process's own path: cargo may have put the program there anew since.
            command.arg("--lab").arg(products::target_dir()?.join("debug/xtask"));
            command.args(["--growing-class", self.growing_class.as_deref().unwrap_or("sized")]);
            // Nothing is missing on the lab, so no case may be left out.
            command.arg("--complete");
        } else if let Some(class) = &self.growing_class {
            command.args(["--growing-class", class]);
        }
        if let Some(next) = &servers.next_version {
            command.args(["--next-version", next]);
        }
        if let Some(version) = &servers.founding_version {
            command.args(["--founding-version", version]);
        }
        command.args(self.only.iter().flat_map(|name| ["--only", name]));
        command.args(self.control.iter().flat_map(|name| ["--control", name]));
        command.args(self.all.then_some("--all"));
        command.args(servers.few_open_files.then_some("--few-open-files"));
        command.args(more);
        finish(&mut command)
    }

    fn servers(&self, site: &Site, standins: &Path) -> Result<Servers> {
        if let (Some(pd), Some(tikv)) = (&self.pd_image, &self.tikv_image) {
            let few_open_files = site.lab.is_some() && open_files() < DEFAULT_OPEN_FILES;
            let default_version = match &site.lab {
                Some(_) => self.alias(site, pd, tikv)?,
                None => self.version.clone(),
            };
            let next_version = match (&self.next_version, &site.lab) {
                (Some(next), _) => Some(next.clone()),
                (None, Some(_)) => Some(self.second_name(site, pd, tikv)?),
                (None, None) => None,
            };
            return Ok(Servers {
                pd: pd.clone(),
                tikv: tikv.clone(),
                default_version,
                next_version,
                founding_version: self.founding_version.clone(),
                few_open_files,
            });
        }
        if site.lab.is_none() {
            // A cluster that is the user's pulls the released images.
            return Ok(Servers {
                pd: "pingcap/pd".to_owned(),
                tikv: "pingcap/tikv".to_owned(),
                default_version: self.version.clone(),
                next_version: self.next_version.clone(),
                founding_version: self.founding_version.clone(),
                few_open_files: false,
            });
        }
        site.load_standins_as(standins, products::STANDIN_NEXT)?;
        let founding = self.founding_version.as_deref().unwrap_or(products::STANDIN_FOUNDING);
        let all = self.only.is_empty() && self.control.is_empty();
        if all || self.only.iter().any(|name| name == "founding") {
            site.load_standins_as(standins, founding)?;
        }
        Ok(Servers {
            pd: products::STANDIN_PD.to_owned(),
            tikv: products::STANDIN_TIKV.to_owned(),
            default_version: site.load_standins(standins)?,
            next_version: Some(products::STANDIN_NEXT.to_owned()),
            founding_version: Some(founding.to_owned()),
            few_open_files: false,
        })
    }

    /// Gives the images on the lab's nodes their default names too, under a tag that says that
    /// they are a test's, so that manifests which name no image can be tried.
    fn alias(&self, site: &Site, pd: &str, tikv: &str) -> Result<String> {
        let lab = site.lab.as_ref().context("only the lab's nodes can rename images")?;
        let version = format!("{}{}", self.version, products::TEST_SUFFIX);
        for (image, component) in [(pd, "pd"), (tikv, "tikv")] {
            let tagged = tagged(image, &self.version);
            lab.tag_image(&tagged, &format!("docker.io/pingcap/{component}:{version}"))?;
        }
        Ok(version)
    }

    /// Gives the images on the lab's nodes a second tag, so that there is a version to change to.
    /// What they report stays the same: versions of servers are facts, tags are names.
    fn second_name(&self, site: &Site, pd: &str, tikv: &str) -> Result<String> {
        let lab = site.lab.as_ref().context("only the lab's nodes can rename images")?;
        let next = format!("{}-next", self.version);
        for image in [pd, tikv] {
            let tagged = tagged(image, &self.version);
            let (base, _) = tagged.rsplit_once(':').context("an image without a tag")?;
            lab.tag_image(&tagged, &format!("{base}:{next}"))?;
        }
        Ok(next)
    }
}

/// The image with a tag, and with a registry, as the runtime knows it.
fn tagged(image: &str, version: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let tagged = if name.contains(':') { image.to_owned() } else { format!("{image}:{version}") };
    // As Docker reads names: the part before the first slash is a registry if it looks like a host.
    match tagged.split_once('/') {
        None => format!("docker.io/library/{tagged}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => tagged,
        Some(_) => format!("docker.io/{tagged}"),
    }
}

/// The open files that processes of the lab may have: this process's own hard limit.
fn open_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|rest| rest.split_whitespace().nth(1));
    hard.map_or(0, |word| word.parse().unwrap_or(u64::MAX))
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("the end-to-end suite failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_the_runtime_names_them() {
        assert_eq!(tagged("pingcap/pd", "v1"), "docker.io/pingcap/pd:v1");
        assert_eq!(tagged("reg.test:5000/pd", "v1"), "reg.test:5000/pd:v1");
        assert_eq!(tagged("localhost/pd:v2", "v1"), "localhost/pd:v2");
        assert_eq!(tagged("pd", "v1"), "docker.io/library/pd:v1");
    }

    #[test]
    fn the_limit_of_open_files_is_read() {
        assert!(open_files() >= 256, "{}", open_files());
    }
}
