//! Which commands of a script are other hands: on machines, in Kubernetes, in PD?

use serde_json::{Value, json};

use super::Play;
use super::commands::{Printed, number, value_of};
use crate::kube::{Key, at, set, uid_of};
use crate::node::OUT_OF_SERVICE;
use crate::pd::Request;

impl Play {
    /// Machines and volumes.
    pub(super) fn on_machines(&mut self, verb: &str, rest: &[&str]) -> Printed {
        let universe = &mut self.harness.universe;
        match (verb, rest) {
            ("cordon" | "uncordon", [node]) => universe.cordon(node, verb == "cordon"),
            ("drain", [node]) => {
                universe.cordon(node, true);
                universe.nodes.draining.insert((*node).to_owned());
            }
            ("undrain", [node]) => {
                universe.cordon(node, false);
                universe.nodes.draining.remove(*node);
            }
            ("lose-node", [node]) => universe.nodes.power(node, false),
            ("return-node", [node]) => universe.nodes.power(node, true),
            ("mute" | "unmute", [node]) => universe.nodes.mute(node, verb == "mute"),
            ("cut" | "heal", [one, other]) => universe.cut(one, other, verb == "cut"),
            ("delete-node", [node]) => {
                self.harness.auditor.forgive_node(&self.harness.universe, node);
                self.harness.universe.delete_node(node);
            }
            ("out-of-service", [node]) => {
                universe.kube.edit(&Key::new("Node", node), |node| {
                    let taint = json!([{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]);
                    set(node, &["spec", "taints"], taint);
                });
            }
            ("label-node", [node, label]) => {
                let (key, value) = label.split_once('=').ok_or("want key=value")?;
                universe.kube.edit(&Key::new("Node", node), |node| {
                    set(node, &["metadata", "labels", key], json!(value));
                });
            }
            ("evict", [pod]) => {
                let answer = universe.kube.evict(pod);
                return Ok(answer.map_or_else(|r| format!("{r}\n"), |()| "evicted\n".to_owned()));
            }
            ("lose-volume", [claim]) => universe.lose_volume(claim),
            ("no-image", [tag]) => {
                universe.nodes.missing_tags.insert((*tag).to_owned());
            }
            _ => return self.at_the_api_server(verb, rest),
        }
        Ok(String::new())
    }

    /// Quotas, classes and webhooks.
    fn at_the_api_server(&mut self, verb: &str, rest: &[&str]) -> Printed {
        let kube = &mut self.harness.universe.kube;
        match (verb, rest) {
            ("rigid-class", [class]) => {
                kube.rigid_classes.insert((*class).to_owned());
            }
            ("expandable-class", [class]) => {
                kube.rigid_classes.remove(*class);
            }
            ("full-claim", [claim]) => {
                kube.full_claims.insert((*claim).to_owned());
            }
            ("room-for-claim", [claim]) => {
                kube.full_claims.remove(*claim);
            }
            ("quota", [pods]) => {
                kube.quota = Some(usize::try_from(number(pods)?).unwrap_or(0));
            }
            ("webhook", [kind, change]) => {
                let (place, value) = change.split_once('=').ok_or("want /place=value")?;
                let change = ((*kind).to_owned(), place.to_owned(), value_of(value));
                kube.webhooks.push(change);
            }
            ("deny", [kind]) => {
                kube.denied.insert((*kind).to_owned());
            }
            ("no-deny", [kind]) => {
                kube.denied.remove(*kind);
            }
            ("no-webhook", []) => kube.webhooks.clear(),
            ("no-quota", []) => kube.quota = None,
            _ => return self.with_kubectl(verb, rest),
        }
        Ok(String::new())
    }

    /// A user with pd-ctl.
    pub(super) fn in_pd(&mut self, verb: &str, rest: &[&str]) -> Printed {
        let (method, cluster, path, body) = match (verb, rest) {
            ("user-sets-pd", [cluster, item]) => {
                let (item, value) = item.split_once('=').ok_or("want item=value")?;
                let mut body = Value::Null;
                set(&mut body, &[item], value_of(value));
                ("POST", cluster, "v1/config".to_owned(), body)
            }
            ("user-labels-store", [cluster, store, label]) => {
                let store = self.store_id(cluster, store)?;
                let (key, value) = label.split_once('=').ok_or("want key=value")?;
                let path = format!("v1/store/{store}/label");
                ("POST", cluster, path, json!({key: value}))
            }
            ("user-offlines", [cluster, store]) => {
                let store = self.store_id(cluster, store)?;
                self.harness.auditor.users_removal(cluster, store);
                ("DELETE", cluster, format!("v1/store/{store}"), Value::Null)
            }
            ("user-purges", [cluster]) => {
                ("DELETE", cluster, "v1/stores/remove-tombstone".to_owned(), Value::Null)
            }
            ("user-removes-member", [cluster, member]) => {
                ("DELETE", cluster, format!("v1/members/name/{member}"), Value::Null)
            }
            ("user-locks", [cluster, task]) => {
                ("PUT", cluster, format!("v2/maintenance/{task}"), json!({}))
            }
            ("user-unlocks", [cluster, task]) => {
                ("DELETE", cluster, format!("v2/maintenance/{task}"), Value::Null)
            }
            ("unsafe-recovery", [cluster, stores @ ..]) => {
                let ids: Result<Vec<u64>, String> =
                    stores.iter().map(|store| self.store_id(cluster, store)).collect();
                return self.unsafe_recovery(cluster, &ids?);
            }
            _ => return self.on_servers(verb, rest),
        };
        self.ask_pd(cluster, method, &format!("/pd/api/{path}"), &body)
    }

    /// What servers do, or what is on them.
    fn on_servers(&mut self, verb: &str, rest: &[&str]) -> Printed {
        match (verb, rest) {
            ("hold-leaders" | "let-leaders", [cluster, store]) => {
                self.hold_leaders(cluster, store, verb == "hold-leaders")
            }
            ("user-evicts" | "user-stops-evicting", [cluster, store]) => {
                self.user_evicts(cluster, store, verb == "user-evicts")
            }
            ("user-sets-store", [cluster, store, item]) => self.set_store(cluster, store, item),
            ("fill-store", [cluster, store, gib]) => self.fill_store(cluster, store, gib),
            ("stand-alone", [cluster, pod]) => self.stand_alone(cluster, pod),
            ("kill-pd-leader", [cluster]) => {
                let pod = self.pd_leader(cluster)?;
                self.harness.universe.kill_process(&pod);
                Ok(String::new())
            }
            _ => self.on_belonging(verb, rest),
        }
    }

    /// PD has one entry per store, which says nothing of who made it: who asks for what is there adds
    /// nothing, nor does one who asks between the end of the operator's own eviction and that of its mark.
    fn user_evicts(&mut self, cluster: &str, pod: &str, evicts: bool) -> Printed {
        let store = self.store_id(cluster, pod)?;
        let new = evicts && !self.is_evicted(cluster, store) && !self.is_marked(pod);
        let printed = if evicts {
            let body = json!({"name": "evict-leader-scheduler", "store_id": store});
            self.ask_pd(cluster, "POST", "/pd/api/v1/schedulers", &body)?
        } else {
            let path = format!("/pd/api/v1/schedulers/evict-leader-scheduler-{store}");
            self.ask_pd(cluster, "DELETE", &path, &Value::Null)?
        };
        if new || !evicts {
            self.harness.auditor.users_eviction(cluster, store, evicts);
        }
        Ok(printed)
    }

    /// The volume of a store says that the operator evicts its leaders.
    fn is_marked(&self, pod: &str) -> bool {
        let claim = self.harness.universe.kube.get("PersistentVolumeClaim", &format!("tikv-{pod}"));
        let marks = claim.map(|claim| at(claim, "/metadata/annotations"));
        marks.is_some_and(|marks| marks.get("tikv.org/evicting").is_some())
    }

    fn is_evicted(&self, cluster: &str, store: u64) -> bool {
        let universe = &self.harness.universe;
        let index = universe.cluster_of(cluster);
        let ensemble = index.and_then(|index| universe.pd.ensembles.get(index));
        ensemble.is_some_and(|ensemble| ensemble.cluster.evicting.contains(&store))
    }

    /// A user changes a setting at the status port of a store that runs.
    fn set_store(&mut self, cluster: &str, store: &str, item: &str) -> Printed {
        let (item, value) = item.split_once('=').ok_or("want item=value")?;
        let id = self.store_id(cluster, store)?;
        let universe = &mut self.harness.universe;
        let index = universe.cluster_of(cluster).ok_or("no such cluster")?;
        let ensemble = universe.pd.ensembles.get(index).ok_or("no such cluster")?;
        let started = ensemble.cluster.stores.get(&id).map_or(0, |store| store.started);
        let process = universe.tikv.process_of(ensemble.cluster_id, id);
        let process = process.map(str::to_owned).ok_or("the store does not run")?;
        universe.set_store_config(&process, &[(item.to_owned(), value_of(value))].into())?;
        self.harness.auditor.users_setting(cluster, (id, started), item);
        Ok(String::new())
    }

    /// A store holds this many GiB now.
    fn fill_store(&mut self, cluster: &str, store: &str, gib: &str) -> Printed {
        let id = self.store_id(cluster, store)?;
        let index = self.harness.universe.cluster_of(cluster).ok_or("no such cluster")?;
        let ensemble = self.harness.universe.pd.ensembles.get_mut(index);
        let store = ensemble.and_then(|e| e.cluster.stores.get_mut(&id));
        store.ok_or("no such store")?.used = number(gib)?;
        Ok(String::new())
    }

    /// The leaders on a store do not move, or may again.
    fn hold_leaders(&mut self, cluster: &str, store: &str, hold: bool) -> Printed {
        let id = self.store_id(cluster, store)?;
        let index = self.harness.universe.cluster_of(cluster).ok_or("no such cluster")?;
        let ensemble = self.harness.universe.pd.ensembles.get_mut(index);
        let stores = &mut ensemble.ok_or("no such cluster")?.cluster.held;
        if hold {
            stores.insert(id);
        } else {
            stores.remove(&id);
        }
        self.harness.universe.stir();
        Ok(String::new())
    }

    fn ask_pd(&mut self, cluster: &str, method: &str, path: &str, body: &Value) -> Printed {
        let universe = &mut self.harness.universe;
        for process in universe.names().resolve(&format!("{cluster}-pd")).to_vec() {
            let request = Request { method, path, body };
            if let Some(answer) = universe.ask_pd(&process, request) {
                return match answer.status {
                    200 => Ok(String::new()),
                    status => Err(format!("{status}: {:?}", answer.body)),
                };
            }
        }
        Err("no PD answers".to_owned())
    }

    /// The store on a pod's volume, as `c-tikv-1`, or a number.
    fn store_id(&self, cluster: &str, store: &str) -> Result<u64, String> {
        if let Ok(id) = store.parse() {
            return Ok(id);
        }
        let host = format!("{store}.");
        let index = self.harness.universe.cluster_of(cluster).ok_or("no such cluster")?;
        let ensemble = self.harness.universe.pd.ensembles.get(index).ok_or("no such cluster")?;
        let mut stores = ensemble.cluster.stores.values();
        let found = stores.rfind(|s| s.address.starts_with(&host));
        found.map(|store| store.id).ok_or_else(|| format!("no store on {store}"))
    }

    fn pd_leader(&self, cluster: &str) -> Result<String, String> {
        let index = self.harness.universe.cluster_of(cluster).ok_or("no such cluster")?;
        let ensemble = self.harness.universe.pd.ensembles.get(index).ok_or("no such cluster")?;
        let leader = ensemble.leader.and_then(|id| ensemble.members.get(&id));
        leader.map(|member| member.name.clone()).ok_or_else(|| "PD has no leader".to_owned())
    }

    /// Somebody makes a PD set of one member's data by hand, which knows of no other
    /// ([`crate::beliefs::FORCE_NEW_CLUSTER`]).
    fn stand_alone(&mut self, cluster: &str, pod: &str) -> Printed {
        let universe = &mut self.harness.universe;
        let index = universe.cluster_of(cluster).ok_or("no such cluster")?;
        let disk = universe.nodes.disk_of_claim(&format!("pd-{pod}")).map(|disk| disk.id);
        let disk = disk.ok_or("no such member")?;
        universe.pd.stand_alone(index, disk, universe.now);
        if let Some(id) = universe.pd.ensembles.get(index).and_then(|e| e.cluster_id) {
            self.harness.auditor.forgive(id);
        }
        Ok(String::new())
    }

    /// Named stores become tombstones at once ([`crate::beliefs::UNSAFE_RECOVERY`]).
    fn unsafe_recovery(&mut self, cluster: &str, stores: &[u64]) -> Printed {
        let index = self.harness.universe.cluster_of(cluster).ok_or("no such cluster")?;
        let universe = &mut self.harness.universe;
        let ensemble = universe.pd.ensembles.get_mut(index).ok_or("no such cluster")?;
        ensemble.unsafe_recovery = !stores.is_empty();
        ensemble.cluster.give_up(stores);
        self.harness.auditor.users_tombstones(cluster, stores);
        if let Some(id) = ensemble.cluster_id {
            self.harness.auditor.forgive(id);
        }
        Ok(String::new())
    }
}

impl crate::universe::Universe {
    /// Closes a machine to new pods, or opens it.
    pub fn cordon(&mut self, node: &str, closed: bool) {
        self.kube.edit(&Key::new("Node", node), |node| {
            set(node, &["spec", "unschedulable"], json!(closed));
        });
    }

