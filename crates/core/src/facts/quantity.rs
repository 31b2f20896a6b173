//! How many bytes does a Kubernetes quantity name?

/// Bytes of a quantity such as `10Gi`, `1.5G`, `1e9`, rounded up as Kubernetes does; `None` if it
/// is not one, is negative, or exceeds `u64`.
pub fn bytes(quantity: &str) -> Option<u64> {
    let end = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+')
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at_checked(end)?;
    let (multiplier, divisor) = scale(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('+');
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let below = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(divisor)?;
    u64::try_from(digits.checked_mul(multiplier)?.div_ceil(below)).ok()
}

/// Multiplier and divisor of a suffix.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    const SMALL: [&str; 3] = ["m", "u", "n"];
    let power = |list: &[&str], base: u128| {
        let index = list.iter().position(|name| *name == suffix)?;
        base.checked_pow(u32::try_from(index).ok()? + 1)
    };
    if suffix.is_empty() {
        return Some((1, 1));
    }
    if let Some(factor) = power(&BINARY, 1024).or_else(|| power(&DECIMAL, 1000)) {
        return Some((factor, 1));
    }
    if let Some(factor) = power(&SMALL, 1000) {
        return Some((1, factor));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10_u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, factor) } else { (factor, 1) })
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn quantities_are_bytes() {
        for (text, want) in [
            ("10Gi", 10 << 30),
            ("1.5Gi", 3 << 29),
            ("1k", 1_000),
            ("500M", 500_000_000),
            ("1e9", 1_000_000_000),
            ("1E3", 1_000),
            ("0", 0),
            ("1001m", 2),
            (".5Ki", 512),
            ("2E", 2_000_000_000_000_000_000),
        ] {
            assert_eq!(bytes(text), Some(want), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_a_quantity() {
        for text in ["", "Gi", "-1", "1 Gi", "1GiB", "1e", "ä", "99999Ei", "1e999", "."] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
