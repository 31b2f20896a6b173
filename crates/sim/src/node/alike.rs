//! What of machines decides what happens next?

use super::{Disk, Node, Nodes, Run, Stage};
use crate::kube::{Kube, at};
use crate::search::{Alike, Likeness};

impl Nodes {
    /// Volumes in the order of their claims' names.
    pub(crate) fn disks_by_claim(&self) -> Vec<&Disk> {
        let mut disks: Vec<&Disk> = self.disks.values().collect();
        disks.sort_by_key(|disk| (&disk.claim, disk.id));
        disks
    }

    /// How many changes the scheduler has seen.
    pub(crate) fn has_seen(&self) -> usize {
        self.seen
    }

    /// All but what is on the volumes.
    pub(crate) fn tell(&self, kube: &Kube, to: &mut Likeness) {
        let Self {
            machines,
            // Whoever knows what is on them.
            disks: _,
            late,
            shared_disks,
            missing_tags,
            draining,
            runs,
            next_disk: _,
            seen,
        } = self;
        for (name, Node { up, muted, images, silent_since }) in machines {
            to.same((name, up, muted, images));
            to.time_if(*silent_since);
        }
        for (pod, until) in late {
            to.same(pod);
            to.due(*until);
        }
        to.same((shared_disks.len(), missing_tags, draining));
        to.same(kube.has_news(*seen, &["Node", "Pod", "PersistentVolumeClaim"]));
        // In the order of names, and of uids where a pod was made anew and its machine does not know.
        let mut runs: Vec<&Run> = runs.values().collect();
        runs.sort_by_key(|run| &run.pod);
        to.each(&runs, |to, run| run.tell(to));
    }
}

impl Alike for Run {
    fn tell(&self, to: &mut Likeness) {
        let Self {
            pod,
            node,
            stage,
            mounted,
            refresh_at,
            lost_at,
            started,
            ended,
            // Counted in the pod's status, where it is written down.
            restarts: _,
            shown,
            looked_at: _,
        } = self;
        to.same((pod, node, mounted.len()));
        stage.tell(to);
        for (name, map) in mounted {
            to.same(name);
            to.json(at(map, "/data"));
        }
        to.time_if(*refresh_at);
        to.time_if(*lost_at);
        to.same(*started > 0);
        to.time_if(*ended);
        to.same(shown.as_ref().map(|shown| (shown.ready, shown.rest, shown.has_run)));
    }
}

impl Alike for Stage {
    fn tell(&self, to: &mut Likeness) {
        match self {
            Self::Attaching { until } => {
                to.same(0_u8);
                to.due(*until);
            }
            Self::Pulling { until } => {
                to.same(1_u8);
                to.due(*until);
            }
            Self::Unmounted => to.same(2_u8),
            Self::Running => to.same(3_u8),
            Self::NoImage => to.same(4_u8),
            Self::BackOff { until, words } => {
                to.same(5_u8);
                to.due(*until);
                to.text(words);
            }
            Self::Ending { until } => {
                to.same(6_u8);
                to.due(*until);
            }
        }
    }
}
