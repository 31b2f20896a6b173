//! How is a container started, watched, started again and ended?

use serde_json::Value;

use super::launch::{Launch, Program};
use super::show::{self, Shown};
use super::{Nodes, Run, Stage, schedule};
use crate::beliefs;
use crate::dice::Dice;
use crate::kube::{Key, Kube, at, is_deleting, name_of, text, uid_of};
use crate::names::Names;
use crate::pd::Pd;
use crate::tikv::{Moment, Tikv};

/// The processes of all nodes.
pub struct Processes<'a> {
    /// PD.
    pub pd: &'a mut Pd,
    /// TiKV.
    pub tikv: &'a mut Tikv,
}

impl Processes<'_> {
    fn is_open(&self, uid: &str) -> bool {
        self.pd.is_open(uid) || self.tikv.is_open(uid)
    }

    fn runs(&self, uid: &str) -> bool {
        self.pd.processes.contains_key(uid) || self.tikv.processes.contains_key(uid)
    }

    fn kill(&mut self, uid: &str) {
        self.pd.kill(uid);
        self.tikv.processes.remove(uid);
    }
}

impl Nodes {
    /// Lets one moment pass on every node.
    pub fn tick(
        &mut self,
        kube: &mut Kube,
        processes: &mut Processes<'_>,
        now: u64,
        dice: &mut Dice,
    ) {
        if self.seen != kube.version() || !self.late.is_empty() {
            self.seen = kube.version();
            schedule::show_pending_claims(kube);
            self.schedule(kube, now, dice);
            schedule::grow_claims(kube);
        }
        self.follow_machines(kube, now);
        self.note_exits(processes, now);
        let mut runs = std::mem::take(&mut self.runs);
        let uids: Vec<String> = runs.keys().cloned().collect();
        for uid in uids {
            let Some(mut run) = runs.remove(&uid) else { continue };
            let Some(pod) = kube.shared(&run.pod).filter(|pod| uid_of(pod) == uid) else {
                processes.kill(&uid);
                continue;
            };
            if !self.machines.get(&run.node).is_some_and(|machine| machine.up) {
                processes.kill(&uid);
                // When it comes back everything is attached and mounted anew.
                run.restarts += u32::from(run.stage == Stage::Running);
                run.stage = Stage::Attaching { until: now };
                Self::show_lost(&mut run, &pod, kube, now);
                runs.insert(uid, run);
                continue;
            }
            let mut keeper = Keeper { kube, processes, now, dice };
            if self.keep(&pod, &mut run, &mut keeper) {
                Self::show(&pod, &mut run, &mut keeper);
                runs.insert(uid, run);
            }
        }
        self.runs = runs;
    }

    /// A container that ended by itself waits before it is started again.
    fn note_exits(&mut self, processes: &mut Processes<'_>, now: u64) {
        let mut exits = std::mem::take(&mut processes.pd.exited);
        exits.append(&mut processes.tikv.exited);
        for (uid, words) in exits {
            if let Some(run) = self.runs.get_mut(&uid) {
                let (first, longest) = beliefs::CRASH_BACKOFF.value;
                let wait = first.saturating_mul(1 << run.restarts.min(6)).min(longest);
                run.stage = Stage::BackOff { until: now + wait, words };
            }
        }
    }

    /// A machine without power says nothing; after a while its pods read not ready.
    fn show_lost(run: &mut Run, pod: &Value, kube: &mut Kube, now: u64) {
        let due = run.lost_at.get_or_insert(now + schedule::NODE_GRACE);
        if now < *due {
            return;
        }
        if let Some(shown) = run.shown.as_mut().filter(|shown| shown.ready) {
            shown.ready = false;
            let container = Launch::of(pod).map(|launch| launch.container).unwrap_or_default();
            show::write(kube, &Key::of(pod), &container, shown);
        }
    }
}

/// The hands of kubelet for one pod and moment.
struct Keeper<'a, 'p> {
    kube: &'a mut Kube,
    processes: &'a mut Processes<'p>,
    now: u64,
    dice: &'a mut Dice,
}

impl Nodes {
    /// Takes the pod one stage further. False when the pod is gone.
    fn keep(&mut self, pod: &Value, run: &mut Run, keeper: &mut Keeper<'_, '_>) -> bool {
        let uid = uid_of(pod);
        let now = keeper.now;
        if is_deleting(pod) && !matches!(run.stage, Stage::Ending { .. }) {
            let wait = keeper.dice.between(0, beliefs::POD_DELETION_IS_GRACEFUL.value);
            if let Some(process) = keeper.processes.tikv.processes.get_mut(uid) {
                process.stopping = true;
            }
            run.stage = Stage::Ending { until: now + wait };
        }
        run.lost_at = None;
        Self::refresh(run, keeper);
        match run.stage.clone() {
            Stage::Ending { until } if now >= until => {
                keeper.processes.kill(uid);
                keeper.kube.vanish(&Key::of(pod));
                return false;
            }
            Stage::Attaching { until } if now >= until => {
                self.attach(pod, &run.node, keeper.kube);
                run.stage = match self.pull(pod, &run.node, keeper.dice) {
                    Some(pull) => Stage::Pulling { until: now + pull },
                    None => Stage::NoImage,
                };
            }
            Stage::Pulling { until } if now >= until => {
                if mount(pod, run, keeper.kube) {
                    self.start(pod, run, keeper);
                }
            }
            Stage::BackOff { until, .. } if now >= until => {
                run.restarts += 1;
                self.start(pod, run, keeper);
            }
            Stage::Running if !keeper.processes.runs(uid) => {
                let words = "the container was killed".to_owned();
                run.stage = Stage::BackOff { until: now, words };
            }
            Stage::Ending { .. }
            | Stage::Attaching { .. }
            | Stage::Pulling { .. }
            | Stage::NoImage
            | Stage::BackOff { .. }
            | Stage::Running => {}
        }
        true
    }

