//! How does TiKV spell sizes and durations? `64MiB`, `2s250ms`: the largest unit that fits without a
//! fraction, and every unit from days to microseconds in turn.

use std::time::Duration;

const SIZES: [(&str, u64); 5] =
    [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DURATIONS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads `64MB`, `64MiB`, `1.5G`, `100B` or a bare number of bytes. Decimal and binary unit names
/// mean the same, as in TiKV.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit.trim() {
        "" | "B" => 1,
        "K" | "KB" | "KiB" => 1 << 10,
        "M" | "MB" | "MiB" => 1 << 20,
        "G" | "GB" | "GiB" => 1 << 30,
        "T" | "TB" | "TiB" => 1 << 40,
        "P" | "PB" | "PiB" => 1u64 << 50,
        _other => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let whole: f64 = number.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    // A configured size is far below 2^53 bytes, and digits carry no sign.
    Some((whole * factor as f64) as u64)
}

/// Spells a size as TiKV does.
pub fn size_text(bytes: u64) -> String {
    if bytes == 0 {
        return "0KiB".to_owned();
    }
    let unit = SIZES.iter().find(|(_, factor)| bytes.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{bytes}B"), |(name, factor)| format!("{}{name}", bytes / factor))
}

/// Reads `10s`, `1m30s`, `2s250ms`, `20us`; nothing for text without a unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut micros = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(letters)?;
        let (_, factor) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
        #[allow(clippy::cast_precision_loss)]
        // The factors are below 2^53.
        let factor = *factor as f64;
        micros += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    Duration::try_from_secs_f64(micros / 1e6).ok()
}

/// Spells a duration as TiKV does.
pub fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, factor) in DURATIONS {
        if rest >= factor {
            text += &(rest / factor).to_string();
            text += name;
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_come_back_as_tikv_spells_them() {
        for (text, spelled) in
            [("64MB", "64MiB"), ("1.5G", "1536MiB"), ("0", "0KiB"), ("3159563776B", "3159563776B")]
        {
            assert_eq!(size_text(parse_size(text).unwrap()), spelled);
        }
        for (text, spelled) in [("90s", "1m30s"), ("2250ms", "2s250ms"), ("0s", "0s"), ("7d", "7d")]
        {
            assert_eq!(duration_text(parse_duration(text).unwrap()), spelled);
        }
        assert_eq!(
            (parse_size("abc"), parse_duration("abc"), parse_duration("10")),
            (None, None, None)
        );
    }
}
