//! What can happen in a history?

use serde_json::{Value, json};

use super::{BAD_VERSION, GOOD_VERSION, History};
use crate::kube::{name_of, text};
use crate::pd::StoreState;
use crate::universe::Universe;

impl History {
    pub(super) fn event(&mut self) {
        match self.dice.below(48) {
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
            21 => self.press_pause(),
            22 => self.lose_machine(),
            23 => self.create("c-pd"),
            24 | 25 => self.change_ones_mind(),
            26 => self.in_pd(),
            27 => self.lose_pd_leader(),
            28 => self.quota(),
            29 => self.second_operator(),
            30 => self.fill_store(),
            31 => self.lock(),
            32 => self.stranger(),
            33 => self.lose_zone(),
            34 => self.evict(),
            35 => self.ask(),
            36 | 37 => self.tamper(),
            38 => self.out_and_in_and_out(),
            39 => self.fill_all(),
            40 => self.too_few(),
            41 | 42 => self.cut(),
            43 => self.mute(),
            44 => self.turn_the_clock(),
            45 => self.hold_leaders(),
            46 => self.deafen(),
            _ => self.deny(),
        }
    }

    pub(super) fn universe(&self) -> &Universe {
        &self.play.harness.universe
    }

    pub(super) fn create(&mut self, name: &str) {
        if self.universe().kube.get("TikvCluster", name).is_some() {
            return;
        }
        let (mut pd, mut tikv) = (1 + 2 * self.dice.below(2), 1 + 2 * self.dice.below(2));
        let mut goes = if self.dice.chance(30) { " pvReclaimPolicy=Delete" } else { "" };
        // A cluster that comes back over its volumes has at least the members that it had.
        let (had_pd, had_tikv) = (self.volumes_of(name, "pd"), self.volumes_of(name, "tikv"));
        if had_pd + had_tikv > 0 {
            (pd, tikv, goes) = (had_pd.max(1), had_tikv.max(1), "");
        }
        self.obey(format!("create {name} pd={pd} tikv={tikv}{goes}"));
        self.clusters.retain(|known| known != name);
        self.clusters.push(name.to_owned());
    }

    fn volumes_of(&self, cluster: &str, component: &str) -> u64 {
        let prefix = format!("{component}-{cluster}-{component}-");
        let claims = self.universe().kube.list("PersistentVolumeClaim");
        claims.filter(|claim| name_of(claim).starts_with(&prefix)).count() as u64
    }

    /// One member more or less; PD by two.
    fn edit(&mut self) {
        let Some(name) = self.dice.pick(&self.clusters).cloned() else { return };
        let (component, step) = if self.dice.chance(30) { ("pd", 2) } else { ("tikv", 1) };
        let Some(resource) = self.universe().kube.get("TikvCluster", &name) else { return };
        let now = resource.pointer(&format!("/spec/{component}/replicas")).and_then(Value::as_u64);
        let now = now.unwrap_or(3);
        let wanted = if self.dice.chance(60) { now + step } else { now.saturating_sub(step) };
        // Fewer stores than replicas is refused for ever, and that is no rest.
        let least = if component == "pd" { 1 } else { now.min(3) };
        if (least..=5).contains(&wanted) && wanted != now {
            self.obey(format!("edit {name} {component}.replicas={wanted}"));
        }
    }

    /// A new version of everything or of the stores; now and then one that cannot be had.
    fn upgrade(&mut self) {
        let Some(name) = self.dice.pick(&self.clusters).cloned() else { return };
        let good = ["v8.5.8", GOOD_VERSION];
        let version = if self.dice.chance(20) {
            self.obey(format!("no-image {BAD_VERSION}"));
            BAD_VERSION
        } else {
            self.dice.pick(&good).copied().unwrap_or(GOOD_VERSION)
        };
        self.obey(format!("edit {name} version={version}"));
    }

    /// A setting that only a start reads, or one that PD takes at once.
    fn configure(&mut self) {
        let Some(name) = self.dice.pick(&self.clusters).cloned() else { return };
        let number = self.dice.between(2, 6);
        let (component, config) = if self.dice.chance(50) {
            ("tikv", json!({"server": {"grpc-concurrency": number}}))
        } else {
            ("pd", json!({"schedule": {"leader-schedule-limit": number}}))
        };
        self.obey(format!("edit {name} {component}.config={config}"));
    }

