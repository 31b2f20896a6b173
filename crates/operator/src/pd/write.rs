//! How is PD told to change something?
//!
//! Each change is one call, which may be made again: its answer may be lost, and another member may
//! be asked then. What PD answers when the change is in force already counts as done.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use http::{Method, uri::Authority};
use serde_json::{Value, json};
use tikv_operator_core::world::{Maintenance, PdMemberId, StoreId};

use super::{
    client::{BODY_MAX, PdClient},
    error::PdError,
    transport::Call,
};
use crate::{
    lease::Fence,
    metrics::{PdChange, PdOutcome},
};

/// Time for one change: PD waits up to 10 s for etcd when a member is removed, 5 s for a move of
/// the leadership, and a follower 3 s for a leader.
const CHANGE_TIME: Duration = Duration::from_secs(12);
/// The lease must outlast a change by this much before it is sent; where it lasts for less than
/// [`CHANGE_TIME`], the answer is not waited for any longer than that.
const LEAST_TIME: Duration = Duration::from_secs(5);
/// Time for one change through all members.
const ALL_TIME: Duration = Duration::from_secs(25);

/// A change in PD.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Put a store into the evict-leader scheduler.
    Evict(StoreId),
    /// Take it out.
    StopEvicting(StoreId),
    /// Remove a store.
    Offline(StoreId),
    /// Cancel that.
    Keep(StoreId),
    /// Move the leadership to the member of this name.
    Transfer(&'a str),
    /// Remove a member.
    RemoveMember(PdMemberId),
    /// Set one item.
    Configure(&'a str, &'a Value),
    /// Merge labels into those of a store.
    Label(StoreId, &'a BTreeMap<String, String>),
    /// Take the lock for disruptive work: type and id.
    Lock(&'a str, &'a str),
    /// Give it back.
    Unlock(&'a str, &'a str),
}

impl Change<'_> {
    fn request(self) -> (Method, String, Option<Value>) {
        const V1: &str = "/pd/api/v1";
        let lock = |kind: &str, id: &str| {
            format!("/pd/api/v2/maintenance/{}/{}", encoded(kind), encoded(id))
        };
        match self {
            // The id must be a number (a string is "missing store id").
            Self::Evict(store) => {
                let body = json!({ "name": "evict-leader-scheduler", "store_id": store });
                (Method::POST, format!("{V1}/schedulers"), Some(body))
            }
            // With the id: without it PD drops all stores, somebody else's too.
            Self::StopEvicting(store) => {
                (Method::DELETE, format!("{V1}/schedulers/evict-leader-scheduler-{store}"), None)
            }
            // Never with `force`, whose mere presence is irreversible.
            Self::Offline(store) => (Method::DELETE, format!("{V1}/store/{store}"), None),
            Self::Keep(store) => (Method::POST, format!("{V1}/store/{store}/state?state=Up"), None),
            Self::Transfer(name) => {
                (Method::POST, format!("{V1}/leader/transfer/{}", encoded(name)), None)
            }
            // By id: a half-joined member has no name.
            Self::RemoveMember(id) => (Method::DELETE, format!("{V1}/members/id/{id}"), None),
            // One item a call: PD applies several one by one, in any order, until one fails.
            Self::Configure(item, value) => {
                (Method::POST, format!("{V1}/config"), Some(json!({ item: value })))
            }
            Self::Label(store, labels) => {
                (Method::POST, format!("{V1}/store/{store}/label"), Some(json!(labels)))
            }
            Self::Lock(kind, id) => (Method::PUT, lock(kind, id), Some(json!({}))),
            Self::Unlock(kind, id) => (Method::DELETE, lock(kind, id), None),
        }
    }

    fn class(self) -> PdChange {
        match self {
            Self::Evict(_) | Self::StopEvicting(_) => PdChange::Evict,
            Self::Offline(_) | Self::Keep(_) => PdChange::StoreState,
            Self::Label(..) => PdChange::Label,
            Self::Transfer(_) => PdChange::Transfer,
            Self::RemoveMember(_) => PdChange::RemoveMember,
            Self::Configure(..) => PdChange::Configure,
            Self::Lock(..) | Self::Unlock(..) => PdChange::Lock,
        }
    }

    /// Does this refusal say that the change is in force already?
    fn is_done(self, error: &PdError) -> bool {
        match self {
            // The router's own words are of a server without such an endpoint.
            Self::StopEvicting(_) | Self::Unlock(..) if is_no_endpoint(error) => false,
            Self::StopEvicting(_) => matches!(error, PdError::NotFound(_)),
            // 409: the lock is somebody else's by now.
            Self::Unlock(..) => {
                matches!(error, PdError::NotFound(_) | PdError::Refused { status: 409, .. })
            }
            Self::RemoveMember(_) => {
                matches!(error, PdError::Refused { status: 500, text } if text.contains("member not found"))
            }
            Self::Evict(_)
            | Self::Offline(_)
            | Self::Keep(_)
            | Self::Transfer(_)
            | Self::Configure(..)
            | Self::Label(..)
            | Self::Lock(..) => false,
        }
    }
}

