//! Recognises which convention a file follows by its keys.

use std::{borrow::Cow, collections::BTreeSet};

use anyhow::Result;
use serde::Serialize;

use super::{
    Convention, Place, conventions,
    wrappers::{WRAPPERS, fits, without},
};
use crate::WeightsFile;
use sonotune_base::Error;

/// Key of a `.safetensors` file's metadata that records the convention we wrote.
pub const CONVENTION_KEY: &str = "sonotune.convention";
/// Key under which a run's own checkpoints keep its progress.
pub(crate) const RUN_KEY: &str = "sonotune";

/// A convention and how it was determined.
#[derive(Debug, Clone, Serialize)]
pub struct Recognised {
    pub convention: &'static Convention,
    /// What comes before every name of the model: empty, or what a data-parallel or Lightning run adds.
    pub prefix: String,
    /// Components that wrappers (`torch.compile`, FSDP) have added within names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrappers: Vec<&'static str>,
    pub by: By,
}

impl Recognised {
    /// `` `ultrasam`, recognised by its keys: UltraSam's … ``.
    #[must_use]
    pub fn words(&self) -> String {
        let by = match self.by {
            By::Keys => "recognised by its keys",
            By::Metadata => "named in its metadata",
            By::Request => "as asked for",
        };
        let mut text = format!("`{}` ({}), {by}", self.convention.name, self.convention.title);
        if !self.prefix.is_empty() {
            text += &format!(", prefix `{}` taken off", self.prefix);
        }
        for wrapper in &self.wrappers {
            text += &format!(", `{wrapper}.` taken out of the names");
        }
        text
    }

    /// A name of the file as its convention spells it, what the convention says about it, and whether it
    /// belongs to a part that a model may leave unused. Without the prefix of the model's names it is not
    /// one of them.
    pub(crate) fn place<'a>(&self, name: &'a str) -> (Cow<'a, str>, Place, bool) {
        let convention = self.convention;
        match name.strip_prefix(self.prefix.as_str()) {
            Some(rest) => {
                let key = without(rest, &self.wrappers);
                let (place, known_part) =
                    (convention.to_ours(&key), convention.is_known_part(&key));
                (key, place, known_part)
            }
            None if convention.is_dropped(name) => (name.into(), Place::Dropped, false),
            None => (name.into(), Place::Unknown, false),
        }
    }
}

/// Why a convention was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The keys fit.
    Keys,
    /// The file's own metadata says so.
    Metadata,
    /// The config or the command line says so.
    Request,
}

/// The convention of a file: the requested one, else the one in its metadata, else the one its keys fit.
///
/// # Errors
/// When the requested one does not exist, the keys fit none, or the file holds several state dicts
/// that fit; names them. When FSDP has joined the parameters of several layers in one.
pub fn recognise(file: &WeightsFile, requested: Option<&str>) -> Result<Recognised> {
    refuse_flattened(file)?;
    recognise_if_known(file, requested)?.ok_or_else(|| unknown(file))
}

/// Same as [`recognise`], but `None` if the keys fit no convention.
///
/// # Errors
/// Same errors as [`recognise`], except that one.
pub(crate) fn recognise_if_known(
    file: &WeightsFile,
    requested: Option<&str>,
) -> Result<Option<Recognised>> {
    let own = file.metadata().contains_key(RUN_KEY).then_some("sonotune");
    let recorded = file.metadata().get(CONVENTION_KEY).map(String::as_str).or(own);
    let (named, by) = match requested {
        Some(name) => (Some(Convention::by_name(name)?), By::Request),
        None => match recorded.and_then(|name| Convention::by_name(name).ok()) {
            Some(convention) => (Some(convention), By::Metadata),
            None => (None, By::Keys),
        },
    };
    // `module` can also be a model's own; it is taken for a wrapper if more of the name then fits.
    let certain = &WRAPPERS[..WRAPPERS.len() - 1];
    let all = [certain, &WRAPPERS].into_iter().flat_map(|wrappers| {
        fits(names(file), wrappers).into_iter().map(move |fit| (wrappers, fit))
    });
    let fit = all
        .filter(|(_, (convention, _))| named.is_none_or(|named| named == *convention))
        .min_by_key(|(_, (_, prefixes))| prefixes.iter().map(|prefix| prefix.len()).min());
    if let Some((wrappers, (convention, prefixes))) = fit {
        let prefix = only_prefix(file, convention, &prefixes)?;
        return Ok(Some(recognised(file, convention, prefix, wrappers, by)));
    }
    Ok(named.map(|convention| recognised(file, convention, "", certain, by)))
}

