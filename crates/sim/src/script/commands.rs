//! Which commands does a script have?

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::Play;
use crate::kube::{Key, Propagation, set, uid_of};
use crate::operator::Faults;
use crate::universe::NAMESPACE;

/// Longest time that a run may take to settle, in simulated seconds.
pub(super) const PATIENCE: u64 = 1800;

pub(crate) type Printed = Result<String, String>;

impl Play {
    /// Obeys one command and returns what it prints.
    pub(crate) fn obey(&mut self, command: &str) -> Printed {
        let words: Vec<&str> = command.split_whitespace().collect();
        let Some((verb, rest)) = words.split_first() else { return Ok(String::new()) };
        match (*verb, rest) {
            ("seed", [seed]) => {
                self.begin(number(seed)?);
                Ok(String::new())
            }
            ("create", [name, fields @ ..]) => {
                let made = self.harness.create(name, &spec(fields)?);
                made.map(|()| String::new()).map_err(|refusal| refusal.to_string())
            }
            ("edit", [name, fields @ ..]) => {
                for field in fields {
                    let (path, value) = field.split_once('=').ok_or("want path=value")?;
                    let path: Vec<&str> = path.split('.').collect();
                    self.harness.edit(name, &path, value_of(value));
                }
                Ok(String::new())
            }
            ("delete", [name]) => {
                self.harness.delete(name);
                Ok(String::new())
            }
            ("delete", [name, how @ ("foreground" | "orphan")]) => {
                let foreground = *how == "foreground";
                let how = if foreground { Propagation::Foreground } else { Propagation::Orphan };
                let key = Key::new("TikvCluster", name);
                self.harness.universe.kube.delete_owner(&key, how);
                Ok(String::new())
            }
            ("tick", [seconds]) => {
                self.harness.run(number(seconds)?);
                Ok(String::new())
            }
            ("settle", []) => Ok(self.settle(PATIENCE)),
            ("settle", [seconds]) => Ok(self.settle(number(seconds)?)),
            ("quiet", [minutes]) => match self.harness.stay_quiet(number(minutes)? * 60) {
                Ok(()) => Ok("nothing was written, the status is true\n".to_owned()),
                Err(problem) => {
                    self.broken.push(problem.clone());
                    Err(problem)
                }
            },
            ("crash-after-each-write", [name, fields @ ..]) => self.crash_each(name, fields),
            ("show", [what]) => Ok(self.show(what)),
            ("show", ["setting", item]) => Ok(self.live_setting(item)),
            ("faults", fields) => self.faults(fields),
            ("make-good", []) => {
                self.make_good();
                Ok(String::new())
            }
            ("rest", [limit]) => {
                self.rest(number(limit)?);
                Ok(String::new())
            }
            _ => self.harm(verb, rest),
        }
    }

    fn settle(&mut self, patience: u64) -> String {
        if self.harness.settle(patience).is_some() {
            "settled\n".to_owned()
        } else {
            self.unsettled += 1;
            format!("not settled within {patience} s\n")
        }
    }

    /// What goes wrong in Kubernetes, on machines, or by other hands.
    fn harm(&mut self, verb: &str, rest: &[&str]) -> Printed {
        let now = self.harness.universe.now;
        match (verb, rest) {
            ("late", [pod, seconds]) => {
                let until = now + number(seconds)? * 1000;
                self.harness.universe.nodes.late.insert((*pod).to_owned(), until);
            }
            ("restart-operator", pause) => {
                let pause = pause.first().map_or(Ok(5), |seconds| number(seconds))?;
                for operator in &mut self.harness.operators {
                    operator.restart(now, pause * 1000);
                }
                if let Some(tasks) = &mut self.harness.tasks {
                    tasks.restart(now, pause * 1000);
                }
            }
            ("second-operator", [cluster]) => self.harness.second_operator(cluster),
            ("one-operator", [cluster]) => self.harness.one_operator(cluster),
            ("crash-after", [write]) => {
                let after = usize::try_from(number(write)?).ok();
                for operator in &mut self.harness.operators {
                    operator.faults.crash_after = after.map(|n| operator.written + n);
                }
            }
            ("chance", [seed]) => self.harness.throw_anew(number(seed)?),
            ("kill", [pod]) => self.harness.universe.kill_process(pod),
            ("crash", pods) => pods.iter().for_each(|pod| self.harness.universe.crash_process(pod)),
            ("clock", [seconds]) => {
                let off = seconds.parse().map_err(|_| format!("not a number: {seconds}"))?;
                for operator in &mut self.harness.operators {
                    operator.clock_off = SignedDuration::from_secs(off);
                }
            }
            ("deaf" | "hears", [kind]) => {
                for operator in &mut self.harness.operators {
                    if verb == "deaf" {
                        operator.deaf.insert((*kind).to_owned());
                    } else {
                        operator.deaf.remove(*kind);
                    }
                }
            }
            ("remove", [kind, name]) => {
                let key = Key::new(kind, name);
                let removed = self.harness.universe.kube.delete(&key, None);
                removed.map_err(|refusal| refusal.to_string())?;
            }
            ("wipe", [claim]) => self.harness.universe.wipe_disk(claim),
            ("wipe-status", [name]) => {
                let key = Key::new("TikvCluster", name);
                self.harness.universe.kube.edit(&key, |resource| {
                    set(resource, &["status"], json!({}));
                });
            }
            ("power", [node, state @ ("on" | "off")]) => {
                self.harness.universe.nodes.power(node, *state == "on");
            }
            ("foreign", [kind, name, labels @ ..]) => self.foreign(kind, name, labels)?,
            _ => return self.on_machines(verb, rest),
        }
        Ok(String::new())
    }

