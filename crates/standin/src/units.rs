//! How do times, durations and sizes look? PD prints them as Go does: RFC 3339 with as many digits
//! as needed, `1h0m0s`, `44.81MiB`. TiKV prints the largest units that fit: `2s250ms`, `64MiB`.

use std::fmt::Write as _;

/// Nanoseconds of a second.
pub const SECOND: i64 = 1_000_000_000;

const DURATIONS: [(&str, i64); 8] = [
    ("d", 86_400 * SECOND),
    ("h", 3_600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

const SIZES: [(&str, u64); 6] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Nanoseconds since the Unix epoch, now.
pub fn now_nanos() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// `2026-11-22T21:57:04.969792263Z` from nanoseconds since the epoch.
pub fn rfc3339(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(nanos.into()).unwrap_or_default().to_string()
}

/// Nanoseconds of `30m`, `1h0m0s`, `1.5s` or `2s250ms`; `None` when it is no duration.
pub fn parse_duration(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut nanos = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(letters)?;
        let (_, factor) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
        #[expect(clippy::cast_precision_loss, reason = "the factors are below 2^53")]
        let factor = *factor as f64;
        nanos += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    #[expect(clippy::cast_possible_truncation, reason = "durations are far below 2^63 ns")]
    (!text.trim().is_empty()).then_some(nanos.round() as i64)
}

/// Go's `time.Duration.String`: `1h0m0s`, `1m23.17s`, `10ms`, `0s`.
pub fn go_duration(nanos: i64) -> String {
    let decimal = |value: i64, unit: i64| {
        let text = format!("{}.{:09}", value / unit, value % unit * (SECOND / unit));
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..SECOND => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / (60 * SECOND), decimal(nanos % (60 * SECOND), SECOND));
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// Spells a duration as TiKV does.
pub fn tikv_duration(nanos: i64) -> String {
    let (mut rest, mut text) = (nanos, String::new());
    for (name, factor) in DURATIONS.iter().filter(|(name, _)| name.is_ascii()) {
        if rest >= *factor {
            let _ = write!(text, "{}{name}", rest / factor);
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads `64MB`, `64MiB`, `1.5G`, `100B` or a bare number of bytes. Decimal and binary unit names
/// mean the same, as in TiKV.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim().trim_end_matches('B').trim_end_matches('i');
    let bare = |name: &'static str| name.trim_end_matches('B').trim_end_matches('i');
    let (_, factor) = SIZES.iter().find(|(name, _)| bare(name) == unit)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*factor);
    }
    #[expect(clippy::cast_precision_loss, reason = "the factors are powers of two")]
    let bytes = number.parse::<f64>().ok()? * *factor as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "digits have none")]
    Some(bytes as u64)
}

/// Spells a size as TiKV does: in the largest unit that leaves no fraction.
pub fn tikv_size(bytes: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| bytes.is_multiple_of(*factor);
    match SIZES.iter().find(exact).filter(|_| bytes > 0) {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => "0KiB".to_owned(),
    }
}

/// `100GiB`, `44.81MiB`, `0B`: four significant digits, as PD prints sizes.
#[expect(clippy::cast_precision_loss, reason = "four digits are printed")]
pub fn go_size(bytes: u64) -> String {
    let fits = SIZES.iter().find(|(_, factor)| bytes >= *factor);
    let (name, factor) = fits.unwrap_or(&("B", 1));
    let value = bytes as f64 / *factor as f64;
    let decimals = [1000.0, 100.0, 10.0].iter().filter(|limit| value < **limit).count();
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{name}")
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
        for text in
            ["30m0s", "1h0m0s", "10ms", "1.5ms", "20µs", "0s", "1m23.172778619s", "8.969792263s"]
        {
            assert_eq!(go_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("20m"), Some(1_200 * SECOND));
        assert_eq!((parse_duration("soon"), parse_duration("")), (None, None));
        assert_eq!(go_size(100 << 30), "100GiB");
        assert_eq!((go_size(0), go_size(1)), ("0B".into(), "1B".into()));
        assert_eq!(go_size(46_986_690), "44.81MiB");
    }

    #[test]
    fn sizes_and_durations_come_back_as_tikv_spells_them() {
        for (text, spelled) in [
            ("64MB", "64MiB"),
            ("64M", "64MiB"),
            ("2KiB", "2KiB"),
            ("1.5G", "1536MiB"),
            ("0", "0KiB"),
            ("17", "17B"),
            ("3159563776B", "3159563776B"),
        ] {
            assert_eq!(tikv_size(parse_size(text).unwrap()), spelled);
        }
        for (text, spelled) in [("90s", "1m30s"), ("2250ms", "2s250ms"), ("0s", "0s"), ("7d", "7d")]
        {
            assert_eq!(tikv_duration(parse_duration(text).unwrap()), spelled);
        }
        let none =
            (parse_size("abc"), parse_size("1x"), parse_duration("abc"), parse_duration("10"));
        assert_eq!(none, (None, None, None, None));
    }
}
