//! From a file into a model's variables, strictly.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use tch::{Tensor, nn::VarStore};

use super::{
    WeightsFile,
    dtype::Dtype,
    entry::TensorEntry,
    keymap::{Part, Piece, Place, Recognised, recognise, strip},
    open,
    overlay::{Overlay, OverlayReport, refuse_as_base},
    report::{Cast, LoadReport, Loaded, Misshapen, Missing, Resized, Unplaced},
    resize::Resize,
};
use crate::{Error, backbone::addition, config::WeightsConfig, pattern};

/// Loads pretrained weights into the variables of a model, in place and strictly.
///
/// Every variable, buffers included, must be found in the file with its shape, and every tensor
/// of the file must have a place, unless the config's patterns or the convention's table say
/// otherwise. Position embeddings of another input size are resized. Variables keep their number
/// format and device. On an error no variable has changed.
///
/// With an overlay, the file and the overlay together must hold every variable; what both have is
/// the overlay's. Variables of LoRA and adapters start as they are where the file has none of them.
///
/// # Errors
/// When a file cannot be read, follows no known convention, or does not fit; lists what does
/// not.
pub fn load(vs: &VarStore, config: &WeightsConfig) -> Result<LoadReport> {
    let file = open(&config.path)?;
    let recognised = recognise(&file, config.convention.as_deref())?;
    load_file(vs, &file, recognised, config)
}

/// As [`load`], from a file that is open already.
///
/// # Errors
/// As [`load`].
pub fn load_file(
    vs: &VarStore,
    file: &WeightsFile,
    recognised: Recognised,
    config: &WeightsConfig,
) -> Result<LoadReport> {
    refuse_as_base(file)?;
    let overlay = config.overlay.as_deref().map(Overlay::open).transpose()?;
    if let Some(overlay) = &overlay {
        overlay.check_base(file.path())?;
    }
    let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    let plan = compare(&variables, file, recognised, config, overlay.as_ref())?;
    plan.report.check()?;
    let read = |copy: &Copy| -> Result<Tensor> {
        let file = overlay.as_ref().filter(|_| copy.overlaid).map_or(file, |o| &o.file);
        let stored = copy.rows.map_or_else(
            || file.read(&copy.entry.name),
            |(first, count)| Ok(file.read(&copy.entry.name)?.f_narrow(0, first, count)?),
        )?;
        match copy.resize {
            Some(resize) => resize
                .apply(&stored, &copy.shape)
                .with_context(|| format!("cannot resize `{}`", copy.variable)),
            None => Ok(stored),
        }
    };
    for copy in &plan.copies {
        let stored = read(copy)?;
        if let Some(variable) = variables.get(&copy.variable) {
            let mut place = match copy.into {
                Some((first, count)) => tch::no_grad(|| variable.f_narrow(0, first, count))?,
                None => variable.shallow_clone(),
            };
            tch::no_grad(|| place.f_copy_(&stored))
                .with_context(|| format!("cannot copy into `{}`", copy.variable))?;
        }
    }
    Ok(plan.report)
}

/// What is to be done, and the report of it.
struct Plan<'a> {
    copies: Vec<Copy<'a>>,
    report: LoadReport,
}

struct Copy<'a> {
    entry: &'a TensorEntry,
    /// Whether the entry is the overlay's.
    overlaid: bool,
    /// First and number of the rows that are meant; `None`: all.
    rows: Option<(i64, i64)>,
    variable: String,
    /// First and number of the variable's rows that they go into; `None`: all.
    into: Option<(i64, i64)>,
    /// Of those rows.
    shape: Vec<i64>,
    resize: Option<Resize>,
}

