//! How does a proposal become a step? It passes every rule, or becomes a wait.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Plan, Scene, Severity, Step, Wait};
use crate::rules::{self, RULES, Rule};
use crate::world::{Kind, ObjectKey, Slot};

/// Look again soon after having acted: the next step usually follows from this one.
const AFTER_STEPS: Duration = Duration::from_millis(250);
/// While something is on its way. PD is polled at this rate; pods wake the operator by themselves. A
/// start has two or three such waits, and all that the operator adds to it is to stay below 2 s.
const WHILE_MOVING: Duration = Duration::from_millis(500);
/// While redundancy is missing or someone must act.
const WHILE_DEGRADED: Duration = Duration::from_secs(5);
/// When nothing is to be done: PD's own time constants are tens of seconds and more.
const WHEN_QUIET: Duration = Duration::from_mins(1);

/// A plan in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    scene: &'a Scene<'a>,
    steps: Vec<Step>,
    waits: Vec<Wait>,
    /// Rule and subject of every wait: each pair is noted once.
    noted: BTreeSet<(&'static str, String)>,
    /// Slots whose leaders some planner wants away in this pass.
    evictions: BTreeSet<Slot>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(scene: &'a Scene<'a>) -> Self {
        Self {
            scene,
            steps: Vec::new(),
            waits: Vec::new(),
            noted: BTreeSet::new(),
            evictions: BTreeSet::new(),
        }
    }

    /// Takes the step if every rule allows it and, where it is disruptive, none was taken before.
    /// Otherwise notes why not. Returns whether it was taken.
    pub(super) fn propose(&mut self, subject: impl Into<String>, step: Step) -> bool {
        let allowed = self.may(subject, &step);
        if allowed {
            self.steps.push(step);
        }
        allowed
    }

    /// As [`Self::propose`] for steps that belong to the deletion of the whole cluster, where one
    /// at a time protects nothing.
    pub(super) fn propose_together(&mut self, subject: impl Into<String>, step: Step) -> bool {
        let allowed = self.passes(subject, &step);
        if allowed {
            self.steps.push(step);
        }
        allowed
    }

    /// Would this step be taken now? Nothing is taken; a refusal is noted as a wait. For work that
    /// only makes sense if the step can follow, such as moving leaders away before a restart.
    pub(super) fn may(&mut self, subject: impl Into<String>, step: &Step) -> bool {
        let subject = subject.into();
        if step.is_disruptive() && self.steps.iter().any(Step::is_disruptive) {
            let detail = "another disruptive step comes first".to_owned();
            if self.holds(&subject, &rules::ONE_DISRUPTION_AT_A_TIME, detail) {
                return false;
            }
        }
        self.passes(subject, step)
    }

    /// Does every rule allow this step, whatever else is in the plan? A refusal is noted as a wait.
    pub(super) fn passes(&mut self, subject: impl Into<String>, step: &Step) -> bool {
        for rule in RULES {
            let Some(guard) = rule.guard.filter(|_| self.scene.asks(rule)) else {
                continue;
            };
            if let Err(detail) = guard(step, self.scene) {
                self.wait_as(subject, rule, rule.severity, detail);
                return false;
            }
        }
        true
    }

    /// Notes what this rule makes the planner wait for. The planner goes no further where it holds:
    /// always, but for a rule that is not asked ([`super::plan_without`]).
    pub(super) fn holds(
        &mut self,
        subject: impl Into<String>,
        rule: &'static Rule,
        detail: String,
    ) -> bool {
        debug_assert!(rule.holds_planner, "{} is said to hold no planner", rule.name);
        self.wait(subject, rule, detail);
        self.scene.asks(rule)
    }

    /// Notes a step that is not taken, as serious as its rule says.
    pub(super) fn wait(&mut self, subject: impl Into<String>, rule: &'static Rule, detail: String) {
        self.wait_as(subject, rule, rule.severity, detail);
    }

    /// As [`Self::wait`], where this case is more or less serious than the rule. The same subject
    /// and rule are noted once.
    pub(super) fn wait_as(
        &mut self,
        subject: impl Into<String>,
        rule: &'static Rule,
        severity: Severity,
        detail: String,
    ) {
        let subject = subject.into();
        if self.scene.asks(rule) && self.noted.insert((rule.name, subject.clone())) {
            self.waits.push(Wait { subject, rule, detail, severity });
        }
    }

    /// Notes that the leaders of this slot's store are wanted away in this pass.
    pub(super) fn ask_eviction(&mut self, slot: Slot) {
        self.evictions.insert(slot);
    }

    /// Is this slot's pod deleted in this pass?
    pub(super) fn deletes_pod(&self, slot: Slot) -> bool {
        let pod = slot.pod_name(self.scene.name());
        self.steps.iter().any(|step| matches!(step, Step::DeletePod { name, .. } if *name == pod))
    }

    /// Is this slot's pod made in this pass?
    pub(super) fn makes_pod(&self, slot: Slot) -> bool {
        let pod = ObjectKey::new(Kind::Pod, slot.pod_name(self.scene.name()));
        self.steps.iter().any(|step| matches!(step, Step::Create(object) if object.key == pod))
    }

    /// The volume of which this pass notes that its member leaves.
    pub(super) fn begins_to_leave(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| {
            let Step::MarkVolume { name, marks, .. } = step else { return None };
            marks.leaving.as_ref().map(|_| name.as_str())
        })
    }

    /// Does anybody want this slot's leaders away in this pass?
    pub(super) fn is_asked(&self, slot: Slot) -> bool {
        self.evictions.contains(&slot)
    }

    /// How closely this is watched. A task takes its time, and PD knows nothing of it.
    fn pace(wait: &Wait) -> Severity {
        if *wait.rule == rules::GATE_BEFORE_UPGRADE { Severity::Degraded } else { wait.severity }
    }

    pub(super) fn finish(self) -> Plan {
        let worst = self.waits.iter().map(Self::pace).max();
        let wake = match (self.steps.is_empty(), worst) {
            (false, _) => AFTER_STEPS,
            (true, Some(Severity::Progress)) => WHILE_MOVING,
            (true, Some(Severity::Degraded)) => WHILE_DEGRADED,
            (true, Some(Severity::Held) | None) => WHEN_QUIET,
        };
        Plan { steps: self.steps, waits: self.waits, wake }
    }
}
