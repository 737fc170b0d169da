//! A mask's foreground as a list, for comparing two masks.

use sonotune_base::Rle;

/// Column-major ranges of the foreground, ascending and disjoint.
pub(super) struct Spans {
    pub(super) ranges: Vec<(u64, u64)>,
    /// Number of pixels.
    pub(super) area: u64,
}

impl Spans {
    pub(super) fn of(rle: &Rle) -> Self {
        let mut ranges = Vec::with_capacity(rle.counts.len() / 2);
        let (mut position, mut area) = (0, 0);
        for (i, &count) in rle.counts.iter().enumerate() {
            let end = position + u64::from(count);
            if i % 2 == 1 && count > 0 {
                ranges.push((position, end));
                area += u64::from(count);
            }
            position = end;
        }
        Self { ranges, area }
    }

    /// Pixels in both. Starts where the masks begin to share columns: most pairs share none.
    pub(super) fn intersection(&self, other: &Self) -> u64 {
        let (Some(first), Some(first_other)) = (self.ranges.first(), other.ranges.first()) else {
            return 0;
        };
        let mut i = self.ranges.partition_point(|r| r.1 <= first_other.0);
        let mut j = other.ranges.partition_point(|r| r.1 <= first.0);
        let mut shared = 0;
        while let (Some(&a), Some(&b)) = (self.ranges.get(i), other.ranges.get(j)) {
            shared += a.1.min(b.1).saturating_sub(a.0.max(b.0));
            if a.1 < b.1 {
                i += 1;
            } else {
                j += 1;
            }
        }
        shared
    }
}
