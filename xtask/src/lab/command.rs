//! `cargo xtask lab`: what can be asked for?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::delay::{self, Lateness};
use super::image::{self, Archive, Image};
use super::loss::Loss;
use super::slow::SlowDisk;
use super::{Lab, control, down, selftest, status};
use crate::tools::shell;

/// A real Kubernetes of several nodes on this machine, without Docker.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// Use this context of your kubeconfig; nothing of the lab is built or started.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Starts the lab, or repairs the one that runs.
    Up {
        /// Number of nodes [default: those of the running lab, else 3].
        #[arg(long)]
        nodes: Option<u8>,
    },
    /// Takes the lab down; nothing of it is left.
    Down,
    /// Says what runs; exits with 1 unless everything does.
    Status,
    /// Prints the path of a kubeconfig.
    Kubeconfig,
    /// Prints the path of the API server's audit log, one JSON object per request.
    AuditLog,
    /// Makes an image known to every node: an archive file, or `busybox`.
    LoadImage {
        /// A file of `docker save` or of `lab image build`, or the name `busybox`.
        image: String,
    },
    /// Images without Docker.
    Image {
        #[command(subcommand)]
        action: ImageAction,
    },
    /// Breaks a node, for tests and for trying things out.
    Fault {
        /// What happens to the node.
        #[arg(value_enum)]
        fault: Fault,
        /// The node, for example `node-2`; `api-server` and `dns` can be frozen too.
        node: String,
    },
    /// Loses packets between pods of two nodes, in one direction, beside those that are lost already.
    /// `lab fault deliver` ends it.
    Lose {
        /// The node that forwards them, for example `node-2`.
        node: String,
        #[command(flatten)]
        loss: Loss,
    },
    /// Holds packets between pods of two nodes back for a while, in one direction, beside those that
    /// are held back already. `lab fault deliver` ends it.
    Delay {
        /// The node that forwards them, for example `node-2`.
        node: String,
        #[command(flatten)]
        delay: Lateness,
    },
    /// The program that holds packets back in the network that it is started in.
    #[command(hide = true)]
    HoldBack {
        /// For how long.
        millis: u64,
    },
    /// Lets the file system of a volume of the class `sized` take no more writes. While a file in it
    /// is open for writing that is tried again for some seconds.
    ReadOnly {
        /// The node, for example `node-2`.
        node: String,
        /// Where the volume is mounted: `spec.local.path` of its PersistentVolume.
        path: PathBuf,
        /// Lets it take writes again.
        #[arg(long)]
        end: bool,
    },
    /// Lets a container write only so often a second to one of its volumes, until `--end` or the
    /// container's own.
    Slow {
        /// The node, for example `node-2`.
        node: String,
        #[command(flatten)]
        slow: SlowDisk,
    },
    /// Sends the process of a container a signal; its kubelet starts it again where it ends.
    Kill {
        /// The signal.
        #[arg(long, default_value = "SIGKILL")]
        signal: String,
        /// The node, for example `node-2`.
        node: String,
        /// The pod's namespace.
        namespace: String,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// Starts and ends labs, also interrupted ones, and checks that nothing is left.
    Selftest,
}

#[derive(Debug, Subcommand)]
enum ImageAction {
    /// Writes an image of one program, with the libraries that it loads, as a `docker save` archive.
    Build {
        /// Name with tag, as pods write it.
        #[arg(long)]
        name: String,
        /// Path of the program in the image; it is the entry point.
        #[arg(long)]
        entrypoint: String,
        /// The archive to write.
        #[arg(long)]
        output: PathBuf,
        /// The program on this machine.
        program: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Fault {
    /// Stops the node and its pods where they stand.
    Freeze,
    /// Ends a freeze.
    Thaw,
    /// Takes its network cable out.
    Cut,
    /// Puts the cable back.
    Restore,
    /// Ends all that `lab lose` and `lab delay` began.
    Deliver,
    /// Ends the node's programs and pods at once, as a power cut does.
    Off,
    /// Starts a node that is off.
    On,
}

impl LabArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        if let Some(context) = &self.context {
            return self.with_context(context);
        }
        match &self.action {
            Action::Up { nodes } => {
                let lab = Lab::up(*nodes)?;
                println!("export KUBECONFIG={}", lab.kubeconfig().display());
                Ok(())
            }
            Action::Down => down::down(),
            Action::Status => {
                let (text, whole) = status::describe()?;
                print!("{text}");
                if !whole {
                    std::process::exit(1);
                }
                Ok(())
            }
            Action::Kubeconfig => {
                println!("{}", Lab::open()?.kubeconfig().display());
                Ok(())
            }
            Action::AuditLog => {
                println!("{}", Lab::open()?.audit_log().display());
                Ok(())
            }
            Action::LoadImage { image } => load(&Lab::open()?, image),
            Action::Image { action } => action.run(),
            Action::Fault { fault, node } => fault.apply(&Lab::open()?, node),
            Action::Lose { node, loss } => Lab::open()?.lose(node, loss),
            Action::Delay { node, delay } => Lab::open()?.delay(node, delay),
            Action::HoldBack { millis } => delay::hold_back(Duration::from_millis(*millis)),
            Action::ReadOnly { node, path, end } => Lab::open()?.read_only(node, path, !end),
            Action::Slow { node, slow } => Lab::open()?.slow(node, slow),
            Action::Kill { signal, node, namespace, pod, container } => {
                Lab::open()?.kill(signal, node, &[namespace, pod, container])
            }
            Action::Selftest => selftest::run(),
        }
    }

