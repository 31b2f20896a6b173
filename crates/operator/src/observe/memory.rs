//! What does only this process know about a cluster?
//!
//! How long it has seen a PD leader, or has had no answer, or has seen a symptom; what it found in
//! the way of its creates; what it wrote last; how stores are configured. By the monotonic clock, so that a jump of the wall clock neither
//! shortens nor lengthens a delay. A restart starts all of it anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use http::uri::Authority;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tikv_operator_core::{
    build,
    report::Outcome,
    world::{
        Applied, Component, ConfigItem, GrowthRefusal, LeaderFacts, Object, ObjectKey, PdMemberId,
        PdView, Refusal, StoreId, Symptom, Trial,
    },
};
use tokio::time::Instant;

use super::LastCheck;
use crate::pd::{Depth, PdAnswer};

/// A stranger is believed to be there for this long, then the name is tried again.
const STRANGER_TIME: Duration = Duration::from_mins(1);

/// A namespace is believed to be going for this long, then a create is tried again.
const NAMESPACE_TIME: Duration = Duration::from_mins(1);

/// A store's configuration is read again after this time: others may change it too.
const CONFIG_TIME: Duration = Duration::from_mins(5);

/// A setting or a pod that was refused is not tried again for this long: the longest step of any back-off.
const REFUSAL_TIME: Duration = Duration::from_mins(5);

/// What was applied this long ago and has stayed since was not changed back.
const APPLIED_TIME: Duration = Duration::from_mins(10);

/// One cluster's memory.
#[derive(Debug, Default)]
pub struct Memory {
    leader: Option<(PdMemberId, Instant)>,
    /// Some leader was seen before the present one.
    had_another: bool,
    silent_since: Option<Instant>,
    strangers: BTreeMap<ObjectKey, (String, Instant)>,
    config_refusals: BTreeMap<ConfigItem, (Refusal, Instant)>,
    symptoms: BTreeMap<Symptom, Instant>,
    store_configs: BTreeMap<StoreId, StoreConfig>,
    growth: BTreeMap<String, (String, Instant)>,
    /// What was applied to an object, how often in a row, and when for the last time.
    applied: BTreeMap<ObjectKey, (String, u32, Instant)>,
    trials: BTreeMap<Component, (Trial, Instant)>,
    /// The latest generation of the spec that was seen with them.
    tried_for: i64,
    /// The last plan had neither steps nor waits.
    calm: bool,
    /// The spec as it was last checked.
    pub spec: LastCheck,
    /// The PD member that answered last.
    pub answered: Option<Authority>,
    /// The resource as the last write left it; the watch may lag behind.
    pub written: Option<Value>,
    /// When the status was last written.
    pub reported: Option<Instant>,
    /// When the server last said that the namespace is being deleted.
    pub namespace_went: Option<Instant>,
}

/// How a store was configured when it was last asked.
#[derive(Debug)]
struct StoreConfig {
    /// The start of the process that was asked: settings live as long as it does.
    started: Option<Timestamp>,
    read: Instant,
    config: Arc<Value>,
}

impl Memory {
    /// Notes which symptoms there are, and for how long each has been seen without a break. One
    /// that is not seen is forgotten, also where the reason is that PD cannot be asked: that
    /// lengthens a delay, and never shortens one.
    pub fn see(
        &mut self,
        symptoms: BTreeSet<Symptom>,
        now: Instant,
    ) -> BTreeMap<Symptom, SignedDuration> {
        self.symptoms.retain(|symptom, _| symptoms.contains(symptom));
        let first = |symptom: Symptom| {
            let since = *self.symptoms.entry(symptom.clone()).or_insert(now);
            (symptom, signed(now.duration_since(since)))
        };
        symptoms.into_iter().map(first).collect()
    }

