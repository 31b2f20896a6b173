//! How do cases make tasks, and what do they see of their runs?
//!
//! The examples are applied as their files are, but for what a cluster without a registry and
//! without a way out has to have otherwise.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::{condition, text};
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;

/// Label on Jobs of tasks and on their pods.
pub(crate) const LABEL: &str = "tikv.org/task";

/// The examples' files.
pub(crate) const BACKUP: &str = include_str!("../../../examples/tasks/backup-before-upgrade.yaml");
/// See [`BACKUP`].
pub(crate) const COMPACTION: &str = include_str!("../../../examples/tasks/nightly-compaction.yaml");
/// See [`BACKUP`].
pub(crate) const PAGE: &str = include_str!("../../../examples/tasks/page-on-lost-store.yaml");
/// See [`BACKUP`].
pub(crate) const SCALE_OUT: &str =
    include_str!("../../../examples/tasks/scale-out-on-full-disk.yaml");
/// See [`BACKUP`].
pub(crate) const VERIFY: &str = include_str!("../../../examples/tasks/verify-after-failover.yaml");

/// What lets the operator act as accounts.
const ACCOUNTS: &str = include_str!("../../../deploy/optional/task-accounts.yaml");
/// Longest time until a task has been looked at.
const LOOKED: Duration = Duration::from_mins(1);
/// The image with a shell in the examples.
const PULLED: &str = "busybox:1.37";
/// The one on the lab's nodes, which have no registry.
const ON_THE_LAB: &str = "localhost/tikv-operator-lab/busybox:1";

/// Path of the tasks of a namespace.
pub(crate) fn collection(namespace: &str) -> String {
    format!("/apis/tikv.org/v1alpha1/namespaces/{namespace}/tikvtasks")
}

/// Path of the Jobs of a namespace.
pub(crate) fn jobs(namespace: &str) -> String {
    format!("/apis/batch/v1/namespaces/{namespace}/jobs")
}

/// An image with a shell that the nodes can have.
pub(crate) fn shell(scene: &Scene) -> &'static str {
    if scene.lab.is_some() { ON_THE_LAB } else { PULLED }
}

/// A task by its name.
pub(crate) struct Task<'a> {
    scene: &'a Scene,
    namespace: String,
    name: String,
}

impl<'a> Task<'a> {
    /// Creates it from its name and spec.
    pub(crate) fn create(
        scene: &'a Scene,
        namespace: &str,
        name: &str,
        spec: &Value,
    ) -> Result<Self> {
        let body = json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
            "metadata": { "name": name }, "spec": spec,
        });
        scene.kube.create(&collection(namespace), &body)?;
        Ok(Self { scene, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Path of the resource.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", collection(&self.namespace), self.name)
    }

    fn get(&self) -> Result<Value> {
        self.scene.kube.get(&self.path())
    }

    /// Changes fields of its spec.
    pub(crate) fn merge(&self, spec: &Value) -> Result<()> {
        self.scene.kube.merge(&self.path(), &json!({ "spec": spec })).map(drop)
    }

    /// Waits until it was accepted and looked at: what happens from then on starts runs.
    pub(crate) fn looked(&self) -> Result<()> {
        until(&format!("{} looked at", self.name), LOOKED, || {
            let task = self.get()?;
            let ready = condition(&task, "Ready");
            let accepted = ready.and_then(|c| text(c, "/status")) == Some("True");
            let looked = ["/status/clusters/0", "/status/schedule"];
            let looked = looked.iter().any(|place| task.pointer(place).is_some());
            let said = ready.map_or("no condition Ready".to_owned(), Value::to_string);
            Ok(if accepted && looked { Ok(()) } else { Err(said) })
        })
    }

    /// Runs that wait, go on, or are remembered.
    pub(crate) fn runs(&self) -> Result<Vec<Value>> {
        let task = self.get()?;
        let runs = task.pointer("/status/runs").and_then(Value::as_array);
        Ok(runs.cloned().unwrap_or_default())
    }

    /// How its last run ended.
    pub(crate) fn last_outcome(&self) -> Result<Option<String>> {
        Ok(text(&self.get()?, "/status/lastOutcome").map(str::to_owned))
    }

    /// Waits until its only run has ended so, and returns it; another end and a second run are errors.
    pub(crate) fn run_ends(&self, wanted: &str, limit: Duration) -> Result<Value> {
        let name = &self.name;
        until(&format!("the run of {name} to have {wanted}"), limit, || {
            let runs = self.runs()?;
            ensure!(runs.len() < 2, "{name} has more runs than one: {}", Value::from(runs));
            let Some(run) = runs.into_iter().next() else {
                return Ok(Err("there is none".to_owned()));
            };
            let outcome = text(&run, "/outcome").unwrap_or_default().to_owned();
            let over = outcome != "Pending" && outcome != "Running";
            ensure!(
                !over || outcome == wanted,
                "the run of {name} has {outcome}, not {wanted}: {run}"
            );
            Ok(if over { Ok(run) } else { Err(run.to_string()) })
        })
    }

    /// Its Jobs.
    pub(crate) fn jobs(&self) -> Result<Vec<Value>> {
        let path = jobs(&self.namespace);
        self.scene.kube.list(&format!("{path}?labelSelector={LABEL}={}", self.name))
    }

    /// What the pods of its Jobs have written.
    pub(crate) fn written(&self) -> Result<String> {
        let kube = &self.scene.kube;
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let mut all = String::new();
        for pod in kube.list(&format!("{pods}?labelSelector={LABEL}={}", self.name))? {
            let name = text(&pod, "/metadata/name").context("a pod without a name")?;
            all.push_str(&kube.text(&format!("{pods}/{name}/log"))?);
        }
        Ok(all)
    }
}