    /// The cluster is the user's: only what does not change it is done.
    fn with_context(&self, context: &str) -> Result<()> {
        let kubectl = shell::find("kubectl")
            .map_or_else(kubectl_of_the_cache, Ok)
            .context("no kubectl for the cluster of --context")?;
        let mut command = Command::new(kubectl);
        command.args(["--context", context, "--request-timeout=10s"]);
        match &self.action {
            Action::Up { .. } | Action::Status => {
                let nodes = shell::output(command.args(["get", "nodes"]))
                    .with_context(|| format!("the cluster of context {context} does not answer"))?;
                print!("{nodes}");
                eprintln!("using the cluster of context {context}; no lab is started");
                Ok(())
            }
            Action::Kubeconfig => {
                let view = ["config", "view", "--minify", "--flatten", "--raw"];
                print!("{}", shell::output(command.args(view))?);
                Ok(())
            }
            Action::Down => {
                eprintln!(
                    "the cluster of context {context} is yours; there is no lab to take down"
                );
                Ok(())
            }
            Action::LoadImage { .. } => bail!(
                "images get into the cluster of context {context} by its own means (a registry, or the \
                 load command of its distribution)"
            ),
            Action::Image { action } => action.run(),
            Action::AuditLog => {
                bail!("the audit log of the cluster of context {context} is not ours to find")
            }
            Action::Fault { .. }
            | Action::Lose { .. }
            | Action::Delay { .. }
            | Action::HoldBack { .. }
            | Action::ReadOnly { .. }
            | Action::Slow { .. }
            | Action::Kill { .. }
            | Action::Selftest => {
                bail!("only a lab can be broken, not the cluster of context {context}")
            }
        }
    }
}

impl ImageAction {
    fn run(&self) -> Result<()> {
        let Self::Build { name, entrypoint, output, program } = self;
        let image = Image::new(name, &[entrypoint]).with_program(entrypoint, program)?;
        let archive = image.archive()?;
        std::fs::write(output, &archive.bytes)
            .with_context(|| format!("cannot write {}", output.display()))?;
        println!("{} {} ({} bytes)", archive.name, output.display(), archive.bytes.len());
        Ok(())
    }
}

impl Fault {
    fn apply(self, lab: &Lab, node: &str) -> Result<()> {
        let service = control::FREEZABLE.iter().find(|(name, _)| *name == node);
        match (self, service) {
            (Self::Freeze, Some((_, service))) => lab.freeze_service(service, true),
            (Self::Thaw, Some((_, service))) => lab.freeze_service(service, false),
            _ => self.apply_to_node(lab, node),
        }
    }

    fn apply_to_node(self, lab: &Lab, node: &str) -> Result<()> {
        match self {
            Self::Freeze => lab.freeze(node, true),
            Self::Thaw => lab.freeze(node, false),
            Self::Deliver => {
                println!("{} packets were late", lab.deliver(node)?);
                Ok(())
            }
            Self::Cut => lab.cut(node, true),
            Self::Restore => lab.cut(node, false),
            Self::Off => lab.power_off(node),
            Self::On => lab.power_on(node),
        }
    }
}

fn load(lab: &Lab, image: &str) -> Result<()> {
    let path = Path::new(image);
    if image == "busybox" {
        lab.load_image(&image::busybox()?)
    } else if path.is_file() {
        lab.load_archive(&Archive::read(path)?)
    } else {
        bail!("{image} is neither an image file nor `busybox`")
    }
}

fn kubectl_of_the_cache() -> Result<PathBuf> {
    Ok(crate::tools::ensure(&["kubectl"])?.path("kubectl")?.to_path_buf())
}
