//! Text in columns, for people.

/// Between two columns.
const GAP: &str = "   ";
/// Where everything beside the labels begins.
const LABEL_WIDTH: usize = 14;

/// Text that grows by sections: a label, and beside it rows of cells, in columns of their own width.
#[derive(Debug, Default)]
pub(super) struct Layout {
    text: String,
}

impl Layout {
    /// Adds a line of its own, or an empty one.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Adds a label with its rows; nothing where there are no rows.
    pub(super) fn section<const COLUMNS: usize>(&mut self, label: &str, rows: &[[String; COLUMNS]]) {
        let mut widths = [0; COLUMNS];
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (number, row) in rows.iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let mut line = format!("{label:<LABEL_WIDTH$}");
            for (cell, width) in row.iter().zip(widths) {
                if width > 0 {
                    // By hand: a width in a format has a bound of its own.
                    let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
                    line.extend([cell.as_str(), &fill, GAP]);
                }
            }
            self.line(line.trim_end());
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_empty_ones_take_no_room() {
        let mut layout = Layout::default();
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        layout.section("listeners", &[row(["a", "", "one"]), row(["bbb", "", ""])]);
        layout.section::<1>("none", &[]);
        layout.line("end");
        assert_eq!(layout.finish(), "listeners     a     one\n              bbb\nend\n");
    }

    #[test]
    fn a_cell_of_any_length_is_shown() {
        let mut layout = Layout::default();
        layout.section("long", &[["x".repeat(100_000), "y".to_owned()]]);
        assert!(layout.finish().trim_end().ends_with('y'));
    }
}
