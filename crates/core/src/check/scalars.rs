//! How are quantities and durations read?

use std::time::Duration;

use crate::cluster::Quantity;

/// Reads a quantity in Kubernetes' notation. Values finer than a thousandth are rounded up, as
/// Kubernetes does; `None` where the text is not a quantity, is negative or is too large.
pub(super) fn quantity(text: &str) -> Option<Quantity> {
    let body = text.strip_prefix('+').unwrap_or(text);
    let digits = body.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, suffix) = body.split_at_checked(digits)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let (multiplier, exponent) = scale(suffix)?;
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    // In thousandths: mantissa * multiplier * 10^(exponent - places + 3).
    let value = mantissa.checked_mul(multiplier)?;
    let power = exponent.checked_sub(places)?.checked_add(3)?;
    let ten = 10_i128.checked_pow(power.unsigned_abs().min(39));
    let milli = match (power >= 0, ten) {
        (true, Some(ten)) => value.checked_mul(ten)?,
        (false, Some(ten)) => value / ten + i128::from(value % ten > 0),
        (true, None) if value > 0 => return None,
        (true, None) => 0,
        (false, None) => i128::from(value > 0),
    };
    Some(Quantity::new(text.to_owned(), milli))
}

/// Multiplier and decimal exponent of a suffix.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let decimal = |exponent| Some((1, exponent));
    let binary = |bits: u32| Some((1_i128 << bits, 0));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        other => {
            let exponent = other.strip_prefix(['e', 'E'])?;
            decimal(exponent.parse().ok().filter(|e: &i32| e.abs() <= 18)?)
        }
    }
}

/// Reads a duration such as `90s`, `1h30m` or `1.5h`; `None` where the text is not one.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at_checked(letters)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_kubernetes_quantities() {
        let milli = |text: &str| quantity(text).map(|q| q.milli());
        assert_eq!(milli("1"), Some(1000));
        assert_eq!(milli("500m"), Some(500));
        assert_eq!(milli("1.5Gi"), Some(3 << 29).map(|b: i128| b * 1000));
        assert_eq!(milli("1.5"), Some(1500));
        assert_eq!(milli(".5"), Some(500));
        assert_eq!(milli("5."), Some(5000));
        assert_eq!(milli("1e3"), Some(1_000_000));
        assert_eq!(milli("1E"), Some(1_000_000_000_000_000_000_000));
        assert_eq!(milli("1n"), Some(1));
        assert_eq!(milli("0"), Some(0));
        for bad in ["", "Gi", "-1", "1 Gi", "1GB", "1gi", "1..5", "1.2.3", "e3", "1e", "1e99", "٣"]
        {
            assert_eq!(milli(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("10m"), Some(Duration::from_mins(10)));
        assert_eq!(duration("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!(duration("1.5h"), Some(Duration::from_mins(90)));
        assert_eq!(duration("100ms"), Some(Duration::from_millis(100)));
        for bad in ["", "10", "m", "-1m", "1d", "10 m", "1m2", "1..5s", "99999999999999999999999h"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
