//! How does the user learn what came of a pass?
//!
//! By the resource's status, which is written only when it differs, and by events. A change that
//! matters to a program (a condition turns, an id becomes known) is written at once; sentences and
//! counts that move along with a start are written now and then.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use tikv_operator_api::{TikvClusterStatus, conditions, labels::MANAGER};
use tikv_operator_core::{
    report::{Failure, FailureKind, Note, NoteKind, is_event, worth_writing},
    world::World,
};
use tokio::time::Instant;

use super::{Key, pass::Speech};
use crate::{
    act::status_body,
    kubernetes::{Change, Kubernetes, Place, Resource, words},
    metrics::ClusterRow,
    observe::{Look, Memory, with_resource},
};

/// Least time between two writes of a status that differs in words and counts only, once Ready.
const SOFT: Duration = Duration::from_secs(10);
/// The same while the cluster starts or heals, when they change with every pod.
const SOFT_WHILE_MOVING: Duration = Duration::from_secs(30);
/// The same for the generation seen, so that a thousand edits are not a thousand writes.
const EDITED: Duration = Duration::from_secs(1);
/// Times that a write is tried while others write to the resource.
const TRIES: usize = 3;
/// Time for an event; a lost one is not worth waiting for.
const EVENT_TIME: Duration = Duration::from_secs(5);

/// The voice of the operator.
pub struct Publisher {
    kubernetes: Kubernetes,
    recorder: Recorder,
}

/// What came of publishing.
pub(super) struct Published {
    /// Why the status could not be written.
    pub failure: Option<Failure>,
    /// A status that was held back is due after this time.
    pub wake: Duration,
    /// What is counted about the cluster.
    pub row: ClusterRow,
}

impl Publisher {
    /// A voice that signs its events with the name of this replica.
    pub fn new(kubernetes: Kubernetes, instance: String) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(instance) };
        let recorder = Recorder::new(kubernetes.client().clone(), reporter);
        Self { kubernetes, recorder }
    }

    /// Writes what `speak` says about the world, where it is news. `written` is the resource as
    /// this pass left it. Where somebody else wrote meanwhile, speaks again about the new state.
    pub(super) async fn publish(
        &self,
        memory: &mut Memory,
        look: Look,
        written: Option<&Value>,
        speak: &(dyn Fn(&World) -> Speech + Sync),
    ) -> Published {
        if let Some(written) = written {
            memory.written = Some(written.clone());
        }
        let version = version(written.unwrap_or(&look.resource));
        // What this pass has written itself is no news.
        let world =
            written.and_then(|resource| with_resource(&look.world, resource)).unwrap_or(look.world);
        // No event can be written where nothing can be created.
        let silent = memory.namespace_is_going(Instant::now());
        let mut draft = Draft { speech: speak(&world), key: look.key, world, version, silent };
        let mut said = match held(memory, &draft) {
            Some(rest) => Said::Later(rest),
            None => self.say(memory, &draft).await,
        };
        for _ in 1..TRIES {
            if !matches!(&said, Said::Failed(failure) if failure.kind == FailureKind::Stale) {
                break;
            }
            let Some(again) = self.again(&draft, speak).await else { break };
            draft = again;
            said = self.say(memory, &draft).await;
        }
        let row = row(&draft.speech);
        match said {
            Said::Failed(failure) => Published { failure: Some(failure), wake: Duration::MAX, row },
            Said::Done => {
                self.events(&draft).await;
                Published { failure: None, wake: Duration::MAX, row }
            }
            Said::Later(wake) => {
                self.events(&draft).await;
                Published { failure: None, wake, row }
            }
        }
    }

    /// After a conflict: the same about the resource as it is now.
    async fn again(
        &self,
        draft: &Draft,
        speak: &(dyn Fn(&World) -> Speech + Sync),
    ) -> Option<Draft> {
        let fresh = self.kubernetes.get(place(&draft.key)).await.ok()??;
        let world = with_resource(&draft.world, &fresh)?;
        let key = draft.key.clone();
        let version = version(&fresh);
        Some(Draft { speech: speak(&world), key, world, version, silent: draft.silent })
    }

    async fn say(&self, memory: &mut Memory, draft: &Draft) -> Said {
        let (old, new) = (&draft.world.resource.status, &draft.speech.status);
        if !worth_writing(old, new) {
            return Said::Done;
        }
        // A write that fails counts too: others who write all the time must not make us do so.
        memory.reported = Some(Instant::now());
        let body = status_body(&draft.key, &draft.world.resource.uid, &draft.version, new);
        match self.kubernetes.patch(place(&draft.key), Change::ApplyStatus(&body)).await {
            Ok(written) => {
                memory.written = Some(written);
                Said::Done
            }
            Err(error) => {
                tracing::debug!("status not written: {error}");
                Said::Failed(error.failure())
            }
        }
    }

    async fn events(&self, draft: &Draft) {
        let (key, notes) = (&draft.key, &draft.speech.notes);
        if notes.is_empty() || draft.silent {
            return;
        }
        let reference = ObjectReference {
            api_version: Some(Resource::Cluster.api_version()),
            kind: Some(Resource::Cluster.kind().to_owned()),
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: Some(draft.world.resource.uid.0.clone()),
            ..ObjectReference::default()
        };
        for note in notes {
            let Ok(_permit) = self.kubernetes.fence().permit(EVENT_TIME).await else { return };
            let event = event(note);
            let sent = self.recorder.publish(&event, &reference);
            match tokio::time::timeout(EVENT_TIME, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(reason = note.reason, "event not sent: {}", words(&error));
                }
                Err(_) => tracing::warn!(reason = note.reason, "event not sent in time"),
            }
        }
    }
}

