//! How is one command of a suite run, so that a person sees that it moves?

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often something is said while nothing else is.
const HEARTBEAT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);

/// One command.
pub(crate) struct Job {
    /// The command.
    pub(crate) command: Command,
}

impl Job {
    /// A cargo command at the root of the checkout.
    pub(crate) fn cargo(words: &[&str]) -> Self {
        let mut command = Command::new("cargo");
        command.args(words).current_dir(crate::products::root());
        command.env(crate::products::WITH_TESTS, "1");
        Self { command }
    }

    /// As a person would type it.
    pub(crate) fn shown(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }
}

/// Runs the commands one after the other into one log; stops at the first that fails.
pub(crate) fn run_all(jobs: Vec<Job>, log: &Path, live: bool) -> Result<()> {
    File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut shown = Shown { name, log: File::open(log)?, live, said: Instant::now() };
    for mut job in jobs {
        let mut sink = OpenOptions::new().append(true).open(log)?;
        writeln!(sink, "$ {}", job.shown())?;
        job.command.stdin(Stdio::null()).stdout(sink.try_clone()?).stderr(sink);
        let child =
            job.command.spawn().with_context(|| format!("cannot start `{}`", job.shown()))?;
        let begin = Instant::now();
        if !wait(child, &mut shown, begin)? {
            bail!("`{}` failed", job.shown());
        }
    }
    Ok(())
}

/// Waits for the child; whether it succeeded.
fn wait(mut child: Child, shown: &mut Shown, begin: Instant) -> Result<bool> {
    loop {
        let done = child.try_wait()?;
        shown.more(begin.elapsed())?;
        if let Some(status) = done {
            return Ok(status.success());
        }
        std::thread::sleep(POLL);
    }
}

/// The log as far as it has been looked at.
struct Shown {
    /// What it is the log of: suites run side by side.
    name: String,
    log: File,
    live: bool,
    said: Instant,
}

impl Shown {
    /// Says what is new: all of it of a live suite, now and then the last line of others.
    fn more(&mut self, elapsed: Duration) -> Result<()> {
        let mut new = Vec::new();
        if self.live {
            self.log.read_to_end(&mut new)?;
            if !new.is_empty() {
                print!("{}", String::from_utf8_lossy(&new));
                std::io::stdout().flush()?;
                self.said = Instant::now();
            }
        }
        if self.said.elapsed() >= HEARTBEAT {
            let line = self.last_line()?;
            println!("   … {} {:>4} s  {line}", self.name, elapsed.as_secs());
            self.said = Instant::now();
        }
        Ok(())
    }

    /// The last line of the log, cut to fit a terminal.
    fn last_line(&mut self) -> Result<String> {
        let end = self.log.seek(SeekFrom::End(0))?;
        self.log.seek(SeekFrom::Start(end.saturating_sub(2000)))?;
        let mut tail = Vec::new();
        self.log.read_to_end(&mut tail)?;
        let tail = String::from_utf8_lossy(&tail);
        let line = tail.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
        Ok(line.trim().chars().take(80).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job { command }
    }

    #[test]
    fn output_of_all_commands_is_in_the_log_up_to_the_first_failure() {
        let log = std::env::temp_dir().join(format!("xtask-job-{}.log", std::process::id()));
        let jobs = vec![sh("echo one"), sh("echo two >&2; exit 1"), sh("echo three")];
        assert!(run_all(jobs, &log, false).is_err());
        let text = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        assert!(text.contains("\none\n") && text.contains("\ntwo\n"), "{text}");
        assert!(!text.contains("\nthree\n"), "{text}");
    }
}
