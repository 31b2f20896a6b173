//! What can be asked, and where is the answer looked for?

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::{forecast, input, page, why};

/// How TiKV clusters are doing, and why something is not being done.
#[derive(Debug, Parser)]
#[command(name = "kubectl-tikv", bin_name = "kubectl tikv", version, max_term_width = 100)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how a cluster is doing: conditions, PD members, stores, volumes, waits, what to do
    /// next. Without a name, the only cluster there is, or a list.
    Status {
        #[command(flatten)]
        scope: Scope,
        /// How the answer looks.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Say why something is not being done: the waits of a cluster, each with the meaning of its
    /// rule.
    Why {
        #[command(flatten)]
        scope: Scope,
        /// Explain this rule instead, by its public name, such as `one-cluster-id`.
        #[arg(long, conflicts_with = "name")]
        rule: Option<String>,
    },
    /// Say what the operator would do with a changed manifest: the steps now, the pods that are
    /// made anew in their order, and what each waits for. PD is asked through the API server (`get`
    /// on `pods/proxy`), where a cluster is asked. Nothing is written.
    Plan {
        /// The manifest of the cluster as it is to be. `-` reads standard input.
        #[arg(short = 'f', long, value_name = "MANIFEST")]
        filename: PathBuf,
        /// Read what exists from a dump instead of asking a cluster: the output of `kubectl get
        /// tikvclusters,tikvtasks,pods,persistentvolumeclaims,services,configmaps,poddisruptionbudgets
        /// -o yaml`.
        #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
        dump: Option<PathBuf>,
        /// Namespace. Default: the manifest's, else that of the context.
        #[arg(short, long)]
        namespace: Option<String>,
        /// Path of the kubeconfig. Default: as kubectl's.
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
        /// Context of the kubeconfig. Default: its current one.
        #[arg(long)]
        context: Option<String>,
    },
}

/// Which clusters, and where they are looked for.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// Name of the cluster.
    pub(crate) name: Option<String>,
    /// Namespace. Default: that of the context.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Look in all namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "name"])]
    pub(crate) all_namespaces: bool,
    /// Path of the kubeconfig. Default: as kubectl's.
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Read a dump instead of asking a cluster: the output of `kubectl get
    /// tikvclusters,pods,persistentvolumeclaims -o yaml`. `-` reads standard input.
    #[arg(short, long, conflicts_with_all = ["kubeconfig", "context"])]
    pub(crate) file: Option<PathBuf>,
    /// Read Services, ConfigMaps and disruption budgets too.
    #[arg(skip)]
    pub(crate) furniture: bool,
}

/// How the answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A page for people.
    Text,
    /// The same with nodes and member ids.
    Wide,
    /// JSON for programs: the resource, its pods and its volume claims.
    Json,
}

/// Answers what was asked.
pub(crate) async fn answer(flags: &Flags) -> anyhow::Result<String> {
    match &flags.command {
        Command::Status { scope, output } => {
            let found = input::read(scope).await?;
            let now = scope.file.is_none().then(Timestamp::now);
            page::answer(&found, *output, now)
        }
        Command::Why { rule: Some(rule), .. } => why::rule(rule),
        Command::Plan { filename, dump, namespace, kubeconfig, context } => {
            let manifest = input::manifest(filename)?;
            let scope = Scope {
                name: Some(manifest.name.clone()),
                namespace: namespace.clone().or_else(|| manifest.namespace.clone()),
                all_namespaces: false,
                kubeconfig: kubeconfig.clone(),
                context: context.clone(),
                file: dump.clone(),
                furniture: true,
            };
            let now = scope.file.is_none().then(Timestamp::now);
            Box::pin(forecast::answer(&scope, &manifest, now)).await
        }
        Command::Why { scope, rule: None } => Ok(why::waits(&input::read(scope).await?)),
    }
}
