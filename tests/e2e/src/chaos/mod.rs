//! Does a cluster live through hours of everything at once?
//!
//! Rounds of something that is done on purpose, with faults in the middle, drawn from a seed. All
//! faults are shorter than `failover.after`, so nothing may be replaced; a round ends when all is as
//! it should be. A client writes throughout, and what it saw becomes one page with pictures.

mod act;
mod books;
mod page;
mod rest;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::{Cluster, START};
use crate::manifest;
use crate::nodes::{Lab, of_pod};
use crate::scene::Scene;
use crate::watchman::Watchman;
use act::{Act, Faults, Purposes};
use rest::{Rest, Rested};

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(5);
/// After this much of a hundred parts of the time the operator is not killed any more, so that its
/// memory can be watched.
const SPARED_AFTER: u32 = 40;

/// How long, from which seed, and where the report goes.
pub(crate) struct Soak {
    /// No round begins after so many minutes.
    pub(crate) minutes: u64,
    /// What is drawn.
    pub(crate) seed: u64,
    /// The page.
    pub(crate) report: PathBuf,
}

/// Something that was done, and when.
struct Done {
    begin: Duration,
    end: Duration,
    what: String,
    on_purpose: bool,
}

/// What the acts work on.
struct Stage<'a> {
    scene: &'a Scene,
    lab: &'a Lab,
    cluster: Cluster,
    /// The client's node, which is spared: a client that stands still notices everything.
    spared: String,
    /// The operator is left alone from now on.
    spare_operator: bool,
}

impl Soak {
    /// Runs it; true if nothing was violated. The page is written in any case.
    pub(crate) fn run(&self, scene: &Scene) -> Result<bool> {
        let lab =
            scene.lab.as_ref().context("only a lab can be broken: run it without --context")?;
        let namespace = scene.namespace("chaos")?;
        let wanted = manifest::cluster(&scene.servers, "chaos", 3, 3);
        let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
        cluster.wait_ready(START)?;
        let watchman = Watchman::every(Duration::from_secs(1), &scene.kube, &cluster);
        let limit = Duration::from_secs(self.minutes * 60) + rest::LIMIT + Duration::from_mins(10);
        let spared = spared(scene)?;
        let avoid: Vec<String> =
            scene.nodes()?.into_iter().filter(|node| *node != spared).collect();
        let writer = scene.writer_for(limit, &cluster, &avoid)?;
        let mut stage = Stage { scene, lab, cluster, spared, spare_operator: false };
        let begin = Instant::now();
        let mut rest = Rest::of(&stage)?;
        let audit = scene.audit()?.context("only a lab has the API server's audit log at hand")?;
        let (mut done, mut violated) = (Vec::new(), Vec::new());
        let ended = self.rounds(&mut stage, (&mut rest, begin), &mut done);
        violated.extend(ended.err().map(|e| format!("{e:#}")));
        violated.extend(rest.heard(&watchman.heard()));
        violated.extend(rest.grows());
        violated
            .extend(books::wrong(&audit.calls(&scene.operator.user)?, &stage.cluster.namespace));
        let report = writer.stop()?;
        println!("      {report}");
        violated.extend(report.nothing_lost().err().map(|e| format!("{e:#}")));
        let page = page::page(self, &report, &done, (rest.samples(), &violated));
        std::fs::write(&self.report, page)
            .with_context(|| format!("cannot write {}", self.report.display()))?;
        for violation in &violated {
            println!("VIOLATED  {violation}");
        }
        println!(
            "chaos: {} acts in {} s, {} violations; seed {}; report {}",
            done.len(),
            begin.elapsed().as_secs(),
            violated.len(),
            self.seed,
            self.report.display()
        );
        Ok(violated.is_empty())
    }

    fn rounds(
        &self,
        stage: &mut Stage<'_>,
        (rest, begin): (&mut Rest, Instant),
        done: &mut Vec<Done>,
    ) -> Result<()> {
        let mut dice = fastrand::Rng::with_seed(self.seed);
        let (mut purposes, all) = (Purposes::default(), Duration::from_secs(self.minutes * 60));
        let mut round = 0;
        while begin.elapsed() < all {
            round += 1;
            stage.spare_operator = begin.elapsed() > all * SPARED_AFTER / 100;
            let mut acts: Vec<Act> = purposes.draw(&mut dice).into_iter().collect();
            let spare_operator = stage.spare_operator;
            acts.extend(Faults { spare_operator }.draw(&mut dice));
            for act in acts {
                let from = begin.elapsed();
                println!("{:6} s  {act}", from.as_secs());
                let what = act.to_string();
                let on_purpose = act.is_on_purpose();
                act.apply(stage, &mut dice).with_context(|| format!("round {round}: {what}"))?;
                done.push(Done { begin: from, end: begin.elapsed(), what, on_purpose });
                std::thread::sleep(Duration::from_secs(dice.u64(0..8)));
            }
            let Rested { took, words } = rest
                .wait(stage, &purposes, begin)
                .with_context(|| format!("after round {round} of seed {}", self.seed))?;
            println!(
                "{:6} s  at rest after {} s: {words}",
                begin.elapsed().as_secs(),
                took.as_secs()
            );
            std::thread::sleep(PAUSE);
        }
        ensure!(round > 0, "no time for a single round");
        Ok(())
    }
}

/// A node for the client: the last one.
fn spared(scene: &Scene) -> Result<String> {
    let nodes = scene.nodes()?;
    if nodes.len() < 3 {
        bail!("{} nodes are too few: one is spared for the client", nodes.len());
    }
    nodes.into_iter().next_back().context("no nodes")
}

impl Stage<'_> {
    /// The stage's pods on nodes that may be broken, by name.
    fn fragile(&self) -> Result<Vec<(String, String)>> {
        let pods = self.cluster.pods(None)?;
        let placed = pods.iter().filter_map(|(name, pod)| Some((name.clone(), of_pod(pod).ok()?)));
        Ok(placed.filter(|(_, node)| *node != self.spared).collect())
    }
}
