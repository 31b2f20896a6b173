//! What does a case find when it starts?

use std::cell::{Cell, OnceCell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::audit::Audit;
use crate::client::Client;
use crate::cluster;
use crate::kube::{Kube, until};
use crate::manifest::Servers;
use crate::nodes::Lab;
use crate::operator::{OneAgain, Operator};
use crate::pd::Pd;
use crate::start::{self, Start};
use crate::writer::{self, Writer};

/// Everything that a case may use.
pub(crate) struct Scene {
    /// The cluster under test.
    pub(crate) kube: Kube,
    /// The images under test.
    pub(crate) servers: Servers,
    /// The operator in it.
    pub(crate) operator: Operator,
    /// The lab under it, which can be broken; `None` on a cluster of the user's.
    pub(crate) lab: Option<Lab>,
    /// A StorageClass whose volumes can grow and enforce their size.
    pub(crate) growing_class: Option<String>,
    /// Run the long versions, and hold to promises that a busy machine can break.
    pub(crate) all: bool,
    /// Cases run under their controls: each has to do its sabotage.
    pub(crate) controlled: bool,
    /// Everything that cases need is at hand: one that cannot look has failed.
    pub(crate) complete: bool,
    client_image: String,
    audit_log: Option<PathBuf>,
    namespaces: RefCell<Vec<String>>,
    basic: OnceCell<Start>,
    /// The case that runs now has asked for the shared cluster.
    basic_is_used: Cell<bool>,
}

/// What is known of the cluster from outside it.
pub(crate) struct Around {
    /// The API server's audit log.
    pub(crate) audit_log: Option<PathBuf>,
    /// The lab that it is.
    pub(crate) lab: Option<Lab>,
    /// A StorageClass whose volumes can grow and enforce their size.
    pub(crate) growing_class: Option<String>,
    /// All of it is there.
    pub(crate) complete: bool,
}

/// How cases are run.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// The long versions, and promises that a busy machine can break.
    pub(crate) all: bool,
    /// Under their controls.
    pub(crate) controlled: bool,
}

/// Longest wait of a control for what its sabotage keeps from coming: longer than that takes where
/// nothing is wrong.
const CONTROLLED: Duration = Duration::from_mins(3);

impl Scene {
    /// Image of the test client.
    pub(crate) fn client_image(&self) -> &str {
        &self.client_image
    }

    /// Looks for the operator; nothing is changed yet.
    pub(crate) fn new(
        kube: Kube,
        servers: Servers,
        client_image: String,
        site: Around,
        manner: Manner,
    ) -> Result<Self> {
        let complete = site.complete;
        let operator = Operator::find(&kube)?;
        operator.wait_ready()?;
        Ok(Self {
            kube,
            servers,
            operator,
            all: manner.all,
            controlled: manner.controlled,
            complete,
            client_image,
            audit_log: site.audit_log,
            lab: site.lab,
            growing_class: site.growing_class,
            namespaces: RefCell::default(),
            basic: OnceCell::new(),
            basic_is_used: Cell::new(false),
        })
    }

    /// The longest wait for something; a control need not wait so long for what cannot come.
    pub(crate) fn patience(&self, limit: Duration) -> Duration {
        if self.controlled { limit.min(CONTROLLED) } else { limit }
    }

