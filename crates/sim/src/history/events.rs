//! What can happen in a history?

use serde_json::{Value, json};

use super::{GOOD_VERSION, History};
use crate::dice::Dice;
use crate::kube::{Key, name_of, set};

/// A version that no registry has.
const BAD_VERSION: &str = "v8.5.99";

impl History {
    pub(super) fn event(&mut self) {
        match self.dice.below(24) {
            0..=3 => self.edit(),
            4 => self.restart_operator(),
            5 => self.delete_or_create(),
            6 | 7 => self.remove("Pod"),
            8 => self.remove("Service"),
            9 => self.remove("ConfigMap"),
            10 => self.remove("PodDisruptionBudget"),
            11 => self.delay_pod(),
            12 | 13 => self.kill_process(),
            14 => self.lose_status(),
            15 => self.power(),
            16..=18 => self.upgrade(),
            19 => self.configure(),
            20 => self.drain(),
            21 => self.pause(),
            22 => self.lose_machine(),
            _ => self.create("c-pd"),
        }
    }

    pub(super) fn note(&mut self, what: &str) {
        let second = self.harness.universe.now / 1000;
        self.verdict.events.push(format!("{second} s: {what}"));
    }

    pub(super) fn create(&mut self, name: &str) {
        if self.harness.universe.kube.get("TikvCluster", name).is_some() {
            return;
        }
        let odd = |dice: &mut Dice| json!({"replicas": 1 + 2 * dice.below(2)});
        let mut spec = json!({"pd": odd(&mut self.dice), "tikv": odd(&mut self.dice)});
        let goes = self.dice.chance(30);
        if let (true, Some(spec)) = (goes, spec.as_object_mut()) {
            spec.insert("pvReclaimPolicy".to_owned(), json!("Delete"));
        }
        // A cluster that comes back over its volumes has at least the members that it had.
        if let Some(members) = self.members_on_volumes(name) {
            spec = members;
        }
        self.note(&format!("create {name} {spec}"));
        let _ = self.harness.create(name, &spec);
        self.clusters.retain(|(known, _)| known != name);
        self.clusters.push((name.to_owned(), goes));
    }

    fn members_on_volumes(&self, cluster: &str) -> Option<Value> {
        let count = |component: &str| {
            let prefix = format!("{component}-{cluster}-{component}-");
            let claims = self.harness.universe.kube.list("PersistentVolumeClaim");
            claims.filter(|claim| name_of(claim).starts_with(&prefix)).count()
        };
        let (pd, tikv) = (count("pd"), count("tikv"));
        (pd + tikv > 0)
            .then(|| json!({"pd": {"replicas": pd.max(1)}, "tikv": {"replicas": tikv.max(1)}}))
    }

    /// One member more or less; PD by two.
    fn edit(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        let (component, step) = if self.dice.chance(30) { ("pd", 2) } else { ("tikv", 1) };
        let Some(resource) = self.harness.universe.kube.get("TikvCluster", &name) else { return };
        let now = resource.pointer(&format!("/spec/{component}/replicas")).and_then(Value::as_u64);
        let now = now.unwrap_or(3);
        let wanted = if self.dice.chance(60) { now + step } else { now.saturating_sub(step) };
        // Fewer stores than replicas is refused for ever, and that is no rest.
        let least = if component == "pd" { 1 } else { now.min(3) };
        if (least..=5).contains(&wanted) && wanted != now {
            self.note(&format!("edit {name} {component}.replicas={wanted}"));
            self.harness.edit(&name, &[component, "replicas"], json!(wanted));
        }
    }

    /// A new version of everything or of the stores; now and then one that cannot be had.
    fn upgrade(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        let good = ["v8.5.8", GOOD_VERSION];
        let version = if self.dice.chance(20) {
            self.harness.universe.nodes.missing_tags.insert(BAD_VERSION.to_owned());
            self.broken.insert(name.clone());
            BAD_VERSION
        } else {
            self.dice.pick(&good).copied().unwrap_or(GOOD_VERSION)
        };
        if version != BAD_VERSION {
            self.broken.remove(&name);
        }
        self.note(&format!("edit {name} version={version}"));
        self.harness.edit(&name, &["version"], json!(version));
    }

    /// A setting that only a start reads, or one that PD takes at once.
    fn configure(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        let number = self.dice.between(2, 6);
        let (component, config) = if self.dice.chance(50) {
            ("tikv", json!({"server": {"grpc-concurrency": number}}))
        } else {
            ("pd", json!({"schedule": {"leader-schedule-limit": number}}))
        };
        self.note(&format!("edit {name} {component}.config={config}"));
        self.harness.edit(&name, &[component, "config"], config);
    }

