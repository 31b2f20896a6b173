//! How long does each restart of a pod take, and whose time is it?
//!
//! The operator's own share is the time in which nobody else could make progress: from the moment
//! at which the pod before is back and Ready until its next step, from a store without leaders until
//! the deletion, from the pod's end until the new one exists, from the store's return until it may
//! lead again, and from its kubelet's word that containers are ready until our gate is open. The time
//! until that word, and from the gate until the pod is Ready, is the kubelet's.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;
use tikv_operator_api::labels;

use crate::cluster::{condition, label, text};
use crate::timeline::{Seen, Timeline};
use crate::watchman::{Heard, Store, Word};

/// One pod that was deleted and made again.
#[derive(Debug)]
pub(crate) struct Restart {
    /// Its name.
    pub(crate) pod: String,
    tikv: bool,
    /// Its leaders were asked to leave.
    asked: Option<Instant>,
    /// It led nothing.
    empty: Option<Instant>,
    deleted: Instant,
    gone: Instant,
    made: Instant,
    /// PD heard of it again.
    back: Option<Instant>,
    /// It may lead again.
    free: Option<Instant>,
    /// Its kubelet has found all containers ready, which our gate waits for.
    probed: Option<Instant>,
    /// Our readiness gate says that it is Up.
    gate: Option<Instant>,
    /// Its kubelet has found it Ready, the gate included.
    ready: Option<Instant>,
    /// It leads its share again.
    leads: Option<Instant>,
    /// When PD last began to say, before this restart, that all members and stores are well. Before
    /// that, PD itself was in the way: a new leader calls stores Disconnected until it hears them.
    calm: Option<Instant>,
}

/// All restarts of a time, in order.
#[derive(Debug)]
pub(crate) struct Restarts {
    begin: Instant,
    rows: Vec<Restart>,
}

impl Restarts {
    /// Reads them from what was seen of pods and heard from PD since `begin`.
    pub(crate) fn read(begin: Instant, pods: &Timeline, heard: &Heard) -> Self {
        let seen: Vec<Seen> = pods.seen().into_iter().filter(|seen| seen.at >= begin).collect();
        let ends = seen.iter().filter(|event| event.kind == "DELETED");
        let mut rows: Vec<Restart> =
            ends.filter_map(|end| Restart::read(end, &seen, heard, begin)).collect();
        rows.sort_by_key(|row| row.deleted);
        Self { begin, rows }
    }

    /// Names of the pods in the order in which they were deleted.
    pub(crate) fn order(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.pod.as_str()).collect()
    }

    /// Moments that were not seen from which a share is counted: nobody knows then how long it was, only
    /// that it was no shorter than what is known of it.
    pub(crate) fn unseen(&self) -> Vec<String> {
        self.rows.iter().flat_map(Restart::unseen).collect()
    }

    /// The longest share of the operator in one restart, as far as it was seen.
    pub(crate) fn longest_share(&self) -> Duration {
        (0..self.rows.len()).map(|index| self.share(index)).max().unwrap_or_default()
    }

    /// The operator's share in one restart. What is waited for between PD and TiKV is the minute in
    /// which a new PD leader hears from all regions: that is nobody's overhead.
    fn share(&self, index: usize) -> Duration {
        let Some(row) = self.rows.get(index) else { return Duration::ZERO };
        let before = index.checked_sub(1).and_then(|i| self.rows.get(i));
        let begun = row.asked.unwrap_or(row.deleted);
        let idle = match before {
            None => Some(self.begin),
            Some(before) if before.tikv == row.tikv => before.settled(),
            Some(_) => None,
        };
        gap(idle.map(|idle| row.calm.map_or(idle, |calm| idle.max(calm))), Some(begun))
            + gap(row.empty, Some(row.deleted))
            + gap(Some(row.gone), Some(row.made))
            + gap(row.back.filter(|_| row.tikv), row.free)
                .max(gap(row.back.max(row.probed).filter(|_| row.tikv), row.gate))
    }
}

impl Restart {
    fn read(end: &Seen, seen: &[Seen], heard: &Heard, begin: Instant) -> Option<Self> {
        let pod = text(&end.object, "/metadata/name")?.to_owned();
        let component = label(&end.object, labels::COMPONENT)?;
        let uid = text(&end.object, "/metadata/uid")?;
        let same = |event: &&Seen| text(&event.object, "/metadata/uid") == Some(uid);
        let going = |object: &Value| object.pointer("/metadata/deletionTimestamp").is_some();
        let deleted = seen.iter().filter(same).find(|event| going(&event.object))?.at;
        let again = seen.iter().find(|event| {
            event.kind == "ADDED"
                && event.at >= end.at
                && text(&event.object, "/metadata/name") == Some(&pod)
        })?;
        let mut row = Self {
            pod,
            tikv: component == "tikv",
            asked: None,
            empty: None,
            deleted,
            gone: end.at,
            made: again.at,
            back: None,
            free: None,
            probed: condition_at(seen, &again.object, "ContainersReady"),
            gate: condition_at(seen, &again.object, labels::STORE_UP_GATE),
            ready: condition_at(seen, &again.object, "Ready"),
            leads: None,
            calm: None,
        };
        if row.tikv {
            row.hear_store(heard, begin);
        } else {
            let healthy = |word: &Word| word.healthy.contains(&row.pod);
            row.back = row.probed.and_then(|runs| first(heard, runs, healthy));
        }
        row.calm = calm_since(heard, row.asked.unwrap_or(row.deleted));
        Some(row)
    }

