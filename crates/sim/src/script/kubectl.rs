//! What does a person with kubectl do to objects?

use serde_json::json;

use super::Play;
use super::commands::Printed;
use crate::kube::{Key, Propagation, patch, set, uid_of};

impl Play {
    /// Marks, patches and deletions of single objects.
    pub(super) fn with_kubectl(&mut self, verb: &str, rest: &[&str]) -> Printed {
        match (verb, rest) {
            ("annotate" | "label", [kind, name, marks @ ..]) => {
                self.mark(verb, &Key::new(kind, name), marks)
            }
            ("unlabel", [kind, name, label]) => {
                self.harness.universe.kube.edit(&Key::new(kind, name), |object| {
                    let labels = object.pointer_mut("/metadata/labels");
                    labels.and_then(|l| l.as_object_mut()?.shift_remove(*label));
                });
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
            ("made-by", [operator, cluster]) => self.made_by(operator, cluster),
            _ => self.in_pd(verb, rest),
        }
    }

    /// Annotations or labels that are set.
    fn mark(&mut self, verb: &str, key: &Key, marks: &[&str]) -> Printed {
        let place = if verb == "annotate" { "annotations" } else { "labels" };
        for mark in marks {
            let (name, value) = mark.split_once('=').ok_or("want key=value")?;
            let value = json!(self.filled(value));
            self.harness.universe.kube.edit(key, |object| {
                set(object, &["metadata", place, name], value);
            });
        }
        Ok(String::new())
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