    /// A machine is drained for a while.
    fn drain(&mut self) {
        let Some(node) = self.machine() else { return };
        let pause = self.dice.between(10, 200);
        self.note(&format!("{node} is drained for {pause} s"));
        self.harness.universe.cordon(&node, true);
        self.harness.universe.nodes.draining.insert(node.clone());
        self.harness.run(pause);
        self.harness.universe.nodes.draining.remove(&node);
        self.harness.universe.cordon(&node, false);
    }

    /// Someone presses pause for a while.
    fn pause(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        let pause = self.dice.between(5, 120);
        self.note(&format!("{name} is paused for {pause} s"));
        self.harness.edit(&name, &["paused"], json!(true));
        self.harness.run(pause);
        self.harness.edit(&name, &["paused"], json!(false));
    }

    /// A machine is gone with its disks, where every quorum survives that; once at most.
    fn lose_machine(&mut self) {
        let Some(node) = self.machine().filter(|_| !self.lost_for_ever) else { return };
        if !self.survives(&node) {
            return;
        }
        self.note(&format!("{node} is gone with its disks"));
        self.lost_for_ever = true;
        self.harness.auditor.forgive_node(&self.harness.universe, &node);
        self.harness.universe.delete_node(&node);
    }

    fn survives(&self, node: &str) -> bool {
        let universe = &self.harness.universe;
        let gone: Vec<u64> =
            universe.nodes.disks.values().filter(|d| d.node == node).map(|d| d.id).collect();
        let idle = !universe.pd.ensembles.is_empty()
            && universe.pd.ensembles.iter().all(|e| e.cluster.bootstrapped.is_some());
        idle && universe.pd.ensembles.iter().enumerate().all(|(index, ensemble)| {
            let members = universe.pd.disks.iter().filter(|(disk, data)| {
                !gone.contains(disk) && data.ensemble == index && data.synced
            });
            let kept = |store: u64| {
                universe.tikv.disks.iter().any(|(disk, data)| {
                    Some(data.cluster_id) == ensemble.cluster_id
                        && data.store == store
                        && !gone.contains(disk)
                })
            };
            let regions = ensemble.cluster.regions.iter();
            members.count() >= ensemble.quorum()
                && ensemble.cluster.stores.len() > 2
                && regions
                    .into_iter()
                    .all(|r| r.voters().filter(|s| kept(*s)).count() >= r.quorum())
        })
    }

    fn machine(&mut self) -> Option<String> {
        let universe = &self.harness.universe;
        let known = universe.nodes.machines.keys();
        let known: Vec<String> =
            known.filter(|name| universe.kube.get("Node", name).is_some()).cloned().collect();
        self.dice.pick(&known).cloned()
    }

    fn restart_operator(&mut self) {
        let pause = self.dice.below(60_000);
        self.note(&format!("operator down for {} s", pause / 1000));
        let now = self.harness.universe.now;
        for operator in &mut self.harness.operators {
            operator.restart(now, pause);
        }
    }

    fn delete_or_create(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        if self.harness.universe.kube.get("TikvCluster", &name).is_some() {
            self.note(&format!("delete {name}"));
            self.harness.delete(&name);
        } else {
            self.create(&name);
        }
    }

    fn remove(&mut self, kind: &str) {
        let names: Vec<String> =
            self.harness.universe.kube.list(kind).map(|o| name_of(o).to_owned()).collect();
        let Some(name) = self.dice.pick(&names).cloned() else { return };
        self.note(&format!("someone removes {kind} {name}"));
        let _ = self.harness.universe.kube.delete(&Key::new(kind, &name), None);
    }

    fn kill_process(&mut self) {
        let names: Vec<String> =
            self.harness.universe.kube.list("Pod").map(|o| name_of(o).to_owned()).collect();
        let Some(name) = self.dice.pick(&names).cloned() else { return };
        self.note(&format!("the process of {name} ends"));
        self.harness.universe.kill_process(&name);
    }

    /// The status is lost entirely; all that matters is somewhere else too.
    fn lose_status(&mut self) {
        let Some((name, _)) = self.dice.pick(&self.clusters).cloned() else { return };
        self.note(&format!("the status of {name} is lost"));
        self.harness.universe.kube.edit(&Key::new("TikvCluster", &name), |resource| {
            set(resource, &["status"], json!({}));
        });
    }

    /// A machine loses power for a while.
    fn power(&mut self) {
        let Some(node) = self.machine() else { return };
        let pause = self.dice.between(5, 500);
        self.note(&format!("{node} has no power for {pause} s"));
        self.harness.universe.nodes.power(&node, false);
        self.harness.run(pause);
        self.harness.universe.nodes.power(&node, true);
    }

    fn delay_pod(&mut self) {
        let component = if self.dice.chance(60) { "pd" } else { "tikv" };
        let name = format!("c-{component}-{}", self.dice.below(3));
        let until = self.harness.universe.now + self.dice.between(1, 400) * 1000;
        self.note(&format!("{name} cannot start until {} s", until / 1000));
        self.harness.universe.nodes.late.insert(name, until);
    }
}
