//! Is a 3+3 cluster Ready in time, safe when it says so, and cheap to make?

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::audit::tally;
use crate::promise;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

/// Promise: apply to Ready.
const READY: Duration = Duration::from_secs(45);
/// Promise: of it the operator's own, on a machine that does nothing else.
const OPERATOR: Duration = Duration::from_secs(2);
/// What no busy machine explains, of either.
const FAULT: (Duration, Duration) = (Duration::from_mins(3), Duration::from_secs(15));
/// Promise: writes to make one 3+3 cluster, Lease and Events apart.
const WRITE_LIMIT: usize = 36;
/// Keys that the real client writes and reads back.
pub(crate) const KEYS: u32 = 200;
/// Their prefix; other cases read them again later.
pub(crate) const PREFIX: &str = "basic";

/// The time of a start and a client's keys.
pub(crate) const START: Case = Case {
    name: "basic",
    lane: Lane::Alone,
    long: false,
    proves: "3 PD + 3 TiKV Ready in 45 s, never before full replication; a client's keys come back",
    bound: 600,
    control: None,
    run: start,
};

/// The price of a start.
pub(crate) const WRITES: Case = Case {
    name: "writes",
    lane: Lane::Alone,
    long: false,
    proves: "at most 36 writes by the operator make a 3+3 cluster (audit log)",
    bound: 600,
    control: None,
    run: writes,
};

fn start(scene: &Scene) -> Result<Verdict> {
    let start = scene.basic()?;
    println!("{}", start.phases);
    if let Some(early) = &start.early {
        bail!("{early}");
    }
    let client = scene.client();
    client.write(&start.cluster, PREFIX, KEYS)?;
    client.verify(&start.cluster, PREFIX, KEYS)?;
    let (ready, share) = (start.phases.ready, start.phases.operators_share());
    let words =
        format!("Ready after {:.1} s, operator {:.2} s", ready.as_secs_f64(), share.as_secs_f64());
    let within = |most: (Duration, Duration)| ready <= most.0 && share <= most.1;
    let promised = format!("{words}, promised {READY:?} and {OPERATOR:?}");
    promise::judge(scene.all, (within((READY, OPERATOR)), within(FAULT)), &promised)?;
    Ok(Verdict::Held(format!("{words}, {KEYS} keys written and read back")))
}

fn writes(scene: &Scene) -> Result<Verdict> {
    let Some(calls) = &scene.basic()?.calls else {
        return Ok(Verdict::NotRun("the API server's audit log is not at hand".to_owned()));
    };
    let counted = tally(calls.iter().filter(|c| c.counts_as_write()));
    let total: usize = counted.values().sum();
    let apart: usize = tally(calls.iter().filter(|c| c.apart())).values().sum();
    let table: Vec<_> = counted.iter().map(|(what, n)| format!("{what} {n}")).collect();
    let table = table.join(", ");
    // 6 pods and 6 volumes cannot be had for less: a lower count means a wrong count.
    ensure!(total >= 12, "only {total} writes were counted for 12 pods and volumes: {table}");
    ensure!(total <= WRITE_LIMIT, "{total} writes, promised {WRITE_LIMIT}: {table}");
    Ok(Verdict::Held(format!("{total} writes ({table}); Lease and Events apart: {apart}")))
}
