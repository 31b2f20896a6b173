//! For how long did nothing succeed that always does? Two witnesses of the machine under a test.
//!
//! One appends a byte to a file and syncs it, as the logs of etcd and TiKV grow: a byte that is
//! overwritten would not wait for the file system's journal. The other one asks PD of a cluster that
//! nobody touches.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::cluster::Cluster;
use crate::kube::Kube;
use crate::watchman;

/// Between two beats.
const BEAT: Duration = Duration::from_millis(200);
/// Beats of a machine with more work than cores are late by tenths of a second. A write of etcd waits
/// for several syncs, on two machines: where one takes this long, PD's lease of 3 s is in danger.
const LATE: Duration = Duration::from_secs(1);

/// A time without a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// When it began, since the witness began.
    pub(crate) at: Duration,
    /// How long it lasted.
    pub(crate) long: Duration,
}

/// Looks on until it is ended.
pub(crate) struct Witness {
    /// What there is to say of a gap.
    says: &'static str,
    /// Dropped to end it.
    end: Sender<()>,
    thread: JoinHandle<Vec<Gap>>,
}

impl Witness {
    /// Of the machine's clock and disk. Fails where no file can be made there.
    pub(crate) fn disk(path: &Path) -> Result<Self> {
        let said = path.display().to_string();
        let mut file = File::create(path).with_context(|| format!("cannot create {said}"))?;
        let beat = move || file.write_all(b".").and_then(|()| file.sync_data()).is_ok();
        Ok(Self::begin("the machine's clock or disk stood still", beat))
    }

    /// Of a cluster that this case has nothing to do with.
    pub(crate) fn bystander(kube: &Kube, cluster: &Cluster) -> Self {
        let (kube, cluster) = (kube.clone(), cluster.clone());
        let beat = move || watchman::get(&kube, &cluster, "members").is_ok();
        Self::begin("PD of a cluster that nobody touched gave no answer", beat)
    }

    fn begin(says: &'static str, mut beat: impl FnMut() -> bool + Send + 'static) -> Self {
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (begin, mut beats) = (Instant::now(), Beats::default());
            while ended.recv_timeout(BEAT) != Err(RecvTimeoutError::Disconnected) {
                if beat() {
                    beats.hear(begin.elapsed());
                }
            }
            beats.hear(begin.elapsed());
            beats.gaps
        });
        Self { says, end, thread }
    }

    /// Ends it; says its longest gap, if there was one.
    pub(crate) fn end(self) -> Result<Option<String>> {
        drop(self.end);
        let gaps = self.thread.join().map_err(|_| anyhow!("a witness has panicked"))?;
        let longest = gaps.iter().max_by_key(|gap| gap.long);
        Ok(longest.map(|gap| {
            let (at, long) = (gap.at.as_secs_f64(), gap.long.as_secs_f64());
            format!("{at:.0} s after its begin {} for {long:.1} s", self.says)
        }))
    }
}

/// What was heard.
#[derive(Default)]
struct Beats {
    last: Duration,
    gaps: Vec<Gap>,
}

impl Beats {
    /// Another beat, so long after the begin.
    fn hear(&mut self, now: Duration) {
        let gap = Gap { at: self.last, long: now.saturating_sub(self.last) };
        self.gaps.extend((gap.long > LATE).then_some(gap));
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_a_beat_is_a_gap() {
        let (at, mut beats) = (Duration::from_millis, Beats::default());
        for ms in [200, 1_200, 2_201, 2_400] {
            beats.hear(at(ms));
        }
        assert_eq!(beats.gaps, [Gap { at: at(1_200), long: at(1_001) }]);
    }

    #[test]
    fn what_fails_is_no_beat_until_the_end_and_the_longest_gap_is_told() {
        let (silent, after) = (Witness::begin("nothing", || false), LATE + BEAT);
        thread::sleep(after);
        let said = silent.end().ok().flatten().unwrap_or_default();
        assert!(said.starts_with("0 s after its begin nothing for 1."), "{said}");
    }

    #[test]
    fn a_disk_that_writes_is_not_named_and_one_that_does_not_exist_is_an_error() {
        let path = std::env::temp_dir().join(format!("e2e-witness-{}", std::process::id()));
        let witness = Witness::disk(&path).unwrap();
        while std::fs::metadata(&path).map_or(0, |file| file.len()) < 2 {
            thread::sleep(BEAT);
        }
        witness.end().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Witness::disk(Path::new("/nowhere/witness")).is_err());
    }
}
