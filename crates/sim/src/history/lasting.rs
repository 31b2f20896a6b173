//! What can happen in a history and is over after a while, whatever happens meanwhile?

use serde_json::Value;

use super::{GOOD_VERSION, History};

impl History {
    /// A machine is drained.
    pub(super) fn drain(&mut self) {
        let Some(node) = self.machine() else { return };
        let pause = self.dice.between(10, 200);
        self.obey(format!("drain {node}"));
        self.later(pause, format!("undrain {node}"));
    }

    /// Someone presses pause.
    pub(super) fn press_pause(&mut self) {
        let Some(name) = self.one_of_the_clusters() else { return };
        let pause = self.dice.between(5, 120);
        self.obey(format!("edit {name} paused=true"));
        self.later(pause, format!("edit {name} paused=false"));
    }

    /// A machine loses power.
    pub(super) fn power(&mut self) {
        let Some(node) = self.machine() else { return };
        let pause = self.dice.between(5, 500);
        self.obey(format!("power {node} off"));
        self.later(pause, format!("power {node} on"));
    }

    /// Two machines of three, for less than anything is given up for lost.
    pub(super) fn lose_zone(&mut self) {
        let (Some(one), Some(other)) = (self.machine(), self.machine()) else { return };
        let pause = self.dice.between(5, 400);
        self.obey(format!("power {one} off"));
        self.obey(format!("power {other} off"));
        self.later(pause, format!("power {one} on"));
        self.later(pause, format!("power {other} on"));
    }

    /// Nothing gets through between a machine and the API server; what runs on it runs on.
    pub(super) fn mute(&mut self) {
        let Some(node) = self.machine() else { return };
        let pause = self.dice.between(5, 400);
        self.obey(format!("mute {node}"));
        self.later(pause, format!("unmute {node}"));
    }

    /// Nothing gets through between two, or between one and all of the others.
    pub(super) fn cut(&mut self) {
        let (pd, store) = (self.dice.below(3), self.dice.below(3));
        let pairs = [
            ("operator".to_owned(), "c-pd-*".to_owned()),
            ("operator".to_owned(), format!("c-pd-{pd}")),
            ("operator".to_owned(), "c-tikv-*".to_owned()),
            (format!("c-pd-{pd}"), "c-pd-*".to_owned()),
            (format!("c-tikv-{store}"), "c-pd-*".to_owned()),
            (format!("c-tikv-{store}"), format!("c-pd-{pd}")),
        ];
        let Some((one, other)) = self.dice.pick(&pairs).cloned() else { return };
        let pause = self.dice.between(5, 400);
        self.obey(format!("cut {one} {other}"));
        self.later(pause, format!("heal {one} {other}"));
    }

    /// The wall clock of the operator's machine is wrong.
    pub(super) fn turn_the_clock(&mut self) {
        let (hours, pause) = (self.dice.between(1, 4), self.dice.between(5, 400));
        let sign = if self.dice.chance(50) { "-" } else { "" };
        self.obey(format!("clock {sign}{}", hours * 1800));
        self.later(pause, "clock 0".to_owned());
    }

    /// A, then B, then A again.
    pub(super) fn change_ones_mind(&mut self) {
        let Some(name) = self.one_of_the_clusters() else { return };
        let Some(before) = self.spec(&name, "/version") else { return };
        let before = before.as_str().unwrap_or(GOOD_VERSION).to_owned();
        let pause = self.dice.between(1, 60);
        self.obey(format!("edit {name} version=v8.5.10"));
        self.later(pause, format!("edit {name} version={before}"));
    }

    /// A store more, a store less, a store more.
    pub(super) fn out_and_in_and_out(&mut self) {
        let Some(name) = self.one_of_the_clusters() else { return };
        let Some(now) = self.stores(&name).filter(|now| (3..5).contains(now)) else { return };
        let (first, second) = (self.dice.between(20, 200), self.dice.between(20, 300));
        self.obey(format!("edit {name} tikv.replicas={}", now + 1));
        self.later(first, format!("edit {name} tikv.replicas={now}"));
        self.later(first + second, format!("edit {name} tikv.replicas={}", now + 1));
    }

    /// Fewer stores than replicas: that is refused, and after a while it is not asked for any more.
    pub(super) fn too_few(&mut self) {
        let Some(name) = self.one_of_the_clusters() else { return };
        let Some(now) = self.stores(&name).filter(|now| *now >= 3) else { return };
        let (few, pause) = (self.dice.between(1, 2), self.dice.between(10, 200));
        self.obey(format!("edit {name} tikv.replicas={few}"));
        self.later(pause, format!("edit {name} tikv.replicas={now}"));
    }

