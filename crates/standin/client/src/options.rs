//! What is `tikv-check` told?

use std::path::PathBuf;
use std::time::Duration;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Put keys.
    Write,
    /// Read them back.
    Verify,
    /// Put for a while, then read back.
    Continuous,
    /// Fill a disk.
    Occupy,
}

/// The command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What to do.
    pub(crate) command: Command,
    /// PD's client addresses.
    pub(crate) pd: Vec<String>,
    /// Separates the keys of different runs.
    pub(crate) prefix: String,
    /// How many keys.
    pub(crate) count: u64,
    /// Requests under way at once.
    pub(crate) workers: usize,
    /// After this, what cannot be read or written counts as failed.
    pub(crate) patience: Duration,
    /// How long to write, at most.
    pub(crate) seconds: u64,
    /// Attempts a second.
    pub(crate) rate: u64,
    /// Where each attempt is recorded, one JSON object a line.
    pub(crate) books: Option<PathBuf>,
    /// The file that fills a disk.
    pub(crate) file: Option<PathBuf>,
    /// Keys that are written again and again, with reads between, for a check of their histories.
    pub(crate) registers: u64,
    /// Port on which `GET /stop` ends the writing.
    pub(crate) control: Option<u16>,
}

impl Options {
    /// Reads the arguments; the reason when they make no sense.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let command = match arguments.next().as_deref() {
            Some("write") => Command::Write,
            Some("verify") => Command::Verify,
            Some("continuous") => Command::Continuous,
            Some("occupy") => Command::Occupy,
            Some(other) => return Err(format!("unknown command {other}")),
            None => return Err("no command".to_owned()),
        };
        let mut options = Self {
            command,
            pd: Vec::new(),
            prefix: String::new(),
            count: 0,
            workers: 8,
            patience: Duration::from_mins(1),
            seconds: 0,
            rate: 50,
            books: None,
            file: None,
            registers: 4,
            control: None,
        };
        while let Some(flag) = arguments.next() {
            let (flag, inline) = match flag.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (flag, None),
            };
            let value = inline.or_else(|| arguments.next());
            options.take(&flag, value.ok_or_else(|| format!("{flag} needs a value"))?)?;
        }
        options.complete()
    }

    fn take(&mut self, flag: &str, value: String) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{flag}: {value} is no number"));
        match flag {
            "--pd" => self.pd.extend(value.split(',').map(str::to_owned)),
            "--prefix" => self.prefix = value,
            "--count" => self.count = number()?,
            "--workers" => self.workers = usize::try_from(number()?.clamp(1, 256)).unwrap_or(8),
            "--patience" => self.patience = Duration::from_secs(number()?),
            "--seconds" => self.seconds = number()?,
            "--rate" => self.rate = number()?.clamp(1, 1_000),
            "--books" => self.books = Some(PathBuf::from(value)),
            "--control" => {
                let port = value.parse().map_err(|_| format!("{flag}: {value} is no port"))?;
                self.control = Some(port);
            }
            "--file" => self.file = Some(PathBuf::from(value)),
            "--registers" => self.registers = number()?,
            unknown => return Err(format!("unknown flag {unknown}")),
        }
        Ok(())
    }

    fn complete(self) -> Result<Self, String> {
        if self.command == Command::Occupy {
            return if self.file.is_some() { Ok(self) } else { Err("--file is needed".to_owned()) };
        }
        if self.pd.is_empty() || self.prefix.is_empty() {
            return Err("--pd and --prefix are needed".to_owned());
        }
        match self.command {
            Command::Write | Command::Verify if self.count == 0 => {
                Err("--count is needed".to_owned())
            }
            Command::Continuous if self.seconds == 0 || self.books.is_none() => {
                Err("--seconds and --books are needed".to_owned())
            }
            Command::Write | Command::Verify | Command::Continuous | Command::Occupy => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_needed_is_asked_for() {
        let options = parse("write --pd a:1,b:2 --prefix p --count=7").unwrap();
        assert_eq!((options.pd.len(), options.count, options.workers), (2, 7, 8));
        for wrong in [
            "",
            "fly",
            "write --pd a:1 --prefix p",
            "write --pd a:1 --count 1",
            "continuous --pd a:1 --prefix p --seconds 3",
            "verify --pd a:1 --prefix p --count x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
