//! Does a cluster notice that its operator is gone, or that it came back?

use std::time::Duration;

use anyhow::Result;

use crate::cases::basic::{KEYS, PREFIX};
use crate::cluster::unchanged;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

/// Time for a returned operator to do harm, if it does any.
const SETTLE: Duration = Duration::from_secs(10);

/// PD's word on replication is believed a minute after its leader changed, which a busy machine may
/// cause at any time.
const LEADER_SETTLES: Duration = Duration::from_mins(3);

/// Absence and return of the operator.
pub(crate) const CASE: Case = Case {
    name: "operator-gone",
    lane: Lane::Alone,
    long: false,
    proves: "without the operator the cluster serves; when it comes back, or is killed, nothing restarts",
    bound: 300,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let start = scene.basic()?;
    // Writing the same keys again is cheap, and lets this case run alone.
    scene.client().write(&start.cluster, PREFIX, KEYS)?;
    start.cluster.wait_ready(LEADER_SETTLES)?;
    let before = start.cluster.incarnations()?;
    scene.operator.stop()?;
    let served = scene.client().verify(&start.cluster, PREFIX, KEYS);
    // Back in any case: other cases need it.
    scene.operator.start()?;
    served?;
    std::thread::sleep(SETTLE);
    scene.kill_operator()?;
    scene.operator.wait_ready()?;
    std::thread::sleep(SETTLE);
    unchanged(&before, &start.cluster.incarnations()?)?;
    start.cluster.wait_ready(LEADER_SETTLES)?;
    Ok(Verdict::Held(format!("{} pods unchanged", before.len())))
}
