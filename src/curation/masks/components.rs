//! Connected components of a plane of labels, directly as run lengths.
//!
//! Runs of one label within a column are joined with those they touch in the previous column, in a
//! union-find over runs: a plane of component numbers is never created, and the result is already in
//! COCO's column-major counts.

use sonotune_base::Rle;

/// Which pixels touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// Pixels that share a side.
    Four,
    /// Pixels that share a side or corner (scikit-image's default in 2-D).
    Eight,
}

/// A connected set of pixels of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The pixels' value.
    pub label: u8,
    /// Number of pixels.
    pub area: u64,
    /// First pixel in row-major order; components are sorted by it.
    pub first: u64,
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    column: u32,
    start: u32,
    /// One past the last row.
    end: u32,
    label: u8,
}

/// The components of all labels except 0 in `labels` (`[H, W]`, row-major), sorted by first pixel
/// in row-major order, as scikit-image numbers them.
#[must_use]
pub fn components(
    labels: &[u8],
    (height, width): (u32, u32),
    connectivity: Connectivity,
) -> Vec<Component> {
    let runs = column_runs(labels, height as usize, width as usize);
    let mut parents: Vec<u32> = (0..runs.len() as u32).collect();
    join_columns(&runs, &mut parents, connectivity);
    collect(&runs, &mut parents, width)
}

/// Runs of equal labels except 0, column by column from the left, each from the top.
fn column_runs(labels: &[u8], height: usize, width: usize) -> Vec<Run> {
    const BLOCK: usize = 64;
    let mut runs = Vec::new();
    // Columns are copied in blocks: one pass over memory by rows instead of strides.
    let mut block = vec![0_u8; BLOCK * height];
    for left in (0..width).step_by(BLOCK) {
        let columns = BLOCK.min(width - left);
        let rows = || labels.chunks_exact(width).map(|row| &row[left..left + columns]);
        if rows().all(|part| part.iter().all(|&value| value == 0)) {
            continue;
        }
        for (y, part) in rows().enumerate() {
            for (x, &value) in part.iter().enumerate() {
                block[x * height + y] = value;
            }
        }
        for (x, column) in block.chunks_exact(height).take(columns).enumerate() {
            push_runs(column, (left + x) as u32, &mut runs);
        }
    }
    runs
}

fn push_runs(column: &[u8], x: u32, runs: &mut Vec<Run>) {
    let mut y = 0;
    while let Some(skipped) = column[y..].iter().position(|&value| value != 0) {
        let start = y + skipped;
        let label = column[start];
        let length = column[start..].iter().take_while(|&&value| value == label).count();
        y = start + length;
        runs.push(Run { column: x, start: start as u32, end: y as u32, label });
    }
}

fn join_columns(runs: &[Run], parents: &mut [u32], connectivity: Connectivity) {
    let reach = u32::from(connectivity == Connectivity::Eight);
    let mut before = 0..0;
    let mut at = 0;
    while at < runs.len() {
        let column = runs[at].column;
        let end = at + runs[at..].iter().take_while(|run| run.column == column).count();
        let touches_before = runs.get(before.start).is_some_and(|run| run.column + 1 == column);
        if touches_before {
            let mut other = before.start;
            for index in at..end {
                let run = runs[index];
                // Both lists are sorted by rows: runs that end above this one are done for all below.
                while other < before.end && runs[other].end + reach <= run.start {
                    other += 1;
                }
                for near in (other..before.end).take_while(|&n| runs[n].start < run.end + reach) {
                    if runs[near].label == run.label {
                        union(parents, near as u32, index as u32);
                    }
                }
            }
        }
        before = at..end;
        at = end;
    }
}

fn root(parents: &mut [u32], mut index: u32) -> u32 {
    while parents[index as usize] != index {
        let above = parents[parents[index as usize] as usize];
        parents[index as usize] = above;
        index = above;
    }
    index
}

fn union(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    let (low, high) = (a.min(b), a.max(b));
    parents[high as usize] = low;
}

fn collect(runs: &[Run], parents: &mut [u32], width: u32) -> Vec<Component> {
    let mut place = vec![u32::MAX; runs.len()];
    let mut found: Vec<Component> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let root = root(parents, index as u32) as usize;
        let first = u64::from(run.start) * u64::from(width) + u64::from(run.column);
        if place[root] == u32::MAX {
            place[root] = found.len() as u32;
            found.push(Component { label: run.label, area: 0, first, runs: Vec::new() });
        }
        let component = &mut found[place[root] as usize];
        component.area += u64::from(run.end - run.start);
        component.first = component.first.min(first);
        component.runs.push(*run);
    }
    found.sort_by_key(|component| component.first);
    found
}