    /// Notes what became of a volume claim's growth: the API server's words, if it refused.
    pub fn grew(&mut self, claim: &str, refused: Option<String>, now: Instant) {
        match refused {
            Some(words) => self.growth.insert(claim.to_owned(), (words, now)),
            None => self.growth.remove(claim),
        };
    }

    /// The claims whose growth was refused when it was last tried.
    pub fn refused_growth(&self, now: Instant) -> BTreeMap<String, GrowthRefusal> {
        let refused = self.growth.iter().map(|(claim, (words, then))| {
            let ago = signed(now.duration_since(*then));
            (claim.clone(), GrowthRefusal { words: words.clone(), ago })
        });
        refused.collect()
    }

    /// Notes that an object was applied.
    pub fn applied(&mut self, object: &Object, now: Instant) {
        let hash = build::applied(object).unwrap_or_default();
        let before = self.applied.get(&object.key).filter(|(known, _, _)| known == hash);
        let times = before.map_or(1, |(_, times, _)| times.saturating_add(1));
        self.applied.insert(object.key.clone(), (hash.to_owned(), times, now));
    }

    /// What was applied of late.
    pub fn applied_of_late(&mut self, now: Instant) -> BTreeMap<ObjectKey, Applied> {
        self.applied.retain(|_, (_, _, at)| now.duration_since(*at) < APPLIED_TIME);
        let applied = self.applied.iter().map(|(key, (hash, times, at))| {
            let ago = signed(now.duration_since(*at));
            (key.clone(), Applied { hash: hash.clone(), times: *times, ago })
        });
        applied.collect()
    }

    /// Notes what the API server said to a pod of the component that was shown to it.
    pub fn tried(&mut self, component: Component, trial: Trial, now: Instant) {
        self.trials.insert(component, (trial, now));
    }

    /// What it said; of refusals, those of late: a role, a class or a webhook may be put right
    /// without an edit of the spec. Nothing since an edit: what was accepted before it is shown again, also
    /// where it asks for what an earlier spec asked for.
    pub fn trials(&mut self, generation: i64, now: Instant) -> BTreeMap<Component, Trial> {
        // A cache that lags shows the spec of before again.
        if generation > self.tried_for {
            self.tried_for = generation;
            self.trials.clear();
        }
        self.trials.retain(|_, (trial, at)| {
            trial.refused.is_none() || now.duration_since(*at) < REFUSAL_TIME
        });
        self.trials.iter().map(|(component, (trial, _))| (*component, trial.clone())).collect()
    }

    /// Notes whether PD or a store took or refused settings.
    pub fn configured(&mut self, outcome: &Outcome, now: Instant) {
        self.config_refusals.retain(|item, _| !outcome.outdates(item));
        let refusals = outcome.config_refusals().into_iter();
        self.config_refusals.extend(refusals.map(|(item, refusal)| (item, (refusal, now))));
    }

    /// Settings that were refused lately.
    pub fn config_refusals(&mut self, now: Instant) -> BTreeMap<ConfigItem, Refusal> {
        self.config_refusals.retain(|_, (_, at)| now.duration_since(*at) < REFUSAL_TIME);
        let refusals = self.config_refusals.iter();
        refusals.map(|(item, (refusal, _))| (item.clone(), refusal.clone())).collect()
    }

    /// Notes whether a plan had anything to do or to wait for.
    pub fn planned(&mut self, calm: bool) {
        self.calm = calm;
    }

    /// How much PD is asked from the caches: all of it, as long as something is going on.
    pub fn depth(&self) -> Depth {
        if self.calm { Depth::Quiet } else { Depth::Full }
    }

    /// How a store was configured, where it was asked lately and has not started anew since.
    pub fn store_config(
        &self,
        store: StoreId,
        started: Option<Timestamp>,
        now: Instant,
    ) -> Option<Arc<Value>> {
        let known = self.store_configs.get(&store)?;
        let fresh = known.started == started && now.duration_since(known.read) < CONFIG_TIME;
        fresh.then(|| Arc::clone(&known.config))
    }

