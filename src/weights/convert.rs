//! Converts one file of weights into another: container, names, number format.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;
use tch::Tensor;

use super::{
    Dtype, WeightsFile,
    keymap::{
        CONVENTION_KEY, Convention, Part, Piece, Place, RUN_KEY, Recognised, recognise,
        recognise_if_known,
    },
    open_state_dict,
    plan::unflattened,
    save_safetensors, save_torch,
};
use crate::addition;
use sonotune_base::{Error, pattern};

/// What [`convert`] is to do.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// Naming convention of the input; recognised if absent.
    pub from: Option<String>,
    /// Dotted path of the state dict within the input; looked for if absent.
    pub state_dict: Option<String>,
    /// Naming convention of the output; absent: names stay as they are.
    pub to: Option<String>,
    /// Number format of floating-point tensors; absent: as it is.
    pub dtype: Option<Dtype>,
    /// Patterns of input keys to leave out.
    pub drop: Vec<String>,
    /// Whether an existing output may be replaced.
    pub overwrite: bool,
}

/// What [`convert`] did.
#[derive(Debug, Clone, Serialize)]
pub struct ConvertReport {
    pub input: PathBuf,
    pub output: PathBuf,
    /// Convention of the input; absent if names stay as they are and fit no convention.
    pub from: Option<Recognised>,
    /// Convention of the output; absent as above.
    pub to: Option<&'static Convention>,
    pub tensors: usize,
    pub output_bytes: u64,
    /// Parts of the network that the other convention has no table for, and keys dropped on request.
    pub left_out: Vec<String>,
    /// Tensors whose number format changed.
    pub cast: usize,
}

/// Container of the output, by its file extension.
enum Target {
    Safetensors,
    Torch,
}

/// Writes the model's tensors of `input` to `output`, a `.safetensors`, `.pth` or `.pt` file.
///
/// # Errors
/// When the input cannot be read, a key has no name in the output's convention, the output already
/// exists, or it cannot be written.
pub fn convert(input: &Path, output: &Path, options: &ConvertOptions) -> Result<ConvertReport> {
    let target = target(output)?;
    if output.exists() && !options.overwrite {
        let output = output.display();
        return Err(Error::weights(format!(
            "{output} already exists; choose another name or pass --overwrite"
        ))
        .into());
    }
    let to = options.to.as_deref().map(Convention::by_name).transpose()?;
    let file = open_state_dict(input, options.state_dict.as_deref())?;
    // Names need to be understood only if they are to change.
    let from = match to {
        Some(_) => Some(recognise(&file, options.from.as_deref())?),
        None => recognise_if_known(&file, options.from.as_deref())?,
    };
    if let (Some(from), Some(to)) = (&from, to) {
        refuse_additions(&file, from, to, options)?;
    }
    let convention = to.or(from.as_ref().map(|from| from.convention));
    let names = names(&file, from.as_ref().zip(convention), options)?;
    let mut cast = 0;
    let tensors = names
        .outputs
        .iter()
        .map(|output| {
            let (tensor, changed) = cast_to(read(&file, output)?, options.dtype)?;
            cast += usize::from(changed);
            Ok((output.name.clone(), tensor))
        })
        .collect::<Result<Vec<_>>>()?;
    match target {
        Target::Torch => save_torch(output, &tensors)?,
        Target::Safetensors => {
            save_safetensors(output, &tensors, &metadata(&file, convention))?;
        }
    }
    Ok(ConvertReport {
        input: input.to_owned(),
        output: output.to_owned(),
        from,
        to: convention,
        tensors: tensors.len(),
        output_bytes: std::fs::metadata(output)?.len(),
        left_out: names.left_out,
        cast,
    })
}

/// What fine-tuning added beside the pretrained layers would be keys that the reader ignores: the model
/// would silently be the pretrained one again.
fn refuse_additions(
    file: &WeightsFile,
    from: &Recognised,
    to: &Convention,
    options: &ConvertOptions,
) -> Result<()> {
    if to.name == "sonotune" || from.convention == to {
        return Ok(());
    }
    let kept = |key: &&str| !options.drop.iter().any(|drop| pattern::matches(drop, key));
    let keys = file.entries().iter().map(|entry| entry.name.as_str()).filter(kept);
    let mut added = keys.filter_map(|key| Some((key, addition(key)?)));
    let Some((key, kind)) = added.next() else { return Ok(()) };
    Err(Error::weights(format!(
        "{}: it holds {kind} (`{key}`), which `{}` has no place for; `sonotune weights export RUN OUT \
         --merge --to {}` merges LoRA first",
        file.path().display(),
        to.name,
        to.name
    ))
    .into())
}

