//! How is a program of the lab started, known to run, and ended?

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroup::Trees;
use super::topology::{Layout, Machine};

/// Joins the cgroups, records pid and start time, and becomes the program. The shell does this itself
/// so that there is no moment in which the program runs and no file says so.
const LAUNCH: &str = r#"
set -eu
record=$1 trees=$2
shift 2
while [ "$trees" -gt 0 ]; do echo $$ > "$1"; shift; trees=$((trees - 1)); done
ulimit -n "$(ulimit -Hn)"
set -f
read -r boot < /proc/sys/kernel/random/boot_id
start=$(cut -d ' ' -f 22 "/proc/$$/stat")
echo "$$ $start $boot" > "$record.new"
mv "$record.new" "$record"
exec "$@"
"#;

/// A process that cannot be confused with a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Process id.
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot.
    start: u64,
    /// The boot in which both numbers mean something.
    boot: String,
}

impl Record {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        Some(Self {
            pid: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
        })
    }

    /// Whether this very process still runs; a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        boot.trim() == self.boot
            && state_and_start(&stat)
                .is_some_and(|(state, start)| state != 'Z' && start == self.start)
    }
}

/// State letter and start time of `/proc/PID/stat`; the name before them may contain anything.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?.chars().next()?;
    Some((state, words.nth(18)?.parse().ok()?))
}

/// A program of one machine.
#[derive(Debug)]
pub(crate) struct Service {
    /// Name of its record and log.
    pub(crate) name: &'static str,
    /// Program and arguments.
    pub(crate) command: Vec<OsString>,
    /// Added environment.
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

impl Service {
    /// A program with arguments and no added environment.
    pub(crate) fn new(name: &'static str, program: &Path) -> Self {
        Self { name, command: vec![program.into()], environment: Vec::new() }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.command.push(argument.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<T: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        self.command.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// The machine's own program that holds its network and mounts.
pub(crate) const HOLDER: &str = "machine";

/// Starts and finds the programs of a lab.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    layout: Layout,
    trees: Trees,
}

impl Processes {
    /// Of the lab at this place.
    pub(crate) fn new(layout: Layout, trees: Trees) -> Self {
        Self { layout, trees }
    }

    /// What is recorded of a program, running or not.
    pub(crate) fn record(&self, machine: &Machine, name: &str) -> Option<Record> {
        let path = self.layout.machine_run(machine).join(format!("{name}.pid"));
        Record::parse(&fs::read_to_string(path).ok()?)
    }

    /// The program, if it runs.
    pub(crate) fn running(&self, machine: &Machine, name: &str) -> Option<Record> {
        self.record(machine, name).filter(Record::is_alive)
    }

    /// Starts the program that holds a machine's namespaces, outside of any.
    pub(crate) fn start_holder(&self, machine: &Machine, service: Service) -> Result<()> {
        self.launch(machine, service, Vec::new())
    }

    /// Starts a program inside a machine unless it already runs.
    pub(crate) fn start(&self, machine: &Machine, service: Service) -> Result<()> {
        if self.running(machine, service.name).is_some() {
            return Ok(());
        }
        let enter = self.enter(machine)?;
        self.launch(machine, service, enter)
    }

    /// The words that run a command inside a machine's network and mounts.
    pub(crate) fn enter(&self, machine: &Machine) -> Result<Vec<OsString>> {
        let holder = self
            .running(machine, HOLDER)
            .with_context(|| format!("the machine {} does not run", machine.name))?;
        let target = holder.pid.to_string();
        Ok(["nsenter", "--target", &target, "--net", "--mount", "--"].map(OsString::from).to_vec())
    }

    /// A command that runs inside a machine.
    pub(crate) fn command(&self, machine: &Machine, program: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(self.enter(machine)?.iter().skip(1)).arg(program);
        Ok(command)
    }

    fn launch(&self, machine: &Machine, service: Service, enter: Vec<OsString>) -> Result<()> {
        let run = self.layout.machine_run(machine);
        let log = self.layout.logs().join(format!("{}-{}.log", machine.name, service.name));
        let record = run.join(format!("{}.pid", service.name));
        if record.exists() {
            fs::remove_file(&record)?;
        }
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        let trees = self.trees.membership_files(&machine.system_cgroup());
        // A session of its own: a Ctrl-C at the terminal is meant for us, not for the lab. And no child
        // of ours: who ends it later need not be who started it.
        let mut setsid = Command::new("setsid");
        setsid
            .args(["--fork", "sh", "-c", LAUNCH, service.name])
            .arg(&record)
            .arg(trees.len().to_string())
            .args(&trees)
            .args(enter)
            .args(&service.command)
            .envs(service.environment)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let done = setsid.status().with_context(|| format!("cannot start {}", service.name))?;
        if !done.success() {
            bail!("cannot start {} ({done}); see {}", service.name, log.display());
        }
        let begin = Instant::now();
        while !record.exists() {
            if begin.elapsed() > Duration::from_secs(10) {
                bail!("{} did not start within 10 s; see {}", service.name, log.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Sends a recorded process a signal, if it still is that process.
pub(crate) fn signal(record: &Record, signal: Signal) -> Result<()> {
    let number = Pid::from_raw(record.pid).context("no process has the number 0")?;
    // The file descriptor pins the process before it is compared.
    let process = pidfd_open(number, PidfdFlags::empty())?;
    if !record.is_alive() {
        bail!("process {} is another one by now", record.pid);
    }
    Ok(pidfd_send_signal(&process, signal)?)
}

/// Kills every process of a group, except one if it is named, until none is left.
pub(crate) fn end_group(trees: &Trees, group: &str, spare: Option<&Record>) -> Result<()> {
    let begin = Instant::now();
    loop {
        let mut left = trees.processes(group);
        if let Some(spared) = spare {
            left.remove(&spared.pid);
        }
        if left.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_secs(20) {
            bail!("these processes of {group} do not end: {left:?}");
        }
        for pid in left {
            kill_member(group, pid);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kills a process if it still is one of the group: the file descriptor pins the process before its
/// membership is read, so the signal cannot meet another one that took over the number.
fn kill_member(group: &str, pid: i32) {
    let Some(number) = Pid::from_raw(pid) else { return };
    let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else { return };
    if Trees::contains(group, pid) {
        // The only failure left is that it ended by itself.
        pidfd_send_signal(&process, Signal::KILL).unwrap_or(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 99 0";
        assert_eq!(state_and_start(stat), Some(('S', 4242)));
        assert_eq!(state_and_start(""), None);
    }

    #[test]
    fn a_recycled_pid_is_not_the_recorded_process() {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let since = state_and_start(&stat).unwrap().1;
        let me = Record::parse(&format!("{pid} {since} {boot}")).unwrap();
        assert!(me.is_alive());
        assert!(!Record { start: since + 1, ..me.clone() }.is_alive());
        assert!(!Record { boot: "another".to_owned(), ..me }.is_alive());
        assert_eq!(Record::parse("12 half"), None);
    }
}