impl PdClient {
    /// Makes the change through the first of `members` that can; the next one is asked only where
    /// a member could not, never where PD refused. Each of these calls passes `fence`.
    pub async fn change(
        &self,
        fence: &Fence,
        members: &[Authority],
        change: Change<'_>,
    ) -> Result<(), PdError> {
        let mut last = PdError::Connect("no PD container runs".to_owned());
        let tries = async {
            for member in members {
                match self.change_through(fence, member, change).await {
                    Err(error) if error.is_of_member() => last = error,
                    other => return Some(other),
                }
            }
            None
        };
        match tokio::time::timeout(ALL_TIME, tries).await {
            Ok(Some(ended)) => ended,
            Ok(None) => Err(last),
            Err(_) => Err(PdError::Slow(ALL_TIME.as_secs())),
        }
    }

    async fn change_through(
        &self,
        fence: &Fence,
        member: &Authority,
        change: Change<'_>,
    ) -> Result<(), PdError> {
        let (method, path, body) = change.request();
        let call = Call { method, path: &path, body: body.as_ref() };
        let permit = fence.permit(LEAST_TIME).await?;
        let time = self.transport.limits().call.max(CHANGE_TIME).min(permit.left());
        let answer = self.transport.call(member, &call, BODY_MAX, time).await;
        let outcome = answer.as_ref().err().map_or(PdOutcome::Ok, PdError::outcome);
        self.metrics.pd_change(change.class(), outcome);
        match (answer, change) {
            (Ok(_), _) => Ok(()),
            (Err(error), change) if change.is_done(&error) => Ok(()),
            (Err(PdError::Refused { status: 409, text }), Change::Lock(kind, id)) => {
                self.whose_lock(member, (kind, id), text).await
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The lock is held: by us, if the answer to an earlier call was lost.
    async fn whose_lock(
        &self,
        member: &Authority,
        wanted: (&str, &str),
        text: String,
    ) -> Result<(), PdError> {
        match self.maintenance(member).await {
            Maintenance::Held { kind, id } if (kind.as_str(), id.as_str()) == wanted => Ok(()),
            Maintenance::Held { kind, id } => Err(PdError::Refused {
                status: 409,
                text: format!("the maintenance lock is held by {kind}/{id}"),
            }),
            Maintenance::Free | Maintenance::Unsupported | Maintenance::Unknown { .. } => {
                Err(PdError::Refused { status: 409, text })
            }
        }
    }
}

fn is_no_endpoint(error: &PdError) -> bool {
    matches!(error, PdError::NotFound(text) if text.contains("page not found"))
}

/// A path segment, percent-encoded.
fn encoded(segment: &str) -> String {
    let mut text = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
