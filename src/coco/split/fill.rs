//! Fills splits up to their share of images.

use std::collections::HashMap;

use sonotune_base::seed::Rng;

use super::{Part, SplitOptions, groups::Group};
use crate::CocoFile;

/// Target sizes in images, excluding those placed by the official split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Targets {
    pub(super) val: usize,
    pub(super) test: usize,
}

impl Targets {
    pub(super) fn of(groups: &[Group], options: &SplitOptions) -> Self {
        let images = |may: fn(&Group) -> bool| {
            groups.iter().filter(|g| g.is_free() && may(g)).map(Group::len).sum::<usize>()
        };
        Self {
            val: share(options.val, images(|g| g.may_validate)),
            test: share(options.test, images(|g| g.may_test)),
        }
    }
}

/// `count - floor((1 - share) · count)`, as US-43d was split; the small number compensates for
/// products such as (1 - 0.9) · 10 = 0.9999….
fn share(share: f64, count: usize) -> usize {
    count - ((1.0 - share) * count as f64 + 1e-9).floor() as usize
}

/// Fills test and validation in random order. The rest stays unplaced, and is for training.
pub(super) fn random(groups: &mut [Group], wanted: Targets, rng: &mut Rng) {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    rng.shuffle(&mut order);
    // A group that is the only one with some category is better used for training.
    let sole = sole_groups(groups);
    order.sort_by_key(|&g| sole[g]);
    fill(groups, Part::Test, wanted.test, &order);
    fill(groups, Part::Val, wanted.val, &order);
}

/// For each group, whether it is the only one with some category.
fn sole_groups(groups: &[Group]) -> Vec<bool> {
    let mut counts = HashMap::new();
    for (category, _) in groups.iter().flat_map(|g| &g.objects) {
        *counts.entry(*category).or_insert(0usize) += 1;
    }
    groups.iter().map(|g| g.objects.iter().any(|(category, _)| counts[category] == 1)).collect()
}

/// Adds groups to `part` while each brings it closer to its target; adds at least one.
pub(super) fn fill(groups: &mut [Group], part: Part, target: usize, order: &[usize]) {
    if target == 0 {
        return;
    }
    let may =
        |g: &Group| g.is_free() && if part == Part::Val { g.may_validate } else { g.may_test };
    let mut size = drawn(groups, part);
    for &g in order {
        if size >= target {
            break;
        }
        let len = groups[g].len();
        if may(&groups[g]) && (size + len).abs_diff(target) < target - size {
            groups[g].part = Some(part);
            size += len;
        }
    }
    if size == 0 {
        let candidates = || order.iter().copied().filter(|&g| may(&groups[g]));
        if let Some(smallest) = candidates().min_by_key(|&g| groups[g].len()) {
            groups[smallest].part = Some(part);
        }
    }
}

/// Number of images drawn for `part` so far.
fn drawn(groups: &[Group], part: Part) -> usize {
    let drawn = groups.iter().filter(|g| g.part == Some(part) && !g.official);
    drawn.map(Group::len).sum()
}

/// Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of
/// multi-label data", algorithm 1) on groups weighted by their objects.
pub(super) fn stratified(file: &CocoFile, groups: &mut [Group], wanted: Targets, rng: &mut Rng) {
    let images = |may: fn(&Group) -> bool| {
        let drawn = groups.iter().filter(|g| !g.official && may(g));
        drawn.map(Group::len).sum::<usize>().max(1) as f64
    };
    let val = wanted.val as f64 / images(|g| g.may_validate);
    let test = wanted.test as f64 / images(|g| g.may_test);
    let mut shares = vec![(Part::Train, (1.0 - val - test).max(0.0))];
    let held_out = [(Part::Val, val), (Part::Test, test)];
    shares.extend(held_out.into_iter().filter(|(_, share)| *share > 0.0));
    stratify(file, groups, &shares, rng);
    let order: Vec<usize> = (0..groups.len()).collect();
    // By share alone, a small split may come out empty.
    for (part, target) in [(Part::Test, wanted.test), (Part::Val, wanted.val)] {
        if target > 0 && drawn(groups, part) == 0 {
            free_one(groups, &order);
            fill(groups, part, target, &order);
        }
    }
}

/// Takes back the smallest group drawn for training, if another one remains.
fn free_one(groups: &mut [Group], order: &[usize]) {
    let trains = |g: &Group| g.part == Some(Part::Train) && !g.official;
    let candidates: Vec<usize> = order.iter().copied().filter(|&g| trains(&groups[g])).collect();
    let smallest = candidates.iter().copied().min_by_key(|&g| groups[g].len());
    if let Some(smallest) = smallest.filter(|_| candidates.len() > 1) {
        groups[smallest].part = None;
    }
}