/// Refuses a file with the tensors that PyTorch's FSDP trains in place of a model's own: each joins those of
/// several layers, flattened, and often only the part that one process held.
pub(crate) fn refuse_flattened(file: &WeightsFile) -> Result<()> {
    let is_flat = |name: &&str| matches!(last_part(name), "_flat_param" | "flat_param");
    let mut flat = names(file).filter(is_flat);
    let Some(first) = flat.next() else { return Ok(()) };
    Err(Error::weights(format!(
        "{}: FSDP has flattened and joined its parameters ({} of {} tensors, such as `{first}`), so the model's \
         own names and shapes are lost; where the model was trained, save the full state dict: \
         `get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))` of \
         torch.distributed.checkpoint.state_dict, or `model.state_dict()` within \
         `FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT)`",
        file.path().display(),
        1 + flat.count(),
        file.entries().len(),
    ))
    .into())
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn recognised(
    file: &WeightsFile,
    convention: &'static Convention,
    prefix: &str,
    wrappers: &[&'static str],
    by: By,
) -> Recognised {
    let occurs = |wrapper: &&&str| {
        let mut rest = names(file).filter_map(|name| name.strip_prefix(prefix));
        rest.any(|name| name.split('.').any(|part| part == **wrapper))
    };
    let wrappers = wrappers.iter().filter(occurs).copied().collect();
    Recognised { convention, prefix: prefix.to_owned(), wrappers, by }
}

/// The prefix of the model's names.
///
/// # Errors
/// When it could be several, or the file holds further state dicts that fit.
fn only_prefix<'a>(
    file: &WeightsFile,
    convention: &Convention,
    prefixes: &BTreeSet<&'a str>,
) -> Result<&'a str> {
    let prefixes: Vec<&str> =
        if prefixes.contains("") { vec![""] } else { prefixes.iter().copied().collect() };
    let rivals = rivals(file, Some(convention));
    if let ([prefix], true) = (prefixes.as_slice(), rivals.is_empty()) {
        return Ok(prefix);
    }
    let own = prefixes.iter().map(|prefix| match (file.found_at(), *prefix) {
        ("", prefix) => prefix.trim_end_matches('.').to_owned(),
        (found_at, _) if prefixes.len() == 1 => found_at.to_owned(),
        (found_at, prefix) => format!("{found_at}.{}", prefix.trim_end_matches('.')),
    });
    let paths: Vec<_> = own.chain(rivals.into_iter().map(|(path, _)| path)).collect();
    Err(Error::weights(format!(
        "{}: it holds {} state dicts that follow `{}`: {}; choose one, such as state_dict = {:?} next to \
         the file's `path` in [weights], or --state-dict",
        file.path().display(),
        paths.len(),
        convention.name,
        paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", "),
        paths[0]
    ))
    .into())
}

/// Other state dicts of the file that follow this convention, or any.
fn rivals(file: &WeightsFile, convention: Option<&Convention>) -> Vec<(String, &'static str)> {
    let follows = |(path, names): &(String, Vec<String>)| {
        let fits = fits(names.iter().map(String::as_str), &WRAPPERS);
        let mut fits = fits.into_iter().map(|(fit, _)| fit);
        let fit = fits.find(|fit| convention.is_none_or(|convention| convention == *fit))?;
        Some((path.clone(), fit.name))
    };
    file.rivals().iter().filter_map(follows).collect()
}

fn names(file: &WeightsFile) -> impl Iterator<Item = &str> {
    file.entries().iter().map(|entry| entry.name.as_str())
}

fn unknown(file: &WeightsFile) -> anyhow::Error {
    let keys: Vec<_> = names(file).take(5).map(|name| format!("`{name}`")).collect();
    let known: Vec<_> = conventions().map(|c| c.name).collect();
    let elsewhere: String = rivals(file, None)
        .into_iter()
        .map(|(path, name)| {
            format!("`{path}` follows `{name}`: to use it, add state_dict = {path:?} there. ")
        })
        .collect();
    let found_at = match file.found_at() {
        "" => String::new(),
        path => format!(" under `{path}`"),
    };
    Error::weights(format!(
        "{}: its {} keys{found_at} follow no known naming convention; they begin with {}. {elsewhere}\
         Known conventions: {}; name one as `convention` next to the file's `path` in [weights] \
         (`sonotune` takes the model's own variable names)",
        file.path().display(),
        file.entries().len(),
        keys.join(", "),
        known.join(", "),
    ))
    .into()
}