fn target(output: &Path) -> Result<Target> {
    match output.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => Ok(Target::Safetensors),
        Some("pth" | "pt") => Ok(Target::Torch),
        _ => Err(Error::config(format!(
            "{}: the output's name must end in .safetensors, .pth or .pt",
            output.display()
        ))
        .into()),
    }
}

/// One tensor of the output and what it is made of, in the order of its rows.
struct Output {
    name: String,
    sources: Vec<Source>,
}

/// A tensor of the input, or a part of it.
struct Source {
    key: String,
    /// Part of the input's tensor.
    from: Option<Part>,
    /// Part of the output's tensor.
    to: Option<Part>,
    /// Whether the input lacks, and whether the output is to lack, the leading axes of one that ours has.
    flat: (bool, bool),
}

struct Names {
    outputs: Vec<Output>,
    left_out: Vec<String>,
}

impl Names {
    fn add(&mut self, name: String, source: Source) {
        // Whole tensors of one name are kept apart, for `check` to refuse.
        let same = |o: &&mut Output| o.name == name && o.sources.iter().all(|s| s.to.is_some());
        match self.outputs.iter_mut().rfind(same).filter(|_| source.to.is_some()) {
            Some(output) => output.sources.push(source),
            None => self.outputs.push(Output { name, sources: vec![source] }),
        }
    }
}

fn names(
    file: &WeightsFile,
    conventions: Option<(&Recognised, &Convention)>,
    options: &ConvertOptions,
) -> Result<Names> {
    let mut names = Names { outputs: Vec::new(), left_out: Vec::new() };
    let mut unknown = Vec::new();
    for entry in file.entries() {
        let key = entry.name.clone();
        let whole =
            |key: &str| Source { key: key.to_owned(), from: None, to: None, flat: (false, false) };
        if options.drop.iter().any(|drop| pattern::matches(drop, &key)) {
            names.left_out.push(key);
            continue;
        }
        let Some((from, to)) = conventions else {
            names.add(key.clone(), whole(&key));
            continue;
        };
        if from.convention.is_training_state(&key) {
            names.left_out.push(key);
            continue;
        }
        let (theirs, place, known_part) = from.place(&key);
        if from.convention == to {
            // Every part already has its name; its prefix is dropped only if names change at all.
            let name = if options.to.is_some() { theirs.into_owned() } else { key.clone() };
            names.add(name, whole(&key));
            continue;
        }
        let pieces = match place {
            Place::Ours(pieces) => pieces,
            Place::Dropped => {
                names.left_out.push(key);
                continue;
            }
            Place::Unknown => Vec::new(),
        };
        let renamed: Option<Vec<_>> =
            pieces.iter().map(|piece| renamed(&key, piece, to.to_theirs(&piece.name))).collect();
        match renamed.filter(|renamed| !renamed.is_empty()) {
            Some(renamed) => {
                for (name, source) in renamed.into_iter().flatten() {
                    names.add(name, source);
                }
            }
            None if known_part => names.left_out.push(key),
            None => unknown.push(key),
        }
    }
    for output in &mut names.outputs {
        output.sources.sort_by_key(|source| source.to);
    }
    check(file, &names, &unknown, conventions)?;
    Ok(names)
}

/// The names and sources that replace `piece`, which the input has under `key`, if the output's
/// convention has `theirs` for the same variable of ours; `None` if it has nothing that fits.
fn renamed(key: &str, piece: &Piece, theirs: Vec<Piece>) -> Option<Vec<(String, Source)>> {
    let renamed: Option<Vec<_>> = theirs
        .into_iter()
        .filter(|other| {
            // Both keep the variable in several tensors: each goes to its counterpart.
            piece.ours.is_none() || other.ours.is_none() || piece.ours == other.ours
        })
        .map(|other| {
            let (from, to) = match (piece.ours, other.ours) {
                // A part of a part has no name; no two conventions need one.
                (None, Some(part)) if piece.theirs.is_none() => (Some(part), other.theirs),
                (Some(part), None) if other.theirs.is_none() => (piece.theirs, Some(part)),
                (None, None) | (Some(_), Some(_)) => (piece.theirs, other.theirs),
                _ => return None,
            };
            let flat = (piece.flat, other.flat);
            Some((other.name, Source { key: key.to_owned(), from, to, flat }))
        })
        .collect();
    renamed.filter(|renamed| !renamed.is_empty())
}

