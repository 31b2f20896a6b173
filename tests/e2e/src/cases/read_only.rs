//! Does TiKV get over a disk that takes no more writes?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::labels;
use tikv_operator_api::names::Component;

use crate::cases::failover_store::tombstone;
use crate::cluster::{Cluster, START, is_ready, label, summary, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::nodes::{Lab, Place, ReadOnly};
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::timeline::Timeline;
use crate::watchman::{Watchman, Word};

/// Longest time until all is well again.
const LIMIT: Duration = Duration::from_mins(10);
const VICTIM: &str = "stuck-tikv-1";
const REPLACEMENT: &str = "stuck-tikv-3";

/// The file system under one store turns read-only, as one does that found an error on its disk.
pub(crate) const CASE: Case = Case {
    name: "read-only",
    lane: Lane::Alone,
    long: true,
    proves: "a store whose disk takes no writes any more is replaced on another volume; nothing is lost",
    bound: 900,
    control: Some(Control {
        sabotage: "the operator stopped before the disk breaks",
        says: "a replacement Up: not within",
    }),
    run,
};

/// The cluster, and who looks on.
struct Site<'a> {
    scene: &'a Scene,
    cluster: Cluster,
    watchman: Watchman,
    pods: Timeline,
}

fn run(scene: &Scene) -> Result<Verdict> {
    let (Some(lab), Some(class)) = (&scene.lab, &scene.growing_class) else {
        return Ok(Verdict::NotRun("no lab, or no volumes that are file systems".to_owned()));
    };
    let namespace = scene.namespace("read-only")?;
    let mut wanted = manifest::impatient(&scene.servers, "stuck", 1, 3);
    manifest::set(&mut wanted, "/spec/tikv/storageClassName", json!(class));
    manifest::set(&mut wanted, "/spec/tikv/requests/storage", json!("512Mi"));
    // These volumes have an end of their own.
    manifest::set(&mut wanted, "/spec/tikv/limits", json!({}));
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    let victim = Place::of(&cluster, VICTIM)?;
    let path = volume_path(scene, &cluster, &format!("tikv-{VICTIM}"))?;
    let pods = scene.kube.watch(&cluster.core("pods"));
    let watchman = Watchman::start(&scene.kube, &cluster);
    let site = Site { scene, cluster, watchman, pods };
    let writer = scene.writer(&site.cluster, &[])?;
    let _stopped = scene.without_operator()?;
    let begin = Instant::now();
    let broken = broken(lab, (&site.cluster, &victim), &path)?;
    let replaced = site.replaced(begin);
    let report = writer.stop();
    drop(broken);
    if let Ok(report) = &report {
        println!("      {report}");
    }
    let words = replaced?;
    let report = report?;
    report.nothing_lost()?;
    Ok(Verdict::Held(format!("{words}; {report}")))
}

/// Where the volume of a claim is mounted on its node.
fn volume_path(scene: &Scene, cluster: &Cluster, claim: &str) -> Result<String> {
    let claims = cluster.claims()?;
    let claim = claims.get(claim).with_context(|| format!("no claim {claim}"))?;
    let volume = text(claim, "/spec/volumeName").context("the claim has no volume")?;
    let volume = scene.kube.get(&format!("/api/v1/persistentvolumes/{volume}"))?;
    Ok(text(&volume, "/spec/local/path").context("the volume is not local")?.to_owned())
}

/// Files that are open for writing keep a file system writable, so the server ends first: its next
/// start finds a disk that it cannot write. Where that start is faster, it is ended once more: before
/// the second one the kubelet waits for ten seconds.
fn broken<'a>(
    lab: &'a Lab,
    (cluster, victim): (&Cluster, &Place),
    path: &str,
) -> Result<ReadOnly<'a>> {
    lab.kill(&victim.node, (cluster, &victim.pod))?;
    lab.read_only(&victim.node, path).or_else(|_| {
        lab.kill(&victim.node, (cluster, &victim.pod))?;
        lab.read_only(&victim.node, path)
    })
}