    /// A machine is gone with its disks, where every quorum survives that; once at most.
    fn lose_machine(&mut self) {
        let Some(node) = self.machine().filter(|_| !self.lost_for_ever) else { return };
        if self.survives(&node) {
            self.lost_for_ever = true;
            self.obey(format!("delete-node {node}"));
        }
    }

    fn survives(&self, node: &str) -> bool {
        let universe = &self.play.harness.universe;
        let gone: Vec<u64> =
            universe.nodes.disks.values().filter(|d| d.node == node).map(|d| d.id).collect();
        // Where a member last ran is written on its claim. What was not written down before the machine
        // went nobody can know: those are a person's work.
        let noted = |disk: &crate::node::Disk| {
            let claim = universe.kube.get("PersistentVolumeClaim", &disk.claim);
            claim
                .is_none_or(|claim| !text(claim, "/metadata/annotations/tikv.org~1node").is_empty())
        };
        let known = universe.nodes.disks.values().filter(|d| d.node == node).all(noted);
        let idle = known
            && !universe.pd.ensembles.is_empty()
            && universe.pd.ensembles.iter().all(|e| e.cluster.bootstrapped.is_some());
        idle && universe.pd.ensembles.iter().enumerate().all(|(index, ensemble)| {
            let members = universe.pd.disks.iter().filter(|(disk, data)| {
                !gone.contains(disk)
                    && data.ensemble == index
                    && data.synced
                    && ensemble.members.contains_key(&data.member)
            });
            let kept = |store: u64| {
                universe.tikv.disks.iter().any(|(disk, data)| {
                    Some(data.cluster_id) == ensemble.cluster_id
                        && data.store == store
                        && !gone.contains(disk)
                })
            };
            let stores = ensemble.cluster.stores.values();
            let lost = stores.filter(|s| s.state != StoreState::Tombstone && !kept(s.id)).count();
            let regions = ensemble.cluster.regions.iter();
            members.count() >= ensemble.quorum()
                && ensemble.cluster.stores.len() > 2
                // Two stores that are lost at once are a person's work, also where one of them was new.
                && lost <= 1
                && regions
                    .into_iter()
                    .all(|r| r.voters().filter(|s| kept(*s)).count() >= r.quorum())
        })
    }

    pub(super) fn machine(&mut self) -> Option<String> {
        let universe = &self.play.harness.universe;
        let known = universe.nodes.machines.keys();
        let known: Vec<String> =
            known.filter(|name| universe.kube.get("Node", name).is_some()).cloned().collect();
        self.dice.pick(&known).cloned()
    }

    fn restart_operator(&mut self) {
        let pause = self.dice.below(60);
        self.obey(format!("restart-operator {pause}"));
    }

    fn delete_or_create(&mut self) {
        let Some(name) = self.dice.pick(&self.clusters).cloned() else { return };
        if self.universe().kube.get("TikvCluster", &name).is_some() {
            self.obey(format!("delete {name}"));
        } else {
            self.create(&name);
        }
    }

    fn remove(&mut self, kind: &str) {
        if let Some(name) = self.some(kind) {
            self.obey(format!("remove {kind} {name}"));
        }
    }

    pub(super) fn some(&mut self, kind: &str) -> Option<String> {
        let objects = self.play.harness.universe.kube.list(kind);
        let names: Vec<String> = objects.map(|object| name_of(object).to_owned()).collect();
        self.dice.pick(&names).cloned()
    }

    fn kill_process(&mut self) {
        if let Some(name) = self.some("Pod") {
            self.obey(format!("kill {name}"));
        }
    }

    /// The status is lost entirely; all that matters is somewhere else too.
    fn lose_status(&mut self) {
        let Some(name) = self.dice.pick(&self.clusters).cloned() else { return };
        self.obey(format!("wipe-status {name}"));
    }

    fn delay_pod(&mut self) {
        let component = if self.dice.chance(60) { "pd" } else { "tikv" };
        let name = format!("c-{component}-{}", self.dice.below(3));
        let seconds = self.dice.between(1, 400);
        self.obey(format!("late {name} {seconds}"));
    }

    fn lose_pd_leader(&mut self) {
        self.obey("kill-pd-leader c".to_owned());
    }

    fn evict(&mut self) {
        if let Some(name) = self.some("Pod") {
            self.obey(format!("evict {name}"));
        }
    }

    fn ask(&mut self) {
        let wish = if self.dice.chance(40) { "replace" } else { "restart" };
        if let Some(name) = self.some("Pod") {
            self.obey(format!("annotate Pod {name} tikv.org/{wish}=true"));
        }
    }
}
