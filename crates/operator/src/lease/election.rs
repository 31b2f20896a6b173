//! Who may act? The decision, without calls.
//!
//! Two clocks are never compared. A follower measures how long *it* has seen the same record; the
//! holder counts from the moment *before* it sent its renewal. Since a record is seen only after
//! it was sent, the holder always stops believing in its lease before a follower takes it.

use std::time::Duration;

use tokio::time::Instant;

/// How long things take in the election.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a lease is valid after its renewal was sent.
    pub duration: Duration,
    /// The holder gives up when no renewal succeeded for this long.
    pub deadline: Duration,
    /// Time between renewals; followers look twice as often.
    pub retry: Duration,
}

/// The lease as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` when it was released.
    pub holder: Option<String>,
    /// How long the holder claims it after each renewal.
    pub duration: Duration,
    /// Changes with every write.
    pub version: String,
}

/// What to do next about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// There is none: make it.
    Create,
    /// It is ours: renew it.
    Renew,
    /// It is free, or its holder let it expire: take it.
    Take,
    /// Somebody else's; look again then.
    Follow(Instant),
}

/// One candidate's memory.
#[derive(Debug)]
pub struct Election {
    identity: String,
    terms: Terms,
    /// The record as last seen, and since when it has been this one.
    seen: Option<(Record, Instant)>,
    /// When the last renewal that succeeded was sent.
    renewed: Option<Instant>,
}

impl Election {
    /// A candidate that has seen nothing yet.
    pub fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, seen: None, renewed: None }
    }

    /// Decides on the record that was just read.
    pub fn decide(&mut self, record: Option<Record>, now: Instant) -> Intent {
        let Some(record) = record else {
            self.seen = None;
            return Intent::Create;
        };
        let since = match &self.seen {
            Some((before, since)) if *before == record => *since,
            Some(_) | None => now,
        };
        let (holder, expires) = (record.holder.clone(), since + record.duration);
        self.seen = Some((record, since));
        match holder {
            None => Intent::Take,
            Some(holder) if holder == self.identity => Intent::Renew,
            Some(_) if now >= expires => Intent::Take,
            Some(_) => Intent::Follow(expires.min(now + self.terms.retry / 2)),
        }
    }

    /// A write of ours, sent at `sent`, succeeded. Returns until when the lease may be relied on.
    pub fn renewed(&mut self, sent: Instant) -> Instant {
        self.renewed = Some(sent);
        sent + self.terms.duration
    }

    /// Somebody else holds the lease now.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// Has no renewal succeeded for longer than the deadline?
    pub fn overdue(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|sent| now.duration_since(sent) >= self.terms.deadline)
    }

    /// The candidate's name.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The terms given at creation.
    pub fn terms(&self) -> Terms {
        self.terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        duration: Duration::from_secs(15),
        deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn record(holder: Option<&str>, version: &str) -> Record {
        Record {
            holder: holder.map(str::to_owned),
            duration: TERMS.duration,
            version: version.to_owned(),
        }
    }

    fn candidate() -> (Election, Instant) {
        (Election::new("me".to_owned(), TERMS), Instant::now())
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_free_lease_is_taken_and_an_own_one_renewed() {
        let (mut me, now) = candidate();
        assert_eq!(me.decide(None, now), Intent::Create);
        assert_eq!(me.decide(Some(record(None, "1")), now), Intent::Take);
        assert_eq!(me.decide(Some(record(Some("me"), "2")), now), Intent::Renew);
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_was_seen_unchanged_for_its_whole_time() {
        let (mut me, now) = candidate();
        assert_eq!(
            me.decide(Some(record(Some("you"), "1")), now),
            Intent::Follow(now + seconds(1))
        );
        let later = now + seconds(14);
        assert_eq!(
            me.decide(Some(record(Some("you"), "1")), later),
            Intent::Follow(now + seconds(15))
        );
        assert_eq!(me.decide(Some(record(Some("you"), "1")), now + seconds(15)), Intent::Take);
    }

    #[test]
    fn every_renewal_starts_the_time_anew() {
        let (mut me, now) = candidate();
        me.decide(Some(record(Some("you"), "1")), now);
        me.decide(Some(record(Some("you"), "2")), now + seconds(14));
        let intent = me.decide(Some(record(Some("you"), "2")), now + seconds(28));
        assert_eq!(intent, Intent::Follow(now + seconds(29)));
    }

    #[test]
    fn the_holder_stops_before_a_follower_takes_over() {
        let (mut holder, now) = candidate();
        let mut follower = Election::new("you".to_owned(), TERMS);
        let until = holder.renewed(now);
        // The follower cannot see the record earlier than it was sent.
        follower.decide(Some(record(Some("me"), "1")), now);
        assert!(
            follower.decide(Some(record(Some("me"), "1")), until - Duration::from_millis(1))
                != Intent::Take
        );
    }

    #[test]
    fn without_renewals_the_holder_gives_up_after_the_deadline() {
        let (mut me, now) = candidate();
        assert!(!me.overdue(now + seconds(100)));
        me.renewed(now);
        assert!(!me.overdue(now + seconds(9)));
        assert!(me.overdue(now + seconds(10)));
        me.lost();
        assert!(!me.overdue(now + seconds(100)));
    }
}