    /// How long the image takes; `None` where no registry has it.
    fn pull(&mut self, pod: &Value, node: &str, dice: &mut Dice) -> Option<u64> {
        let image = Launch::of(pod).map(|launch| launch.image).unwrap_or_default();
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        if self.missing_tags.contains(tag) {
            return None;
        }
        let machine = self.machines.get_mut(node)?;
        let (low, high) = beliefs::PULL_TAKES.value;
        Some(if machine.images.insert(image) { dice.between(low, high) } else { 0 })
    }

    /// Kubelet notices a changed ConfigMap some time after the change
    /// ([`beliefs::MOUNTED_CONFIG_LAGS`]).
    fn refresh(run: &mut Run, keeper: &mut Keeper<'_, '_>) {
        let changed = run.mounted.iter().any(|(name, data)| {
            keeper.kube.get("ConfigMap", name).is_some_and(|map| at(map, "/data") != data)
        });
        match (changed, run.refresh_at) {
            (false, _) => run.refresh_at = None,
            (true, None) => {
                let lag = keeper.dice.between(0, beliefs::MOUNTED_CONFIG_LAGS.value);
                run.refresh_at = Some(keeper.now + lag);
            }
            (true, Some(due)) if keeper.now >= due => {
                for (name, data) in &mut run.mounted {
                    if let Some(map) = keeper.kube.get("ConfigMap", name) {
                        data.clone_from(at(map, "/data"));
                    }
                }
            }
            (true, Some(_)) => {}
        }
    }

    /// Starts the container with the configuration as it is mounted.
    fn start(&mut self, pod: &Value, run: &mut Run, keeper: &mut Keeper<'_, '_>) {
        let now = keeper.now;
        run.started = now;
        run.stage = Stage::Running;
        let uid = uid_of(pod).to_owned();
        let Some(launch) = Launch::of(pod) else { return };
        let config = launch
            .config
            .as_ref()
            .and_then(|(name, key)| run.mounted.get(name)?.get(key)?.as_str().map(str::to_owned));
        let program = launch.program(&config.unwrap_or_default());
        let claim = keeper.kube.get("PersistentVolumeClaim", &launch.data_claim);
        let disk = claim.and_then(|claim| self.disks.get(uid_of(claim))).map(|disk| disk.id);
        let (program, disk) = match (program, disk) {
            (Ok(program), Some(disk)) => (program, disk),
            (Err(words), _) => return keeper.processes.pd.exited.push((uid, words)),
            (_, None) => {
                let words = "no volume under the data directory".to_owned();
                return keeper.processes.pd.exited.push((uid, words));
            }
        };
        self.note_sharing(disk, &uid, keeper.processes);
        match program {
            Program::Pd(start) => keeper.processes.pd.spawn(&uid, start, disk, now),
            Program::Tikv(mut process) => {
                process.disk = disk;
                let names = Names::default();
                let mut moment = Moment { now, names: &names, dice: keeper.dice };
                keeper.processes.tikv.spawn(&uid, process, &mut moment);
            }
        }
    }

    fn note_sharing(&mut self, disk: u64, uid: &str, processes: &Processes<'_>) {
        let pds = processes.pd.processes.iter().map(|(uid, p)| (uid, p.disk));
        let tikvs = processes.tikv.processes.iter().map(|(uid, p)| (uid, p.disk));
        let others = pds.chain(tikvs).filter(|(other, on)| *on == disk && *other != uid);
        for (other, _) in others {
            self.shared_disks.push((disk, uid.to_owned(), other.clone()));
        }
    }

    fn show(pod: &Value, run: &mut Run, keeper: &mut Keeper<'_, '_>) {
        let uid = uid_of(pod);
        let runs = run.stage == Stage::Running;
        let waiting = match &run.stage {
            Stage::BackOff { words, .. } => Some(("CrashLoopBackOff", words.clone())),
            Stage::NoImage => Some(("ImagePullBackOff", "no such image".to_owned())),
            Stage::Pulling { .. } | Stage::Attaching { .. } => {
                Some(("ContainerCreating", String::new()))
            }
            Stage::Running | Stage::Ending { .. } => None,
        };
        let shown = Shown {
            running: runs.then_some(run.started),
            ready: runs && keeper.processes.is_open(uid),
            waiting,
            restarts: run.restarts,
            gates: show::gates_pass(pod),
            has_run: run.started > 0,
        };
        if run.shown.as_ref() != Some(&shown) {
            let container = Launch::of(pod).map(|launch| launch.container).unwrap_or_default();
            show::write(keeper.kube, &Key::new("Pod", name_of(pod)), &container, &shown);
            run.shown = Some(shown);
        }
    }
}

/// Mounts the pod's ConfigMaps as they are now. False while one does not exist.
fn mount(pod: &Value, run: &mut Run, kube: &Kube) -> bool {
    for volume in at(pod, "/spec/volumes").as_array().into_iter().flatten() {
        let name = text(volume, "/configMap/name");
        if name.is_empty() {
            continue;
        }
        let Some(map) = kube.get("ConfigMap", name) else { return false };
        run.mounted.insert(name.to_owned(), at(map, "/data").clone());
    }
    true
}
