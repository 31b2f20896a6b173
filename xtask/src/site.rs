//! On which cluster is something run, and how does the product get into it?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::lab::Lab;
use crate::lab::image::Archive;
use crate::tools::{self, shell};
use crate::{e2e, products};

/// Which cluster a command runs on.
#[derive(Debug, Default, Args)]
pub(crate) struct SiteArgs {
    /// Use this context of your kubeconfig instead of the lab, and the images that the manifest
    /// names instead of the stand-ins.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// How images that are built here get into the cluster of --context: a command to which the
    /// path of an archive is appended, for example "kind load image-archive".
    #[arg(long, value_name = "COMMAND", requires = "context")]
    load_with: Option<String>,
}

/// A cluster to run on: the lab, or one that the user has.
pub(crate) struct Site {
    kubectl: PathBuf,
    /// kubeconfig file; `None`: as kubectl finds it.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context in it; `None` on the lab.
    pub(crate) context: Option<String>,
    /// The lab, if it is one.
    pub(crate) lab: Option<Lab>,
    /// How images get into a cluster that is not the lab.
    load_with: Option<String>,
}

/// Everything that users apply.
pub(crate) const DEPLOY: &str = "deploy/";
/// The manifest in it that runs the operator.
const DEPLOYMENT: &str = "deploy/tikv-operator.yaml";

impl Site {
    /// The cluster of a context, or the lab, which is started if it does not run.
    pub(crate) fn open(args: &SiteArgs) -> Result<Self> {
        if let Some(context) = &args.context {
            let kubectl = match shell::find("kubectl") {
                Some(found) => found,
                None => tools::ensure(&["kubectl"])?.path("kubectl")?.to_path_buf(),
            };
            let context = Some(context.to_owned());
            let load_with = args.load_with.clone();
            return Ok(Self { kubectl, kubeconfig: None, context, lab: None, load_with });
        }
        let lab = Lab::up(None)?;
        let kubectl = tools::ensure(&["kubectl"])?.path("kubectl")?.to_path_buf();
        let kubeconfig = Some(lab.kubeconfig());
        Ok(Self { kubectl, kubeconfig, context: None, lab: Some(lab), load_with: None })
    }

