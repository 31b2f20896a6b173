//! What does the process say of itself? Its metrics, from `/proc/self`, as the usual exporters
//! name them.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in Unix seconds; enough until 2106.
pub fn unix_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// The `process_*` metrics, in the text format of Prometheus.
pub fn metrics(started: u32) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u64> = after_name.split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
    // Fields 14 and 15 of proc(5), counted from the state, which is field 3; 100 ticks a second.
    let cpu_ticks: u64 = fields.iter().skip(11).take(2).sum();
    let open_files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let rows = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            cpu_ticks / 100,
        ),
        ("process_open_fds", "gauge", "Number of open file descriptors.", open_files),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            kib("VmRSS:") * 1024,
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            started.into(),
        ),
        ("process_threads", "gauge", "Number of OS threads in the process.", kib("Threads:")),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes.",
            kib("VmSize:") * 1024,
        ),
    ];
    let row = |(name, kind, help, value): (&str, &str, &str, u64)| {
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
    };
    rows.map(row).concat()
}
