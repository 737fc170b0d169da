//! Folds: each group is in the validation images of one fold, and in the training images of the others.

use anyhow::{Result, ensure};
use sonotune_base::{Error, seed::Rng};

use super::{
    Absence, Part, SplitOptions,
    fill::{Targets, fill, stratify},
    groups::Group,
};
use crate::CocoFile;

/// Places every free group in test or in a fold.
///
/// # Errors
/// If there are fewer groups than folds.
pub(super) fn assign(
    file: &CocoFile,
    groups: &mut [Group],
    count: usize,
    options: &SplitOptions,
    rng: &mut Rng,
) -> Result<Vec<Absence>> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    rng.shuffle(&mut order);
    fill(groups, Part::Test, Targets::of(groups, options).test, &order);
    let free = groups.iter().filter(|g| g.is_free()).count();
    ensure!(
        free >= count,
        Error::data(format!(
            "{free} groups of images that stay together cannot fill {count} folds"
        ))
    );
    spread_categories(groups, file.categories.len(), count, &order);
    let mut sizes = sizes(groups, count);
    order.retain(|&g| groups[g].is_free());
    // Large groups first: small ones even out the rest.
    order.sort_by_key(|&g| std::cmp::Reverse(groups[g].len()));
    for g in order {
        let smallest = (0..count).min_by_key(|&fold| sizes[fold]).unwrap_or_default();
        // With stratification, it is enough here that no fold is empty.
        if options.stratify && sizes[smallest] > 0 {
            break;
        }
        groups[g].part = Some(Part::Fold(smallest));
        sizes[smallest] += groups[g].len();
    }
    if options.stratify {
        let shares: Vec<_> = (0..count).map(|f| (Part::Fold(f), 1.0 / count as f64)).collect();
        stratify(file, groups, &shares, rng);
    }
    Ok(absences(file, groups, count))
}

fn sizes(groups: &[Group], count: usize) -> Vec<usize> {
    let mut sizes = vec![0; count];
    for group in groups {
        if let Some(Part::Fold(fold)) = group.part {
            sizes[fold] += group.len();
        }
    }
    sizes
}

/// Places each category, rarest first, in as many folds as it has groups.
fn spread_categories(groups: &mut [Group], categories: usize, count: usize, order: &[usize]) {
    let mut with = vec![Vec::new(); categories];
    for &g in order.iter().filter(|&&g| groups[g].is_free()) {
        groups[g].objects.iter().for_each(|&(category, _)| with[category].push(g));
    }
    let mut lacks = vec![vec![true; categories]; count];
    let mut sizes = vec![0; count];
    let mut rarest: Vec<usize> = (0..categories).collect();
    rarest.sort_by_key(|&category| with[category].len());
    for category in rarest {
        for &g in &with[category] {
            let open: Vec<usize> = (0..count).filter(|&fold| lacks[fold][category]).collect();
            if open.is_empty() {
                break;
            }
            if !groups[g].is_free() {
                continue;
            }
            let gain = |fold: usize| groups[g].objects.iter().filter(|o| lacks[fold][o.0]).count();
            // An empty fold gains most and is smallest, so that none stays empty.
            let best = open.into_iter().min_by_key(|&f| (std::cmp::Reverse(gain(f)), sizes[f], f));
            let Some(fold) = best else { break };
            groups[g].part = Some(Part::Fold(fold));
            sizes[fold] += groups[g].len();
            groups[g].objects.iter().for_each(|o| lacks[fold][o.0] = false);
        }
    }
}

fn absences(file: &CocoFile, groups: &[Group], count: usize) -> Vec<Absence> {
    let mut absences = Vec::new();
    for (index, category) in file.categories.iter().enumerate() {
        let showing: Vec<&Group> = groups.iter().filter(|g| g.shows(index)).collect();
        let drawn = showing.iter().filter(|g| matches!(g.part(), Part::Fold(_))).count();
        let shown = |fold: usize| showing.iter().any(|g| g.part() == Part::Fold(fold));
        let missing: Vec<usize> = (0..count).filter(|&fold| !shown(fold)).collect();
        if missing.is_empty() {
            continue;
        }
        let mut missing_from: Vec<String> =
            missing.iter().map(|fold| format!("fold{fold}/val")).collect();
        // All its groups are in one fold, so that fold does not train on it.
        if missing.len() + 1 == count {
            let only = (0..count).find(|&fold| shown(fold));
            missing_from.extend(only.map(|fold| format!("fold{fold}/train")));
        } else if missing.len() == count {
            missing_from.extend((0..count).map(|fold| format!("fold{fold}/train")));
        }
        let reason = match drawn {
            0 if showing.is_empty() => "it has no objects".into(),
            0 => "all groups that show it are in test".into(),
            1 => "only one group shows it".into(),
            n if n < count => format!("only {n} groups show it"),
            _ => "its groups also show other categories, and are needed where they are".into(),
        };
        let (category, groups) = (category.name.clone(), showing.len());
        absences.push(Absence { category, groups, missing_from, reason });
    }
    absences
}
