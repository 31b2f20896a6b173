//! Which settings are in force, and what does PD make of a change?

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use super::store_answers::NOT_BOOTSTRAPPED;
use crate::beliefs;
use crate::kube::{at, set, text};

/// The recorded answer of a PD v8.5.7 without a configuration file ([`beliefs::PD_DEFAULTS`]).
const RECORDED: &str = include_str!("../../../../fixtures/pd-recordings/config.txt");

/// The sections that the model keeps. All but `log` are persisted.
const SECTIONS: [&str; 5] = ["schedule", "replication", "pd-server", "replication-mode", "log"];

/// PD's settings, nested as `/config` shows them.
#[derive(Clone, Debug)]
pub struct Settings {
    config: Arc<Value>,
    /// They were persisted: configuration files count no more ([`beliefs::SETTINGS_PERSIST`]).
    persisted: bool,
}

impl Default for Settings {
    fn default() -> Self {
        static DEFAULTS: OnceLock<Arc<Value>> = OnceLock::new();
        let config = DEFAULTS.get_or_init(|| {
            let body = RECORDED.split_once("\n\n").map_or("", |(_, body)| body);
            let whole: Value = serde_json::from_str(body).unwrap_or_default();
            let of = |section: &&str| {
                ((*section).to_owned(), at(&whole, &format!("/{section}")).clone())
            };
            let mut config = Value::Object(SECTIONS.iter().map(of).collect());
            set(&mut config, &["replication", "max-replicas"], json!(beliefs::MAX_REPLICAS.value));
            Arc::new(config)
        });
        Self { config: Arc::clone(config), persisted: false }
    }
}

impl Settings {
    /// Settings of the first configuration file; later files change nothing. What PD does not know
    /// it warns of and leaves out.
    pub fn first(&mut self, file: &Value) {
        if self.persisted {
            return;
        }
        self.persisted = true;
        for section in SECTIONS {
            for (name, value) in at(file, &format!("/{section}")).as_object().into_iter().flatten()
            {
                let _ = self.put(&format!("{section}.{name}"), value);
            }
        }
    }

    /// `POST /config`: items one by one, up to the first that is refused. Before there is a region
    /// nothing can be said about its replicas ([`beliefs::REPLICAS_NEED_A_CLUSTER`]).
    pub fn post(&mut self, items: &Map<String, Value>, bootstrapped: bool) -> Result<(), String> {
        for (item, value) in items {
            let before = Arc::clone(&self.config);
            self.check_type(item, value)?;
            self.put(item, value)?;
            let of = |config: &Value| at(config, "/replication").clone();
            let checked = check(&self.config).and_then(|()| {
                let early = !bootstrapped && of(&before) != of(&self.config);
                if early { Err(NOT_BOOTSTRAPPED.to_owned()) } else { Ok(()) }
            });
            if let Err(words) = checked {
                self.config = before;
                return Err(words);
            }
        }
        Ok(())
    }

    /// Truths and lists have to be texts in a call: a file has them as what they are.
    fn check_type(&self, item: &str, value: &Value) -> Result<(), String> {
        let (section, name) = self.find(item)?;
        match (at(&self.config, &format!("/{section}/{name}")), value) {
            (Value::String(_), Value::Bool(_)) => Err(format!("json: unquoted value for {item}")),
            (Value::String(old), Value::Array(_)) if !is_truth(old) && duration(old).is_none() => {
                Err("invalid syntax".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn put(&mut self, item: &str, value: &Value) -> Result<(), String> {
        let (section, name) = self.find(item)?;
        let pointer = format!("/{section}/{name}");
        let old = at(&self.config, &pointer);
        let value = shaped(old, value).ok_or_else(|| match (old, value) {
            (Value::String(old), Value::String(new)) if duration(old).is_some() => {
                format!("time: invalid duration {new:?}")
            }
            _ => format!("json: cannot unmarshal {value} into {item}"),
        })?;
        set(Arc::make_mut(&mut self.config), &[&section, &name], value);
        Ok(())
    }

    /// A full key, or a leaf that only one section has.
    fn find(&self, item: &str) -> Result<(String, String), String> {
        let unknown = |name: &str| format!("config item {name} not found");
        let known =
            |section: &str, name: &str| !at(&self.config, &format!("/{section}/{name}")).is_null();
        if let Some((section, name)) = item.split_once('.') {
            if !SECTIONS.contains(&section) {
                return Err(format!("config prefix {section} not found"));
            }
            let found = known(section, name).then(|| (section.to_owned(), name.to_owned()));
            return found.ok_or_else(|| unknown(name));
        }
        let mut sections = SECTIONS.iter().filter(|section| known(section, item));
        let section = sections.next().ok_or_else(|| unknown(item))?;
        Ok(((*section).to_owned(), item.to_owned()))
    }

    /// As `/config` shows them.
    pub fn shown(&self) -> &Arc<Value> {
        &self.config
    }

    /// `replication.max-replicas`.
    pub fn max_replicas(&self) -> u32 {
        let most = at(&self.config, "/replication/max-replicas").as_u64();
        most.and_then(|most| u32::try_from(most).ok()).unwrap_or(beliefs::MAX_REPLICAS.value)
    }

    /// `replication.location-labels`.
    pub fn location_labels(&self) -> Vec<String> {
        let labels = text(&self.config, "/replication/location-labels").split(',');
        labels.filter(|label| !label.is_empty()).map(str::to_owned).collect()
    }

    /// `replication.isolation-level`; empty for none.
    pub fn isolation_level(&self) -> &str {
        text(&self.config, "/replication/isolation-level")
    }

    /// `schedule.max-store-down-time`, in milliseconds.
    pub fn max_down(&self) -> u64 {
        let down = text(&self.config, "/schedule/max-store-down-time");
        duration(down).unwrap_or(beliefs::MAX_DOWN.value)
    }
}

/// What is said of an id that is none.
pub(super) fn not_a_number(text: &str) -> String {
    format!("strconv.ParseUint: parsing {text:?}: invalid syntax")
}

/// What PD checks settings against each other for ([`beliefs::PD_CHECKS_SETTINGS`]).
fn check(config: &Value) -> Result<(), String> {
    let ratio = |name: &str| at(config, &format!("/schedule/{name}")).as_f64();
    for name in ["low-space-ratio", "high-space-ratio"] {
        if ratio(name).is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return Err(format!("{name} should between 0 and 1"));
        }
    }
    if ratio("low-space-ratio") <= ratio("high-space-ratio") {
        return Err("low-space-ratio should be larger than high-space-ratio".to_owned());
    }
    let level = text(config, "/replication/isolation-level");
    let mut labels = text(config, "/replication/location-labels").split(',');
    if !level.is_empty() && !labels.any(|label| label == level) {
        return Err("isolation-level must be one of location-labels or empty".to_owned());
    }
    Ok(())
}

/// The value as PD shows it afterwards: booleans as words, lists as one comma string, durations as
/// Go writes them ([`beliefs::PD_DEFAULTS`]). `None` where PD refuses it.
fn shaped(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::String(_), Value::Array(items)) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Some(json!(words?.join(",")))
        }
        (Value::String(_), Value::Bool(flag)) => Some(json!(flag.to_string())),
        (Value::String(old), Value::String(new)) if is_truth(old) => {
            is_truth(new).then(|| json!(new))
        }
        (Value::String(old), Value::String(new)) => match (duration(old), duration(new)) {
            (Some(_), Some(millis)) => Some(json!(go_duration(millis))),
            (Some(_), None) => None,
            (None, _) => Some(json!(new)),
        },
        (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Null | Value::Object(_) | Value::Array(_), _) => Some(new.clone()),
        (Value::String(_) | Value::Number(_) | Value::Bool(_), _) => None,
    }
}

