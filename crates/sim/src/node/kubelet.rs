//! How is a container started, watched, started again and ended?

use std::sync::Arc;

use super::launch::{Launch, Program};
use super::show::{self, Shown};
use super::{Node, Nodes, Run, Stage, schedule};
use crate::beliefs;
use crate::dice::Dice;
use crate::kube::{Key, Kube, Object, at, is_deleting, name_of, text, uid_of};
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
    /// Some process has ended by itself, and nobody has looked.
    pub(super) fn have_ended(&self) -> bool {
        !self.pd.exited.is_empty() || !self.tikv.exited.is_empty()
    }

    pub(super) fn is_open(&self, uid: &str) -> bool {
        self.pd.is_open(uid) || self.tikv.is_open(uid)
    }

    pub(super) fn runs(&self, uid: &str) -> bool {
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
        let changed = kube.has_news(self.seen, &["Node", "Pod", "PersistentVolumeClaim"]);
        if changed || self.late.values().any(|until| *until <= now) {
            self.late.retain(|_, until| *until > now);
            let version = kube.version();
            schedule::show_pending_claims(kube);
            self.schedule(kube, now, dice);
            schedule::grow_claims(kube);
            self.seen = version;
        } else {
            self.seen = kube.version();
        }
        self.follow_machines(kube, now, changed);
        self.note_exits(processes, now);
        let mut runs = std::mem::take(&mut self.runs);
        let mut keeper = Keeper { kube, processes, now, dice };
        runs.retain(|uid, run| {
            if self.is_idle(uid, run, &keeper) {
                return true;
            }
            let version = keeper.kube.version();
            let stays = self.look_after(uid, run, &mut keeper);
            run.looked_at = Some(version).filter(|before| *before == keeper.kube.version());
            stays
        });
        self.runs = runs;
    }

    /// Nothing has changed since this pod was looked at, and nothing is due with it.
    fn is_idle(&self, uid: &str, run: &Run, keeper: &Keeper<'_, '_>) -> bool {
        run.looked_at == Some(keeper.kube.version())
            && self.machines.get(&run.node).is_some_and(Node::is_heard)
            && run.next_due(uid, keeper.processes, keeper.now) > keeper.now
    }

    /// One pod in one moment. False when it is gone.
    fn look_after(&mut self, uid: &str, run: &mut Run, keeper: &mut Keeper<'_, '_>) -> bool {
        let muted = self.machines.get(&run.node).is_some_and(|machine| machine.muted);
        let Some(pod) = keeper.kube.shared(&run.pod).filter(|pod| pod.uid() == uid) else {
            // A machine that hears nothing lets go on what it has.
            if !muted {
                keeper.processes.kill(uid);
            }
            return muted;
        };
        if muted {
            Self::show_lost(run, &pod, keeper.kube, keeper.now);
            return true;
        }
        if !self.machines.get(&run.node).is_some_and(|machine| machine.up) {
            keeper.processes.kill(uid);
            // When it comes back everything is attached and mounted anew.
            run.restarts += u32::from(run.stage == Stage::Running);
            run.stage = Stage::Attaching { until: keeper.now };
            Self::show_lost(run, &pod, keeper.kube, keeper.now);
            return true;
        }
        let stays = self.keep(&pod, run, keeper);
        if stays {
            Self::show(&pod, run, keeper);
        }
        stays
    }

    /// A container that ended by itself waits before it is started again.
    fn note_exits(&mut self, processes: &mut Processes<'_>, now: u64) {
        let mut exits = std::mem::take(&mut processes.pd.exited);
        exits.append(&mut processes.tikv.exited);
        for (uid, words) in exits {
            if let Some(run) = self.runs.get_mut(&uid) {
                let (first, longest) = beliefs::CRASH_BACKOFF.value;
                let wait = first.saturating_mul(1 << run.restarts.min(6)).min(longest);
                if run.shown.as_ref().is_some_and(|shown| shown.ready) {
                    run.ended = Some(now);
                }
                run.stage = Stage::BackOff { until: now + wait, words };
            }
        }
    }

    /// A machine without power says nothing; after a while its pods read not Ready, and their
    /// containers as before ([`beliefs::UNHEARD_PODS`]).
    fn show_lost(run: &mut Run, pod: &Object, kube: &mut Kube, now: u64) {
        let due = run.lost_at.get_or_insert(now + schedule::NODE_GRACE);
        if now < *due {
            return;
        }
        if let Some(shown) = run.shown.as_mut().filter(|shown| shown.rest) {
            shown.rest = false;
            show::write(kube, &Key::of(pod), Launch::name_and_image(pod).0, shown);
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
    fn keep(&mut self, pod: &Object, run: &mut Run, keeper: &mut Keeper<'_, '_>) -> bool {
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
        match &run.stage {
            Stage::Ending { until } if now >= *until => {
                keeper.processes.kill(uid);
                keeper.kube.vanish(&Key::of(pod));
                return false;
            }
            Stage::Attaching { until } if now >= *until => {
                self.attach(pod, &run.node, keeper.kube);
                run.stage = match self.pull(pod, &run.node, keeper.dice) {
                    Some(pull) => Stage::Pulling { until: now + pull },
                    None => Stage::NoImage,
                };
            }
            Stage::Pulling { until } if now >= *until => self.mount_and_start(pod, run, keeper),
            Stage::Unmounted => self.mount_and_start(pod, run, keeper),
            Stage::BackOff { until, .. } if now >= *until => {
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

    fn mount_and_start(&mut self, pod: &Object, run: &mut Run, keeper: &mut Keeper<'_, '_>) {
        if mount(pod, run, keeper.kube) {
            self.start(pod, run, keeper);
        } else {
            run.stage = Stage::Unmounted;
        }
    }

    /// How long the image takes; `None` where no registry has it.
    fn pull(&mut self, pod: &Object, node: &str, dice: &mut Dice) -> Option<u64> {
        let image = Launch::name_and_image(pod).1;
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        if self.missing_tags.contains(tag) {
            return None;
        }
        let machine = self.machines.get_mut(node)?;
        let (low, high) = beliefs::PULL_TAKES.value;
        Some(if machine.images.insert(image.to_owned()) { dice.between(low, high) } else { 0 })
    }

    /// Kubelet notices a changed ConfigMap some time after the change
    /// ([`beliefs::MOUNTED_CONFIG_LAGS`]).
    fn refresh(run: &mut Run, keeper: &mut Keeper<'_, '_>) {
        let changed = run.mounted.iter().any(|(name, data)| {
            let map = keeper.kube.find("ConfigMap", name);
            map.is_some_and(|map| !Arc::ptr_eq(map, data) && at(map, "/data") != at(data, "/data"))
        });
        match (changed, run.refresh_at) {
            (false, _) => run.refresh_at = None,
            (true, None) => {
                let lag = keeper.dice.between(0, beliefs::MOUNTED_CONFIG_LAGS.value);
                run.refresh_at = Some(keeper.now + lag);
            }
            (true, Some(due)) if keeper.now >= due => {
                for (name, data) in &mut run.mounted {
                    if let Some(map) = keeper.kube.find("ConfigMap", name) {
                        data.clone_from(map);
                    }
                }
            }
            (true, Some(_)) => {}
        }
    }

    /// Starts the container with the configuration as it is mounted.
    fn start(&mut self, pod: &Object, run: &mut Run, keeper: &mut Keeper<'_, '_>) {
        let now = keeper.now;
        run.started = now;
        run.stage = Stage::Running;
        let uid = uid_of(pod).to_owned();
        let Some(launch) = Launch::of(pod) else { return };
        let config = launch.config.as_ref().and_then(|(name, key)| {
            at(run.mounted.get(name)?, "/data").get(key)?.as_str().map(str::to_owned)
        });
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

    fn show(pod: &Object, run: &mut Run, keeper: &mut Keeper<'_, '_>) {
        let uid = uid_of(pod);
        let runs = run.stage == Stage::Running;
        let waiting = match &run.stage {
            Stage::BackOff { words, .. } => Some(("CrashLoopBackOff", words.clone())),
            Stage::NoImage => Some(("ImagePullBackOff", "no such image".to_owned())),
            Stage::Pulling { .. } | Stage::Unmounted | Stage::Attaching { .. } => {
                Some(("ContainerCreating", String::new()))
            }
            Stage::Running | Stage::Ending { .. } => None,
        };
        let shown = Shown {
            running: runs.then_some(run.started),
            ready: runs && keeper.processes.is_open(uid),
            waiting,
            restarts: run.restarts,
            rest: !pod.is_gated(),
            has_run: run.started > 0,
        };
        if run.shown.as_ref() != Some(&shown) {
            let container = Launch::name_and_image(pod).0;
            show::write(keeper.kube, &Key::new("Pod", name_of(pod)), container, &shown);
            run.shown = Some(shown);
        }
    }
}

/// Mounts the pod's ConfigMaps as they are now. False while one does not exist.
fn mount(pod: &Object, run: &mut Run, kube: &Kube) -> bool {
    for volume in at(pod, "/spec/volumes").as_array().into_iter().flatten() {
        let name = text(volume, "/configMap/name");
        if name.is_empty() {
            continue;
        }
        let Some(map) = kube.find("ConfigMap", name) else { return false };
        run.mounted.insert(name.to_owned(), Arc::clone(map));
    }
    true
}
