//! How long did a replacement have to wait, and how long did it take after that?
//!
//! A store is replaced when PD has not heard it and Kubernetes reports its pod, node or volume lost,
//! each for `failover.after`, and not within a minute of PD's leader having changed. Until then the
//! operator has to wait; what comes later is its own time, and the kubelet's and the server's.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::{condition, text};
use crate::timeline::Seen;
use crate::watchman::Heard;

/// `failover.after` of [`crate::manifest::impatient`].
pub(crate) const AFTER: Duration = Duration::from_mins(1);
/// A new PD leader is believed about stores after this time.
const SETTLED: Duration = Duration::from_mins(1);

/// What a replacement had to wait for, as it was seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    begin: Instant,
    /// PD stopped hearing the store: no longer Up.
    silent: Instant,
    /// PD called it Down.
    down: Option<Instant>,
    /// Kubernetes called the node lost.
    not_ready: Instant,
    /// The last time that another PD member began to lead.
    elected: Option<Instant>,
}

impl Delay {
    /// Reads it from what PD said of the store, and Kubernetes of the node, since `begin`.
    pub(crate) fn read(
        begin: Instant,
        (heard, store): (&Heard, &str),
        (nodes, node): (&[Seen], &str),
    ) -> Result<Self> {
        let said = |state: fn(&str) -> bool| {
            let mut later = heard.iter().filter(|(at, _)| *at >= begin);
            let of =
                later.find(|(_, word)| word.stores.get(store).is_some_and(|s| state(&s.state)));
            of.map(|(at, _)| *at)
        };
        let lost = |event: &&Seen| event.at >= begin && is_not_ready(&event.object, node);
        Ok(Self {
            begin,
            silent: said(|state| state != "Up").context("PD always called the store Up")?,
            down: said(|state| state == "Down"),
            not_ready: nodes.iter().find(lost).context("the node was always Ready")?.at,
            elected: elections(begin, heard).last().copied(),
        })
    }

    /// From then on a replacement is allowed.
    pub(crate) fn end(&self) -> Instant {
        let lost = self.silent.max(self.not_ready) + AFTER;
        self.elected.map_or(lost, |elected| lost.max(elected + SETTLED))
    }

    /// Fails where it was made before it was allowed; a second is between two looks.
    pub(crate) fn was_kept_by(&self, made: Instant) -> Result<()> {
        let early = self.end().saturating_duration_since(made);
        ensure!(early < Duration::from_secs(2), "made {early:?} before the delay was over: {self}");
        Ok(())
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = |at: Instant| at.saturating_duration_since(self.begin).as_secs_f64();
        let (silent, lost, end) = (since(self.silent), since(self.not_ready), since(self.end()));
        write!(f, "PD does not hear it {silent:.1} s, node not Ready {lost:.1} s, ")?;
        if let Some(down) = self.down {
            write!(f, "Down {:.1} s, ", since(down))?;
        }
        if let Some(elected) = self.elected {
            write!(f, "PD's leader changed {:.1} s, ", since(elected))?;
        }
        write!(f, "so the delay ends {end:.1} s")
    }
}

/// When another member began to lead.
fn elections(begin: Instant, heard: &Heard) -> Vec<Instant> {
    let (mut leader, mut found) = (String::new(), Vec::new());
    for (at, word) in heard.iter().filter(|(_, word)| !word.leader.is_empty()) {
        if *at >= begin && !leader.is_empty() && leader != word.leader {
            found.push(*at);
        }
        leader.clone_from(&word.leader);
    }
    found
}

fn is_not_ready(object: &Value, node: &str) -> bool {
    text(object, "/metadata/name") == Some(node)
        && condition(object, "Ready").is_some_and(|ready| text(ready, "/status") != Some("True"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::watchman::{Store, Word};

    fn word(leader: &str, state: &str) -> Word {
        let store = Store {
            id: 4,
            state: state.to_owned(),
            started: 1,
            leaders: 0,
            regions: 1,
            capacity: String::new(),
            available: String::new(),
        };
        let stores = BTreeMap::from([("a-tikv-0".to_owned(), store)]);
        Word { leader: leader.to_owned(), stores, ..Word::default() }
    }

    fn node(at: Instant, name: &str, ready: &str) -> Seen {
        let ready = json!([{ "type": "Ready", "status": ready }]);
        let object = json!({ "metadata": { "name": name }, "status": { "conditions": ready } });
        Seen { at, kind: "MODIFIED".to_owned(), object }
    }

    #[test]
    fn the_later_of_both_signals_and_a_new_leader_count() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let heard = |leader: &str| -> Heard {
            vec![
                (begin, word("a", "Up")),
                (at(4), word(leader, "Up")),
                (at(20), word(leader, "Disconnected")),
                (at(70), word(leader, "Down")),
            ]
        };
        let nodes = [node(at(9), "n2", "Unknown"), node(at(43), "n1", "Unknown")];
        let read = |heard: &Heard| Delay::read(begin, (heard, "a-tikv-0"), (&nodes, "n1"));
        let delay = read(&heard("a")).unwrap();
        assert_eq!(delay.end(), at(43) + AFTER);
        assert!(delay.was_kept_by(at(103)).is_ok());
        assert!(delay.was_kept_by(at(90)).is_err());
        let elected = read(&heard("b")).unwrap();
        assert_eq!((elected.elected, elected.end()), (Some(at(4)), at(103)));
        let late = [heard("a"), vec![(at(80), word("b", "Down"))]].concat();
        assert_eq!(read(&late).unwrap().end(), at(80) + SETTLED);
        assert!(read(&vec![(begin, word("a", "Up"))]).is_err());
    }
}
