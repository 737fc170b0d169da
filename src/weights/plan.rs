//! What is to be copied from a file into which variable, and what does not fit.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use tch::Tensor;

use super::{
    WeightsFile,
    allow::Ignored,
    dtype::Dtype,
    entry::TensorEntry,
    keymap::{Part, Piece, Place},
    overlay::{Overlay, OverlayReport},
    parts::Source,
    report::{Cast, LoadReport, Loaded, Misshapen, Missing, Resized, Unplaced},
    resize::Resize,
};
use sonotune_base::Error;

/// What is to be copied, and the report about it.
pub(super) struct Plan<'a> {
    pub(super) copies: Vec<Copy<'a>>,
    pub(super) report: LoadReport,
}

/// One tensor on its way into a variable.
pub(super) struct Copy<'a> {
    /// The overlay, if the entry comes from it.
    pub(super) file: &'a WeightsFile,
    pub(super) entry: &'a TensorEntry,
    /// First row and number of rows to copy; `None`: all.
    rows: Option<(i64, i64)>,
    pub(super) variable: String,
    /// First row and number of rows of the variable that they go into; `None`: all.
    into: Option<(i64, i64)>,
    /// Shape of those rows.
    shape: Vec<i64>,
    /// The shape to give the file's tensor first, if it lacks leading axes of one.
    unflattened: Option<Vec<i64>>,
    resize: Option<Resize>,
}

/// Compares what a file holds with the variables that it has to give; an overlay's tensors are placed
/// with those of the main file.
pub(super) fn compare<'a>(
    variables: &BTreeMap<String, Tensor>,
    source: &Source<'a>,
    overlay: Option<&'a Overlay>,
) -> Result<Plan<'a>> {
    let Source { file, recognised, allowed, .. } = *source;
    let mut plan = Plan { copies: Vec::new(), report: LoadReport::new(source) };
    let mut sources = Sources::default();
    let mut ignored = Ignored::new(allowed.ignore);
    let overlaid = |name: &str| overlay.is_some_and(|overlay| overlay.has(name));
    let is_ours = |piece: &Piece| source.gives(&piece.name) && variables.contains_key(&piece.name);
    for entry in file.entries() {
        let (key, place_of, known_part) = recognised.place(&entry.name);
        let unplaced = || Unplaced { key: entry.name.clone(), shape: entry.shape.clone() };
        let report = &mut plan.report;
        if ignored.takes(&entry.name, &key, &place_of) {
            report.ignored.push(unplaced());
            continue;
        }
        match place_of {
            Place::Dropped => report.dropped.push(unplaced()),
            other if source.leaves(&key, &other) => report.left.push(unplaced()),
            Place::Ours(pieces) if pieces.iter().any(|p| overlaid(&p.name)) => {
                report.replaced.push(unplaced());
            }
            Place::Ours(pieces) if pieces.iter().any(is_ours) => {
                for piece in pieces.into_iter().filter(is_ours) {
                    sources.add(&piece, entry, file)?;
                    place(&mut plan, (file, entry), piece, variables, known_part);
                }
            }
            _ if known_part => report.unused.push(unplaced()),
            _ => report.unexpected.push(unplaced()),
        }
    }
    if let Some(overlay) = overlay.filter(|_| !source.is_part()) {
        place_overlay(&mut plan, overlay, variables);
    }
    sources.check(file)?;
    plan.drop_halves();
    for (name, variable) in variables {
        if !source.gives(name) || sources.0.contains_key(name) || overlaid(name) {
            continue;
        }
        let missing = Missing { variable: name.clone(), shape: variable.size() };
        if ignored.variables.contains(name) {
            plan.report.allowed_missing.push(missing);
        } else {
            plan.report.missing.push(missing);
        }
    }
    plan.report.warnings.extend(ignored.idle());
    plan.report.apply_patterns(allowed);
    plan.report.set_new_apart();
    if source.is_part() && plan.report.loaded.is_empty() && plan.report.replaced.is_empty() {
        plan.report.warnings.push("nothing was loaded from this file".to_owned());
    }
    Ok(plan)
}

/// Which tensors of the file stand for a variable, and for which of its rows.
#[derive(Default)]
struct Sources<'a>(HashMap<String, Vec<(Option<Part>, &'a str)>>);

impl<'a> Sources<'a> {
    fn add(&mut self, piece: &Piece, entry: &'a TensorEntry, file: &WeightsFile) -> Result<()> {
        let known = self.0.entry(piece.name.clone()).or_default();
        let clash =
            |part: Option<Part>| part.is_none() || piece.ours.is_none() || part == piece.ours;
        if let Some((_, other)) = known.iter().find(|(part, _)| clash(*part)) {
            return Err(Error::weights(format!(
                "{}: both `{other}` and `{}` stand for the variable `{}`",
                file.path().display(),
                entry.name,
                piece.name
            ))
            .into());
        }
        known.push((piece.ours, &entry.name));
        Ok(())
    }

    /// Refuses a variable of which the file holds only some parts: half a layer from a file and half
    /// at random is never intended.
    fn check(&self, file: &WeightsFile) -> Result<()> {
        for (variable, sources) in &self.0 {
            let mut parts: Vec<Part> = sources.iter().filter_map(|(part, _)| *part).collect();
            parts.sort();
            if !parts.is_empty() && !Part::cover(&parts) {
                let keys: Vec<_> = sources.iter().map(|(_, key)| format!("`{key}`")).collect();
                return Err(Error::weights(format!(
                    "{}: the variable `{variable}` is assembled from several tensors, but only {} \
                     are present; is the file complete?",
                    file.path().display(),
                    keys.join(", ")
                ))
                .into());
            }
        }
        Ok(())
    }
}

