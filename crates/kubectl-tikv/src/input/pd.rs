//! What does PD say itself?
//!
//! It is asked through the API server, with the questions that the operator asks before it takes
//! something down. Nothing is changed.

use http::uri::Authority;
use kube::Client;
use tikv_operator::metrics::Metrics;
use tikv_operator::pd::{Depth, Limits, PdAnswer, PdClient, Transport};
use tikv_operator_api::names::PD_CLIENT_PORT;
use tikv_operator_core::world::{Component, PodFacts, PodPhase};

use crate::failure::Failure;
use crate::flags::Scope;
use crate::input::{Found, live};

/// PD's answer, or why there is none.
pub(crate) type Asked = Result<PdAnswer, String>;

/// Asks the PD of a cluster. `None`: it has no pods yet, or there is only a dump.
pub(crate) async fn ask(scope: &Scope, found: &Found) -> Result<Option<Asked>, Failure> {
    let members = members(found);
    if scope.file.is_some() || members.is_empty() {
        return Ok(None);
    }
    let (client, _) = live::client(scope).await?;
    Ok(Some(look(client, found.namespace(), &members).await))
}

async fn look(client: Client, namespace: &str, members: &[Authority]) -> Asked {
    let transport = Transport::through_api_server(Limits::default(), client, namespace.to_owned());
    PdClient::new(transport, Metrics::new()).look(members, Depth::Full).await
}

/// Pods of PD in which something may answer, ready ones first.
fn members(found: &Found) -> Vec<Authority> {
    let pods = found.belongings().pods.into_iter();
    let mut running: Vec<_> = pods
        .filter(|(slot, pod)| slot.component == Component::Pd && runs(pod))
        .map(|(slot, pod)| (!pod.containers_ready, slot))
        .collect();
    running.sort_unstable();
    let address = |slot: tikv_operator_core::world::Slot| {
        format!("{}:{PD_CLIENT_PORT}", slot.pod_name(found.name())).parse().ok()
    };
    running.into_iter().filter_map(|(_, slot)| address(slot)).collect()
}

fn runs(pod: &PodFacts) -> bool {
    match pod.phase {
        PodPhase::Running => true,
        PodPhase::Pending | PodPhase::Unknown | PodPhase::Succeeded | PodPhase::Failed => false,
    }
}
