//! Is a cluster born the same, whichever of its writes was the operator's last?

use serde_json::Value;

use super::Play;
use super::commands::{PATIENCE, Printed, number, spec, value_of};
use crate::harness::Harness;
use crate::operator::Faults;

/// What is created, and what happens meanwhile.
struct Birth<'a> {
    name: &'a str,
    spec: Value,
    /// Pods that do not start before so many seconds.
    late: Vec<(&'a str, u64)>,
    /// Fields that a user sets meanwhile.
    edits: Vec<(Vec<&'a str>, Value)>,
}

impl Play {
    /// Creates the cluster anew once per write, with the operator ending right after that write:
    /// `crash-after-each-write c pd=3 late=c-pd-2:60 edit=pd.replicas:5`. With an edit, twice per
    /// write: once it comes right after the first write, the decision to bootstrap, and once while
    /// the operator is away.
    pub(super) fn crash_each(&mut self, name: &str, fields: &[&str]) -> Printed {
        let birth = Birth::of(name, fields)?;
        let reference = birth.run(None, 1)?;
        if !reference.is_settled() {
            return Err("the reference run does not settle".to_owned());
        }
        let (writes, objects) = (reference.writes.len(), inventory(&reference));
        for write in 1..=writes {
            let edits = if birth.edits.is_empty() { vec![1] } else { vec![1, write] };
            for edit in edits {
                let run = birth.run(Some(write), edit)?;
                let mut wrong = birth.wrong(run, &objects);
                for problem in &mut wrong {
                    *problem = format!("crash after write {write}, edit after {edit}: {problem}");
                }
                self.broken.append(&mut wrong);
            }
        }
        Ok("after each write: settled, same objects, one cluster id\n".to_owned())
    }
}

impl<'a> Birth<'a> {
    fn of(name: &'a str, fields: &[&'a str]) -> Result<Self, String> {
        let (mut late, mut edits, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for field in fields {
            if let Some(words) = field.strip_prefix("late=") {
                let (pod, seconds) = words.split_once(':').ok_or("want late=pod:seconds")?;
                late.push((pod, number(seconds)?));
            } else if let Some(words) = field.strip_prefix("edit=") {
                let (path, value) = words.split_once(':').ok_or("want edit=path:value")?;
                edits.push((path.split('.').collect(), value_of(value)));
            } else {
                others.push(*field);
            }
        }
        Ok(Self { name, spec: spec(&others)?, late, edits })
    }

    /// One life of the cluster: the operator ends after write `crash`, the edit comes after write
    /// `edit` or, where there are not so many before it, when there is nothing more to be written.
    fn run(&self, crash: Option<usize>, edit: usize) -> Result<Harness, String> {
        let mut run = Harness::new(1);
        run.set_faults(Faults { crash_after: crash, ..Faults::default() });
        for (pod, seconds) in &self.late {
            run.universe.nodes.late.insert((*pod).to_owned(), seconds * 1000);
        }
        run.create(self.name, &self.spec).map_err(|refusal| refusal.to_string())?;
        if !self.edits.is_empty() {
            let mut patience = PATIENCE;
            while run.writes.len() < edit && patience > 0 && !run.is_settled() {
                run.run(1);
                patience -= 1;
            }
            for (path, value) in &self.edits {
                run.edit(self.name, path, value.clone());
            }
        }
        run.settle(PATIENCE);
        Ok(run)
    }

    /// What is not as it must be at the end.
    fn wrong(&self, mut run: Harness, objects: &[String]) -> Vec<String> {
        let mut wrong = Vec::new();
        if !run.is_settled() {
            wrong.push("not settled".to_owned());
        }
        if inventory(&run) != objects {
            wrong.push("other objects than without the crash".to_owned());
        }
        wrong.extend(run.stay_quiet(120).err());
        let ids = run.universe.pd.ensembles.iter().filter_map(|ensemble| ensemble.cluster_id);
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        let recorded = run
            .universe
            .kube
            .get("TikvCluster", self.name)
            .map(|resource| crate::kube::text(resource, "/status/clusterId").to_owned());
        if ids.len() != 1 || ids.first() != recorded.as_ref() {
            wrong.push(format!("clusters {ids:?}, in status {recorded:?}"));
        }
        wrong.extend(run.auditor.findings.iter().map(ToString::to_string));
        wrong
    }
}

/// Which objects there are, by kind and name.
fn inventory(harness: &Harness) -> Vec<String> {
    harness.universe.kube.keys().map(|key| key.to_string()).collect()
}
