//! How are pieces put into a text whose other pieces stay where they are?
//!
//! Every piece remembers which changes it belongs to, so that a complaint of the compiler about a place
//! of the new text is a complaint about a change.

use std::collections::BTreeMap;
use std::ops::Range;

/// The number by which a change is switched on; counted from 1.
pub(crate) type Id = usize;

/// Text to be put in, for these changes.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) of: Vec<Id>,
}

impl Piece {
    pub(crate) fn new(text: impl Into<String>, of: &[Id]) -> Self {
        Self { text: text.into(), of: of.to_vec() }
    }
}

/// What is done to a text.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// Before what is at this byte: the outer expression's first.
    before: BTreeMap<usize, Vec<Piece>>,
    /// Behind what ends at this byte: the inner expression's first.
    behind: BTreeMap<usize, Vec<Vec<Piece>>>,
    /// Left out, by first byte.
    gone: BTreeMap<usize, usize>,
    /// Expressions that were rewritten as a whole.
    whole: Vec<(Range<usize>, Vec<Id>)>,
}

/// A text with pieces in it.
#[derive(Debug)]
pub(crate) struct Edited {
    pub(crate) text: String,
    /// Where in the new text is what belongs to which changes.
    places: Vec<(Range<usize>, Vec<Id>)>,
    /// Of these, what is there for one change alone.
    own: Vec<(Range<usize>, Id)>,
}

impl Edits {
    /// Expressions are visited from the outside in.
    pub(crate) fn before(&mut self, at: usize, piece: Piece) {
        self.before.entry(at).or_default().push(piece);
    }

    pub(crate) fn behind(&mut self, at: usize, pieces: Vec<Piece>) {
        self.behind.entry(at).or_default().insert(0, pieces);
    }

    pub(crate) fn gone(&mut self, range: &Range<usize>) {
        self.gone.insert(range.start, range.end);
    }

    pub(crate) fn whole(&mut self, range: Range<usize>, of: &[Id]) {
        self.whole.push((range, of.to_vec()));
    }

    /// The text with everything done.
    pub(crate) fn apply(&self, old: &str) -> Edited {
        let mut edited = Edited { text: String::new(), places: Vec::new(), own: Vec::new() };
        // Where bytes of the old text are in the new one: first with what is put before, then without.
        let mut starts = BTreeMap::new();
        let mut ends = BTreeMap::new();
        let mut marks: Vec<usize> = self.before.keys().chain(self.behind.keys()).copied().collect();
        marks.extend(self.gone.iter().flat_map(|(from, to)| [*from, *to]));
        marks.extend(self.whole.iter().flat_map(|(range, _)| [range.start, range.end]));
        marks.sort_unstable();
        marks.dedup();
        let (mut at, mut skip) = (0, 0);
        for mark in marks {
            let from = at.max(skip).min(mark);
            edited.text.push_str(old.get(from..mark).unwrap_or_default());
            at = mark;
            for piece in self.behind.get(&mark).into_iter().flatten().flatten() {
                edited.put(piece);
            }
            ends.insert(mark, edited.text.len());
            starts.insert(mark, edited.text.len());
            for piece in self.before.get(&mark).into_iter().flatten() {
                edited.put(piece);
            }
            skip = skip.max(self.gone.get(&mark).copied().unwrap_or(0));
        }
        edited.text.push_str(old.get(at.max(skip)..).unwrap_or_default());
        for (range, of) in &self.whole {
            if let (Some(start), Some(end)) = (starts.get(&range.start), ends.get(&range.end)) {
                edited.places.push((*start..*end, of.clone()));
            }
        }
        edited
    }
}

impl Edited {
    fn put(&mut self, piece: &Piece) {
        let start = self.text.len();
        self.text.push_str(&piece.text);
        if let [id] = *piece.of {
            self.own.push((start..self.text.len(), id));
        }
    }

    /// The change for which a byte of the new text is there.
    pub(crate) fn own(&self, byte: usize) -> Option<Id> {
        self.own.iter().find(|(place, _)| place.contains(&byte)).map(|(_, id)| *id)
    }

    /// The changes of the smallest expression that was rewritten and has this byte of the new text.
    pub(crate) fn around(&self, byte: usize) -> &[Id] {
        let around = self.places.iter().filter(|(place, _)| place.contains(&byte));
        around.min_by_key(|(place, _)| place.len()).map_or(&[], |(_, of)| of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_of_two_pieces_stays_inside() {
        let mut edits = Edits::default();
        // `a+b-c` is ((a+b)-c).
        edits.whole(0..5, &[1]);
        edits.before(0, Piece::new("(", &[]));
        edits.behind(5, vec![Piece::new(")", &[])]);
        edits.before(0, Piece::new("[", &[]));
        edits.behind(3, vec![Piece::new("]", &[]), Piece::new("!", &[2])]);
        edits.gone(&(1..2));
        let edited = edits.apply("a+b-c");
        assert_eq!(edited.text, "([ab]!-c)");
        assert_eq!(edited.own(5), Some(2));
        assert_eq!((edited.own(7), edited.around(7)), (None, &[1][..]));
    }
}