impl Site<'_> {
    /// Waits until another store is in the place of the broken one, and all is well.
    fn replaced(&self, begin: Instant) -> Result<String> {
        let limit = self.scene.patience(LIMIT);
        let left = || limit.saturating_sub(begin.elapsed());
        let dead = self.watchman.now().stores.get(VICTIM).context("no such store")?.id;
        // What is shown now may be as of before the kill.
        let before = self.restarts()?;
        until("the store to end again and again", left(), || {
            let count = self.restarts()?;
            Ok(if count >= before + 2 { Ok(()) } else { Err(format!("{count} restarts")) })
        })?;
        until("a replacement Up", left(), || {
            let stores = self.watchman.now().stores;
            let new = stores.get(REPLACEMENT).filter(|store| store.state == "Up");
            Ok(if new.is_some() { Ok(()) } else { Err(summary(&self.cluster.get()?)) })
        })?;
        ensure!(begin.elapsed() >= Duration::from_mins(1), "replaced before failover.after");
        until("3 stores Up with all regions, and Ready", left(), || {
            let (object, stores) = (self.cluster.get()?, self.watchman.now().stores);
            let well = stores.values().filter(|s| s.state == "Up" && s.regions > 0).count();
            let gone = stores.values().all(|store| store.id != dead);
            let pods = self.cluster.pods(Some(Component::Tikv))?.len();
            let done = well == 3 && gone && pods == 3 && is_ready(&object);
            Ok(if done {
                Ok(())
            } else {
                Err(format!("{pods} pods, {stores:?}; {}", summary(&object)))
            })
        })?;
        let ready = begin.elapsed().as_secs_f64();
        self.print_times(dead, begin);
        println!("      Ready with 3 stores       {ready:6.1} s");
        tombstone(self.scene, &self.cluster, dead)?;
        self.one_replacement()?;
        Ok(format!("Ready with 3 stores after {ready:.0} s"))
    }

    /// How often the victim's container was started again.
    fn restarts(&self) -> Result<u64> {
        let pods = self.cluster.pods(Some(Component::Tikv))?;
        let count = pods.get(VICTIM).and_then(|p| p.pointer("/status/containerStatuses/0"));
        let count = count.and_then(|status| status.get("restartCount"));
        Ok(count.and_then(Value::as_u64).unwrap_or_default())
    }

    fn print_times(&self, dead: u64, begin: Instant) {
        let heard = self.watchman.heard();
        let first = |test: &dyn Fn(&Word) -> bool| {
            heard.iter().find(|(at, word)| *at >= begin && test(word)).map(|(at, _)| *at)
        };
        let silent = |word: &Word| word.stores.get(VICTIM).is_some_and(|s| s.state != "Up");
        let up = |word: &Word| word.stores.get(REPLACEMENT).is_some_and(|s| s.state == "Up");
        let gone = |word: &Word| word.stores.values().all(|store| store.id != dead);
        let made = self.pods.when(1, |pod| text(pod, "/metadata/name") == Some(REPLACEMENT));
        for (what, at) in [
            ("PD misses the store", first(&silent)),
            ("replacement made", made),
            ("replacement Up", first(&up)),
            ("store removed from PD", first(&gone)),
        ] {
            let after = at.map_or(0.0, |at| at.saturating_duration_since(begin).as_secs_f64());
            println!("      {what:<25} {after:6.1} s");
        }
    }

    /// At no moment was there another pod than those of before and the one replacement.
    fn one_replacement(&self) -> Result<()> {
        self.pods.goes_on()?;
        let seen = self.pods.seen().into_iter();
        let tikv = seen.filter(|seen| label(&seen.object, labels::COMPONENT) == Some("tikv"));
        let names: BTreeSet<String> =
            tikv.filter_map(|s| text(&s.object, "/metadata/name").map(str::to_owned)).collect();
        ensure!(names.len() == 4, "more than one replacement: {names:?}");
        let left = self.cluster.pods(Some(Component::Tikv))?;
        ensure!(left.len() == 3 && !left.contains_key(VICTIM), "pods left: {:?}", left.keys());
        Ok(())
    }
}
