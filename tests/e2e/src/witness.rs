//! For how long did nothing succeed that always does? Two witnesses of the machine under a test.
//!
//! One appends a byte to a file and syncs it, as the logs of etcd and TiKV grow: a byte that is
//! overwritten would not wait for the file system's journal. The other one asks PD of a cluster that
//! nobody touches.

use std::fs::File;
use std::io::{self, Write as _};
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

/// A time between two beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    /// When it began, since the witness began.
    at: Duration,
    /// How long it lasted.
    long: Duration,
}

/// Looks on until it is ended.
pub(crate) struct Witness {
    /// What there is to say of a gap.
    says: &'static str,
    begin: Instant,
    /// Dropped to end it.
    end: Sender<()>,
    thread: JoinHandle<io::Result<Vec<Gap>>>,
}

impl Witness {
    /// Of the machine's clock and disk. Fails where no file can be made there, and ends in an error
    /// where it could not be written.
    pub(crate) fn disk(path: &Path) -> Result<Self> {
        let said = path.display().to_string();
        let mut file = File::create(path).with_context(|| format!("cannot create {said}"))?;
        // It is written without its name, and goes with this process however that ends.
        std::fs::remove_file(path).with_context(|| format!("cannot remove {said}"))?;
        let beat = move || file.write_all(b".").and_then(|()| file.sync_data()).map(|()| true);
        Ok(Self::begin("the machine's clock or disk stood still", beat))
    }

    /// Of a cluster that this case has nothing to do with.
    pub(crate) fn bystander(kube: &Kube, cluster: &Cluster) -> Self {
        let (kube, cluster) = (kube.clone(), cluster.clone());
        let beat = move || Ok(watchman::get(&kube, &cluster, "members").is_ok());
        Self::begin("PD of a cluster that nobody touched was not heard", beat)
    }

    fn begin(
        says: &'static str,
        mut beat: impl FnMut() -> io::Result<bool> + Send + 'static,
    ) -> Self {
        let (begin, (end, ended)) = (Instant::now(), mpsc::channel());
        let thread = thread::spawn(move || {
            let mut beats = Beats::default();
            while ended.recv_timeout(BEAT) != Err(RecvTimeoutError::Disconnected) {
                if beat()? {
                    beats.hear(begin.elapsed());
                }
            }
            Ok(beats.gaps)
        });
        Self { says, begin, end, thread }
    }

    /// Ends it; says its longest gap until now, and how long that was, if it ever had two beats.
    pub(crate) fn end(self) -> Result<Option<(Duration, String)>> {
        let until = self.begin.elapsed();
        drop(self.end);
        let gaps = self.thread.join().map_err(|_| anyhow!("a witness has panicked"))??;
        let long = |gap: &Gap| gap.long.min(until.saturating_sub(gap.at));
        let longest = gaps.iter().max_by_key(|gap| long(gap));
        Ok(longest.map(|gap| {
            let (at, long) = (gap.at.as_secs_f64(), long(gap));
            let seconds = long.as_secs_f64();
            (long, format!("{at:.0} s after its begin {} for {seconds:.1} s", self.says))
        }))
    }
}

/// What was heard.
#[derive(Default)]
struct Beats {
    last: Option<Duration>,
    gaps: Vec<Gap>,
}

impl Beats {
    /// Another beat, so long after the begin. What was never heard before, or is not heard again,
    /// may have gone for good, and says nothing of the machine.
    fn hear(&mut self, now: Duration) {
        let gap = self.last.map(|at| Gap { at, long: now.saturating_sub(at) });
        self.gaps.extend(gap);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lies_between_two_beats() {
        let (at, mut beats) = (Duration::from_millis, Beats::default());
        for ms in [9_000, 9_200, 12_201] {
            beats.hear(at(ms));
        }
        let gaps = [(9_000, 200), (9_200, 3_001)].map(|(a, l)| Gap { at: at(a), long: at(l) });
        assert_eq!(beats.gaps, gaps);
    }

    #[test]
    fn the_longest_gap_is_told_and_who_is_never_heard_is_no_witness() {
        let mut beats = 0;
        let slow = move || {
            beats += 1;
            if beats == 3 {
                thread::sleep(BEAT * 3);
            }
            Ok(true)
        };
        let (silent, slow) = (Witness::begin("", || Ok(false)), Witness::begin("nothing", slow));
        thread::sleep(BEAT * 10);
        assert!(silent.end().is_ok_and(|said| said.is_none()));
        let (long, said) = slow.end().ok().flatten().unwrap_or_default();
        assert!(
            long >= BEAT * 4 && said.starts_with("0 s after its begin nothing for 0."),
            "{said}"
        );
    }

    #[test]
    fn a_disk_leaves_no_file_and_its_errors_are_no_gaps() {
        let path = std::env::temp_dir().join(format!("e2e-witness-{}", std::process::id()));
        let witness = Witness::disk(&path).map(|witness| {
            thread::sleep(BEAT * 4);
            witness.end()
        });
        assert!(matches!(witness, Ok(Ok(Some(_)))) && !path.exists());
        assert!(Witness::disk(Path::new("/nowhere/witness")).is_err());
        let full = Witness::begin("", || Err(io::ErrorKind::StorageFull.into()));
        thread::sleep(BEAT * 2);
        assert!(full.end().is_err());
    }
}