impl Copy<'_> {
    /// Reads the tensor, or its rows.
    pub(super) fn stored(&self) -> Result<Tensor> {
        let whole = self.file.read(&self.entry.name)?;
        Ok(match (self.rows, &self.unflattened) {
            (Some((first, count)), _) => whole.f_narrow(0, first, count)?,
            (None, Some(shape)) => whole.f_reshape(shape)?,
            (None, None) => whole,
        })
    }

    /// The row of the file's tensor that is copied first.
    pub(super) fn first_row(&self) -> i64 {
        self.rows.map_or(0, |(first, _)| first)
    }

    /// Reads the tensor, and copies it into its variable.
    pub(super) fn make(&self, variables: &BTreeMap<String, Tensor>) -> Result<()> {
        let Some(variable) = variables.get(&self.variable) else { return Ok(()) };
        let mut stored = self.stored()?;
        if let Some(resize) = self.resize {
            stored = resize
                .apply(&stored, &self.shape, variable.kind())
                .with_context(|| format!("cannot resize `{}`", self.variable))?;
        }
        let mut place = match self.into {
            Some((first, count)) => tch::no_grad(|| variable.f_narrow(0, first, count))?,
            None => variable.shallow_clone(),
        };
        tch::no_grad(|| place.f_copy_(&stored))
            .with_context(|| format!("cannot copy into `{}`", self.variable))?;
        Ok(())
    }
}

impl Plan<'_> {
    /// If one of several tensors for a variable does not fit, the others stay out as well.
    fn drop_halves(&mut self) {
        let unfit: HashSet<&str> =
            self.report.misshapen.iter().map(|wrong| wrong.variable.as_str()).collect();
        self.copies.retain(|copy| !unfit.contains(copy.variable.as_str()));
        self.report.loaded.retain(|loaded| !unfit.contains(loaded.variable.as_str()));
    }
}

fn place_overlay<'a>(
    plan: &mut Plan<'a>,
    overlay: &'a Overlay,
    variables: &BTreeMap<String, Tensor>,
) {
    for entry in overlay.file.entries() {
        if variables.contains_key(&entry.name) {
            let piece = Piece { name: entry.name.clone(), theirs: None, ours: None, flat: false };
            place(plan, (&overlay.file, entry), piece, variables, false);
        } else {
            let (key, shape) = (entry.name.clone(), entry.shape.clone());
            plan.report.unexpected.push(Unplaced { key, shape });
        }
    }
    plan.report.overlay = Some(OverlayReport {
        path: overlay.path().to_owned(),
        variables: overlay.file.entries().len(),
        info: overlay.info().clone(),
    });
}

/// Sorts one tensor that has a variable: fits, fits when resized, or not.
fn place<'a>(
    plan: &mut Plan<'a>,
    (file, entry): (&'a WeightsFile, &'a TensorEntry),
    Piece { name: variable, theirs: part, ours, flat }: Piece,
    variables: &BTreeMap<String, Tensor>,
    known_part: bool,
) {
    let report = &mut plan.report;
    let tensor = &variables[&variable];
    let kind = tensor.kind();
    let dtype = Dtype::from_kind(kind);
    let (mut stored, rows) = shape_of(&entry.shape, part);
    let (shape, into) = shape_of(&tensor.size(), ours);
    let unflattened = flat.then(|| unflattened(&stored, shape.len()));
    stored = unflattened.clone().unwrap_or(stored);
    let resize = (shape != stored).then(|| Resize::of(&variable, &stored, &shape)).flatten();
    let castable = dtype.is_some_and(|dtype| entry.dtype.casts_to(dtype));
    if (shape != stored && resize.is_none()) || !castable {
        report.misshapen.push(Misshapen {
            key: entry.name.clone(),
            variable,
            expected: shape,
            expected_dtype: dtype.map_or_else(|| format!("{kind:?}"), |d| d.to_string()),
            got: stored,
            got_dtype: entry.dtype,
            known_part,
        });
        return;
    }
    if let Some(resize) = resize {
        report.resized.push(Resized {
            variable: variable.clone(),
            from: stored,
            to: shape.clone(),
            how: resize.name(),
        });
    }
    if let Some(to) = dtype.filter(|&to| to != entry.dtype) {
        report.cast.push(Cast { variable: variable.clone(), from: entry.dtype, to });
    }
    let key = entry.name.clone();
    report.loaded.push(Loaded { variable: variable.clone(), key, part, rows: ours });
    plan.copies.push(Copy { file, entry, rows, variable, into, shape, unflattened, resize });
}

/// A shape with as many axes of one before it as it takes to have `rank`.
pub(super) fn unflattened(shape: &[i64], rank: usize) -> Vec<i64> {
    let mut all = vec![1; rank.saturating_sub(shape.len())];
    all.extend(shape);
    all
}

/// Shape of a part of a tensor of shape `whole`, and its rows. A tensor that cannot be divided is
/// taken whole, and found misshapen.
fn shape_of(whole: &[i64], part: Option<Part>) -> (Vec<i64>, Option<(i64, i64)>) {
    let mut shape = whole.to_vec();
    let rows = shape.first().and_then(|&all| part?.rows(all));
    if let (Some(first), Some((_, count))) = (shape.first_mut(), rows) {
        *first = count;
    }
    (shape, rows)
}
