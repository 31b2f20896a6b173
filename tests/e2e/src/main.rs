//! Does the product keep its promises on real kubelets?
//!
//! Run by `cargo xtask e2e`, which brings the cluster, the images and the operator. The suite
//! knows nothing of which servers are behind the images: it must pass unchanged with the
//! stand-ins and with a real PD and TiKV.

mod audit;
mod cases;
mod chaos;
mod client;
mod cluster;
mod control;
mod delay;
mod diagnose;
mod kube;
mod links;
mod manifest;
mod nodes;
mod operator;
mod pd;
mod pressure;
mod promise;
mod restarts;
mod scene;
mod sidecases;
mod standstill;
mod start;
mod suite;
mod task;
mod timeline;
mod watchman;
mod witness;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// What to run, on what.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "one switch each, as on the command line")]
#[command(about = "End-to-end suite. `cargo xtask e2e` brings what it needs and calls it.")]
struct Args {
    /// kubeconfig file. Default: as kubectl finds it.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Context in it. Default: the current one.
    #[arg(long)]
    context: Option<String>,
    /// PD's image, with or without a tag.
    #[arg(long, default_value = "pingcap/pd")]
    pd_image: String,
    /// TiKV's image, with or without a tag.
    #[arg(long, default_value = "pingcap/tikv")]
    tikv_image: String,
    /// Tag of images that are given without one.
    #[arg(long)]
    version: String,
    /// A version under which nodes have both images by their default names. Default: the version.
    #[arg(long)]
    default_version: Option<String>,
    /// Tag of other images of the same names, to which running clusters are changed; without it
    /// the case that changes a version is not run.
    #[arg(long)]
    next_version: Option<String>,
    /// Tag of further images of the same names, with which the founding manifest runs. Default: it
    /// runs with those above.
    #[arg(long)]
    founding_version: Option<String>,
    /// Image of the test client.
    #[arg(long)]
    client_image: String,
    /// The API server's audit log; without it the cases that count requests are not run.
    #[arg(long)]
    audit_log: Option<PathBuf>,
    /// Program whose `lab fault` breaks nodes; without it the cases that need a broken node are
    /// not run.
    #[arg(long)]
    lab: Option<PathBuf>,
    /// StorageClass whose volumes can grow and enforce their size; without it volumes are not
    /// grown.
    #[arg(long)]
    growing_class: Option<String>,
    /// Nodes allow few open files: the manifests that are about having no configuration get the
    /// small one too.
    #[arg(long)]
    few_open_files: bool,
    /// Everything above is given: a case that is not run has failed.
    #[arg(long)]
    complete: bool,
    /// Run this case only (repeatable).
    #[arg(long)]
    only: Vec<String>,
    /// Run this case with its control, a sabotage: it passes only if the case turns red with the
    /// right words (repeatable).
    #[arg(long, value_name = "NAME", conflicts_with_all = ["only", "chaos_minutes"])]
    control: Vec<String>,
    /// Also the long versions: 10 quiet minutes instead of 2, and so on.
    #[arg(long)]
    all: bool,
    /// No cases, but voluntary operations and faults mixed from a seed, for so many minutes.
    #[arg(long, requires_all = ["chaos_seed", "chaos_report"])]
    chaos_minutes: Option<u64>,
    /// The seed.
    #[arg(long)]
    chaos_seed: Option<u64>,
    /// Where the report goes.
    #[arg(long)]
    chaos_report: Option<PathBuf>,
    /// List the cases and what each proves.
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        suite::list();
        return Ok(ExitCode::SUCCESS);
    }
    let controlled = !args.control.is_empty();
    let cases = if controlled {
        suite::select_controlled(&args.control)?
    } else {
        suite::select(&args.only, args.all)?
    };
    let kube = kube::Kube::connect(args.kubeconfig.as_deref(), args.context.as_deref())?;
    let servers = manifest::Servers {
        pd: manifest::Image::parse(&args.pd_image, &args.version)?,
        tikv: manifest::Image::parse(&args.tikv_image, &args.version)?,
        default_version: args.default_version.unwrap_or_else(|| args.version.clone()),
        next_version: args.next_version,
        founding_version: args.founding_version,
        few_open_files: args.few_open_files,
    };
    let lab = args.lab.as_deref().map(nodes::Lab::of);
    let around = scene::Around {
        audit_log: args.audit_log,
        lab,
        growing_class: args.growing_class,
        complete: args.complete,
    };
    let manner = scene::Manner { all: args.all, controlled };
    let scene = scene::Scene::new(kube, servers, args.client_image, around, manner)?;
    let soak = soak(args.chaos_minutes, args.chaos_seed, args.chaos_report);
    let passed = soak.map_or_else(|| Ok(suite::run(&scene, &cases)), |soak| soak.run(&scene))?;
    scene.clear();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn soak(minutes: Option<u64>, seed: Option<u64>, report: Option<PathBuf>) -> Option<chaos::Soak> {
    Some(chaos::Soak { minutes: minutes?, seed: seed?, report: report? })
}
