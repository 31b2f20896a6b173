//! Which commands of a script take away, for a while, what objects say of whose they are?

use serde_json::{Value, json};

use super::Play;
use super::commands::Printed;
use crate::kube::{Key, Kube, Object, set, text};

/// Where an object says whose it is.
const PLACES: [(&str, &str); 2] = [("labels", "labels"), ("owners", "ownerReferences")];

impl Play {
    /// Hands on labels and owner references.
    pub(super) fn on_belonging(&mut self, verb: &str, rest: &[&str]) -> Printed {
        match (verb, rest) {
            ("tamper", [kind, name, what]) => self.tamper(&Key::new(kind, name), what)?,
            ("restore", [kind, name]) => self.restore(&Key::new(kind, name)),
            _ => return Err(format!("no such command: {verb} {}", rest.join(" "))),
        }
        Ok(String::new())
    }

    /// Takes an object's labels or owner references off, and remembers them.
    fn tamper(&mut self, key: &Key, what: &str) -> Result<(), String> {
        let known = PLACES.iter().find(|(word, _)| *word == what);
        let (_, place) = known.ok_or("want labels or owners")?;
        let kube = &mut self.harness.universe.kube;
        let found = kube.get(&key.kind, &key.name).ok_or("no such object")?;
        let was = found.pointer(&format!("/metadata/{place}")).cloned().unwrap_or_default();
        let owned = was.as_array().is_some_and(|owners| !owners.is_empty());
        let labelled = was.as_object().is_some_and(|labels| !labels.is_empty());
        if !owned && !labelled {
            return Err("it says nothing".to_owned());
        }
        let empty = if was.is_array() { json!([]) } else { json!({}) };
        let uid = found.uid().to_owned();
        kube.edit(key, |object| set(object, &["metadata", place], empty));
        self.tampered.push((key.clone(), uid, place, was));
        Ok(())
    }

    /// Puts back what was taken off an object, if it is still the same one.
    fn restore(&mut self, key: &Key) {
        let (back, kept) = self.tampered.drain(..).partition(|(of, ..)| of == key);
        self.tampered = kept;
        put_back(&mut self.harness.universe.kube, back);
    }

    /// Objects say again whose they are.
    pub(super) fn restore_all(&mut self) {
        put_back(&mut self.harness.universe.kube, std::mem::take(&mut self.tampered));
    }
}

/// What was taken off: of which object, its uid, where, and what it said.
pub(super) type Tampered = (Key, String, &'static str, Value);

fn put_back(kube: &mut Kube, tampered: Vec<Tampered>) {
    // What was there first is put back last.
    for (key, uid, place, was) in tampered.into_iter().rev() {
        let found = kube.get(&key.kind, &key.name).filter(|found| found.uid() == uid);
        match found.map(|found| is_left_over(kube, found)) {
            None => {}
            Some(true) => {
                let _ = kube.delete(&key, Some(&uid));
            }
            Some(false) => {
                kube.edit(&key, |object| set(object, &["metadata", place], was));
            }
        }
    }
}

/// The one volume that is left of a resource which was deleted with all its volumes: that one had no
/// labels. Under labels it would keep the next resource of the name from starting, and say so; whoever
/// reads that deletes it as well.
fn is_left_over(kube: &Kube, claim: &Object) -> bool {
    let of = maker(claim);
    let lives = kube.list("TikvCluster").any(|resource| resource.uid() == of);
    let mut claims = kube.list("PersistentVolumeClaim");
    !of.is_empty() && !lives && !claims.any(|c| c.uid() != claim.uid() && maker(c) == of)
}

/// The uid of the resource that made a claim.
fn maker(claim: &Object) -> &str {
    text(claim, "/metadata/annotations/tikv.org~1resource-uid")
}
