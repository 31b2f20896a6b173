//! How are rows aligned?

use std::fmt::{self, Write};

/// Rows of text in columns, two blanks apart. The last column may be as long as it likes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a head.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&word| word.to_owned()).collect()] }
    }

    /// A table without one.
    pub(crate) fn bare() -> Self {
        Self::default()
    }

    /// Adds a row. Empty cells show as a dash.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let dashed = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        self.rows.push(cells.into_iter().map(dashed).collect());
    }

    /// There are no rows beside the head.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Takes the last columns away.
    pub(crate) fn without_last(&mut self, columns: usize) {
        for row in &mut self.rows {
            row.truncate(row.len().saturating_sub(columns));
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, cell) in row.iter().enumerate() {
                let width = if column + 1 == row.len() { 0 } else { self.width(column) };
                let _ = write!(line, " {cell:<width$} ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(&["A", "B"]);
        assert!(table.is_empty());
        table.row(["long".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "  A     B\n  long  -\n");
    }
}
