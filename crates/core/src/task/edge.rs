//! What is an event, once it has happened?

use std::collections::BTreeMap;

use tikv_operator_api::v1alpha1::{RunStatus, TaskEvent};

use super::condition::Fields;

/// Something that was not so at the last look and is so now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What happened.
    pub event: TaskEvent,
    /// What it is about, see [`TaskEvent::subject`].
    pub subject: String,
    /// The pod that it is about.
    pub pod: Option<String>,
    /// What was before.
    pub from: Option<String>,
    /// What is now.
    pub to: Option<String>,
    /// For a full disk, how full.
    pub percent: i64,
    /// A sentence for people.
    pub detail: String,
    /// The id of the announcement, where the operator can wait.
    pub announced: Option<String>,
    /// The mark that says so, where it is a state: as long as the mark is not set the event is told
    /// again.
    pub mark: Option<String>,
}

impl Edge {
    /// An edge with nothing but a sentence.
    pub(super) fn new(event: TaskEvent, subject: &str, detail: String) -> Self {
        Self {
            event,
            subject: subject.to_owned(),
            pod: None,
            from: None,
            to: None,
            percent: 0,
            detail,
            announced: None,
            mark: None,
        }
    }

    /// With the pod that it is about.
    pub(super) fn of_pod(mut self, pod: Option<&String>) -> Self {
        self.pod = pod.cloned();
        self
    }

    /// With what was and what is.
    pub(super) fn between(mut self, from: Option<&str>, to: Option<&str>) -> Self {
        self.from = from.map(str::to_owned);
        self.to = to.map(str::to_owned);
        self
    }

    /// What a condition sees of it.
    pub(super) fn fields(&self, namespace: &str, cluster: &str) -> Fields {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let texts = BTreeMap::from([
            ("type", self.event.to_string()),
            ("namespace", namespace.to_owned()),
            ("cluster", cluster.to_owned()),
            ("subject", self.subject.clone()),
            ("pod", text(&self.pod)),
            ("from", text(&self.from)),
            ("to", text(&self.to)),
            ("detail", self.detail.clone()),
        ]);
        Fields { texts, percent: self.percent }
    }

    /// Is the run about the same thing?
    pub(super) fn is_of(&self, run: &RunStatus) -> bool {
        run.event == Some(self.event) && run.subject.as_deref() == Some(self.subject.as_str())
    }
}

/// One to try conditions on.
pub(super) fn sample(event: TaskEvent) -> Edge {
    let edge = Edge::new(event, "1", "an example".to_owned());
    let pod = "example-tikv-0".to_owned();
    Edge { percent: 80, ..edge.of_pod(Some(&pod)).between(Some("a"), Some("b")) }
}
