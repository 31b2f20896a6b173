//! When is a task due by its schedule?

use cronexpr::{Crontab, MakeTimestamp};
use jiff::{SignedDuration, Timestamp};

/// Times that are counted one by one when many were missed.
const COUNTED: i64 = 1_000;

/// Times in cron's five fields, in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    crontab: Crontab,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The time zone, with a sentence.
    Zone(String),
    /// The fields, with a sentence.
    Fields(String),
}

/// Times that have come since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The last of them.
    pub(super) last: Timestamp,
    /// How many came before it.
    pub(super) missed: i64,
}

impl Schedule {
    /// The five fields and the time zone.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Reads the five fields. `now` says from when on there must be a time.
    pub(super) fn parse(fields: &str, zone: &str, now: Timestamp) -> Result<Self, Unusable> {
        if jiff::tz::TimeZone::get(zone).is_err() {
            return Err(Unusable::Zone(format!(
                "{zone} is no time zone that this program knows. Use an IANA name such as \
                 Europe/Berlin, or UTC."
            )));
        }
        let count = fields.split_whitespace().count();
        if count != 5 {
            return Err(Unusable::Fields(format!(
                "Has {count} fields; a schedule has five: minute, hour, day of the month, month, day \
                 of the week. Write it as \"30 3 * * *\"."
            )));
        }
        let text = format!("{fields} {zone}");
        let crontab = cronexpr::parse_crontab(&text).map_err(|error| {
            let words = error.to_string();
            let words = words.lines().next().unwrap_or_default().trim_end_matches([':', '.']);
            Unusable::Fields(format!("Cannot be read: {words}. Correct it."))
        })?;
        let schedule = Self { text, crontab };
        if schedule.next(now).is_none() {
            return Err(Unusable::Fields("Would never be due. Correct it.".to_owned()));
        }
        Ok(schedule)
    }

    /// The first time after this one.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.crontab.find_next(MakeTimestamp(after)).ok().map(|zoned| zoned.timestamp())
    }

    /// The last time up to `now`, where there is one within a year: looked for in spans of which each
    /// holds few times, if the one before held none.
    fn last(&self, now: Timestamp) -> Option<Timestamp> {
        const HOURS: [i64; 4] = [1, 24, 31 * 24, 366 * 24];
        let begins = HOURS
            .iter()
            .filter_map(|hours| now.checked_sub(SignedDuration::from_hours(*hours)).ok());
        let mut first = begins.filter_map(|begin| self.next(begin)).find(|at| *at <= now)?;
        while let Some(next) = self.next(first).filter(|at| *at <= now) {
            first = next;
        }
        Some(first)
    }

    /// What has come after `passed`, up to `now`.
    pub(super) fn due(&self, passed: Timestamp, now: Timestamp) -> Option<Due> {
        let mut last = self.next(passed).filter(|at| *at <= now)?;
        let mut missed = 0;
        while let Some(next) = self.next(last).filter(|at| *at <= now) {
            missed += 1;
            if missed >= COUNTED {
                return Some(Due { last: self.last(now).unwrap_or(last), missed });
            }
            last = next;
        }
        Some(Due { last, missed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    fn schedule(fields: &str, zone: &str) -> Schedule {
        Schedule::parse(fields, zone, at("2026-01-01T00:00:00Z")).expect("a schedule")
    }

    #[test]
    fn a_time_is_of_its_zone() {
        let daily = schedule("30 3 * * *", "Europe/Berlin");
        assert_eq!(daily.next(at("2026-01-10T00:00:00Z")), Some(at("2026-01-10T02:30:00Z")));
        assert_eq!(daily.next(at("2026-07-10T00:00:00Z")), Some(at("2026-07-10T01:30:00Z")));
    }

    /// 2026-03-29 02:30 does not exist in Berlin, and 2026-10-25 02:30 exists twice: each day is
    /// still due once at least.
    #[test]
    fn a_day_on_which_clocks_change_is_due() {
        let daily = schedule("30 2 * * *", "Europe/Berlin");
        let spring = daily.due(at("2026-03-28T12:00:00Z"), at("2026-03-30T12:00:00Z"));
        assert!(spring.is_some_and(|due| due.last == at("2026-03-30T00:30:00Z")), "{spring:?}");
        let autumn = daily.due(at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z"));
        assert!(autumn.is_some(), "{autumn:?}");
    }

    #[test]
    fn missed_times_are_one_run() {
        let hourly = schedule("0 * * * *", "UTC");
        let due = hourly.due(at("2026-01-10T00:00:00Z"), at("2026-01-10T05:30:00Z"));
        assert_eq!(due, Some(Due { last: at("2026-01-10T05:00:00Z"), missed: 4 }));
        assert_eq!(hourly.due(at("2026-01-10T05:00:00Z"), at("2026-01-10T05:59:59Z")), None);
        let minutely = schedule("* * * * *", "UTC");
        let year = minutely.due(at("2026-01-10T00:00:00Z"), at("2027-01-10T00:00:30Z"));
        let all = Due { last: at("2027-01-10T00:00:00Z"), missed: COUNTED };
        assert_eq!(year, Some(all), "not counted for ever");
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let parse = |fields: &str, zone: &str| {
            Schedule::parse(fields, zone, at("2026-01-01T00:00:00Z")).expect_err("unusable")
        };
        assert!(matches!(parse("0 3 * * *", "Mars/Base"), Unusable::Zone(_)));
        for fields in ["0 3 * *", "0 3 * * * *", "0 25 * * *", "a b c d e", "0 0 31 2 *"] {
            let Unusable::Fields(sentence) = parse(fields, "UTC") else { panic!("{fields}") };
            assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{fields}: {sentence}");
        }
    }
}
