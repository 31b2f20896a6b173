//! Does the example `page-on-lost-store.yaml` reach whoever is to be paged?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::client::hardened;
use crate::cluster::{Cluster, START, pod_ready, text};
use crate::control::Control;
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};
use crate::task::{self, Example, Task};
use crate::watchman;

/// Longest time until something is paged: PD misses a store after 20 s, the operator looks once a minute
/// when all is quiet, and a store is down when it was missed for a minute.
const LIMIT: Duration = Duration::from_mins(5);
const VICTIM: &str = "basic-tikv-1";
const TOKEN: &str = "a-token-of-the-suite";
/// The receiver's pod and Service.
const PAGER: &str = "pager";
const PORT: u16 = 8080;
const EVENTS: [&str; 2] = ["org.tikv.cluster.StoreDown", "org.tikv.cluster.StoreBack"];

/// A web server that writes what it is sent into its log, one line a call.
const RECEIVER: &str = r#"
mkdir -p /pager/cgi-bin
cat > /pager/cgi-bin/hook <<'END'
#!/bin/sh
body=$(head -c "$CONTENT_LENGTH")
printf 'call %s|%s|%s\n' "$HTTP_AUTHORIZATION" "$HTTP_IDEMPOTENCY_KEY" "$body" >&2
printf 'Status: 204 No Content\r\n\r\n'
END
chmod +x /pager/cgi-bin/hook
exec httpd -f -p 8080 -h /pager
"#;

/// A store's process stands still for a while.
pub(crate) const CASE: Case = Case {
    name: "task-page",
    lane: Lane::Side,
    long: true,
    proves: "example page-on-lost-store: one call when a store is down and one when it is back, each with the Secret's token and a key of its own",
    bound: 900,
    control: Some(Control {
        sabotage: "the account's role is not bound",
        says: "Secret pager (read as service account pager)",
    }),
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let Some(lab) = &scene.lab else {
        return Ok(Verdict::NotRun("no lab that could stop a process".to_owned()));
    };
    let namespace = scene.namespace("task-page")?;
    let mut wanted = manifest::cluster(&scene.servers, "basic", 1, 3);
    manifest::set(&mut wanted, "/metadata/labels", json!({ "tier": "production" }));
    let cluster = Cluster::create(&scene.kube, &namespace, &wanted)?;
    let pager = Pager::start(scene, &cluster)?;
    cluster.wait_ready(START)?;
    let task = asked(scene, &namespace)?;
    let pods = cluster.pods(Some(Component::Tikv))?;
    let victim = pods.get(VICTIM).with_context(|| format!("no pod {VICTIM}"))?;
    let stores = watchman::ask(&scene.kube, &cluster)?.stores;
    let store = stores.get(VICTIM).with_context(|| format!("no store {VICTIM}: {stores:?}"))?.id;
    let [down, back] = EVENTS;
    let begin = Instant::now();
    lab.signal("SIGSTOP", victim)?;
    let told = pager.paged(&task, down, scene.patience(LIMIT));
    let after = begin.elapsed();
    // Whatever came of it: nobody else wakes the process.
    lab.signal("SIGCONT", victim)?;
    told?;
    let woken = Instant::now();
    pager.paged(&task, back, scene.patience(LIMIT))?;
    let again = woken.elapsed();
    cluster.wait_ready(LIMIT)?;
    all_taken(&task)?;
    are_right(&pager.pages()?, store)?;
    Ok(Verdict::Held(format!(
        "store {store} paged {:.0} s after it stopped, {:.1} s after it went on; once each",
        after.as_secs_f64(),
        again.as_secs_f64()
    )))
}

/// The example with a Secret, sent to the receiver.
fn asked<'a>(scene: &'a Scene, namespace: &str) -> Result<Task<'a>> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pager" },
        "stringData": { "token": TOKEN },
    });
    scene.kube.create(&format!("/api/v1/namespaces/{namespace}/secrets"), &secret)?;
    task::let_act_as(scene, namespace, "pager")?;
    let mut example = Example::read(task::PAGE)?;
    let url = format!("http://{PAGER}.{namespace}.svc:{PORT}/cgi-bin/hook");
    manifest::set(example.task()?, "/spec/run/http/url", json!(url));
    if scene.controlled {
        example.leave_out("RoleBinding");
    }
    let task = example.apply(scene, namespace)?;
    task.looked()?;
    Ok(task)
}

/// Each run was done at its receiver, and none waits that would still call.
fn all_taken(task: &Task<'_>) -> Result<()> {
    until("two runs that have Succeeded", LIMIT, || {
        let runs = task.runs()?;
        let done = runs.iter().filter(|run| text(run, "/outcome") == Some("Succeeded")).count();
        let all = done == EVENTS.len() && runs.len() == done;
        Ok(if all { Ok(()) } else { Err(Value::from(runs).to_string()) })
    })
}

