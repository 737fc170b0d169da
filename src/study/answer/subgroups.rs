//! Whether a model is worse for some images: figures by device, site, sex.

use anyhow::Result;
use serde::Serialize;
use sonotune_base::words::counted;
use sonotune_statistics::{
    Error,
    paired::Permutations,
    subgroups::{Options, Subgroup, subgroups},
};

use super::{
    explained,
    figures::{Figures, options},
    measured::over_seeds,
    pool::Pooled,
};
use crate::cells::Study;

/// A field of more values is no division into groups: it numbers or measures the images.
const MOST_GROUPS: usize = 20;

/// A figure by the values of a field.
#[derive(Debug, Clone, Serialize)]
pub struct SubgroupTable {
    /// Key of the images.
    pub field: String,
    /// The figure that ranks if it is a mean over images, else the first that is one.
    pub figure: String,
    pub rows: Vec<SubgroupRow>,
    /// Images without this field, which are in no group.
    pub without_field: usize,
}

/// One entry in one group.
#[derive(Debug, Clone, Serialize)]
pub struct SubgroupRow {
    pub name: String,
    pub group: String,
    pub num_images: usize,
    pub num_patients: usize,
    pub value: f64,
    pub interval: Option<[f64; 2]>,
    /// Mean of the group minus mean of the other images; absent if the group is not compared.
    pub gap: Option<f64>,
    pub gap_interval: Option<[f64; 2]>,
    /// From a permutation test over patients, after Holm's correction for the groups of the entry.
    pub p_adjusted: Option<f64>,
    /// Why the group is not compared.
    pub not_compared: Option<String>,
}

/// A table for each field that the study names, and notes about those that have none.
pub(super) fn tables(
    study: &Study,
    pooled: &Pooled,
    figures: &Figures,
    order: &[usize],
) -> Result<(Vec<SubgroupTable>, Vec<String>)> {
    let (mut tables, mut notes) = (Vec::new(), Vec::new());
    for field in &study.config.statistics.subgroups {
        match table(study, pooled, figures, order, field)? {
            Ok(table) => tables.push(table),
            Err(why) => notes.push(format!("no subgroups by {field}: {why}")),
        }
    }
    Ok((tables, notes))
}

fn table(
    study: &Study,
    pooled: &Pooled,
    figures: &Figures,
    order: &[usize],
    field: &str,
) -> Result<std::result::Result<SubgroupTable, String>> {
    let Some(images) = pooled.arms.first().and_then(|arm| arm.tables.first()) else {
        return Ok(Err("there are no images".to_owned()));
    };
    let Some((definition, column)) = figures.first_mean() else {
        return Ok(Err("the task has no figure that is a mean over images".to_owned()));
    };
    let groups = images.field(field);
    let names: std::collections::BTreeSet<&str> = groups.iter().flatten().copied().collect();
    match names.len() {
        0 => {
            let known = match images.fields().as_slice() {
                [] => "they have none".to_owned(),
                fields => format!("there are {}", fields.join(", ")),
            };
            return Ok(Err(format!("no image has such a field; {known}")));
        }
        1 => return Ok(Err("all images have the same value".to_owned())),
        count if count > MOST_GROUPS => {
            return Ok(Err(format!("it has {}, more than {MOST_GROUPS}", counted(count, "value"))));
        }
        _ => {}
    }
    let bootstrap = options(study);
    let permutations = Permutations { seed: bootstrap.seed, count: bootstrap.resamples };
    let options = Options { bootstrap, permutations, ..Options::default() };
    let (mut rows, mut without_field) = (Vec::new(), 0);
    for &arm in order {
        let arm = &pooled.arms[arm];
        let of_seeds = arm.tables.iter().map(|table| table.rows.iter());
        let values: Vec<Vec<f64>> =
            of_seeds.map(|rows| rows.map(|row| row.values[column]).collect()).collect();
        match subgroups(&over_seeds(&values), &groups, &pooled.clusters, &options) {
            Ok(found) => {
                without_field = found.without_field;
                rows.extend(found.groups.iter().map(|group| row(&arm.name(), group)));
            }
            Err(Error::Empty { .. }) => {
                return Ok(Err(format!("no image with it has a value of {}", definition.name)));
            }
            Err(error) => return explained(Err(error)),
        }
    }
    let (field, figure) = (field.to_owned(), definition.name.clone());
    Ok(Ok(SubgroupTable { field, figure, rows, without_field }))
}

fn row(name: &str, group: &Subgroup) -> SubgroupRow {
    let limits = |estimate: &sonotune_statistics::bootstrap::Estimate| {
        estimate.interval.ok().map(|interval| [interval.low, interval.high])
    };
    let gap = group.gap.as_ref().ok();
    SubgroupRow {
        name: name.to_owned(),
        group: group.name.clone(),
        num_images: group.rows,
        num_patients: group.patients,
        value: group.mean.value,
        interval: limits(&group.mean),
        gap: gap.map(|gap| gap.difference.value),
        gap_interval: gap.and_then(|gap| limits(&gap.difference)),
        p_adjusted: gap.and_then(|gap| gap.adjusted_p),
        not_compared: group.gap.as_ref().err().map(ToString::to_string),
    }
}
