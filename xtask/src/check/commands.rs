//! Does every command that a page names exist, with these words?
//!
//! Commands stand in back quotes or begin a line of a block. `[--flag N]` is an option, `a|b` a
//! choice, words in capitals are the reader's own; two blanks begin an explanation.

/// The commands of a page that begin with `program`, each as the words behind it, choices taken
/// one by one.
pub(crate) fn named(page: &str, program: &str) -> Vec<Vec<String>> {
    let lines = page.lines().map(str::trim).filter(|line| !line.contains('`'));
    let quoted = page.split('`').skip(1).step_by(2);
    lines
        .chain(quoted)
        .filter_map(|text| text.strip_prefix(program)?.strip_prefix(' '))
        .map(|words| words.split(['#', '\n']).next().unwrap_or_default())
        .map(|words| words.split("  ").next().unwrap_or_default())
        .flat_map(choices)
        .collect()
}

/// One list of words for each way to read a command with `a|b|c` in it; what is in double quotes is
/// one word.
fn choices(command: &str) -> Vec<Vec<String>> {
    let parts = command.split('"').enumerate();
    let words = parts.flat_map(|(number, part)| {
        if number % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
    });
    let mut ways = vec![Vec::new()];
    for word in words {
        let word = word.trim_matches(['[', ']']);
        ways = word
            .split('|')
            .flat_map(|choice| {
                ways.iter().map(move |way: &Vec<String>| {
                    let mut way = way.clone();
                    // The reader's own number.
                    way.push(if choice == "N" { "3" } else { choice }.to_owned());
                    way
                })
            })
            .collect();
    }
    ways
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::check::page;

    #[test]
    fn commands_are_found_with_every_choice() {
        let page = "Run `tool a --n N \"x y\"`, not `tools`.\n```text\ntool b [--c|--d]   what it does\n```\n";
        let found: Vec<_> = named(page, "tool").iter().map(|words| words.join(",")).collect();
        assert_eq!(found, ["b,--c", "b,--d", "a,--n,3,x y"]);
    }

    #[test]
    fn every_development_command_of_every_page_can_be_typed() {
        let mut seen = 0;
        for (path, text) in page::all().unwrap() {
            for words in named(&text, "cargo xtask") {
                let line = ["cargo xtask".to_owned()].into_iter().chain(words.clone());
                // "cargo xtask lab" alone names what has commands of its own.
                let help =
                    [ErrorKind::DisplayHelp, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
                if let Err(error) = crate::Arguments::try_parse_from(line)
                    && !help.contains(&error.kind())
                {
                    panic!("{}: `cargo xtask {}`: {error}", path.display(), words.join(" "));
                }
                seen += 1;
            }
        }
        assert!(seen > 20, "only {seen} commands were found: are the pages still read?");
    }
}