fn compare<'a>(
    variables: &BTreeMap<String, Tensor>,
    file: &'a WeightsFile,
    recognised: Recognised,
    config: &WeightsConfig,
    overlay: Option<&'a Overlay>,
) -> Result<Plan<'a>> {
    let mut plan = Plan { copies: Vec::new(), report: LoadReport::new(file, recognised, config) };
    let mut sources = Sources::default();
    let mut ignored = Ignored::new(&config.ignore);
    let overlaid = |name: &str| overlay.is_some_and(|overlay| overlay.has(name));
    for entry in file.entries() {
        let key = strip(&entry.name, recognised.prefix);
        let unplaced = || Unplaced { key: entry.name.clone(), shape: entry.shape.clone() };
        let known_part = recognised.convention.is_known_part(&key);
        let report = &mut plan.report;
        let place_of = recognised.convention.to_ours(&key);
        if ignored.takes(&entry.name, &key, &place_of) {
            report.ignored.push(unplaced());
            continue;
        }
        match place_of {
            Place::Dropped => report.dropped.push(unplaced()),
            Place::Ours(pieces) if pieces.iter().any(|p| overlaid(&p.name)) => {
                report.replaced.push(unplaced());
            }
            Place::Ours(pieces) if pieces.iter().any(|p| variables.contains_key(&p.name)) => {
                for piece in pieces.into_iter().filter(|p| variables.contains_key(&p.name)) {
                    sources.add(&piece, entry, file)?;
                    place(&mut plan, entry, false, piece, variables, known_part);
                }
            }
            _ if known_part => report.unused.push(unplaced()),
            _ => report.unexpected.push(unplaced()),
        }
    }
    if let Some(overlay) = overlay {
        place_overlay(&mut plan, overlay, variables);
    }
    sources.check(file)?;
    plan.drop_halves();
    for (name, variable) in variables {
        if sources.0.contains_key(name) || overlaid(name) {
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
    plan.report.apply_patterns(config);
    plan.report.set_new_apart();
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

    /// Refuses a variable of which the file holds some parts and not the others: half a layer from
    /// a file and half at random is never meant.
    fn check(&self, file: &WeightsFile) -> Result<()> {
        for (variable, sources) in &self.0 {
            let mut parts: Vec<Part> = sources.iter().filter_map(|(part, _)| *part).collect();
            parts.sort();
            if !parts.is_empty() && !Part::cover(&parts) {
                let keys: Vec<_> = sources.iter().map(|(_, key)| format!("`{key}`")).collect();
                return Err(Error::weights(format!(
                    "{}: the variable `{variable}` is made of several tensors, of which only {} \
                     are there; is the file complete?",
                    file.path().display(),
                    keys.join(", ")
                ))
                .into());
            }
        }
        Ok(())
    }
}

impl Plan<'_> {
    /// Where one tensor of several for a variable does not fit, the others stay out as well.
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
            let piece = Piece { name: entry.name.clone(), theirs: None, ours: None };
            place(plan, entry, true, piece, variables, false);
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

/// The patterns of `ignore` and what they have met.
struct Ignored<'a> {
    patterns: &'a [String],
    used: HashSet<&'a str>,
    /// Of the model, that the file would have filled.
    variables: HashSet<String>,
}

impl<'a> Ignored<'a> {
    fn new(patterns: &'a [String]) -> Self {
        Self { patterns, used: HashSet::new(), variables: HashSet::new() }
    }

    /// Whether a pattern matches a tensor: its name in the file, with or without what wraps all
    /// names there, or a variable that it would go into.
    fn takes(&mut self, name: &str, key: &str, place: &Place) -> bool {
        let pieces: &[Piece] = if let Place::Ours(pieces) = place { pieces } else { &[] };
        let names = || [name, key].into_iter().chain(pieces.iter().map(|p| p.name.as_str()));
        let met = self.patterns.iter().filter(|p| names().any(|name| pattern::matches(p, name)));
        let met: Vec<&str> = met.map(String::as_str).collect();
        if met.is_empty() {
            return false;
        }
        self.used.extend(met);
        self.variables.extend(pieces.iter().map(|piece| piece.name.clone()));
        true
    }

    fn idle(&self) -> Vec<String> {
        let idle = self.patterns.iter().filter(|p| !self.used.contains(p.as_str()));
        idle.map(|pattern| format!("ignore = [\"{pattern}\"] matches nothing")).collect()
    }
}