    /// kubectl, talking to this cluster, at the root of the checkout.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.current_dir(products::root());
        if let Some(file) = &self.kubeconfig {
            command.env("KUBECONFIG", file);
        }
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        command
    }

    /// The directory of the kubectl that is used.
    pub(crate) fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// Runs kubectl to its end; its output.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<String> {
        shell::output(self.kubectl().args(words))
    }

    /// As [`Site::ask`], as JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Result<Value> {
        let mut words = words.to_vec();
        words.extend(["-o", "json"]);
        serde_json::from_str(&self.ask(&words)?).context("kubectl's answer is not JSON")
    }

    /// Applies a manifest that is in memory.
    pub(crate) fn apply(&self, manifest: &str, namespace: &str) -> Result<()> {
        let mut command = self.kubectl();
        command.args(["--namespace", namespace, "apply", "-f", "-"]);
        print!("{}", shell::output_with_input(&mut command, manifest)?);
        Ok(())
    }

    /// Makes an image known to every node of the lab. A user's cluster gets it by the command of
    /// `--load-with`; without one, the message says where the archive is.
    pub(crate) fn load(&self, archive: &Archive) -> Result<()> {
        if let Some(lab) = &self.lab {
            return lab.load_archive(archive);
        }
        let dir = products::target_dir()?.join("images");
        std::fs::create_dir_all(&dir)?;
        let short = archive.name.rsplit('/').next().unwrap_or("image").replace(':', "-");
        let file = dir.join(format!("{short}.tar"));
        std::fs::write(&file, &archive.bytes)?;
        if let Some(command) = &self.load_with {
            print!("{}", shell::output(&mut loading(command, &file))?);
            return Ok(());
        }
        eprintln!(
            "{} is in {}: load it into your cluster, or let --load-with COMMAND do it",
            archive.name,
            file.display()
        );
        Ok(())
    }

    /// Installs the operator from the checkout: image, custom resource definitions, RBAC,
    /// Deployment; waits until the pods run this very image.
    pub(crate) fn install_operator(&self) -> Result<()> {
        let debug = products::build(&["tikv-operator"])?;
        let name = operator_image()?;
        let archive = products::operator(&debug, &name)?;
        self.load(&archive)?;
        print!("{}", self.ask(&["apply", "-f", DEPLOY])?);
        self.restart_if_older(&archive.id)?;
        self.ask(&[
            "-n",
            e2e::OPERATOR_NAMESPACE,
            "rollout",
            "status",
            "deployment/tikv-operator",
            "--timeout=120s",
        ])?;
        Ok(())
    }

    /// The image's name stays while its content changes with every build, so the Deployment is
    /// told the content by an annotation of its pods: a new one makes new pods, an equal one none.
    fn restart_if_older(&self, id: &str) -> Result<()> {
        let annotations = serde_json::json!({ "tikv.org/image-id": id });
        let patch = serde_json::json!({
            "spec": { "template": { "metadata": { "annotations": annotations } } },
        });
        let patch = patch.to_string();
        self.ask(&[
            "-n",
            e2e::OPERATOR_NAMESPACE,
            "patch",
            "deployment",
            "tikv-operator",
            "-p",
            &patch,
        ])?;
        Ok(())
    }

    /// Makes the stand-ins' images known to the lab, also under the names that manifests without
    /// images ask for; the version of such manifests is returned.
    pub(crate) fn load_standins(&self, debug: &Path) -> Result<String> {
        let default_version = format!("{}{}", products::STANDIN_VERSION, products::TEST_SUFFIX);
        let version = products::STANDIN_VERSION;
        for repository in [products::STANDIN_PD, "docker.io/pingcap/pd"] {
            let name = name_of(repository, &default_version);
            self.load(&products::standin_pd(debug, &name, version)?)?;
        }
        for repository in [products::STANDIN_TIKV, "docker.io/pingcap/tikv"] {
            let name = name_of(repository, &default_version);
            self.load(&products::standin_tikv(debug, &name, version)?)?;
        }
        Ok(default_version)
    }

    /// Makes the stand-ins known under another version, which they then report and behave as.
    pub(crate) fn load_standins_as(&self, debug: &Path, version: &str) -> Result<()> {
        let name = format!("{}:{version}", products::STANDIN_PD);
        self.load(&products::standin_pd(debug, &name, version)?)?;
        let name = format!("{}:{version}", products::STANDIN_TIKV);
        self.load(&products::standin_tikv(debug, &name, version)?)
    }

    /// Makes the test client's image known.
    pub(crate) fn load_client(&self, debug: &Path) -> Result<()> {
        self.load(&products::client(debug)?)
    }
}

/// The user's words, as a shell reads them, with the archive's path behind.
fn loading(words: &str, archive: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{words} \"$1\"")).arg("sh").arg(archive);
    command
}

/// Under the default names the tag says that it is a test's image; the stand-ins' own names do.
fn name_of(repository: &str, default_version: &str) -> String {
    if repository.starts_with("docker.io/") {
        format!("{repository}:{default_version}")
    } else {
        format!("{repository}:{}", products::STANDIN_VERSION)
    }
}

/// The image that the operator's Deployment asks for.
pub(crate) fn operator_image() -> Result<String> {
    let file = products::root().join(DEPLOYMENT);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}; `cargo xtask gen` writes it", file.display()))?;
    let mut images = text
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: "));
    match (images.next(), images.next()) {
        (Some(image), None) => Ok(image.trim_matches('"').to_owned()),
        _ => bail!("{DEPLOYMENT} does not name exactly one image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loading_command_gets_the_archive_as_its_last_word() {
        let said =
            shell::output(&mut loading("printf '%s|' load 'two words'", Path::new("/a b.tar")));
        assert_eq!(said.unwrap(), "load|two words|/a b.tar|");
        let error = shell::output(&mut loading("exit 4;", Path::new("x"))).unwrap_err();
        assert!(error.to_string().contains("exit status: 4"), "{error}");
    }
}
