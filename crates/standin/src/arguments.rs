//! How are flags written? With one dash or two, and their value behind `=` or as the next word, as
//! the parsers of Go and Rust both read them.

/// The flags in their order, without dashes; `switches` are those without a value, which read `true`.
pub fn read(
    arguments: impl IntoIterator<Item = String>,
    switches: &[&str],
) -> Result<Vec<(String, String)>, String> {
    let mut arguments = arguments.into_iter();
    let mut flags = Vec::new();
    while let Some(argument) = arguments.next() {
        let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let flag = flag.ok_or_else(|| format!("unexpected argument {argument:?}"))?;
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None if switches.contains(&flag) => (flag, Some("true".to_owned())),
            None => (flag, arguments.next()),
        };
        let value = value.ok_or_else(|| format!("flag needs a value: -{name}"))?;
        flags.push((name.to_owned(), value));
    }
    Ok(flags)
}