    /// Notes how a store is configured.
    pub fn learn_store_config(
        &mut self,
        store: StoreId,
        started: Option<Timestamp>,
        config: Arc<Value>,
        now: Instant,
    ) {
        self.store_configs.insert(store, StoreConfig { started, read: now, config });
    }

    /// A setting of the store was changed, or may have been.
    pub fn forget_store_config(&mut self, store: StoreId) {
        self.store_configs.remove(&store);
    }

    /// Notes an answer or its absence, and what follows for the planner.
    pub fn hear_pd(&mut self, answer: Result<PdAnswer, String>, now: Instant) -> PdView {
        match answer {
            Ok(answer) => {
                self.silent_since = None;
                self.answered = Some(answer.through.clone());
                let leader = self.see_leader(answer.leader, now);
                PdView::Known(Box::new(answer.into_facts(leader)))
            }
            Err(reason) => {
                self.had_another |= self.leader.take().is_some();
                let since = *self.silent_since.get_or_insert(now);
                PdView::Unreachable { seen_for: signed(now.duration_since(since)), reason }
            }
        }
    }

    fn see_leader(&mut self, id: PdMemberId, now: Instant) -> LeaderFacts {
        let since = match self.leader {
            Some((before, since)) if before == id => since,
            Some(_) => {
                self.had_another = true;
                now
            }
            None => now,
        };
        self.leader = Some((id, since));
        LeaderFacts { id, seen_for: signed(now.duration_since(since)), changed: self.had_another }
    }

    /// PD's leadership was given on, or may have been: who leads at the next look may have lost it and
    /// won it again since the last one.
    pub fn gave_leadership(&mut self) {
        self.had_another |= self.leader.take().is_some();
    }

    /// PD was not asked because it has no pods.
    pub fn no_pd(&mut self) -> PdView {
        self.had_another |= self.leader.take().is_some();
        self.silent_since = None;
        PdView::NotCreated
    }

    /// Is the namespace being deleted, as far as was heard? Then there is no use in creating.
    pub fn namespace_is_going(&self, now: Instant) -> bool {
        self.namespace_went.is_some_and(|heard| now.duration_since(heard) < NAMESPACE_TIME)
    }

    /// Something that is not ours has a name that we need.
    pub fn met(&mut self, key: ObjectKey, whose: String, now: Instant) {
        self.strangers.insert(key, (whose, now));
    }

    /// What has been met lately.
    pub fn strangers(&mut self, now: Instant) -> BTreeMap<ObjectKey, String> {
        self.strangers.retain(|_, (_, met)| now.duration_since(*met) < STRANGER_TIME);
        self.strangers.iter().map(|(key, (whose, _))| (key.clone(), whose.clone())).collect()
    }

    /// The newer of the resource as watched and as last written. Versions of one API server are
    /// ordered numbers (guaranteed since Kubernetes 1.35, true before); others are not compared.
    pub fn newest<'a>(&'a self, watched: &'a Value) -> &'a Value {
        let version = |body: &Value| -> Option<u128> {
            body.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
        };
        let uid = |body: &Value| body.pointer("/metadata/uid").cloned();
        match &self.written {
            Some(written)
                if uid(written) == uid(watched) && version(written) > version(watched) =>
            {
                written
            }
            Some(_) | None => watched,
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tikv_operator_core::{
        plan::Step,
        report::{Failure, FailureKind},
        world::{Kind, Revision},
    };

    use super::*;

    fn leader(memory: &mut Memory, id: u64, now: Instant) -> (u64, bool) {
        let facts = memory.see_leader(PdMemberId(id), now);
        (u64::try_from(facts.seen_for.as_secs()).unwrap(), facts.changed)
    }

    fn silent(memory: &mut Memory, now: Instant) -> i64 {
        match memory.hear_pd(Err("x".to_owned()), now) {
            PdView::Unreachable { seen_for, .. } => seen_for.as_secs(),
            PdView::NotCreated | PdView::Known(_) => panic!("heard nothing"),
        }
    }

    #[test]
    fn a_leader_is_seen_for_as_long_as_it_was_seen_without_a_break() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        assert_eq!(leader(&mut memory, 1, at(0)), (0, false));
        assert_eq!(leader(&mut memory, 1, at(30)), (30, false));
        assert_eq!(leader(&mut memory, 2, at(40)), (0, true));
        assert_eq!(leader(&mut memory, 2, at(100)), (60, true));
    }

    #[test]
    fn silence_breaks_the_sight_of_the_leader() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        leader(&mut memory, 1, at(0));
        assert_eq!(silent(&mut memory, at(10)), 0);
        assert_eq!(silent(&mut memory, at(25)), 15);
        assert_eq!(leader(&mut memory, 1, at(26)), (0, true));
    }