/// Reads what an output tensor is made of.
fn read(file: &WeightsFile, output: &Output) -> Result<Tensor> {
    let parts = output
        .sources
        .iter()
        .map(|source| {
            let tensor = reshaped(file.read(&source.key)?, source.flat)?;
            let rows = tensor.size().first().copied().unwrap_or_default();
            let Some(part) = source.from else { return Ok(tensor) };
            let (first, count) = part.rows(rows).ok_or_else(|| {
                Error::weights(format!(
                    "{}: `{}` has {rows} rows, which cannot be divided as its convention says ({part})",
                    file.path().display(),
                    source.key
                ))
            })?;
            Ok(tensor.f_narrow(0, first, count)?.contiguous())
        })
        .collect::<Result<Vec<_>>>()?;
    match parts.as_slice() {
        [whole] => Ok(whole.shallow_clone()),
        parts => Ok(Tensor::f_cat(parts, 0)?),
    }
}

/// A token or position of `[C]` or `[N, C]` is ours of `[1, N, C]`.
fn reshaped(tensor: Tensor, (from, to): (bool, bool)) -> Result<Tensor> {
    Ok(match (from, to) {
        (true, false) => tensor.f_reshape(unflattened(&tensor.size(), 3))?,
        (false, true) => {
            let size = tensor.size();
            let ones = size.iter().take(size.len().saturating_sub(1)).take_while(|&&n| n == 1);
            tensor.f_reshape(&size[ones.count()..])?
        }
        _ => tensor,
    })
}

fn check(
    file: &WeightsFile,
    names: &Names,
    unknown: &[String],
    conventions: Option<(&Recognised, &Convention)>,
) -> Result<()> {
    let path = file.path().display();
    if let (Some(first), Some((from, to))) = (unknown.first(), conventions) {
        return Err(Error::weights(format!(
            "{path}: {} keys of convention `{}` have no name in `{}`, among them `{first}`; leave \
             them out with --drop PATTERN",
            unknown.len(),
            from.convention.name,
            to.name
        ))
        .into());
    }
    let mut sources: HashMap<&str, &str> = HashMap::new();
    for Output { name, sources: made_of } in &names.outputs {
        let key = &made_of[0].key;
        if let Some(other) = sources.insert(name, key) {
            return Err(Error::weights(format!(
                "{path}: both `{other}` and `{key}` would be named `{name}`; leave one out with \
                 --drop"
            ))
            .into());
        }
        let parts: Vec<Part> = made_of.iter().filter_map(|source| source.to).collect();
        if !parts.is_empty() && !Part::cover(&parts) {
            return Err(Error::weights(format!(
                "{path}: `{name}` is assembled from several tensors, but only {} are present; \
                 leave them out with --drop PATTERN",
                parts.iter().map(Part::to_string).collect::<Vec<_>>().join(", ")
            ))
            .into());
        }
    }
    if names.outputs.is_empty() {
        return Err(Error::weights(format!("{path}: no tensor is left to write")).into());
    }
    Ok(())
}

fn cast_to(tensor: Tensor, dtype: Option<Dtype>) -> Result<(Tensor, bool)> {
    let Some(dtype) = dtype else { return Ok((tensor, false)) };
    let is_float = Dtype::from_kind(tensor.kind()).is_some_and(|from| from.casts_to(Dtype::F32));
    if !is_float || tensor.kind() == dtype.kind() {
        return Ok((tensor, false));
    }
    Ok((tensor.f_to_kind(dtype.kind())?, true))
}

fn metadata(file: &WeightsFile, convention: Option<&Convention>) -> BTreeMap<String, String> {
    let mut metadata = file.metadata().clone();
    // Hugging Face's loaders require it.
    metadata.insert("format".to_owned(), "pt".to_owned());
    if convention.is_none_or(|convention| convention.name != "sonotune") {
        metadata.remove(RUN_KEY);
    }
    match convention {
        Some(convention) => metadata.insert(CONVENTION_KEY.to_owned(), convention.name.to_owned()),
        None => metadata.remove(CONVENTION_KEY),
    };
    metadata
}

impl ConvertReport {
    /// The report as text for a terminal.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = match (&self.from, self.to) {
            (Some(from), Some(to)) => {
                format!("convention  {}\nwritten as  `{}`: {}\n", from.words(), to.name, to.title)
            }
            _ => "convention  unknown; names stay as they are\n".to_owned(),
        };
        if self.cast > 0 {
            text += &format!("cast        {} tensors\n", self.cast);
        }
        if !self.left_out.is_empty() {
            let parts = super::words::grouped(self.left_out.iter().map(String::as_str));
            text += &format!("left out    {}\n", parts.join(", "));
        }
        let bytes = sonotune_base::words::bytes(self.output_bytes);
        text + &format!("{}: {} tensors, {bytes}\n", self.output.display(), self.tensors)
    }
}