fn is_truth(text: &str) -> bool {
    text == "true" || text == "false"
}

/// A Go duration, in milliseconds.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut millis = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis += number.parse::<u64>().ok()?.checked_mul(factor)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(millis)
}

/// Whole milliseconds as Go prints a duration.
fn go_duration(millis: u64) -> String {
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    match (hours, minutes, millis % 1000) {
        (_, _, part) if part > 0 => format!("{millis}ms"),
        (0, 0, _) => format!("{seconds}s"),
        (0, _, _) => format!("{minutes}m{seconds}s"),
        (_, _, _) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(settings: &mut Settings, item: &str, value: Value) -> Result<(), String> {
        settings.post(&Map::from_iter([(item.to_owned(), value)]), true)
    }

    #[test]
    fn values_are_shown_as_pd_shows_them() {
        let mut settings = Settings::default();
        post(&mut settings, "schedule.max-store-down-time", json!("20m")).unwrap();
        post(&mut settings, "replication.location-labels", json!("zone,host")).unwrap();
        post(&mut settings, "enable-debug-metrics", json!("true")).unwrap();
        assert!(post(&mut settings, "replication.location-labels", json!(["zone"])).is_err());
        assert!(post(&mut settings, "enable-debug-metrics", json!(false)).is_err());
        let shown = settings.shown();
        assert_eq!(text(shown, "/schedule/max-store-down-time"), "20m0s");
        assert_eq!(text(shown, "/replication/location-labels"), "zone,host");
        assert_eq!(text(shown, "/schedule/enable-debug-metrics"), "true");
        assert_eq!(settings.max_down(), 1_200_000);
        assert!(post(&mut settings, "no-such-item", json!(1)).unwrap_err().contains("not found"));
        assert!(post(&mut settings, "max-replicas", json!("x")).is_err());
    }

    #[test]
    fn a_section_is_checked_as_a_whole_and_a_file_when_all_of_it_is_read() {
        let mut settings = Settings::default();
        let (high, low) = ("schedule.high-space-ratio", "schedule.low-space-ratio");
        let words = post(&mut settings, high, json!(0.85)).unwrap_err();
        assert!(words.contains("larger than high-space-ratio"), "{words}");
        assert_eq!(at(settings.shown(), "/schedule/high-space-ratio"), &json!(0.7));
        post(&mut settings, low, json!(0.9)).unwrap();
        post(&mut settings, high, json!(0.85)).unwrap();
        assert!(post(&mut settings, low, json!(9)).unwrap_err().contains("between 0 and 1"));
        let level = "replication.isolation-level";
        assert!(post(&mut settings, level, json!("zone")).is_err());
        post(&mut settings, "replication.location-labels", json!("zone")).unwrap();
        post(&mut settings, level, json!("zone")).unwrap();
        let mut settings = Settings::default();
        settings.first(&json!({"schedule": {"high-space-ratio": 0.85, "low-space-ratio": 0.9}}));
        assert_eq!(at(settings.shown(), "/schedule/high-space-ratio"), &json!(0.85));
    }

    #[test]
    fn a_second_file_changes_nothing() {
        let mut settings = Settings::default();
        settings.first(&json!({
            "replication": {"max-replicas": 5, "location-labels": ["zone", "host"]},
            "schedule": {"enable-debug-metrics": true},
        }));
        assert_eq!(text(settings.shown(), "/replication/location-labels"), "zone,host");
        assert_eq!(text(settings.shown(), "/schedule/enable-debug-metrics"), "true");
        settings.first(&json!({"replication": {"max-replicas": 1}}));
        assert_eq!(settings.max_replicas(), 5);
    }
}
