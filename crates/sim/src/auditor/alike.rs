//! What of what the auditor has seen decides what it will say?

use super::{Auditor, Seen};
use crate::kube::name_of;
use crate::search::Likeness;
use crate::universe::Universe;

impl Auditor {
    /// All of it, but for what it has said.
    pub(crate) fn tell(&self, universe: &Universe, to: &mut Likeness) {
        let Self {
            findings,
            seen,
            uids,
            forgiven,
            disrupted,
            evicted_since,
            users_evictions,
            users_tombstones,
            users_removals,
            users_settings,
            silent_since,
            // Taken anew before every pass.
            leaders: _,
            transferred,
            formats,
            made_of,
            // See `tell_patience`.
            retired_at: _,
            edited: _,
            closed_since: _,
            back: _,
            refused,
            idle_writes,
            // Of interest where there are tasks or mistakes, which no situation has.
            announced: _,
            asked: _,
            runs: _,
            joins,
            noted: _,
            now: _,
        } = self;
        to.same((findings.len(), forgiven.len(), formats));
        for (name, uid) in uids {
            to.text(name);
            to.text(uid);
            if let Some(Seen { recorded, minted, lets_go }) = seen.get(uid) {
                to.text(recorded.as_deref().unwrap_or_default());
                to.same((minted.len(), lets_go));
            }
        }
        to.each(disrupted, |to, gone| gone.tell(to));
        for ((ensemble, store), since) in evicted_since {
            to.same((ensemble, store));
            to.time(*since);
        }
        to.same((users_evictions, users_tombstones, users_removals, users_settings.len()));
        for ((ensemble, id), since) in silent_since {
            to.same(ensemble);
            to.id(*id);
            to.time(*since);
        }
        for (cluster, at) in transferred {
            to.same(cluster);
            to.time(*at);
        }
        for pod in universe.kube.list("Pod") {
            to.same((name_of(pod), made_of.get(pod.uid())));
        }
        tell_times(refused.iter().chain(idle_writes), to);
        joins.tell(to);
        self.tell_patience(to);
    }

    /// What decides whether it was waited for long enough.
    fn tell_patience(&self, to: &mut Likeness) {
        for (uid, at) in &self.retired_at {
            to.text(uid);
            to.time(*at);
        }
        for (uid, (generation, since)) in &self.edited {
            to.text(uid);
            // Only which of two came first decides.
            to.same((generation, self.closed_since.is_some_and(|closed| closed <= *since)));
        }
        to.same(self.closed_since.is_some());
        for ((ensemble, id), since) in &self.back {
            to.same(ensemble);
            to.id(*id);
            to.time(*since);
        }
    }
}

/// When something was done often, as far as that may still be of interest.
fn tell_times<'a>(all: impl Iterator<Item = (&'a String, &'a Vec<u64>)>, to: &mut Likeness) {
    for (what, times) in all {
        let times: Vec<u64> = times.iter().copied().filter(|at| to.is_young(*at)).collect();
        to.text(if times.is_empty() { "" } else { what });
        to.each(&times, |to, at| to.time(*at));
    }
}
