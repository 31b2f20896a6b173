//! How do times and sizes look in PD's answers? Like Go prints them: RFC 3339 with as many
//! fractional digits as needed, durations as `1h0m0s`, sizes as `44.81MiB`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch, now.
pub fn now_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// `2026-11-22T21:57:04.969792263Z` from nanoseconds since the epoch.
pub fn rfc3339(nanos: i64) -> String {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let clock = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let digits = fraction_digits(fraction);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{digits}Z")
}

/// `.969792263` without trailing zeros; nothing for a whole second.
fn fraction_digits(fraction: i64) -> String {
    if fraction == 0 {
        return String::new();
    }
    format!(".{fraction:09}").trim_end_matches('0').to_owned()
}

/// Year, month and day of a day number since 1970-01-01 (proleptic Gregorian calendar).
fn civil(day_number: i64) -> (i64, i64, i64) {
    let shifted = day_number + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Go's `time.Duration.String`: `1h0m0s`, `1m23.17s`, `10ms`, `0s`.
pub fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.abs();
    let seconds = nanos / 1_000_000_000;
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{sign}{nanos}ns"),
            1_000..1_000_000 => format!("{sign}{}µs", thousandths(nanos)),
            _ => format!("{sign}{}ms", thousandths(nanos / 1_000)),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = format!("{}{}s", seconds % 60, fraction_digits(nanos % 1_000_000_000));
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}"),
        (0, _) => format!("{sign}{minutes}m{rest}"),
        (_, _) => format!("{sign}{hours}h{minutes}m{rest}"),
    }
}

/// `10` or `1.5` from thousandths.
fn thousandths(value: i64) -> String {
    let text = format!("{}.{:03}", value / 1000, value % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Nanoseconds of a Go duration such as `30m`, `1h0m0s` or `1.5s`; `None` when it is not one.
pub fn parse_go_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..unit_at)?.parse().ok()?;
        rest = rest.get(unit_at..)?;
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match rest.get(..unit_end)? {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = rest.get(unit_end..)?;
    }
    #[expect(clippy::cast_possible_truncation, reason = "durations are far below 2^63 ns")]
    (!text.is_empty()).then_some(total.round() as i64)
}

/// `100GiB`, `44.81MiB`, `0B`: four significant digits, binary units.
#[expect(clippy::cast_precision_loss, reason = "four digits are printed")]
pub fn byte_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].into_iter().peekable();
    let mut unit = units.next().unwrap_or("B");
    while value >= 1024.0 && units.peek().is_some() {
        value /= 1024.0;
        unit = units.next().unwrap_or(unit);
    }
    let decimals = match value {
        v if v >= 1000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_like_gos() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_795_384_624_969_792_263), "2026-11-22T21:57:04.969792263Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_385_848_568_699_580), "2026-11-22T22:17:28.56869958Z");
    }

    #[test]
    fn durations_and_sizes_look_like_gos() {
        for text in ["30m0s", "1h0m0s", "10ms", "0s", "1m23.172778619s", "8.969792263s"] {
            assert_eq!(go_duration(parse_go_duration(text).unwrap()), text);
        }
        assert_eq!(parse_go_duration("20m"), Some(1_200_000_000_000));
        assert_eq!(parse_go_duration("soon"), None);
        assert_eq!(parse_go_duration(""), None);
        assert_eq!(byte_size(100 << 30), "100GiB");
        assert_eq!(byte_size(0), "0B");
        assert_eq!(byte_size(46_986_690), "44.81MiB");
    }
}
