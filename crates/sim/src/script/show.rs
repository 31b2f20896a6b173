//! What does a script print?

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Play;
use crate::auditor::condition;
use crate::kube::{Key, Object, Verb, at, is_deleting, name_of, text, uid_of};
use crate::pd::{Cluster, Ensemble, Member, Store};

/// Conditions in the order in which they are shown.
const CONDITIONS: [&str; 5] = ["Ready", "Progressing", "Degraded", "Paused", "UnsupportedFields"];

impl Play {
    pub(super) fn show(&mut self, what: &str) -> String {
        match what {
            "pods" => self.pods(),
            "volumes" => self.volumes(),
            "ids" => self.minted(),
            "identities" => self.identities(),
            "writes" => self.writes(),
            "steps" => self.steps(),
            "stores" => self.stores(),
            "members" => self.members(),
            cluster => self.cluster(cluster),
        }
    }

    fn cluster(&mut self, name: &str) -> String {
        let Some(resource) = self.harness.universe.kube.get("TikvCluster", name).cloned() else {
            return format!("{name}: no such cluster\n");
        };
        let mut out = String::new();
        let holds = CONDITIONS.iter().filter(|kind| condition(&resource, kind) == Some("True"));
        let holds: Vec<&str> = holds.copied().collect();
        let id: Option<u64> = text(&resource, "/status/clusterId").parse().ok();
        let id = id.map_or("no id".to_owned(), |id| self.nickname(id));
        let going = if is_deleting(&resource) { ", deleting" } else { "" };
        let _ = writeln!(out, "{name}: {} ({id}{going})", list(&holds));
        for component in ["pd", "tikv"] {
            let shown = text(&resource, &format!("/status/{component}/summary"));
            let _ = writeln!(out, "  {component}: {}", if shown.is_empty() { "-" } else { shown });
        }
        for wait in at(&resource, "/status/waits").as_array().into_iter().flatten() {
            let _ = writeln!(out, "  waits: {}: {}", text(wait, "/subject"), text(wait, "/rule"));
        }
        for drift in at(&resource, "/status/drift").as_array().into_iter().flatten() {
            let word = |name: &str| text(drift, &format!("/{name}"));
            let (live, wanted) = (word("live"), word("wanted"));
            let what = format!("{} {}", word("subject"), word("key"));
            let _ = writeln!(out, "  drift: {what}: {live}, wanted {wanted}");
        }
        out
    }

    fn pods(&self) -> String {
        let line = |pod: &Object| {
            let status = at(pod, "/status/containerStatuses/0");
            let state = if is_deleting(pod) {
                "going"
            } else if at(status, "/ready").as_bool() == Some(true) {
                "ready"
            } else if at(status, "/started").as_bool() == Some(true) {
                "running"
            } else {
                "waiting"
            };
            format!("{}: {state}\n", name_of(pod))
        };
        lines(self.harness.universe.kube.list("Pod").map(line))
    }

    /// Claims whose mark names another resource than the one that is there for their cluster.
    fn of_other_resources(&self, claims: &[Object]) -> BTreeSet<String> {
        let other = |claim: &&Object| {
            let marked = text(claim, "/metadata/annotations/tikv.org~1resource-uid");
            let cluster = text(claim, "/metadata/labels/tikv.org~1cluster");
            let resource = self.harness.universe.kube.get("TikvCluster", cluster);
            !marked.is_empty() && resource.is_some_and(|resource| uid_of(resource) != marked)
        };
        claims.iter().filter(other).map(|claim| name_of(claim).to_owned()).collect()
    }

    fn volumes(&mut self) -> String {
        let claims: Vec<Object> =
            self.harness.universe.kube.list("PersistentVolumeClaim").cloned().collect();
        let others = self.of_other_resources(&claims);
        let mut line = |claim: &Object| {
            let mark = |name: &str| text(claim, &format!("/metadata/annotations/tikv.org~1{name}"));
            let id = mark("cluster-id").parse().ok().map(|id| self.nickname(id));
            let id = id.unwrap_or_else(|| "no id".to_owned());
            let store = if mark("store-id").is_empty() { "" } else { ", store" };
            let member = if mark("member-id").is_empty() { "" } else { ", member" };
            let retired = if mark("retired").is_empty() { "" } else { ", retired" };
            let other = if others.contains(name_of(claim)) { ", of another resource" } else { "" };
            let size = size(claim);
            format!("{}: {size}, {id}{store}{member}{retired}{other}\n", name_of(claim))
        };
        let shown: Vec<String> = claims.iter().map(&mut line).collect();
        lines(shown.into_iter())
    }