    /// Someone else makes an object with a name that we need.
    fn foreign(&mut self, kind: &str, name: &str, marks: &[&str]) -> Result<(), String> {
        let mut body = json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {},
        });
        for mark in marks {
            let (place, value) = mark.split_once('=').ok_or("want labels/key=value")?;
            let (place, key) = place.split_once('/').ok_or("want labels/key=value")?;
            set(&mut body, &["metadata", place, key], json!(value));
        }
        self.harness.universe.kube.create(body).map(|_| ()).map_err(|refusal| refusal.to_string())
    }

    fn faults(&mut self, fields: &[&str]) -> Printed {
        let crash_after = self.crash_after;
        self.harness.set_faults(Faults { crash_after, ..faults(fields)? });
        Ok(String::new())
    }
}

/// `stale=30 crash=2`: faults by their names, in percent.
pub(super) fn faults(fields: &[&str]) -> Result<Faults, String> {
    let mut faults = Faults::default();
    for field in fields {
        let (name, percent) = field.split_once('=').ok_or("want name=percent")?;
        let percent = number(percent)?;
        match name {
            "stale" => faults.stale = percent,
            "conflict" => faults.conflict = percent,
            "lost-answer" => faults.lost_answer = percent,
            "unavailable" => faults.unavailable = percent,
            "pd-silent" => faults.pd_silent = percent,
            "pd-half" => faults.pd_half = percent,
            "crash" => faults.crash = percent,
            "pace" => faults.pace = percent,
            _ => return Err(format!("no such fault: {name}")),
        }
    }
    Ok(faults)
}

pub(super) fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("not a number: {word}"))
}

/// `true`, numbers and JSON as they are, everything else as text.
pub(super) fn value_of(word: &str) -> Value {
    serde_json::from_str(word).unwrap_or_else(|_| json!(word))
}

/// `pd=3 tikv=3 tikv.storage=1Gi`: the short names stand for `pd.replicas` and `tikv.replicas`.
pub(super) fn spec(fields: &[&str]) -> Result<Value, String> {
    let mut spec = Value::Object(Map::new());
    for field in fields {
        let (path, value) = field.split_once('=').ok_or("want path=value")?;
        let mut path: Vec<&str> = path.split('.').collect();
        if matches!(path.as_slice(), ["pd" | "tikv"]) {
            path.push("replicas");
        }
        set(&mut spec, &path, value_of(value));
    }
    Ok(spec)
}

impl crate::universe::Universe {
    /// The process of a pod ends, as after a crash. Kubelet starts it again.
    pub fn kill_process(&mut self, pod: &str) {
        let Some(uid) = self.kube.get("Pod", pod).map(|pod| uid_of(pod).to_owned()) else { return };
        self.pd.kill(&uid);
        self.tikv.processes.remove(&uid);
    }

    /// The process of a pod ends by itself: kubelet starts it again after its back-off.
    pub fn crash_process(&mut self, pod: &str) {
        let Some(uid) = self.kube.get("Pod", pod).map(|pod| uid_of(pod).to_owned()) else { return };
        let pd = self.pd.processes.remove(&uid).is_some();
        if self.tikv.processes.remove(&uid).is_some() || pd {
            self.pd.exited.push((uid, "the process ended".to_owned()));
        }
    }

    /// A disk is emptied under its claim; its process ends.
    pub fn wipe_disk(&mut self, claim: &str) {
        if let Some(disk) = self.nodes.disk_of_claim(claim).map(|disk| disk.id) {
            self.forget_disk(disk);
        }
    }
}
