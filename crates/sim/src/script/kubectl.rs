//! What does a person with kubectl do to objects?

use serde_json::{Value, json};
use tikv_operator_api::labels::SKIP_GATE;

use super::Play;
use super::commands::{Printed, faults, number};
use crate::kube::{Key, Propagation, patch, set, text, uid_of};
use crate::tasks::JobEnds;
use crate::universe::NAMESPACE;

impl Play {
    /// Marks, patches and deletions of single objects.
    pub(super) fn with_kubectl(&mut self, verb: &str, rest: &[&str]) -> Printed {
        match (verb, rest) {
            ("annotate" | "label", [kind, name, marks @ ..]) => {
                self.mark(verb, &Key::new(kind, name), marks)
            }
            ("unlabel", [kind, name, label]) => {
                self.unmark(&Key::new(kind, name), "labels", label);
                Ok(String::new())
            }
            ("patch", [kind, name, change]) => {
                let change = serde_json::from_str(&self.filled(change));
                let change = change.map_err(|error| error.to_string())?;
                let key = Key::new(kind, name);
                self.harness.universe.kube.edit_spec(&key, |object| patch(object, &change));
                Ok(String::new())
            }
            ("orphan", [kind, name]) => {
                let key = Key::new(kind, name);
                self.harness.universe.kube.delete_owner(&key, Propagation::Orphan);
                Ok(String::new())
            }
            ("gate", [task, cluster]) => self.gate(task, cluster),
            ("hook", [task, cluster, events @ ..]) => self.hook(task, cluster, events),
            ("faults-of-tasks", fields) => {
                self.harness.set_faults_of_tasks(faults(fields)?);
                Ok(String::new())
            }
            ("gate-answers", [task, outcome]) => self.answer(task, outcome),
            ("skip-gate", [cluster]) => self.skip_gate(cluster),
            ("jobs", [task, how @ ..]) => self.end_jobs_of(task, how),
            ("made-by", [operator, cluster]) => self.made_by(operator, cluster),
            _ => self.in_pd(verb, rest),
        }
    }

    /// A task that is to run before every upgrade of the cluster.
    fn gate(&mut self, task: &str, cluster: &str) -> Printed {
        let container = json!({"name": "work", "image": "work:1"});
        let job = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let spec = json!({
            "cluster": cluster, "events": ["UpgradeStarting"], "gate": "before",
            "run": {"job": {"template": job}},
        });
        self.task(task, &spec)
    }

    /// A task that calls somebody after each of these events.
    fn hook(&mut self, task: &str, cluster: &str, events: &[&str]) -> Printed {
        let spec = json!({
            "cluster": cluster, "events": events, "concurrencyPolicy": "Allow",
            "run": {"http": {"url": "http://a"}},
        });
        self.task(task, &spec)
    }

    fn task(&mut self, task: &str, spec: &Value) -> Printed {
        let task = json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
            "metadata": {"name": task, "namespace": NAMESPACE},
            "spec": spec,
        });
        let made = self.harness.universe.kube.create(task);
        made.map(|_| String::new()).map_err(|refusal| format!("{refusal:?}"))
    }

    /// What came of the task's run for the upgrade that is announced now.
    fn answer(&mut self, task: &str, outcome: &str) -> Printed {
        let kube = &mut self.harness.universe.kube;
        let key = Key::new("TikvTask", task);
        let cluster = kube.get("TikvTask", task).map(|task| text(task, "/spec/cluster").to_owned());
        let cluster = cluster.ok_or("no such task")?;
        let resource = kube.get("TikvCluster", &cluster).ok_or("no such cluster")?;
        let id = text(resource, "/status/upgrade/id");
        if id.is_empty() {
            return Err("no upgrade is announced".to_owned());
        }
        let answer = json!({"id": id, "outcome": outcome, "message": "as the script says"});
        let seen = json!([{"name": cluster, "uid": uid_of(resource), "gate": answer}]);
        kube.edit(&key, |task| set(task, &["status", "clusters"], seen));
        Ok(String::new())
    }

    /// From now on the operator looks after tasks too, and the Jobs of this one end so.
    fn end_jobs_of(&mut self, task: &str, how: &[&str]) -> Printed {
        let ends = match how {
            ["well", seconds] => JobEnds::Well(number(seconds)?),
            ["badly", seconds] => JobEnds::Badly(number(seconds)?),
            ["never"] => JobEnds::Never,
            _ => return Err("want well SECONDS, badly SECONDS or never".to_owned()),
        };
        self.harness.with_tasks().say(task, ends);
        Ok(String::new())
    }

    /// Lets the upgrade that is announced now pass without its tasks.
    fn skip_gate(&mut self, cluster: &str) -> Printed {
        let kube = &mut self.harness.universe.kube;
        let resource = kube.get("TikvCluster", cluster).ok_or("no such cluster")?;
        let id = json!(text(resource, "/status/upgrade/id"));
        let place = ["metadata", "annotations", SKIP_GATE];
        kube.edit(&Key::new("TikvCluster", cluster), |resource| set(resource, &place, id));
        Ok(String::new())
    }

    /// Annotations or labels that are set, or taken off (`key-`), as kubectl writes it.
    fn mark(&mut self, verb: &str, key: &Key, marks: &[&str]) -> Printed {
        let place = if verb == "annotate" { "annotations" } else { "labels" };
        for mark in marks {
            if let Some(name) = mark.strip_suffix('-') {
                self.unmark(key, place, name);
                continue;
            }
            let (name, value) = mark.split_once('=').ok_or("want key=value")?;
            let value = json!(self.filled(value));
            self.harness.universe.kube.edit(key, |object| {
                set(object, &["metadata", place, name], value);
            });
        }
        Ok(String::new())
    }

    fn unmark(&mut self, key: &Key, place: &str, name: &str) {
        self.harness.universe.kube.edit(key, |object| {
            let marks = object.pointer_mut(&format!("/metadata/{place}"));
            marks.and_then(|marks| marks.as_object_mut()?.shift_remove(name));
        });
    }

    /// What a person notes and fills in, where there is one cluster: `$ID`, the cluster id that PD
    /// says, and `$U`, the uid of the resource.
    fn filled(&self, word: &str) -> String {
        let universe = &self.harness.universe;
        let id = universe.pd.ensembles.iter().find_map(|ensemble| ensemble.cluster_id);
        let uid = universe.kube.list("TikvCluster").next().map(uid_of);
        word.replace("$ID", &id.unwrap_or_default().to_string())
            .replace("$U", uid.unwrap_or_default())
    }
}
