//! A picture as coarse cells that are set or not.

/// Cells, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    rows: usize,
    columns: usize,
    cells: Vec<bool>,
}

impl Grid {
    /// Square cells of `side` pixels, those at the right and at the bottom with what is left; one is set if
    /// `counts` holds for [`SHARE`](super::SHARE) of its pixels.
    pub(super) fn of_picture(
        levels: &[u8],
        (height, width): (u32, u32),
        side: u32,
        counts: impl Fn(u8) -> bool,
    ) -> Self {
        let (height, width, side) = (height as usize, width as usize, side as usize);
        let (rows, columns) = (height.div_ceil(side), width.div_ceil(side));
        let mut cells = Vec::with_capacity(rows * columns);
        for band in levels.chunks(side * width) {
            let mut sums = vec![0usize; columns];
            for row in band.chunks_exact(width) {
                for (sum, part) in sums.iter_mut().zip(row.chunks(side)) {
                    *sum += part.iter().filter(|&&level| counts(level)).count();
                }
            }
            let tall = band.len() / width;
            cells.extend(sums.iter().enumerate().map(|(column, &sum)| {
                let wide = side.min(width - column * side);
                sum as f64 >= super::SHARE * (tall * wide) as f64
            }));
        }
        Self { rows, columns, cells }
    }

    /// Without what is narrower than `2 · radius + 1` cells. Beyond the picture everything counts as set, so that
    /// an image that it cuts off stays.
    pub(super) fn opened(&self, radius: usize) -> Self {
        self.spread(radius, false).spread(radius, true)
    }

    /// With gaps of up to `2 · radius` cells filled.
    pub(super) fn closed(&self, radius: usize) -> Self {
        self.spread(radius, true).spread(radius, false)
    }

    /// Every cell becomes `value` that has one of that value within `radius` rows and columns.
    fn spread(&self, radius: usize, value: bool) -> Self {
        let (rows, columns) = (self.rows, self.columns);
        let mut wide = self.cells.clone();
        for (row, out) in self.cells.chunks_exact(columns).zip(wide.chunks_exact_mut(columns)) {
            for (x, cell) in out.iter_mut().enumerate() {
                let near = &row[x.saturating_sub(radius)..(x + radius + 1).min(columns)];
                *cell = if near.contains(&value) { value } else { !value };
            }
        }
        let mut cells = wide.clone();
        for y in 0..rows {
            for x in 0..columns {
                let mut near = y.saturating_sub(radius)..(y + radius + 1).min(rows);
                let found = near.any(|other| wide[other * columns + x] == value);
                cells[y * columns + x] = if found { value } else { !value };
            }
        }
        Self { cells, ..*self }
    }

    /// Left, top, right and bottom edge around the connected parts (by sides and corners) that have at least a
    /// `share` of the largest one's cells; `None` if no cell is set.
    pub(super) fn around_large_parts(&self, share: f64) -> Option<[usize; 4]> {
        let parts = self.parts();
        let largest = parts.iter().map(|part| part.0).max()?;
        let large = parts.iter().filter(|part| part.0 as f64 >= share * largest as f64);
        large.map(|part| part.1).reduce(|[left, top, right, bottom], [x0, y0, x1, y1]| {
            [left.min(x0), top.min(y0), right.max(x1), bottom.max(y1)]
        })
    }

    /// Number of cells and edges of every connected part.
    fn parts(&self) -> Vec<(usize, [usize; 4])> {
        let mut left_over = self.cells.clone();
        let mut parts = Vec::new();
        for start in 0..left_over.len() {
            if !std::mem::take(&mut left_over[start]) {
                continue;
            }
            let (mut waiting, mut count, mut edges) =
                (vec![start], 0, [usize::MAX, usize::MAX, 0, 0]);
            while let Some(cell) = waiting.pop() {
                let (y, x) = (cell / self.columns, cell % self.columns);
                count += 1;
                edges =
                    [edges[0].min(x), edges[1].min(y), edges[2].max(x + 1), edges[3].max(y + 1)];
                for row in y.saturating_sub(1)..(y + 2).min(self.rows) {
                    for column in x.saturating_sub(1)..(x + 2).min(self.columns) {
                        let next = row * self.columns + column;
                        if std::mem::take(&mut left_over[next]) {
                            waiting.push(next);
                        }
                    }
                }
            }
            parts.push((count, edges));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(rows: &[&str]) -> Grid {
        let cells = rows.iter().flat_map(|row| row.chars().map(|c| c == '#')).collect();
        Grid { rows: rows.len(), columns: rows[0].len(), cells }
    }

    #[test]
    fn narrow_parts_go_and_gaps_are_closed() {
        let thin = ["........", ".####.#.", ".####.#.", ".####.#.", ".......#"];
        let wide = ["........", ".####...", ".####...", ".####...", "........"];
        assert_eq!(grid(&thin).opened(1), grid(&wide));
        // At the border of the picture two rows are enough.
        let border = ["........", "........", "........", "..######", "..######"];
        assert_eq!(grid(&border).opened(1), grid(&border));
        let gap = ["###..###", "###..###", "###..###"];
        assert_eq!(grid(&gap).closed(1), grid(&["########"; 3]));
        assert_eq!(grid(&gap).closed(0), grid(&gap));
    }

    #[test]
    fn large_parts_are_surrounded() {
        let parts = ["##......", "##......", "....#...", ".....###", "...#####"];
        let edges = |share| grid(&parts).around_large_parts(share);
        assert_eq!(edges(0.6), Some([3, 2, 8, 5]));
        assert_eq!(edges(0.4), Some([0, 0, 8, 5]));
        assert_eq!(grid(&["...", "..."]).around_large_parts(0.5), None);
    }

    #[test]
    fn a_cell_needs_half_of_its_pixels_at_the_edges_as_well() {
        // 3×5 pixels in cells of 2: the last column is 1 wide, the last row 1 tall.
        let levels = [9, 0, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 9, 0, 9];
        let cells = Grid::of_picture(&levels, (3, 5), 2, |level| level > 5);
        assert_eq!(cells, grid(&["###", ".##"]));
    }
}
