//! Which small cluster is looked at, in the middle of what, and what can go wrong there?
//!
//! A text with one thing in a line, after a word or a sign:
//!
//! - `# …`: what it is about
//! - `> …`: a command of the script that leads into it
//! - `? …`: a fault, as a script says it; behind ` | ` what ends it, at any later moment
//! - `most 2`: so many faults in one run, ends of the operator's process counted
//! - `crashes 3`: the process can end after each of the first three writes of a pass
//! - `wait 30`: something can happen after so many seconds of waiting, besides after each step
//! - `grain 60` and `old 1900`: how well times are told apart ([`Sight`])
//! - `long`: not looked at in every test

use super::Sight;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As a script says it.
    pub line: String,
    /// What ends it; until then nothing else that has an end begins.
    pub undo: Option<String>,
}

/// A small cluster in the middle of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Its name.
    pub name: String,
    /// The script that leads into it.
    pub begin: Vec<String>,
    /// What can go wrong.
    pub faults: Vec<Fault>,
    /// How much of it in one run.
    pub most: u8,
    /// Writes of a pass after which the process can end.
    pub crashes: u8,
    /// Seconds of waiting after which something can happen.
    pub wait: u64,
    /// How well times are told apart.
    pub sight: Sight,
    /// It takes long.
    pub long: bool,
}

impl Situation {
    /// Reads it. Fails with the line that says nothing.
    pub fn read(name: &str, text: &str) -> Result<Self, String> {
        let mut read = Self {
            name: name.to_owned(),
            begin: Vec::new(),
            faults: Vec::new(),
            most: 1,
            crashes: 0,
            wait: 30,
            sight: Sight::default(),
            long: false,
        };
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let number = || rest.parse::<u64>().map_err(|_| format!("{name}: {line}"));
            let few = || rest.parse::<u8>().map_err(|_| format!("{name}: {line}"));
            match word {
                "" | "#" => {}
                ">" => read.begin.push(rest.to_owned()),
                "?" => read.faults.push(Fault::read(rest)),
                "most" => read.most = few()?,
                "crashes" => read.crashes = few()?,
                "wait" => read.wait = number()?,
                "grain" => read.sight.grain = number()?,
                "old" => read.sight.old = number()?,
                "long" => read.long = true,
                _ => return Err(format!("{name}: {line}")),
            }
        }
        Ok(read)
    }
}

impl Fault {
    fn read(text: &str) -> Self {
        let (line, undo) = match text.split_once(" | ") {
            Some((line, undo)) => (line, Some(undo.to_owned())),
            None => (text, None),
        };
        Self { line: line.to_owned(), undo }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_line_by_line() {
        let text =
            "# Words.\n> create c pd=1 tikv=1\nmost 2\n? kill c-pd-0\n? power a off | power a on\n";
        let read = Situation::read("x", text).unwrap();
        assert_eq!((read.most, read.crashes, read.begin.len()), (2, 0, 1));
        assert_eq!(read.faults[1].undo.as_deref(), Some("power a on"));
        assert!(read.faults[0].undo.is_none());
        assert_eq!(Situation::read("x", "moast 2").unwrap_err(), "x: moast 2");
    }
}
