//! How is a script played on the model of the API server?

use serde_json::{Value, json};
use tikv_operator_sim::kube::{Key, Kube, Reason, Refusal, Subresource, set};

use crate::kube_call::{Answer, Call, Verb};
use crate::script::Script;
use crate::shown::Names;

/// The answers to a script's calls.
pub(crate) fn play(script: &Script) -> Vec<Vec<String>> {
    let (mut kube, mut names) = (Kube::default(), Names::default());
    let mut answer = |(line, _): (&str, &[String])| {
        let call = Call::read(line, &names);
        let answer = answer(&mut kube, &call);
        call.show(answer, &mut names)
    };
    script.calls().map(&mut answer).collect()
}

fn answer(kube: &mut Kube, call: &Call) -> Answer {
    let key = Key::new(&call.kind, &call.name);
    let (uid, version) = (call.uid.as_deref(), call.version.as_deref());
    let done = match call.verb {
        Verb::Create => {
            let made = kube.create(call.whole()).map(drop);
            return shown(kube, &key, 201, made);
        }
        Verb::Get if kube.get(&call.kind, &call.name).is_none() => Err(not_found()),
        Verb::Get => Ok(()),
        Verb::List => {
            return Answer::Names(kube.list(&call.kind).map(|o| o.name().to_owned()).collect());
        }
        Verb::Try => return granted(201, kube.try_create(&call.whole())),
        Verb::Delete => return granted(200, kube.delete_version(&key, uid, version)),
        Verb::Evict => return granted(201, kube.evict(&call.name)),
        Verb::Apply => kube.apply(call.whole(), Subresource::Main),
        Verb::ApplyStatus => kube.apply(call.whole(), Subresource::Status),
        Verb::Merge => kube.merge(&key, &call.body),
        Verb::MergeStatus => kube.merge_status(&key, &call.body),
        Verb::Bind | Verb::Ended | Verb::Provision | Verb::Class => {
            surroundings(kube, call, &key);
            return Answer::Done(200);
        }
    };
    shown(kube, &key, 200, done)
}

fn not_found() -> Refusal {
    Refusal { code: 404, reason: Reason::NotFound, message: String::new() }
}

/// What others than clients do.
fn surroundings(kube: &mut Kube, call: &Call, key: &Key) {
    match call.verb {
        Verb::Bind => {
            kube.edit(key, |pod| set(pod, &["spec", "nodeName"], json!("node")));
        }
        Verb::Ended => kube.vanish(key),
        Verb::Provision => {
            kube.edit(key, |claim| {
                set(claim, &["status", "phase"], json!("Bound"));
                set(claim, &["status", "capacity"], call.body["capacity"].clone());
            });
        }
        Verb::Class => {
            if call.body["allowVolumeExpansion"] != Value::Bool(true) {
                kube.rigid_classes.insert(call.name.clone());
            }
        }
        verb => panic!("{verb:?} is a client's"),
    }
}

fn granted(code: u16, done: Result<(), Refusal>) -> Answer {
    done.map_or_else(|refusal| refused(&refusal), |()| Answer::Done(code))
}

/// The object as it is after a call.
fn shown(kube: &Kube, key: &Key, code: u16, done: Result<(), Refusal>) -> Answer {
    if let Err(refusal) = done {
        return refused(&refusal);
    }
    let object = kube.get(&key.kind, &key.name);
    object.map_or(Answer::Done(code), |object| Answer::Object(code, object.body().clone()))
}

fn refused(refusal: &Refusal) -> Answer {
    let field = match refusal.reason {
        Reason::Invalid(field) => field.to_owned(),
        _ => String::new(),
    };
    Answer::Refused { code: refusal.code, reason: refusal.reason.to_string(), field }
}