fn event(note: &Note) -> Event {
    Event {
        type_: match note.kind {
            NoteKind::Normal => EventType::Normal,
            NoteKind::Warning => EventType::Warning,
        },
        reason: note.reason.to_owned(),
        // The API server's limit is 1 KiB.
        note: Some(note.message.chars().take(1_000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

/// What is about to be said, about which state of the resource.
struct Draft {
    key: Key,
    world: World,
    version: Value,
    speech: Speech,
    silent: bool,
}

enum Said {
    /// Written, or there was nothing new.
    Done,
    /// Something that can wait this long.
    Later(Duration),
    Failed(Failure),
}

fn place(key: &Key) -> Place<'_> {
    Place { resource: Resource::Cluster, namespace: &key.namespace, name: &key.name }
}

fn version(resource: &Value) -> Value {
    resource.pointer("/metadata/resourceVersion").cloned().unwrap_or_default()
}

/// The rest of the time for which what is to be said is held back, where it is.
fn held(memory: &Memory, draft: &Draft) -> Option<Duration> {
    let (old, new) = (&draft.world.resource.status, &draft.speech.status);
    let rest = pause(old, new).checked_sub(memory.reported?.elapsed())?;
    (worth_writing(old, new) && !rest.is_zero()).then_some(rest)
}

/// How long after the last write this change may be written: at once where it matters to a
/// program that waits for it.
fn pause(old: &TikvClusterStatus, new: &TikvClusterStatus) -> Duration {
    let turned = |status: &TikvClusterStatus| {
        let conditions = status.conditions.iter();
        conditions.map(|c| (c.type_.clone(), c.status.clone())).collect::<Vec<_>>()
    };
    if old.cluster_id != new.cluster_id
        || old.bootstrap != new.bootstrap
        || turned(old) != turned(new)
        || is_event(old, new)
    {
        Duration::ZERO
    } else if old.observed_generation != new.observed_generation {
        EDITED
    } else if new.conditions.iter().any(|c| c.type_ == conditions::READY && c.status == "True") {
        SOFT
    } else {
        SOFT_WHILE_MOVING
    }
}

fn row(speech: &Speech) -> ClusterRow {
    let conditions = speech.status.conditions.iter().filter_map(|condition| {
        let kind = conditions::TYPES.into_iter().find(|kind| *kind == condition.type_)?;
        let status = ["True", "False", "Unknown"];
        Some((kind, status.into_iter().find(|status| *status == condition.status)?))
    });
    ClusterRow { conditions: conditions.collect(), rules: speech.rules.clone() }
}