    /// A machine is gone for ever, with its node object and everything on its disks.
    pub fn delete_node(&mut self, node: &str) {
        self.nodes.power(node, false);
        self.kube.vanish(&Key::new("Node", node));
        let gone: Vec<u64> =
            self.nodes.disks.values().filter(|d| d.node == node).map(|d| d.id).collect();
        for disk in gone {
            self.forget_disk(disk);
        }
    }

    /// The volume behind a claim is gone; the claim says so.
    pub fn lose_volume(&mut self, claim: &str) {
        self.wipe_disk(claim);
        let key = Key::new("PersistentVolumeClaim", claim);
        let uid = self.kube.get(&key.kind, claim).map(|claim| uid_of(claim).to_owned());
        self.nodes.disks.retain(|of, _| Some(of) != uid.as_ref());
        self.kube.edit(&key, |claim| set(claim, &["status", "phase"], json!("Lost")));
    }

    /// What PD and TiKV had on a disk is gone, and with it their processes.
    pub fn forget_disk(&mut self, disk: u64) {
        self.pd.wipe(disk);
        self.tikv.disks.remove(&disk);
        self.pd.processes.retain(|_, process| process.disk != disk);
        self.tikv.processes.retain(|_, process| process.disk != disk);
    }

    /// The consensus history whose cluster id is in the resource's status.
    pub fn cluster_of(&self, cluster: &str) -> Option<usize> {
        let resource = self.kube.get("TikvCluster", cluster)?;
        let id: u64 = crate::kube::text(resource, "/status/clusterId").parse().ok()?;
        self.pd.ensembles.iter().rposition(|ensemble| ensemble.cluster_id == Some(id))
    }
}