    /// Cluster ids that PD sets made, ever.
    fn minted(&mut self) -> String {
        let ids: Vec<u64> =
            self.harness.universe.pd.ensembles.iter().filter_map(|e| e.cluster_id).collect();
        let names: Vec<String> = ids.into_iter().map(|id| self.nickname(id)).collect();
        format!("{}\n", list(&names.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// Members and stores that PD lists, by ids that are told apart: the same again where they are.
    fn identities(&mut self) -> String {
        let mut found: Vec<(String, u64)> = Vec::new();
        for ensemble in &self.harness.universe.pd.ensembles {
            found.extend(ensemble.members.values().map(|m| (m.name.clone(), m.id)));
            found.extend(ensemble.cluster.stores.values().map(|s| (s.address.clone(), s.id)));
        }
        found.sort();
        let lines_of = found.into_iter().map(|(at, id)| format!("{at}: {}\n", self.nickname(id)));
        lines(lines_of)
    }

    /// Writes by verb, Events and the Lease apart.
    fn writes(&self) -> String {
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for (verb, _) in &self.harness.writes {
            *counts.entry(verb.as_str()).or_default() += 1;
        }
        let mut parts: Vec<String> =
            counts.iter().map(|(verb, count)| format!("{verb} {count}")).collect();
        parts.push(format!("together {}", self.harness.writes.len()));
        format!("{}\n", parts.join(", "))
    }

    /// What was taken away or asked of PD and of stores since this was last shown, in order.
    fn steps(&mut self) -> String {
        let steps: Vec<String> = self
            .harness
            .writes
            .iter()
            .skip(self.shown)
            .filter(|(verb, key)| match verb {
                Verb::Call => true,
                Verb::Delete => key.kind == "Pod" || key.kind == "PersistentVolumeClaim",
                Verb::Create | Verb::Apply | Verb::ApplyStatus => false,
            })
            .map(|(verb, key)| match verb {
                Verb::Call => format!("{} {}\n", key.kind, self.named(key)),
                Verb::Create | Verb::Apply | Verb::ApplyStatus | Verb::Delete => {
                    format!("delete {key}\n")
                }
            })
            .collect();
        self.shown = self.harness.writes.len();
        lines(steps.chunk_by(|a, b| a == b).filter_map(|same| match same {
            [] => None,
            [one] => Some(one.clone()),
            [one, ..] => Some(format!("{} ({} times)\n", one.trim_end(), same.len())),
        }))
    }

    /// What a call is about: a store or a member by the pod that it has or had.
    fn named(&self, call: &Key) -> String {
        let Ok(id) = call.name.parse::<u64>() else { return call.name.clone() };
        let claims = self.harness.universe.kube.list("PersistentVolumeClaim");
        let mut claims = claims.filter(|claim| {
            let note = |name: &str| text(claim, &format!("/metadata/annotations/tikv.org~1{name}"));
            note("store-id") == call.name || note("member-id") == call.name
        });
        let pod = claims.next().and_then(|claim| name_of(claim).split_once('-'));
        pod.map_or_else(|| self.by_address(id), |(_, pod)| pod.to_owned())
    }

    fn by_address(&self, id: u64) -> String {
        let mut stores =
            self.harness.universe.pd.ensembles.iter().filter_map(|e| e.cluster.stores.get(&id));
        let address = stores.next().map(|store| store.address.clone());
        let pod = address.as_deref().and_then(|a| a.split('.').next());
        pod.map_or_else(|| "one that is gone".to_owned(), str::to_owned)
    }

    /// Stores as PD lists them, with the truth about leaders and regions.
    fn stores(&self) -> String {
        let now = self.harness.universe.now;
        let line = |(cluster, store): (&Cluster, &Store)| {
            let pod = store.address.split('.').next().unwrap_or_default();
            let evicted = if cluster.evicting.contains(&store.id) { ", evicted" } else { "" };
            let regions = cluster.regions.iter().filter(|r| r.peers.contains_key(&store.id));
            let (version, state) = (&store.version, store.state_name(now, cluster.max_down));
            let has = if regions.count() > 0 { "regions" } else { "no regions" };
            format!("{pod}: {state}, {version}, {has}{evicted}\n")
        };
        let clusters = self.harness.universe.pd.ensembles.iter().map(|e| &e.cluster);
        lines(clusters.flat_map(|c| c.stores.values().map(move |s| (c, s))).map(line))
    }

    /// The value that each running store has for a setting, by pod.
    pub(super) fn live_setting(&self, item: &str) -> String {
        let pointer = format!("/{}", item.replace('.', "/"));
        let pods = self.harness.universe.kube.list("Pod");
        lines(pods.filter_map(|pod| {
            let process = self.harness.universe.store_process(uid_of(pod))?;
            Some(format!("{}: {}\n", name_of(pod), at(&process.config, &pointer)))
        }))
    }

    /// PD members as etcd lists them.
    fn members(&self) -> String {
        let line = |ensemble: &Ensemble, member: &Member| {
            let leads = if ensemble.leader == Some(member.id) { ", leads" } else { "" };
            let name = if member.name.is_empty() { "(half-joined)" } else { &member.name };
            format!("{name}{leads}\n")
        };
        let mut shown: Vec<String> = Vec::new();
        for ensemble in &self.harness.universe.pd.ensembles {
            shown.extend(ensemble.members.values().map(|member| line(ensemble, member)));
        }
        shown.sort();
        lines(shown.into_iter())
    }

    fn nickname(&mut self, id: u64) -> String {
        let next = self.ids.len() + 1;
        format!("id#{}", self.ids.entry(id).or_insert(next))
    }
}

/// What a claim asks for, and what it has where that is less.
fn size(claim: &Object) -> String {
    let asked = text(claim, "/spec/resources/requests/storage");
    let has = text(claim, "/status/capacity/storage");
    match has {
        _ if asked.is_empty() => "no size".to_owned(),
        _ if has == asked => asked.to_owned(),
        "" => format!("none of {asked}"),
        _ => format!("{has} of {asked}"),
    }
}

fn list(words: &[&str]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn lines(shown: impl Iterator<Item = String>) -> String {
    let mut out = String::new();
    for line in shown {
        out.push_str("  ");
        out.push_str(&line);
    }
    if out.is_empty() { "  none\n".to_owned() } else { out }
}
