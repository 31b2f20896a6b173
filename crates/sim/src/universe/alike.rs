//! What of everything besides the operator decides what happens next?

use super::Universe;
use crate::pd::{DiskId, Ensemble, Pd};
use crate::search::{Alike, Likeness};
use crate::tikv::{Process, Stage, StoreData, Tikv};

impl Alike for Universe {
    fn tell(&self, to: &mut Likeness) {
        let Self {
            now: _,
            dice: _,
            kube,
            nodes,
            pd,
            tikv,
            // Of interest where there are mistakes, which no situation has.
            in_force: _,
            // Made of objects.
            names: _,
            named_at,
            cuts,
            // Both for skipping seconds alone.
            shapes: _,
            still_since: _,
        } = self;
        kube.tell(to);
        to.same((*named_at == kube.version(), cuts));
        nodes.tell(kube, to);
        let Pd { ensembles, disks: _, join_files: _, processes: _, minted, exited } = pd;
        to.each(ensembles, |to, ensemble| ensemble.tell(to));
        to.each(minted, |to, minted| minted.tell(to));
        to.each(exited, tell_exit);
        to.each(&tikv.exited, tell_exit);
        // Disks by their claims, processes by their pods: uids and numbers are of no order.
        for disk in nodes.disks_by_claim() {
            to.same((&disk.claim, &disk.node));
            let (member, store) = (pd.disks.get(&disk.id), tikv.disks.get(&disk.id));
            to.same((member.is_some(), store.is_some()));
            if let Some(data) = member {
                data.tell(to);
            }
            let joined = pd.join_files.get(&disk.id);
            to.same(joined.is_some());
            if let Some(file) = joined {
                file.tell(to);
            }
            if let Some(data) = store {
                tell_data(data, ensembles, to);
            }
        }
        for pod in kube.list("Pod") {
            let (member, store) = (pd.processes.get(pod.uid()), tikv.processes.get(pod.uid()));
            to.same((member.is_some(), store.is_some()));
            if let Some(process) = member {
                process.tell(to);
                to.same(claim(self, process.disk));
            }
            if let Some(process) = store {
                process.tell(to);
                to.same(claim(self, process.disk));
            }
        }
        tell_strays(pd, tikv, self, to);
    }
}

/// Processes whose pods are gone, on machines that do not know.
fn tell_strays(pd: &Pd, tikv: &Tikv, universe: &Universe, to: &mut Likeness) {
    let stray = |uid: &String| universe.kube.pod_by_uid(uid).is_none();
    for (_, process) in pd.processes.iter().filter(|(uid, _)| stray(uid)) {
        process.tell(to);
    }
    for (_, process) in tikv.processes.iter().filter(|(uid, _)| stray(uid)) {
        process.tell(to);
    }
}

fn tell_exit(to: &mut Likeness, (uid, words): &(String, String)) {
    to.text(uid);
    to.text(words);
}

fn claim(universe: &Universe, disk: DiskId) -> Option<&str> {
    let mut disks = universe.nodes.disks.values();
    disks.find(|known| known.id == disk).map(|disk| disk.claim.as_str())
}

/// Of the logs on a disk it matters whether they are whole.
fn tell_data(data: &StoreData, ensembles: &[Ensemble], to: &mut Likeness) {
    let StoreData { cluster_id, store, applied } = data;
    to.id(*cluster_id);
    to.same(store);
    for ensemble in ensembles.iter().filter(|e| e.cluster_id == Some(*cluster_id)) {
        for region in &ensemble.cluster.regions {
            let log = applied.get(&region.id);
            to.same(log.map(|log| *log >= region.acknowledged));
        }
    }
}

impl Alike for Process {
    fn tell(&self, to: &mut Likeness) {
        let Self { address, pd, disk: _, version, stage, caught_up_at, stopping, config } = self;
        to.same((address, pd, version, stopping));
        to.due(*caught_up_at);
        to.json(config);
        match stage {
            Stage::Starting { ready_at } => {
                to.same(0_u8);
                to.due(*ready_at);
            }
            Stage::Serving { store, heartbeat } => {
                to.same((1_u8, store));
                to.time(*heartbeat);
            }
        }
    }
}