/// The two calls and no other, each as the example promises it.
fn are_right(pages: &[Page], store: u64) -> Result<()> {
    let told: Vec<_> = pages.iter().map(|page| text(&page.event, "/type")).collect();
    ensure!(told == EVENTS.map(Some), "the receiver was called for {told:?}");
    let mut keys: Vec<&str> = pages.iter().map(|page| page.key.as_str()).collect();
    for page in pages {
        let Page { authorization, key, event } = page;
        ensure!(*authorization == format!("Bearer {TOKEN}"), "it came with \"{authorization}\"");
        ensure!(!key.is_empty(), "it came without a key: {event}");
        for (field, wanted) in [
            ("/id", json!(key)),
            ("/specversion", json!("1.0")),
            ("/subject", json!(store.to_string())),
            ("/data/pod", json!(VICTIM)),
            ("/data/cluster", json!("basic")),
        ] {
            let has = event.pointer(field);
            ensure!(has == Some(&wanted), "{field} is {has:?}, not {wanted}: {event}");
        }
    }
    keys.dedup();
    ensure!(keys.len() == pages.len(), "two events have the key {keys:?}");
    Ok(())
}

/// What the receiver was sent in one call.
#[derive(Debug)]
struct Page {
    authorization: String,
    key: String,
    event: Value,
}

impl Page {
    fn read(call: &str) -> Result<Self> {
        let mut parts = call.splitn(3, '|').map(str::to_owned);
        let (Some(authorization), Some(key), Some(body)) =
            (parts.next(), parts.next(), parts.next())
        else {
            bail!("the receiver wrote \"{call}\"");
        };
        let event = serde_json::from_str(&body).with_context(|| format!("it was sent {body}"))?;
        Ok(Self { authorization, key, event })
    }
}

/// The calls in the receiver's log; a line that is not whole is not there yet.
fn calls(log: &str) -> Result<Vec<Page>> {
    let lines = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.filter_map(|line| line.strip_prefix("call ")).map(Page::read).collect()
}

/// The receiver.
struct Pager<'a> {
    scene: &'a Scene,
    path: String,
}

impl<'a> Pager<'a> {
    /// Starts it beside the cluster, behind a Service with a selector.
    fn start(scene: &'a Scene, cluster: &Cluster) -> Result<Self> {
        let args = ["sh", "-c", RECEIVER].map(str::to_owned);
        let room = Some((json!({ "emptyDir": {} }), "/pager"));
        let mut pod = hardened(task::shell(scene), PAGER, &args, room);
        manifest::set(&mut pod, "/metadata/labels", json!({ "app": PAGER }));
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": PAGER },
            "spec": { "selector": { "app": PAGER }, "ports": [{ "port": PORT }] },
        });
        scene.kube.create(&cluster.core("services"), &service)?;
        scene.kube.create(&cluster.core("pods"), &pod)?;
        let path = format!("{}/{PAGER}", cluster.core("pods"));
        until("the receiver ready", START, || {
            let pod = scene.kube.get(&path)?;
            let state = pod.pointer("/status/containerStatuses").map(Value::to_string);
            Ok(if pod_ready(&pod) { Ok(()) } else { Err(format!("{state:?}")) })
        })?;
        Ok(Self { scene, path })
    }

    /// What it was sent so far.
    fn pages(&self) -> Result<Vec<Page>> {
        calls(&self.scene.kube.text(&format!("{}/log", self.path))?)
    }

    /// Waits until it is told of this event.
    fn paged(&self, task: &Task<'_>, event: &str, limit: Duration) -> Result<()> {
        until(&format!("a call for {event}"), limit, || {
            let called = self.pages()?.iter().any(|page| text(&page.event, "/type") == Some(event));
            Ok(if called { Ok(()) } else { Err(format!("runs: {}", Value::from(task.runs()?))) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_whole_lines() {
        let log = "httpd: x\ncall Bearer t|k|{\"type\":\"a|b\"}\ncall Bearer t|l|{\"ty";
        let pages = calls(log).unwrap();
        assert_eq!(pages.len(), 1);
        assert_eq!((pages[0].authorization.as_str(), pages[0].key.as_str()), ("Bearer t", "k"));
        assert_eq!(pages[0].event, json!({ "type": "a|b" }));
        assert!(calls("call x|y\n").is_err());
        assert!(calls("call x|y|z\n").is_err());
    }

    #[test]
    fn the_receiver_listens_where_it_is_called() {
        assert!(RECEIVER.contains(&format!("-p {PORT} ")));
    }

    fn page(kind: &str, key: &str, token: &str) -> Page {
        let event = json!({
            "id": key, "specversion": "1.0", "type": kind, "subject": "7",
            "data": { "pod": VICTIM, "cluster": "basic" },
        });
        Page { authorization: format!("Bearer {token}"), key: key.to_owned(), event }
    }

    #[test]
    fn two_calls_are_right_with_the_token_and_keys_of_their_own() {
        let [down, back] = EVENTS;
        let judged = |keys: [&str; 2], token: &str| {
            are_right(&[page(down, keys[0], TOKEN), page(back, keys[1], token)], 7).is_ok()
        };
        assert!(judged(["a", "b"], TOKEN));
        assert!(!judged(["a", "a"], TOKEN));
        assert!(!judged(["a", ""], TOKEN));
        assert!(!judged(["a", "b"], "another"));
        let once = [page(down, "a", TOKEN)];
        assert!(are_right(&once, 7).is_err(), "the return was not told");
        let twice = [page(down, "a", TOKEN), page(down, "b", TOKEN), page(back, "c", TOKEN)];
        assert!(are_right(&twice, 7).is_err(), "told twice");
        assert!(are_right(&[page(down, "a", TOKEN), page(back, "b", TOKEN)], 8).is_err());
    }
}