/// Places all free groups so that each part has its share of each label's weight.
pub(super) fn stratify(
    file: &CocoFile,
    groups: &mut [Group],
    shares: &[(Part, f64)],
    rng: &mut Rng,
) {
    let labels = Labels::of(file, groups);
    let mut order: Vec<usize> = (0..groups.len()).filter(|&g| groups[g].is_free()).collect();
    rng.shuffle(&mut order);
    let mut with = vec![Vec::new(); labels.count];
    for &g in &order {
        labels.of_group[g].iter().for_each(|&(label, weight)| with[label].push((g, weight)));
    }
    for list in &mut with {
        // Large groups first: small ones even out the rest.
        list.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
    }
    let mut desire = Desire::new(groups, &labels, shares);
    let mut remaining: Vec<usize> = with.iter().map(Vec::len).collect();
    while let Some(label) =
        (0..labels.count).filter(|&l| remaining[l] > 0).min_by_key(|&l| remaining[l])
    {
        for &(g, _) in &with[label] {
            if groups[g].is_free() {
                desire.place(&mut groups[g], &labels.of_group[g], Some(label));
                labels.of_group[g].iter().for_each(|&(l, _)| remaining[l] -= 1);
            }
        }
    }
    for g in order {
        if groups[g].is_free() {
            desire.place(&mut groups[g], &[], None);
        }
    }
}

/// What to spread evenly: the objects of each category and, if there are several datasets, their
/// images.
struct Labels {
    count: usize,
    of_group: Vec<Vec<(usize, usize)>>,
}

impl Labels {
    fn of(file: &CocoFile, groups: &[Group]) -> Self {
        let dataset = |g: &Group| file.dataset_of(&file.images[g.images[0]]);
        let mut datasets: Vec<_> = groups.iter().map(dataset).collect();
        datasets.sort_unstable();
        datasets.dedup();
        let categories = file.categories.len();
        let mut of_group: Vec<_> = groups.iter().map(|g| g.objects.clone()).collect();
        if datasets.len() < 2 {
            return Self { count: categories, of_group };
        }
        for (labels, group) in of_group.iter_mut().zip(groups) {
            if let Ok(at) = datasets.binary_search(&dataset(group)) {
                labels.push((categories + at, group.len()));
            }
        }
        Self { count: categories + datasets.len(), of_group }
    }
}

/// How much each part still needs.
struct Desire {
    parts: Vec<Part>,
    /// In images.
    sizes: Vec<f64>,
    /// `[part][label]`.
    weights: Vec<Vec<f64>>,
}

impl Desire {
    fn new(groups: &[Group], labels: &Labels, shares: &[(Part, f64)]) -> Self {
        let mut desire = Self {
            parts: shares.iter().map(|(part, _)| *part).collect(),
            sizes: vec![0.0; shares.len()],
            weights: vec![vec![0.0; labels.count]; shares.len()],
        };
        for (group, labels) in groups.iter().zip(&labels.of_group).filter(|(g, _)| !g.official) {
            for (p, &(part, share)) in shares.iter().enumerate() {
                let placed = if group.part == Some(part) { 1.0 } else { 0.0 };
                desire.sizes[p] += (share - placed) * group.len() as f64;
                for &(label, weight) in labels {
                    desire.weights[p][label] += (share - placed) * weight as f64;
                }
            }
        }
        desire
    }

    /// Gives the group to the part that needs most of `label`; ties go to the one that needs most
    /// images.
    fn place(&mut self, group: &mut Group, labels: &[(usize, usize)], label: Option<usize>) {
        let may = |part: Part| match part {
            Part::Val => group.may_validate,
            Part::Test => group.may_test,
            Part::Train | Part::Fold(_) => true,
        };
        let lack = |p: usize| (label.map_or(0.0, |label| self.weights[p][label]), self.sizes[p]);
        let best = (0..self.parts.len()).filter(|&p| may(self.parts[p])).max_by(|&a, &b| {
            let ((a, a_size), (b, b_size)) = (lack(a), lack(b));
            a.total_cmp(&b).then(a_size.total_cmp(&b_size))
        });
        // Training and folds take anything.
        let Some(best) = best else { return };
        group.part = Some(self.parts[best]);
        self.sizes[best] -= group.len() as f64;
        for &(label, weight) in labels {
            self.weights[best][label] -= weight as f64;
        }
    }
}
