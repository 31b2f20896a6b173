//! Does each verb bring about on a running cluster what its page promises?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, START, unchanged};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::task::{self, Task};
use crate::watchman::{self, Word};

const LIMIT: Duration = Duration::from_mins(5);
const ACCOUNT: &str = "hands";
/// The store that the verbs are about, and the one that is replaced.
const STORE: &str = "verbs-tikv-0";
const REPLACED: &str = "verbs-tikv-1";

/// Every verb but those that have an example of their own (`scale`, `compact`).
pub(crate) const CASE: Case = Case {
    name: "task-verbs",
    lane: Lane::Alone,
    long: true,
    proves: "evictLeaders, restoreLeaders, configSet, restart and storeReplace do what they say, while a client writes",
    bound: 1_200,
    control: Some(Control {
        sabotage: "the account may read pods and not patch them",
        says: "the run of evict has Failed",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("verbs")?;
    let wanted = manifest::cluster(&scene.servers, "verbs", 1, 3);
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    cluster.wait_ready(START)?;
    account(scene, &cluster)?;
    let writer = scene.writer(&cluster, &[])?;
    let hands = Hands { scene, cluster: &cluster };
    hands.leaders()?;
    hands.settings()?;
    hands.restart()?;
    let replaced = hands.replace()?;
    let report = writer.stop()?;
    println!("      {report}");
    report.unnoticed(scene.all)?;
    Ok(Verdict::Held(format!("a store replaced in {:.0} s; {report}", replaced.as_secs_f64())))
}

/// The account that the verbs act as, with the rights that their page names.
fn account(scene: &Scene, cluster: &Cluster) -> Result<()> {
    task::let_act_as(scene, &cluster.namespace, ACCOUNT)?;
    let account =
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT } });
    scene.kube.create(&cluster.core("serviceaccounts"), &account)?;
    let on_pods = if scene.controlled { json!(["get"]) } else { json!(["get", "patch"]) };
    let rules = json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": on_pods },
        { "apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "patch"] },
        { "apiGroups": ["tikv.org"], "resources": ["tikvclusters"], "verbs": ["get", "patch"] },
    ]);
    task::allow(scene, &cluster.namespace, ACCOUNT, &rules)
}

/// What is done to the cluster, one verb after the other.
struct Hands<'a> {
    scene: &'a Scene,
    cluster: &'a Cluster,
}

impl Hands<'_> {
    /// A task that does this once; it has succeeded.
    fn done(&self, name: &str, verb: &Value) -> Result<()> {
        let spec = json!({
            "cluster": self.cluster.name, "immediately": true, "serviceAccountName": ACCOUNT,
            "backoffLimit": 3, "run": verb,
        });
        let task = Task::create(self.scene, &self.cluster.namespace, name, &spec)?;
        task.run_ends("Succeeded", LIMIT).map(drop)
    }

    fn until_pd_says(&self, what: &str, test: impl Fn(&Word) -> bool) -> Result<()> {
        until(what, LIMIT, || {
            let word = watchman::ask(&self.scene.kube, self.cluster)?;
            Ok(if test(&word) { Ok(()) } else { Err(format!("PD says {word:?}")) })
        })
    }

    fn leaders(&self) -> Result<()> {
        let of_store = json!({ "pods": [STORE] });
        self.done("evict", &json!({ "evictLeaders": of_store }))?;
        let leads = |word: &Word| word.stores.get(STORE).map(|store| store.leaders);
        self.until_pd_says("the store to lead nothing", |word| {
            leads(word) == Some(0) && !word.evicting.is_empty()
        })?;
        self.done("restore", &json!({ "restoreLeaders": of_store }))?;
        self.until_pd_says("the store to lead again", |word| {
            leads(word).is_some_and(|leaders| leaders > 0) && word.evicting.is_empty()
        })
    }

    fn settings(&self) -> Result<()> {
        let before = self.cluster.incarnations()?;
        let config = json!({ "schedule": { "leader-schedule-limit": 7 } });
        self.done("set", &json!({ "configSet": { "component": "pd", "config": config } }))?;
        let service = format!("{}/verbs-pd:2379", self.cluster.core("services"));
        let live = format!("{service}/proxy/pd/api/v1/config/schedule");
        until("the setting in PD", LIMIT, || {
            let value = self.scene.kube.get(&live)?.get("leader-schedule-limit").cloned();
            Ok(if value == Some(json!(7)) { Ok(()) } else { Err(format!("it is {value:?}")) })
        })?;
        unchanged(&before, &self.cluster.incarnations()?)
    }

    /// The named store is restarted, and no other pod is.
    fn restart(&self) -> Result<()> {
        let mut before = self.cluster.incarnations()?;
        self.done("restart", &json!({ "restart": { "pods": [STORE] } }))?;
        let old = before.remove(STORE).with_context(|| format!("{STORE} is not there"))?;
        until(&format!("{STORE} made anew"), LIMIT, || {
            let now = self.cluster.incarnations()?.remove(STORE);
            let new = now.as_ref().is_some_and(|now| !now.is_same_pod(&old));
            Ok(if new { Ok(()) } else { Err(format!("{now:?}")) })
        })?;
        self.cluster.wait_ready(LIMIT)?;
        let mut after = self.cluster.incarnations()?;
        after.remove(STORE);
        unchanged(&before, &after)
    }

    /// How long it took until three other stores are Up and the replaced one's pod is gone.
    fn replace(&self) -> Result<Duration> {
        let stores = watchman::ask(&self.scene.kube, self.cluster)?.stores;
        let old = stores.get(REPLACED).with_context(|| format!("PD knows {stores:?}"))?.id;
        let begin = Instant::now();
        self.done("replace", &json!({ "storeReplace": { "pod": REPLACED } }))?;
        self.until_pd_says("three other stores Up", |word| {
            let up = word.stores.values().filter(|store| store.state == "Up" && store.id != old);
            let left = word.stores.values().any(|store| store.id == old && store.state == "Up");
            up.count() == 3 && !left
        })?;
        until("three pods of stores, and Ready", LIMIT, || {
            let pods = self.cluster.pods(Some(Component::Tikv))?;
            let names: Vec<_> = pods.keys().cloned().collect();
            let gone = !pods.contains_key(REPLACED) && pods.len() == 3;
            Ok(if gone { Ok(()) } else { Err(format!("there are {names:?}")) })
        })?;
        let object = self.cluster.wait_ready(LIMIT)?;
        let asked = object.pointer("/spec/tikv/replicas").cloned();
        ensure!(asked == Some(json!(3)), "the spec asks for {asked:?} stores");
        Ok(begin.elapsed())
    }
}