    /// Somebody with pd-ctl: leaders leave a store for a while, or a setting is changed.
    pub(super) fn in_pd(&mut self) {
        let number = self.dice.between(5, 9);
        if self.dice.chance(50) {
            self.obey(format!("user-sets-pd c schedule.leader-schedule-limit={number}"));
            return;
        }
        let (store, pause) = (self.dice.below(3), self.dice.between(10, 120));
        self.obey(format!("user-evicts c c-tikv-{store}"));
        self.later(pause, format!("user-stops-evicting c c-tikv-{store}"));
    }

    /// No pod more than there are.
    pub(super) fn quota(&mut self) {
        let pods = self.universe().kube.list("Pod").count();
        let pause = self.dice.between(10, 200);
        self.obey(format!("quota {pods}"));
        self.later(pause, "no-quota".to_owned());
    }

    /// A lease that was taken over too early.
    pub(super) fn second_operator(&mut self) {
        let pause = self.dice.between(5, 120);
        self.obey("second-operator c".to_owned());
        self.later(pause, "one-operator c".to_owned());
    }

    /// The data on one store grows.
    pub(super) fn fill_store(&mut self) {
        let store = self.dice.below(3);
        self.fill(store, 60);
    }

    fn fill(&mut self, store: u64, least: u64) {
        let (gib, pause) = (self.dice.between(least, 91), self.dice.between(10, 200));
        self.obey(format!("fill-store c c-tikv-{store} {gib}"));
        self.later(pause, format!("fill-store c c-tikv-{store} 1"));
    }

    /// The data on every store grows, and somebody asks for a store less.
    pub(super) fn fill_all(&mut self) {
        let Some(now) = self.stores("c") else { return };
        for store in 0..now {
            self.fill(store, 80);
        }
        if now > 3 {
            self.obey(format!("edit c tikv.replicas={}", now - 1));
        }
    }

    /// Somebody's own work under PD's lock.
    pub(super) fn lock(&mut self) {
        let pause = self.dice.between(10, 200);
        self.obey("user-locks c backup/nightly".to_owned());
        self.later(pause, "user-unlocks c backup/nightly".to_owned());
    }

    /// Somebody's object under one of our names.
    pub(super) fn stranger(&mut self) {
        let name = if self.dice.chance(50) { "c-pd" } else { "c-tikv-peer" };
        let pause = self.dice.between(5, 120);
        self.obey(format!("remove Service {name}"));
        self.obey(format!("foreign Service {name}"));
        self.later(pause, format!("remove Service {name}"));
    }

    /// Somebody takes the labels or the owner off an object, and puts them back.
    pub(super) fn tamper(&mut self) {
        let kinds = ["Pod", "PersistentVolumeClaim", "Service", "ConfigMap", "PodDisruptionBudget"];
        let Some(kind) = self.dice.pick(&kinds).copied() else { return };
        let Some(name) = self.some(kind) else { return };
        let what = if self.dice.chance(60) { "labels" } else { "owners" };
        let pause = self.dice.between(5, 200);
        self.obey(format!("tamper {kind} {name} {what}"));
        self.later(pause, format!("restore {kind} {name}"));
    }

    /// The leaders on a store do not move: a hot region, a gap in the logs.
    pub(super) fn hold_leaders(&mut self) {
        let (store, pause) = (self.dice.below(3), self.dice.between(10, 300));
        self.obey(format!("hold-leaders c c-tikv-{store}"));
        self.later(pause, format!("let-leaders c c-tikv-{store}"));
    }

    /// A watch tells nothing.
    pub(super) fn deafen(&mut self) {
        let kinds = ["TikvCluster", "Pod", "PersistentVolumeClaim", "ConfigMap", "Node"];
        let Some(kind) = self.dice.pick(&kinds).copied() else { return };
        let pause = self.dice.between(5, 300);
        self.obey(format!("deaf {kind}"));
        self.later(pause, format!("hears {kind}"));
    }

    /// A policy that refuses objects of a kind.
    pub(super) fn deny(&mut self) {
        let kinds = ["Pod", "PersistentVolumeClaim", "Service", "ConfigMap", "PodDisruptionBudget"];
        let Some(kind) = self.dice.pick(&kinds).copied() else { return };
        let pause = self.dice.between(10, 200);
        self.obey(format!("deny {kind}"));
        self.later(pause, format!("no-deny {kind}"));
    }

    fn one_of_the_clusters(&mut self) -> Option<String> {
        self.dice.pick(&self.clusters).cloned()
    }

    pub(super) fn spec(&self, cluster: &str, pointer: &str) -> Option<&Value> {
        let resource = self.universe().kube.get("TikvCluster", cluster)?;
        resource.pointer(&format!("/spec{pointer}"))
    }

    pub(super) fn stores(&self, cluster: &str) -> Option<u64> {
        let resource = self.universe().kube.get("TikvCluster", cluster)?;
        Some(resource.pointer("/spec/tikv/replicas").and_then(Value::as_u64).unwrap_or(3))
    }
}