    /// Moments that were not seen and have to be: without one of them a part of the share is 0. When the
    /// pod leads its share again is not among them: what is counted without it is longer.
    fn unseen(&self) -> Vec<String> {
        let mut moments = vec![
            ("containers ready", self.probed),
            ("back by PD's word", self.back),
            ("Ready", self.ready),
        ];
        if self.tikv {
            moments.extend([
                ("asked to lead nothing", self.asked),
                ("without leaders", self.empty),
                ("free to lead again", self.free),
                ("its gate open", self.gate),
            ]);
        }
        let unseen = moments.into_iter().filter(|(_, moment)| moment.is_none());
        unseen.map(|(what, _)| format!("{} {what}", self.pod)).collect()
    }

    /// It serves as before: nothing stands in the way of the next one.
    fn settled(&self) -> Option<Instant> {
        self.leads.or(self.free).or(self.back).max(self.ready)
    }

    fn hear_store(&mut self, heard: &Heard, begin: Instant) {
        let pod = self.pod.clone();
        let of = |word: &Word| word.stores.get(&pod).cloned();
        let evicted = |word: &Word| of(word).is_some_and(|store| word.evicting.contains(&store.id));
        let before = heard.iter().rev().find(|(at, _)| *at <= self.deleted);
        let Some(old) = before.and_then(|(_, word)| of(word)) else { return };
        // The last time before the deletion at which it was asked.
        let calm = heard.iter().rev().find(|(at, w)| *at <= self.deleted && !evicted(w));
        let since = calm.map_or(begin, |(at, _)| *at);
        let limits = (self.deleted, self.made);
        self.asked = first_by(heard, since, limits, evicted);
        let empty = |word: &Word| of(word).is_some_and(|store| store.leaders == 0);
        self.empty = self.asked.and_then(|asked| first_by(heard, asked, limits, empty));
        let returned = |store: &Store| store.state == "Up" && store.started > old.started;
        self.back = first(heard, self.made, |word| of(word).is_some_and(|s| returned(&s)));
        self.free = self.back.and_then(|back| first(heard, back, |word| !evicted(word)));
        self.leads = self.free.and_then(|free| first(heard, free, |w| leads_again(w, &pod)));
    }
}

/// The last moment before `by` at which PD's word became that all is well.
fn calm_since(heard: &Heard, by: Instant) -> Option<Instant> {
    let before: Vec<_> = heard.iter().filter(|(at, _)| *at <= by).collect();
    let restless = before.iter().rposition(|(_, word)| !is_calm(word));
    let first_calm = restless.map_or(0, |index| index + 1);
    before.get(first_calm).map(|(at, _)| *at)
}

fn is_calm(word: &Word) -> bool {
    word.healthy == word.members && word.stores.values().all(|store| store.state == "Up")
}

/// Two thirds of what each would lead if all had the same.
fn leads_again(word: &Word, pod: &str) -> bool {
    let all: u64 = word.stores.values().map(|store| store.leaders).sum();
    let share = all / u64::try_from(word.stores.len().max(1)).unwrap_or(1);
    word.stores.get(pod).is_some_and(|store| (store.leaders + 1) * 3 >= share * 2)
}

fn first(heard: &Heard, since: Instant, test: impl Fn(&Word) -> bool) -> Option<Instant> {
    // What was said last before it still holds at that moment.
    let held = heard.iter().rev().find(|(at, _)| *at <= since);
    if held.is_some_and(|(_, word)| test(word)) {
        return Some(since);
    }
    heard.iter().find(|(at, word)| *at > since && test(word)).map(|(at, _)| *at)
}

/// As [`first`], of what began before `by`. Where it was heard only afterwards, before `end`: when it was
/// last heard that it had not begun, so that nothing is counted for shorter than it was.
fn first_by(
    heard: &Heard,
    since: Instant,
    (by, end): (Instant, Instant),
    test: impl Fn(&Word) -> bool,
) -> Option<Instant> {
    let at = first(heard, since, &test).filter(|at| *at <= end)?;
    if at <= by {
        return Some(at);
    }
    let not_yet = heard.iter().rev().find(|(at, word)| *at <= by && !test(word));
    Some(not_yet.map_or(since, |(at, _)| (*at).max(since)))
}

