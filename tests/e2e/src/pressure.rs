//! What did processes of this machine have to wait for?
//!
//! The kernel counts, for each resource, the time in which at least one task waited for it, and in
//! which none could go on (`Documentation/accounting/psi.rst`).

use std::fmt;
use std::time::{Duration, Instant};

/// What the kernel had counted at a moment, or between two.
pub(crate) struct Pressure {
    at: Instant,
    over: Duration,
    cpu: Waits,
    disk: Waits,
    memory: Waits,
}

/// Of one resource; `None` where the kernel does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waits {
    some: Option<Duration>,
    all: Option<Duration>,
}

impl Pressure {
    /// Until now, since the machine began.
    pub(crate) fn read() -> Self {
        let of = |resource| {
            let text = std::fs::read_to_string(format!("/proc/pressure/{resource}"));
            Waits::parse(&text.unwrap_or_default())
        };
        let (cpu, disk, memory) = (of("cpu"), of("io"), of("memory"));
        Self { at: Instant::now(), over: Duration::ZERO, cpu, disk, memory }
    }

    /// What was counted since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let over = self.at.saturating_duration_since(before.at);
        let (cpu, disk) = (self.cpu.since(before.cpu), self.disk.since(before.disk));
        Self { at: self.at, over, cpu, disk, memory: self.memory.since(before.memory) }
    }
}

impl Waits {
    fn parse(text: &str) -> Self {
        let total = |kind: &str| {
            let line = text.lines().find(|line| line.starts_with(kind))?;
            let (_, micros) = line.split_once("total=")?;
            micros.trim().parse().ok().map(Duration::from_micros)
        };
        Self { some: total("some "), all: total("full ") }
    }

    fn since(self, before: Self) -> Self {
        let less = |now: Option<Duration>, then: Option<Duration>| {
            Some(now?.saturating_sub(then.unwrap_or_default()))
        };
        Self { some: less(self.some, before.some), all: less(self.all, before.all) }
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, disk, memory) = (self.cpu, self.disk, self.memory);
        write!(
            f,
            "of {:.1} s some process waited for a core {cpu}, for the disk {disk}, for memory {memory}",
            self.over.as_secs_f64()
        )
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(some) = self.some else { return write!(f, "for an unknown time") };
        write!(f, "{:.1} s", some.as_secs_f64())?;
        let all = self.all.unwrap_or_default();
        if all.is_zero() { Ok(()) } else { write!(f, " (all at once {:.1} s)", all.as_secs_f64()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counts_is_read_and_said() {
        let disk = "some avg10=0.03 avg60=1.47 avg300=1.49 total=835081869\n\
                    full avg10=0.02 avg60=0.68 avg300=0.36 total=107638569\n";
        let before = Waits::parse(disk);
        let after = Waits::parse("some avg10=0 total=837081869\nfull avg10=0 total=107738569\n");
        assert_eq!(after.since(before).to_string(), "2.0 s (all at once 0.1 s)");
        assert_eq!(after.since(after).to_string(), "0.0 s");
        assert_eq!(Waits::parse("").since(before).to_string(), "for an unknown time");
    }
}
