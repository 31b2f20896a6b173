//! How soon does another operator act when the one that acts has ended?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::audit::Audit;
use crate::cluster::{Cluster, text, unchanged};
use crate::control::Control;
use crate::kube::until;
use crate::promise;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(2);
/// Promises: after a kill -9, and after SIGTERM.
const PROMISED: (Duration, Duration) = (Duration::from_secs(17), Duration::from_secs(2));
/// What only an operator that does not act explains, however busy the machine is.
const FAULT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(30));

/// Longer than what only an operator that does not act explains.
const HELD: Duration = Duration::from_secs(80);

/// One of two operators ends, in both ways.
pub(crate) const CASE: Case = Case {
    name: "standby",
    lane: Lane::Alone,
    long: false,
    proves: "of two operators the other one acts within 17 s after a kill -9, within 2 s after SIGTERM; nothing restarts",
    bound: 600,
    control: Some(Control {
        sabotage: "somebody else holds the Lease for 80 s after the kill",
        says: "s after a kill -9",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab that could kill a process".to_owned()));
    };
    let cluster = &scene.basic()?.cluster;
    cluster.wait_ready(LIMIT)?;
    let before = cluster.incarnations()?;
    let pair = scene.operator.with_standby()?;
    let victim = scene.operator.leader()?;
    let victim = text(&victim, "/metadata/name").context("a pod without a name")?.to_owned();
    let since = audit(scene)?;
    let killed = Instant::now();
    lab.signal("SIGKILL", &scene.operator.leader()?)?;
    if scene.controlled {
        scene.operator.lend("somebody-else", HELD)?;
    }
    let killed = restored(scene, cluster, killed)?;
    // Its container is started again within a second, and may take the Lease as well as the other.
    let first = if maker(scene, &since, cluster)? == victim {
        "the killed one's next process"
    } else {
        "the one that stood by"
    };
    // The killed one's container runs again, and stands by in its turn.
    scene.operator.wait_pair()?;
    let (leader, holder) = (scene.operator.leader()?, scene.operator.holder()?);
    let name = text(&leader, "/metadata/name").context("a pod without a name")?;
    let namespace = text(&leader, "/metadata/namespace").context("a pod without a namespace")?;
    let since = audit(scene)?;
    let ended = Instant::now();
    scene.kube.delete(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), None)?;
    // Until its SIGTERM arrives it acts itself.
    while scene.operator.holder()? == holder {
        ensure!(ended.elapsed() < LIMIT, "the operator that was told to end keeps its Lease");
    }
    let ended = restored(scene, cluster, ended)?;
    let second = maker(scene, &since, cluster)?;
    ensure!(second != name, "{name} had been told to end and made the budget again");
    drop(pair);
    unchanged(&before, &cluster.incarnations()?)?;
    let words = format!(
        "{first} acted {:.1} s after a kill -9, the other one {:.1} s after SIGTERM",
        killed.as_secs_f64(),
        ended.as_secs_f64()
    );
    let within = |most: (Duration, Duration)| killed <= most.0 && ended <= most.1;
    let words = format!("{words}, promised {PROMISED:?}");
    promise::judge(scene.all, (within(PROMISED), within(FAULT)), &words)?;
    Ok(Verdict::Held(words))
}

fn audit(scene: &Scene) -> Result<Audit> {
    scene.audit()?.context("no audit log that tells the two operators apart")
}

/// The operator's pod that made the cluster's budget again, by the API server's audit log.
fn maker(scene: &Scene, since: &Audit, cluster: &Cluster) -> Result<String> {
    let budget = format!("{}-tikv", cluster.name);
    until("the making of the budget in the audit log", LIMIT, || {
        let calls = since.calls(&scene.operator.user)?;
        let made = calls.into_iter().find(|call| {
            call.resource == "poddisruptionbudgets"
                && call.counts_as_write()
                && (call.namespace.as_str(), call.name.as_str()) == (&cluster.namespace, &budget)
                && call.code < 300
        });
        Ok(made.map(|call| call.pod).ok_or_else(|| "not yet".to_owned()))
    })
}

/// Takes something away that only an operator makes again; how long after `since` it is back.
pub(crate) fn restored(scene: &Scene, cluster: &Cluster, since: Instant) -> Result<Duration> {
    let budgets = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", cluster.namespace);
    let path = format!("{budgets}/{}-tikv", cluster.name);
    let old = scene.kube.get(&path)?;
    scene.kube.delete(&path, None)?;
    until("the budget made again", LIMIT, || {
        let now = scene.kube.find(&path)?;
        let uid = now.as_ref().and_then(|now| text(now, "/metadata/uid"));
        let new = uid.is_some() && uid != text(&old, "/metadata/uid");
        Ok(if new { Ok(()) } else { Err("nobody acts".to_owned()) })
    })?;
    Ok(since.elapsed())
}