/// When a condition of this pod was first seen to be true.
fn condition_at(seen: &[Seen], pod: &Value, kind: &str) -> Option<Instant> {
    let uid = text(pod, "/metadata/uid");
    let holds =
        |object: &Value| condition(object, kind).and_then(|c| text(c, "/status")) == Some("True");
    let events = seen.iter().filter(|event| text(&event.object, "/metadata/uid") == uid);
    events.into_iter().find(|event| holds(&event.object)).map(|event| event.at)
}

fn gap(from: Option<Instant>, to: Option<Instant>) -> Duration {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from),
        _ => Duration::ZERO,
    }
}

impl fmt::Display for Restarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "      seconds           at  asked  empty  deleted  gone  made  back  free  probed  gate  leads  \
             ready  operator"
        )?;
        for (index, row) in self.rows.iter().enumerate() {
            let begun = row.asked.unwrap_or(row.deleted);
            let at = |moment: Option<Instant>| {
                moment.map_or("-".to_owned(), |moment| {
                    format!("{:.1}", moment.saturating_duration_since(begun).as_secs_f64())
                })
            };
            writeln!(
                f,
                "      {:<14} {:5.1}  {:>5}  {:>5}  {:>7}  {:>4}  {:>4}  {:>4}  {:>4}  {:>6}  {:>4}  {:>5}  {:>5}  {:>8.2}",
                row.pod,
                begun.saturating_duration_since(self.begin).as_secs_f64(),
                at(row.asked),
                at(row.empty),
                at(Some(row.deleted)),
                at(Some(row.gone)),
                at(Some(row.made)),
                at(row.back),
                at(row.free),
                at(row.probed),
                at(row.gate),
                at(row.leads),
                at(row.ready),
                self.share(index).as_secs_f64(),
            )?;
        }
        write!(
            f,
            "      the operator's share per restarted pod: at most {:.2} s",
            self.longest_share().as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begin: Instant, millis: u64) -> Instant {
        begin + Duration::from_millis(millis)
    }

    /// Takes a moment away.
    type Forget = fn(&mut Restart);

    /// A store's restart in which the operator takes 1.5 s, or a PD member's with 0.5 s.
    fn row(begin: Instant, tikv: bool) -> Restart {
        let moment = |millis| Some(at(begin, millis));
        let of_store = |millis| moment(millis).filter(|_| tikv);
        Restart {
            pod: if tikv { "c-tikv-0" } else { "c-pd-0" }.to_owned(),
            tikv,
            asked: of_store(0),
            empty: of_store(1000),
            deleted: at(begin, 1500),
            gone: at(begin, 2000),
            made: at(begin, 2500),
            back: moment(4000),
            free: of_store(4500),
            probed: moment(4000),
            gate: of_store(4400),
            ready: moment(5000),
            leads: None,
            calm: None,
        }
    }

    fn of(row: Restart, begin: Instant) -> Restarts {
        Restarts { begin, rows: vec![row] }
    }

    #[test]
    fn a_share_is_known_only_where_every_moment_was_seen() {
        let begin = Instant::now();
        let of_store = of(row(begin, true), begin);
        assert_eq!(of_store.longest_share(), Duration::from_millis(1500));
        assert_eq!(of_store.unseen(), [""; 0]);
        let of_pd = of(row(begin, false), at(begin, 1500));
        assert_eq!(of_pd.longest_share(), Duration::from_millis(500));
        let forget: [(Forget, &str, bool); 7] = [
            (|row| row.probed = None, "containers ready", false),
            (|row| row.back = None, "back by PD's word", false),
            (|row| row.ready = None, "Ready", false),
            (|row| row.asked = None, "asked to lead nothing", true),
            (|row| row.empty = None, "without leaders", true),
            (|row| row.free = None, "free to lead again", true),
            (|row| row.gate = None, "its gate open", true),
        ];
        for (forget, words, only_stores) in forget {
            for tikv in [true, false] {
                let mut row = row(begin, tikv);
                forget(&mut row);
                let said = format!("{} {words}", row.pod);
                let wanted = tikv || !only_stores;
                assert_eq!(of(row, begin).unseen().contains(&said), wanted, "{said}");
            }
        }
    }

    #[test]
    fn what_was_heard_late_is_counted_from_when_it_was_last_not_so() {
        let begin = Instant::now();
        let word = |evicting: &[u64]| Word {
            evicting: evicting.iter().copied().collect(),
            ..Word::default()
        };
        let heard = vec![
            (at(begin, 0), word(&[])),
            (at(begin, 900), word(&[])),
            (at(begin, 1700), word(&[1])),
        ];
        let asked = |by, end| {
            let limits = (at(begin, by), at(begin, end));
            first_by(&heard, begin, limits, |word| word.evicting.contains(&1))
        };
        assert_eq!(asked(1800, 2500), Some(at(begin, 1700)));
        assert_eq!(asked(1500, 2500), Some(at(begin, 900)), "heard after the deletion");
        assert_eq!(asked(1500, 1600), None, "of another restart");
    }
}
