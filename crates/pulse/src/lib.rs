//! Did the machine itself stand still? What a test measures says nothing about the cluster where its
//! own machine did not run, or its disk took nothing: a thread of its own sleeps a little and writes
//! a byte to the disk, again and again, and notes when that took far too long.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Between two beats.
const BEAT: Duration = Duration::from_millis(200);
/// A beat that is later than this is a standstill. Timers of a machine with more work than cores are
/// late by tenths of a second.
const LATE: Duration = Duration::from_secs(1);

/// A time in which nothing of this machine can be expected to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standstill {
    /// Milliseconds since the run began.
    pub from_ms: u64,
    /// How long it lasted.
    pub ms: u64,
    /// How much of it was spent in writing that byte: the rest is a clock that rang too late.
    pub disk_ms: u64,
}

/// Measures until it is ended.
pub struct Pulse {
    /// Dropped to end it.
    end: Sender<()>,
    thread: JoinHandle<Result<Vec<Standstill>, String>>,
}

impl Pulse {
    /// Begins to measure, with a file at `path`; `begin` is the begin of the run. Fails where no file
    /// can be made there.
    pub fn begin(path: &Path, begin: Instant) -> Result<Self, String> {
        let said = format!("{}: ", path.display());
        let mut file = File::create(path).map_err(|error| format!("{said}{error}"))?;
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut found = Vec::new();
            loop {
                let from = begin.elapsed();
                if ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Disconnected) {
                    return Ok(found);
                }
                let rung = begin.elapsed();
                let beat = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(b"."));
                beat.and_then(|()| file.sync_data()).map_err(|error| format!("{said}{error}"))?;
                found.extend(standstill(from, rung, begin.elapsed()));
            }
        });
        Ok(Self { end, thread })
    }

    /// Ends it: the standstills of the run. Fails where the file could not be written any more.
    pub fn end(self) -> Result<Vec<Standstill>, String> {
        drop(self.end);
        self.thread.join().map_err(|_| "the pulse has panicked".to_owned())?
    }
}

/// What a beat shows that began, was woken and ended at these times of the run.
fn standstill(from: Duration, rung: Duration, to: Duration) -> Option<Standstill> {
    let still = to.saturating_sub(from).saturating_sub(BEAT);
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let disk_ms = ms(to.saturating_sub(rung));
    (still > LATE).then(|| Standstill { from_ms: ms(from), ms: ms(still), disk_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_that_is_a_second_late_is_a_standstill() {
        let at = Duration::from_millis;
        assert_eq!(standstill(at(5_000), at(5_200), at(6_200)), None);
        assert_eq!(
            standstill(at(5_000), at(5_300), at(6_201)),
            Some(Standstill { from_ms: 5_000, ms: 1_001, disk_ms: 901 })
        );
    }

    #[test]
    fn it_beats_until_it_is_ended() {
        let path = std::env::temp_dir().join(format!("pulse-{}", std::process::id()));
        let pulse = Pulse::begin(&path, Instant::now()).unwrap();
        while std::fs::metadata(&path).map_or(0, |file| file.len()) == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        pulse.end().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Pulse::begin(Path::new("/nowhere/pulse"), Instant::now()).is_err());
    }
}