/// An example: a task and what belongs to it.
pub(crate) struct Example(Vec<Value>);

impl Example {
    /// From its file.
    pub(crate) fn read(file: &str) -> Result<Self> {
        documents(file).map(Self)
    }

    /// Its task.
    pub(crate) fn task(&mut self) -> Result<&mut Value> {
        let mut documents = self.0.iter_mut();
        documents.find(|document| is_task(document)).context("an example without a task")
    }

    /// Takes out what is of this kind: a sabotage.
    pub(crate) fn leave_out(&mut self, kind: &str) {
        self.0.retain(|document| text(document, "/kind") != Some(kind));
    }

    /// Lets the containers of its Job run the image with a shell that the nodes can have.
    pub(crate) fn with_shell(&mut self, scene: &Scene) -> Result<()> {
        let containers = "/spec/run/job/template/spec/template/spec/containers";
        let list = self.task()?.pointer_mut(containers).and_then(Value::as_array_mut);
        for container in list.context("the example has no Job")? {
            manifest::set(container, "/image", json!(shell(scene)));
        }
        Ok(())
    }

    /// Creates all of it.
    pub(crate) fn apply<'a>(&self, scene: &'a Scene, namespace: &str) -> Result<Task<'a>> {
        let task = self.0.iter().find(|document| is_task(document));
        let name = task.and_then(|task| text(task, "/metadata/name"));
        let name = name.context("an example without a named task")?.to_owned();
        create_all(scene, namespace, &self.0)?;
        Ok(Task { scene, namespace: namespace.to_owned(), name })
    }
}

fn is_task(document: &Value) -> bool {
    text(document, "/kind") == Some("TikvTask")
}

fn documents(file: &str) -> Result<Vec<Value>> {
    let read = serde_saphyr::from_multiple(file);
    read.map_err(|error| anyhow!("a file of the repository is no YAML: {error}"))
}

fn create_all(scene: &Scene, namespace: &str, documents: &[Value]) -> Result<()> {
    for document in documents {
        scene.kube.create(&place(namespace, document)?, document)?;
    }
    Ok(())
}

/// Path of the collection that an object belongs to.
fn place(namespace: &str, document: &Value) -> Result<String> {
    let kind = text(document, "/kind").context("an object without a kind")?;
    let group = match kind {
        "TikvTask" => return Ok(collection(namespace)),
        "Role" | "RoleBinding" => "/apis/rbac.authorization.k8s.io/v1",
        "ServiceAccount" => "/api/v1",
        other => bail!("where objects of kind {other} belong is not known here"),
    };
    Ok(format!("{group}/namespaces/{namespace}/{}s", kind.to_lowercase()))
}

/// Applies `deploy/optional/task-accounts.yaml` for this account: the operator may act as it.
pub(crate) fn let_act_as(scene: &Scene, namespace: &str, account: &str) -> Result<()> {
    create_all(scene, namespace, &accounts(&scene.operator.user, account)?)
}

/// Gives an account these rights in its namespace.
pub(crate) fn allow(scene: &Scene, namespace: &str, account: &str, rules: &Value) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": { "name": account },
        "rules": rules,
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": { "name": account },
        "roleRef": { "apiGroup": group, "kind": "Role", "name": account },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
    });
    create_all(scene, namespace, &[role, binding])
}

/// The file with this account in it, and this user as the operator's.
fn accounts(user: &str, account: &str) -> Result<Vec<Value>> {
    let name = user.strip_prefix("system:serviceaccount:").and_then(|name| name.split_once(':'));
    let (namespace, operator) =
        name.with_context(|| format!("the operator runs as {user}, which is no service account"))?;
    let mut documents = documents(ACCOUNTS)?;
    for document in &mut documents {
        if let Some(names) = document.pointer_mut("/rules/0/resourceNames") {
            *names = json!([account]);
        }
        if let Some(subject) = document.pointer_mut("/subjects/0") {
            manifest::set(subject, "/name", json!(operator));
            manifest::set(subject, "/namespace", json!(namespace));
        }
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_examples_can_be_applied() {
        for (file, objects) in
            [(BACKUP, 1), (COMPACTION, 1), (PAGE, 4), (SCALE_OUT, 4), (VERIFY, 1)]
        {
            let mut example = Example::read(file).unwrap();
            assert!(example.task().is_ok(), "{file}");
            let places = example.0.iter().map(|document| place("ns", document));
            let places: Vec<_> = places.collect::<Result<_>>().unwrap();
            assert_eq!(places.len(), objects, "{places:?}");
        }
        let binding = json!({ "kind": "RoleBinding" });
        let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/rolebindings";
        assert_eq!(place("ns", &binding).unwrap(), path);
        assert!(place("ns", &json!({ "kind": "Node" })).is_err());
    }

    #[test]
    fn what_cannot_be_pulled_on_the_lab_is_what_the_examples_run() {
        for file in [BACKUP, VERIFY] {
            assert!(file.contains(&format!("image: {PULLED}\n")), "{file}");
        }
    }

    #[test]
    fn of_the_accounts_file_only_names_are_changed() {
        let shipped = accounts("system:serviceaccount:tikv-operator-system:tikv-operator", "a");
        let mut shipped = shipped.unwrap();
        assert_eq!(shipped[0]["rules"][0]["resourceNames"], json!(["a"]));
        shipped[0]["rules"][0]["resourceNames"] = json!(["tikv-tasks"]);
        assert_eq!(shipped, documents(ACCOUNTS).unwrap());
        let other = accounts("system:serviceaccount:mine:its", "a").unwrap();
        assert_eq!(other[1]["subjects"][0]["namespace"], json!("mine"));
        assert_eq!(other[1]["subjects"][0]["name"], json!("its"));
        assert!(accounts("admin", "a").is_err());
    }
}
