//! Which keys and values does a run use? Keys begin with a letter by their number, so that they
//! spread over the regions of a small cluster; a value follows from its key, so that a reader knows
//! it without having written it.

/// The `number`th key of a run.
pub(crate) fn key(prefix: &str, number: u64) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    format!("{letter}/{prefix}/{number:08}")
}

/// The value of a key.
pub(crate) fn value(key: &str) -> String {
    // FNV-1a: enough to see a value under the wrong key.
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{key}={hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_and_values_differ() {
        assert_eq!(key("run", 27), "b/run/00000027");
        assert_ne!(value("a/run/1"), value("a/run/2"));
    }
}
