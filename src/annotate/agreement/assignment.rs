//! The pairing of two lists with the highest sum (Kuhn 1955, in the form with potentials of Jonker and Volgenant 1987).

/// Pairs of row and column, each used once, with the highest sum of values; as many as the shorter side has.
pub(super) fn best(values: &[Vec<f64>]) -> Vec<(usize, usize)> {
    let columns = values.first().map_or(0, Vec::len);
    if columns == 0 {
        return Vec::new();
    }
    if values.len() > columns {
        let transposed: Vec<Vec<f64>> =
            (0..columns).map(|column| values.iter().map(|row| row[column]).collect()).collect();
        return best(&transposed).into_iter().map(|(column, row)| (row, column)).collect();
    }
    let mut search = Search::new(columns, values.len());
    for row in 0..values.len() {
        search.add(row, values);
    }
    let pairs =
        search.row_of.iter().enumerate().filter_map(|(column, row)| Some(((*row)?, column)));
    let mut pairs: Vec<_> = pairs.filter(|&(_, column)| column < columns).collect();
    pairs.sort_unstable();
    pairs
}

/// The pairing of the rows so far; an extra column at the end is where each search starts.
struct Search {
    row_of: Vec<Option<usize>>,
    of_rows: Vec<f64>,
    of_columns: Vec<f64>,
}

impl Search {
    fn new(columns: usize, rows: usize) -> Self {
        Self {
            row_of: vec![None; columns + 1],
            of_rows: vec![0.0; rows],
            of_columns: vec![0.0; columns + 1],
        }
    }

    /// Pairs one more row by the cheapest chain of exchanges.
    fn add(&mut self, row: usize, values: &[Vec<f64>]) {
        let start = self.row_of.len() - 1;
        let mut least = vec![f64::INFINITY; start];
        let mut came_from = vec![start; start];
        let mut is_used = vec![false; start + 1];
        self.row_of[start] = Some(row);
        let mut column = start;
        while let Some(row) = self.row_of[column] {
            is_used[column] = true;
            let (mut step, mut next) = (f64::INFINITY, start);
            for other in (0..start).filter(|&other| !is_used[other]) {
                let cost = -values[row][other] - self.of_rows[row] - self.of_columns[other];
                if cost < least[other] {
                    (least[other], came_from[other]) = (cost, column);
                }
                if least[other] < step {
                    (step, next) = (least[other], other);
                }
            }
            for other in 0..=start {
                match (is_used[other], self.row_of[other]) {
                    (true, Some(row)) => {
                        self.of_rows[row] += step;
                        self.of_columns[other] -= step;
                    }
                    (false, _) if other < start => least[other] -= step,
                    _ => {}
                }
            }
            column = next;
        }
        while column != start {
            let before = came_from[column];
            self.row_of[column] = self.row_of[before];
            column = before;
        }
        self.row_of[start] = None;
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::seed::Rng;

    use super::*;

    fn sum(values: &[Vec<f64>], pairs: &[(usize, usize)]) -> f64 {
        pairs.iter().map(|&(row, column)| values[row][column]).sum()
    }

    /// The highest sum by trying all.
    fn tried(values: &[Vec<f64>], row: usize, used: u32) -> f64 {
        if row == values.len() {
            return 0.0;
        }
        let columns = values[row].len();
        let mut most =
            if values.len() > columns { tried(values, row + 1, used) } else { f64::NEG_INFINITY };
        for column in (0..columns).filter(|column| used & (1 << column) == 0) {
            most = most.max(values[row][column] + tried(values, row + 1, used | (1 << column)));
        }
        most
    }

    #[test]
    fn no_other_pairing_has_a_higher_sum() {
        for case in 0..400 {
            let mut rng = Rng::at(5, &[case]);
            let (rows, columns) = (1 + rng.below(5) as usize, 1 + rng.below(5) as usize);
            let values: Vec<Vec<f64>> = (0..rows)
                .map(|_| {
                    (0..columns)
                        .map(|_| if rng.below(3) == 0 { 0.0 } else { rng.uniform() })
                        .collect()
                })
                .collect();
            let pairs = best(&values);
            assert_eq!(pairs.len(), rows.min(columns));
            let columns: std::collections::HashSet<_> = pairs.iter().map(|pair| pair.1).collect();
            assert_eq!(columns.len(), pairs.len());
            assert!((sum(&values, &pairs) - tried(&values, 0, 0)).abs() < 1e-9, "{values:?}");
        }
        assert!(best(&[]).is_empty() && best(&[vec![], vec![]]).is_empty());
    }
}