/// Sorts one tensor that has a variable: fits, fits when resized, or not.
fn place<'a>(
    plan: &mut Plan<'a>,
    entry: &'a TensorEntry,
    overlaid: bool,
    Piece { name: variable, theirs: part, ours }: Piece,
    variables: &BTreeMap<String, Tensor>,
    known_part: bool,
) {
    let report = &mut plan.report;
    let tensor = &variables[&variable];
    let kind = tensor.kind();
    let dtype = Dtype::from_kind(kind);
    let (stored, rows) = shape_of(&entry.shape, part);
    let (shape, into) = shape_of(&tensor.size(), ours);
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
    plan.copies.push(Copy { entry, overlaid, rows, variable, into, shape, resize });
}

/// Shape of a part of a tensor of `whole`, and its rows. A tensor that does not divide is taken
/// whole, and found misshapen.
fn shape_of(whole: &[i64], part: Option<Part>) -> (Vec<i64>, Option<(i64, i64)>) {
    let mut shape = whole.to_vec();
    let rows = shape.first().and_then(|&all| part?.rows(all));
    if let (Some(first), Some((_, count))) = (shape.first_mut(), rows) {
        *first = count;
    }
    (shape, rows)
}

impl LoadReport {
    /// Pretrained files know nothing of LoRA and adapters: where a file has none, theirs are no
    /// error. A file that has some must have them all.
    fn set_new_apart(&mut self) {
        let found = self.loaded.iter().map(|loaded| &loaded.variable);
        let found = found.chain(self.misshapen.iter().map(|misshapen| &misshapen.variable));
        let kinds: HashSet<&str> = found.filter_map(|name| addition(name)).collect();
        let is_new = |missing: &Missing| {
            addition(&missing.variable).is_some_and(|kind| !kinds.contains(kind))
        };
        (self.new, self.missing) = std::mem::take(&mut self.missing).into_iter().partition(is_new);
    }

    /// Moves what the config allows out of the lists of errors, and notes patterns of no use.
    fn apply_patterns(&mut self, config: &WeightsConfig) {
        let mut used = std::collections::HashSet::new();
        let mut allowed = |patterns: &[String], name: &str| {
            let mut any = false;
            for pattern in patterns.iter().filter(|p| pattern::matches(p, name)) {
                used.insert(pattern.clone());
                any = true;
            }
            any
        };
        // A part for another purpose, such as the classes of ImageNet, does not block one that
        // is to start anew.
        for wrong in std::mem::take(&mut self.misshapen) {
            if allowed(&config.allow_misshapen, &wrong.variable) {
                self.allowed_misshapen.push(wrong);
            } else if wrong.known_part && allowed(&config.allow_missing, &wrong.variable) {
                self.unused.push(Unplaced { key: wrong.key, shape: wrong.got });
                self.allowed_missing
                    .push(Missing { variable: wrong.variable, shape: wrong.expected });
            } else {
                self.misshapen.push(wrong);
            }
        }
        // A variable that the file keeps in several tensors is missing once.
        self.allowed_missing.dedup_by(|a, b| a.variable == b.variable);
        for missing in std::mem::take(&mut self.missing) {
            if allowed(&config.allow_missing, &missing.variable) {
                self.allowed_missing.push(missing);
            } else {
                self.missing.push(missing);
            }
        }
        for unplaced in std::mem::take(&mut self.unexpected) {
            if allowed(&config.allow_unexpected, &unplaced.key) {
                self.allowed_unexpected.push(unplaced);
            } else {
                self.unexpected.push(unplaced);
            }
        }
        let patterns = [
            ("allow_missing", &config.allow_missing),
            ("allow_unexpected", &config.allow_unexpected),
            ("allow_misshapen", &config.allow_misshapen),
        ];
        for (key, patterns) in patterns {
            for pattern in patterns.iter().filter(|p| !used.contains(*p)) {
                self.warnings.push(format!("{key} = [\"{pattern}\"] matches nothing"));
            }
        }
    }
}
