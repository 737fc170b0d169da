//! Finds near images without comparing every pair.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::print::{MIN_CORRELATION, Print};

/// Number of images whose neighbours are looked up before uniting them.
const CHUNK: usize = 8192;

/// For each image, the index of the first image in its group of duplicates.
/// `distance` is at most [`MAX_DISTANCE`](crate::print::MAX_DISTANCE).
#[must_use]
pub fn components(prints: &[Print], distance: u32) -> Vec<usize> {
    let mut sets = Sets::new(prints.len());
    let distinct = distinct_pixels(prints, &mut sets);
    let leaders = leaders(prints, &distinct, &mut sets);
    let index = Index::new(prints, &leaders, distance);
    for chunk in (0..leaders.len()).collect::<Vec<_>>().chunks(CHUNK) {
        let near: Vec<(usize, usize)> =
            chunk.par_iter().flat_map_iter(|&at| index.near(prints, &leaders, at)).collect();
        near.into_iter().for_each(|(a, b)| sets.unite(a, b));
    }
    (0..prints.len()).map(|i| sets.find(i)).collect()
}

/// The first image of each distinct content.
fn distinct_pixels(prints: &[Print], sets: &mut Sets) -> Vec<usize> {
    let mut first: HashMap<[u8; 32], usize> = HashMap::with_capacity(prints.len());
    let mut distinct = Vec::new();
    for (i, print) in prints.iter().enumerate() {
        let of = *first.entry(print.pixels).or_insert(i);
        if of == i {
            distinct.push(i);
        } else {
            sets.unite(of, i);
        }
    }
    distinct
}

/// Images that do not look like an earlier one with the same hash. Otherwise each frame of a still
/// clip would be compared with all others.
fn leaders(prints: &[Print], distinct: &[usize], sets: &mut Sets) -> Vec<usize> {
    let mut with_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut leaders = Vec::new();
    for &i in distinct {
        let earlier = with_hash.entry(prints[i].hashes[0]).or_default();
        match earlier.iter().find(|&&j| prints[j].correlation(0, &prints[i]) >= MIN_CORRELATION) {
            Some(&like) => sets.unite(like, i),
            None => {
                earlier.push(i);
                leaders.push(i);
            }
        }
    }
    leaders
}

/// Hashes indexed by parts: two that differ in at most `distance` bits agree in one of `distance + 1` parts
/// (multi-index hashing, Norouzi, Punjani and Fleet 2012).
struct Index {
    distance: u32,
    /// First bit and number of bits of each part.
    parts: Vec<(u32, u32)>,
    /// For each part, positions in the list of leaders by the value of those bits.
    tables: Vec<HashMap<u64, Vec<u32>>>,
}

impl Index {
    fn new(prints: &[Print], leaders: &[usize], distance: u32) -> Self {
        let count = distance + 1;
        let parts: Vec<(u32, u32)> = (0..count)
            .map(|part| (64 * part / count, 64 * (part + 1) / count - 64 * part / count))
            .collect();
        let table = |&part: &(u32, u32)| {
            let mut table: HashMap<u64, Vec<u32>> = HashMap::new();
            for (at, &leader) in leaders.iter().enumerate() {
                table.entry(bits(prints[leader].hashes[0], part)).or_default().push(at as u32);
            }
            table
        };
        let tables = parts.par_iter().map(table).collect();
        Self { distance, parts, tables }
    }

    /// Pairs of the leader at `at` and later ones that are near in any turn.
    fn near(&self, prints: &[Print], leaders: &[usize], at: usize) -> Vec<(usize, usize)> {
        let print = &prints[leaders[at]];
        let mut near = Vec::new();
        for (turn, &hash) in print.hashes.iter().enumerate() {
            for (&part, table) in self.parts.iter().zip(&self.tables) {
                let Some(candidates) = table.get(&bits(hash, part)) else { continue };
                let from = candidates.partition_point(|&other| other as usize <= at);
                for &other in &candidates[from..] {
                    let other = leaders[other as usize];
                    let differing = hash ^ prints[other].hashes[0];
                    if differing.count_ones() <= self.distance
                        && print.correlation(turn, &prints[other]) >= MIN_CORRELATION
                    {
                        near.push((leaders[at], other));
                    }
                }
            }
        }
        near
    }
}

fn bits(hash: u64, (first, count): (u32, u32)) -> u64 {
    let shifted = hash >> first;
    if count == 64 { shifted } else { shifted & ((1 << count) - 1) }
}

/// Disjoint sets; each is identified by its smallest member, whatever the order of unions.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn find(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_bit_once() {
        for distance in 0..=crate::print::MAX_DISTANCE {
            let index = Index::new(&[], &[], distance);
            let mut seen = 0u64;
            for part in index.parts {
                let mask = bits(u64::MAX, part) << part.0;
                assert_eq!(seen & mask, 0);
                seen |= mask;
            }
            assert_eq!(seen, u64::MAX);
        }
    }

    #[test]
    fn sets_are_named_by_their_smallest() {
        let mut sets = Sets::new(5);
        sets.unite(4, 2);
        sets.unite(3, 4);
        sets.unite(1, 3);
        assert_eq!((0..5).map(|i| sets.find(i)).collect::<Vec<_>>(), [0, 1, 1, 1, 1]);
    }
}
