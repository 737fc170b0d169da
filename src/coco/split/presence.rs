//! The category-presence rule: every category in training is also in validation, and vice versa.

use std::collections::HashMap;

use sonotune_base::seed::Rng;

use super::{Absence, Part, groups::Group};
use crate::CocoFile;

/// Maximum number of search steps before settling for a partial solution.
const MAX_STEPS: usize = 20_000;

/// Sets groups aside so that every category for which it is possible is in validation and in training.
/// `target` is the size of validation in images.
pub(super) fn set_aside(groups: &mut [Group], categories: usize, target: usize, rng: &mut Rng) {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    rng.shuffle(&mut order);
    let mut search = Search::new(groups, categories, &order);
    let chosen = search.run();
    let mut size: usize = 0;
    for pattern in chosen {
        // Take a group that fits, else the smallest.
        let members = &mut search.patterns[pattern].members;
        let fits = members.iter().position(|&g| size + groups[g].len() <= target);
        let smallest = || (0..members.len()).min_by_key(|&at| groups[members[at]].len());
        let Some(at) = fits.or_else(smallest) else { continue };
        let group = members.remove(at);
        groups[group].part = Some(Part::Val);
        size += groups[group].len();
    }
    for category in (0..categories).filter(|&category| search.needed[category]) {
        let trains = |g: &Group| g.part == Some(Part::Train) && g.shows(category);
        if !groups.iter().any(trains) {
            let free = order.iter().find(|&&g| groups[g].is_free() && groups[g].shows(category));
            if let Some(&group) = free {
                groups[group].part = Some(Part::Train);
            }
        }
    }
}

/// Groups that show the same categories; the rule treats them alike.
struct Pattern {
    categories: Vec<usize>,
    /// Free groups, in random order.
    members: Vec<usize>,
    taken: usize,
}

/// A depth-first search for the patterns from which validation gets a group.
struct Search {
    patterns: Vec<Pattern>,
    /// Patterns by category.
    with: Vec<Vec<usize>>,
    /// Number of groups still available to training, by category.
    to_train: Vec<usize>,
    /// Number of groups in validation, by category.
    validating: Vec<usize>,
    /// Whether a category needs a group in training: not if it has only one in total.
    needed: Vec<bool>,
    /// Categories that validation can have, rarest first.
    wanted: Vec<usize>,
    chosen: Vec<usize>,
    steps: usize,
}

impl Search {
    fn new(groups: &[Group], categories: usize, order: &[usize]) -> Self {
        let (mut to_train, mut validating) = (vec![0; categories], vec![0; categories]);
        let mut patterns: Vec<Pattern> = Vec::new();
        let mut index: HashMap<Vec<usize>, usize> = HashMap::new();
        for &g in order {
            let group = &groups[g];
            let counts = match group.part {
                Some(Part::Val) => &mut validating,
                None | Some(Part::Train) => &mut to_train,
                Some(Part::Test | Part::Fold(_)) => continue,
            };
            group.objects.iter().for_each(|&(category, _)| counts[category] += 1);
            if group.is_free() && group.may_validate && !group.objects.is_empty() {
                let shown: Vec<usize> = group.objects.iter().map(|o| o.0).collect();
                let at = *index.entry(shown.clone()).or_insert(patterns.len());
                if at == patterns.len() {
                    patterns.push(Pattern { categories: shown, members: Vec::new(), taken: 0 });
                }
                patterns[at].members.push(g);
            }
        }
        let mut with = vec![Vec::new(); categories];
        for (p, pattern) in patterns.iter().enumerate() {
            pattern.categories.iter().for_each(|&category| with[category].push(p));
        }
        let needed: Vec<bool> = to_train.iter().map(|&n| n >= 2).collect();
        // The only group of a category is for training: taking it is the last resort.
        for list in &mut with {
            list.sort_by_key(|&p| patterns[p].categories.iter().any(|&c| !needed[c]));
        }
        let mut wanted: Vec<usize> =
            (0..categories).filter(|&c| needed[c] && !with[c].is_empty()).collect();
        wanted.sort_by_key(|&c| to_train[c]);
        Self { patterns, with, to_train, validating, needed, wanted, chosen: Vec::new(), steps: 0 }
    }

    /// Patterns of the groups for validation, one entry per group.
    fn run(&mut self) -> Vec<usize> {
        if !self.descend(0) {
            // No division satisfies all categories, or none was found: satisfy them one by one.
            for at in 0..self.wanted.len() {
                let category = self.wanted[at];
                let found = self.with[category].iter().copied().find(|&p| self.can_take(p));
                if let Some(pattern) = found.filter(|_| self.validating[category] == 0) {
                    self.take(pattern);
                }
            }
        }
        std::mem::take(&mut self.chosen)
    }

    fn descend(&mut self, at: usize) -> bool {
        let Some(&category) = self.wanted.get(at) else { return true };
        if self.validating[category] > 0 {
            return self.descend(at + 1);
        }
        for i in 0..self.with[category].len() {
            let pattern = self.with[category][i];
            if !self.can_take(pattern) {
                continue;
            }
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return false;
            }
            self.take(pattern);
            if self.descend(at + 1) {
                return true;
            }
            self.give_back(pattern);
        }
        false
    }

    fn can_take(&self, pattern: usize) -> bool {
        let Pattern { categories, members, taken } = &self.patterns[pattern];
        *taken < members.len()
            && categories.iter().all(|&c| !self.needed[c] || self.to_train[c] > 1)
    }

    fn take(&mut self, pattern: usize) {
        for &category in &self.patterns[pattern].categories {
            self.to_train[category] -= 1;
            self.validating[category] += 1;
        }
        self.patterns[pattern].taken += 1;
        self.chosen.push(pattern);
    }

    fn give_back(&mut self, pattern: usize) {
        for &category in &self.patterns[pattern].categories {
            self.to_train[category] += 1;
            self.validating[category] -= 1;
        }
        self.patterns[pattern].taken -= 1;
        self.chosen.pop();
    }
}

/// The categories that are not in both training and validation, and why.
pub(super) fn absences(file: &CocoFile, groups: &[Group]) -> Vec<Absence> {
    let absence = |(index, category): (usize, &crate::CategoryRecord)| {
        let showing: Vec<&Group> = groups.iter().filter(|g| g.shows(index)).collect();
        let in_part = |part: Part| showing.iter().any(|g| g.part() == part);
        let parts = [Part::Train, Part::Val];
        let missing: Vec<Part> = parts.into_iter().filter(|&part| !in_part(part)).collect();
        if missing.is_empty() {
            return None;
        }
        Some(Absence {
            category: category.name.clone(),
            groups: showing.len(),
            missing_from: missing.iter().map(ToString::to_string).collect(),
            reason: reason(&showing),
        })
    };
    file.categories.iter().enumerate().filter_map(absence).collect()
}

fn reason(showing: &[&Group]) -> String {
    let movable = showing.iter().filter(|g| !g.official && g.may_validate).count();
    match (showing, movable) {
        ([], _) => "it has no objects".into(),
        ([only], _) => format!("only {} shows it", only.name),
        (_, 0) => "the official split places all groups that show it".into(),
        (_, 1) => "the official split leaves only one group to place".into(),
        _ if showing.iter().all(|g| g.part() == Part::Test) => {
            "all groups that show it are in test".into()
        }
        _ => "each group that shows it is needed for another category where it is".into(),
    }
}