impl Component {
    /// The component's mask on an image of `(height, width)`, which must be the size it was found in.
    #[must_use]
    pub fn to_rle(&self, (height, width): (u32, u32)) -> Rle {
        let mut counts = Vec::with_capacity(2 * self.runs.len() + 1);
        // The column-major position that the counts reach, and whether the last run is foreground.
        let mut at = 0_u64;
        for run in &self.runs {
            let start = u64::from(run.column) * u64::from(height) + u64::from(run.start);
            let length = run.end - run.start;
            if start == at && !counts.is_empty() {
                // Continues from the bottom of the previous column.
                if let Some(last) = counts.last_mut() {
                    *last += length;
                }
            } else {
                counts.push((start - at) as u32);
                counts.push(length);
            }
            at = start + u64::from(length);
        }
        let rest = u64::from(height) * u64::from(width) - at;
        if rest > 0 || counts.is_empty() {
            counts.push(rest as u32);
        }
        Rle { height, width, counts }
    }

    /// Draws the component's label into `plane` (`[H, W]`, row-major, of this width).
    pub fn paint(&self, plane: &mut [u8], width: u32) {
        for run in &self.runs {
            for y in run.start..run.end {
                plane[y as usize * width as usize + run.column as usize] = self.label;
            }
        }
    }
}

/// Keeps the largest 4-connected component of the plane's foreground (any label); of equally large
/// ones the first in row-major order.
pub fn largest_component(labels: &mut [u8], size: (u32, u32)) {
    let binary: Vec<u8> = labels.iter().map(|&value| u8::from(value != 0)).collect();
    let found = components(&binary, size, Connectivity::Four);
    let Some(largest) = found.iter().max_by_key(|c| (c.area, std::cmp::Reverse(c.first))) else {
        return;
    };
    let mut kept = vec![0; labels.len()];
    largest.paint(&mut kept, size.1);
    for (value, keep) in labels.iter_mut().zip(kept) {
        *value *= keep;
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::seed::Rng;

    use super::*;

    fn plane(rows: &[&str]) -> (Vec<u8>, (u32, u32)) {
        let data = rows.iter().flat_map(|row| row.bytes().map(|b| b - b'0')).collect();
        (data, (rows.len() as u32, rows[0].len() as u32))
    }

    #[test]
    fn corners_join_under_eight_and_not_under_four() {
        let (data, size) = plane(&["1001", "0110", "2002"]);
        assert_eq!(components(&data, size, Connectivity::Eight).len(), 3);
        assert_eq!(components(&data, size, Connectivity::Four).len(), 5);
    }

    #[test]
    fn order_is_by_first_pixel_in_rows() {
        let (data, size) = plane(&["0001", "1000", "1011"]);
        let found = components(&data, size, Connectivity::Eight);
        let firsts: Vec<u64> = found.iter().map(|c| c.first).collect();
        assert_eq!(firsts, [3, 4, 10]);
    }

    /// Compares with a flood fill, over noise planes of several densities and shapes.
    #[test]
    fn components_equal_a_flood_fill() {
        for case in 0..300 {
            let mut rng = Rng::at(case, &[1]);
            let (height, width) = (1 + rng.below(40) as u32, 1 + rng.below(150) as u32);
            let density = 1 + rng.below(4);
            let labels = 1 + rng.below(3);
            let data: Vec<u8> = (0..height * width)
                .map(|_| if rng.below(5) < density { 1 + rng.below(labels) as u8 } else { 0 })
                .collect();
            for connectivity in [Connectivity::Four, Connectivity::Eight] {
                let found = components(&data, (height, width), connectivity);
                let expected = flood(&data, height, width, connectivity);
                assert_eq!(found.len(), expected.len(), "case {case}");
                for (component, pixels) in found.iter().zip(expected) {
                    let rle = component.to_rle((height, width));
                    assert_eq!(rle, Rle::from_mask(&pixels, (height, width)).unwrap());
                    assert_eq!(component.area, rle.area());
                }
            }
        }
    }

    fn flood(data: &[u8], height: u32, width: u32, connectivity: Connectivity) -> Vec<Vec<u8>> {
        let mut seen = vec![false; data.len()];
        let mut found = Vec::new();
        for start in 0..data.len() {
            if data[start] == 0 || seen[start] {
                continue;
            }
            let mut mask = vec![0; data.len()];
            let mut open = vec![start];
            seen[start] = true;
            while let Some(at) = open.pop() {
                mask[at] = 1;
                let (y, x) = ((at as i64) / i64::from(width), (at as i64) % i64::from(width));
                for (dy, dx) in
                    [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
                {
                    if connectivity == Connectivity::Four && dy != 0 && dx != 0 {
                        continue;
                    }
                    let (y, x) = (y + dy, x + dx);
                    if y < 0 || x < 0 || y >= i64::from(height) || x >= i64::from(width) {
                        continue;
                    }
                    let next = (y * i64::from(width) + x) as usize;
                    if !seen[next] && data[next] == data[start] {
                        seen[next] = true;
                        open.push(next);
                    }
                }
            }
            found.push(mask);
        }
        found
    }

    #[test]
    fn the_largest_component_stays() {
        let (mut data, size) = plane(&["1100", "0011", "2211"]);
        largest_component(&mut data, size);
        assert_eq!(data, plane(&["0000", "0011", "2211"]).0);
    }
}