    #[test]
    fn whoever_leads_after_leadership_was_given_on_is_seen_anew() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        leader(&mut memory, 1, at(0));
        memory.gave_leadership();
        assert_eq!(leader(&mut memory, 1, at(7)), (0, true));
    }

    #[test]
    fn silence_before_the_first_leader_is_no_change() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        silent(&mut memory, now);
        assert_eq!(leader(&mut memory, 1, now), (0, false));
    }

    #[test]
    fn a_symptom_is_seen_from_its_first_sight_until_it_is_not() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let (silent, other) = (Symptom::StoreSilent(StoreId(4)), Symptom::StoreSilent(StoreId(5)));
        let mut see = |symptoms: &[&Symptom], seconds| {
            let symptoms = symptoms.iter().map(|symptom| (*symptom).clone()).collect();
            let seen = memory.see(symptoms, start + Duration::from_secs(seconds));
            [&silent, &other].map(|s| seen.get(s).map(SignedDuration::as_secs))
        };
        assert_eq!(see(&[&silent], 0), [Some(0), None]);
        assert_eq!(see(&[&silent, &other], 7), [Some(7), Some(0)]);
        assert_eq!(see(&[&other], 8), [None, Some(1)]);
        assert_eq!(see(&[&silent, &other], 20), [Some(0), Some(13)], "the clock starts anew");
        assert_eq!(see(&[], 21), [None, None]);
    }

    #[test]
    fn progress_is_another_symptom() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        memory.see([Symptom::Evicting(StoreId(4), 9)].into(), start);
        let later = start + Duration::from_mins(5);
        let seen = memory.see([Symptom::Evicting(StoreId(4), 8)].into(), later);
        assert_eq!(seen[&Symptom::Evicting(StoreId(4), 8)], SignedDuration::ZERO);
    }

    #[test]
    fn a_stores_configuration_is_that_of_one_process_for_five_minutes() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let (store, first) = (StoreId(4), Timestamp::from_second(10).ok());
        assert_eq!(memory.store_config(store, first, now), None);
        memory.learn_store_config(store, first, json!({ "a": 1 }).into(), now);
        assert_eq!(memory.store_config(store, first, now), Some(json!({ "a": 1 }).into()));
        assert_eq!(memory.store_config(store, Timestamp::from_second(11).ok(), now), None);
        assert_eq!(memory.store_config(store, first, now + CONFIG_TIME), None);
        memory.forget_store_config(store);
        assert_eq!(memory.store_config(store, first, now), None);
    }

    #[test]
    fn a_refused_setting_is_tried_again_when_pd_has_taken_another_or_after_five_minutes() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let set = |item: &str, refused: bool| Outcome {
            step: Step::SetPdConfig { item: item.to_owned(), value: json!(1) },
            result: if refused {
                Err(Failure { kind: FailureKind::Refused, message: "no".to_owned() })
            } else {
                Ok(())
            },
        };
        memory.configured(&set("high", true), start);
        memory.configured(&set("low", true), start);
        assert_eq!(memory.config_refusals(start).len(), 2, "a refusal is no progress");
        memory.configured(&set("other", false), start);
        assert_eq!(memory.config_refusals(start), BTreeMap::new());
        memory.configured(&set("high", true), start);
        assert_eq!(memory.config_refusals(start + REFUSAL_TIME / 2).len(), 1);
        assert_eq!(memory.config_refusals(start + REFUSAL_TIME), BTreeMap::new());
    }

    #[test]
    fn f20_the_same_manifest_is_counted_until_it_has_stayed_for_long() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let key = ObjectKey::new(Kind::Service, "a-pd");
        let object = |hash: &str| Object {
            key: key.clone(),
            body: json!({"metadata": {"annotations": {build::APPLIED: hash}}}),
        };
        let mut apply = |hash: &str, seconds| {
            let now = start + Duration::from_secs(seconds);
            let before = memory.applied_of_late(now).get(&key).map(|before| before.times);
            memory.applied(&object(hash), now);
            before
        };
        assert_eq!(apply("one", 0), None);
        assert_eq!(apply("one", 1), Some(1));
        assert_eq!(apply("one", 300), Some(2));
        assert_eq!(apply("two", 301), Some(3));
        assert_eq!(apply("two", 302), Some(1), "another manifest is counted anew");
        assert_eq!(apply("two", 302 + 600), None);
    }

    #[test]
    fn a_refused_growth_is_remembered_until_it_succeeds() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        memory.grew("tikv-a-tikv-0", Some("no".to_owned()), start);
        let later = start + Duration::from_mins(3);
        let want = GrowthRefusal { words: "no".to_owned(), ago: SignedDuration::from_mins(3) };
        assert_eq!(memory.refused_growth(later), [("tikv-a-tikv-0".to_owned(), want)].into());
        memory.grew("tikv-a-tikv-0", None, later);
        assert!(memory.refused_growth(later).is_empty());
    }

    #[test]
    fn a_refused_pod_is_shown_again_after_five_minutes_and_an_accepted_one_after_an_edit() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        assert!(memory.trials(1, start).is_empty());
        let trial = |refused: Option<&str>| Trial {
            revision: Revision("r".to_owned()),
            refused: refused.map(str::to_owned),
        };
        memory.tried(Component::Pd, trial(None), start);
        memory.tried(Component::Tikv, trial(Some("no")), start);
        assert_eq!(memory.trials(1, start + REFUSAL_TIME / 2).len(), 2);
        let later = memory.trials(1, start + REFUSAL_TIME);
        assert_eq!(later, [(Component::Pd, trial(None))].into());
        assert!(memory.trials(2, start + REFUSAL_TIME).is_empty());
    }

    #[test]
    fn a_new_process_asks_everything() {
        let mut memory = Memory::default();
        assert_eq!(memory.depth(), Depth::Full);
        memory.planned(true);
        assert_eq!(memory.depth(), Depth::Quiet);
        memory.planned(false);
        assert_eq!(memory.depth(), Depth::Full);
    }

    #[test]
    fn a_stranger_is_forgotten_after_a_minute() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.met(ObjectKey::new(Kind::Service, "a-pd"), "theirs".to_owned(), now);
        assert_eq!(memory.strangers(now + Duration::from_secs(59)).len(), 1);
        assert_eq!(memory.strangers(now + Duration::from_mins(1)).len(), 0);
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_caught_up() {
        let object = |uid: &str, version: &str| json!({ "metadata": { "uid": uid, "resourceVersion": version } });
        let written = Some(object("u", "100"));
        let memory = Memory { written, ..Memory::default() };
        assert_eq!(memory.newest(&object("u", "99")), &object("u", "100"));
        assert_eq!(memory.newest(&object("u", "101")), &object("u", "101"));
        assert_eq!(memory.newest(&object("other", "99")), &object("other", "99"));
        assert_eq!(memory.newest(&object("u", "odd")), &object("u", "100"));
    }
}
