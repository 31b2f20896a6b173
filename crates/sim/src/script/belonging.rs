//! Which commands of a script take away, for a while, what objects say of whose they are?

use serde_json::{Value, json};

use super::Play;
use super::commands::Printed;
use crate::kube::{Key, set};

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

fn put_back(kube: &mut crate::kube::Kube, tampered: Vec<Tampered>) {
    // What was there first is put back last.
    for (key, uid, place, was) in tampered.into_iter().rev() {
        if kube.get(&key.kind, &key.name).is_some_and(|found| found.uid() == uid) {
            kube.edit(&key, |object| set(object, &["metadata", place], was));
        }
    }
}