    /// Under a control: stops the operator until the answer is dropped.
    pub(crate) fn without_operator(&self) -> Result<Option<OneAgain<'_>>> {
        self.controlled.then(|| self.operator.stopped()).transpose()
    }

    /// A namespace of the case's own, empty: one left by an interrupted run is deleted first.
    pub(crate) fn namespace(&self, case: &str) -> Result<String> {
        let name = format!("e2e-{case}");
        let path = format!("/api/v1/namespaces/{name}");
        if self.kube.find(&path)?.is_some() {
            self.kube.delete(&path, None)?;
            until(&format!("old namespace {name} gone"), Duration::from_mins(2), || {
                Ok(self.kube.find(&path)?.map_or(Ok(()), |_| Err("still there".to_owned())))
            })?;
        }
        self.namespaces.borrow_mut().push(name.clone());
        self.kube.create("/api/v1/namespaces", &cluster::namespace(&name))?;
        // Pods are refused until the controller has made the namespace's service account.
        let account = format!("{path}/serviceaccounts/default");
        until("default service account", Duration::from_secs(30), || {
            Ok(self.kube.find(&account)?.map(drop).ok_or_else(|| "not yet".to_owned()))
        })?;
        Ok(name)
    }

    /// Deletes the namespaces of the case that just ended, without waiting, but for the shared one.
    pub(crate) fn leave_case(&self) {
        self.basic_is_used.set(false);
        let shared = self.basic.get().map(|s| s.cluster.namespace.clone());
        self.namespaces
            .borrow_mut()
            .retain(|name| shared.as_deref() == Some(name) || self.drop_namespace(name).is_err());
    }

    /// Waits until nothing of ended cases is left, nor any namespace that is being deleted (the demo's,
    /// say), so that only what stands can make a noise.
    pub(crate) fn wait_alone(&self) -> Result<()> {
        let kept = self.namespaces();
        until("namespaces of ended cases gone", Duration::from_mins(3), || {
            let found = self.kube.list("/api/v1/namespaces")?;
            let left: Vec<_> = found
                .iter()
                .filter_map(|n| Some((cluster::text(n, "/metadata/name")?, n)))
                .filter(|(name, n)| {
                    let going = n.pointer("/metadata/deletionTimestamp").is_some();
                    going || (name.starts_with("e2e-") && !kept.iter().any(|k| k == name))
                })
                .map(|(name, _)| name)
                .collect();
            Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
        })
    }

    /// Namespaces that exist now because of this run.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.namespaces.borrow().clone()
    }

    /// Deletes every namespace that this run made, without waiting: they go by themselves.
    pub(crate) fn clear(&self) {
        for name in self.namespaces.take() {
            if let Err(e) = self.drop_namespace(&name) {
                eprintln!("namespace {name} is left behind: {e:#}");
            }
        }
    }

    /// Kills the operator's process, which gives nothing back, and has a new pod made at once: a
    /// kubelet would wait longer before each restart. Without a lab it can only be told to end.
    pub(crate) fn kill_operator(&self) -> Result<()> {
        if let Some(lab) = &self.lab {
            until("the operator's process killed", Duration::from_mins(1), || {
                let pods = self.operator.pods()?;
                let killed = pods.iter().try_for_each(|pod| lab.signal("SIGKILL", pod));
                let none = pods.is_empty().then(|| "no operator runs".to_owned());
                Ok(none.map_or_else(|| killed.map_err(|e| format!("{e:#}")), Err))
            })?;
        }
        self.operator.delete_now()
    }

    /// The 3+3 cluster that several cases look at, started by the first that asks.
    pub(crate) fn basic(&self) -> Result<&Start> {
        self.basic_is_used.set(true);
        if self.basic.get().is_none() {
            let start = start::timed(self, "basic")?;
            self.basic.set(start).map_err(|_| anyhow!("two starts of the shared cluster"))?;
        }
        self.basic.get().ok_or_else(|| anyhow!("no shared cluster"))
    }

    /// The shared cluster, where there is one and the case that runs has nothing to do with it.
    pub(crate) fn bystander(&self) -> Option<&cluster::Cluster> {
        self.basic.get().filter(|_| !self.basic_is_used.get()).map(|start| &start.cluster)
    }

    /// The audit log from now on; `None` where the cluster's log is not at hand.
    pub(crate) fn audit(&self) -> Result<Option<Audit>> {
        self.audit_log.as_deref().map(Audit::from_now).transpose()
    }

    /// The real client.
    pub(crate) fn client(&self) -> Client<'_> {
        Client::new(&self.kube, &self.client_image)
    }

    /// A client that writes from now on, on any node but these.
    pub(crate) fn writer(&self, cluster: &cluster::Cluster, avoid: &[String]) -> Result<Writer> {
        self.writer_for(writer::AT_MOST, cluster, avoid)
    }

    /// As [`Scene::writer`], for at most this time.
    pub(crate) fn writer_for(
        &self,
        most: Duration,
        cluster: &cluster::Cluster,
        avoid: &[String],
    ) -> Result<Writer> {
        Writer::start((&self.kube, &self.client_image), cluster, (avoid, most))
    }

    /// Names of the nodes.
    pub(crate) fn nodes(&self) -> Result<Vec<String>> {
        let nodes = self.kube.list("/api/v1/nodes")?;
        Ok(cluster::by_name(nodes).map(|(name, _)| name).collect())
    }

    /// PD's own answers.
    pub(crate) fn pd<'a>(&'a self, cluster: &'a cluster::Cluster) -> Pd<'a> {
        Pd::of(&self.kube, cluster)
    }

    fn drop_namespace(&self, name: &str) -> Result<()> {
        self.kube.delete(&format!("/api/v1/namespaces/{name}"), None)
    }
}
