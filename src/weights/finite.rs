//! Values that are not finite, found before they turn every loss into NaN and images are blamed.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Result;
use tch::{Kind, Tensor};

use super::{plan::Copy, report::LoadReport};
use sonotune_base::{Error, words::listed};

/// Tensors for which a message suggests to ignore them. With more, the model would start at random.
const FEW: usize = 4;
/// Tensors that a message lists.
const SHOWN: usize = 6;

/// Refuses tensors that hold NaN or infinity, or numbers that their variable's format cannot hold.
///
/// # Errors
/// Names the file, each tensor, how many values and the first of them.
pub(super) fn check_finite(
    copies: &[Copy<'_>],
    variables: &BTreeMap<String, Tensor>,
    report: &LoadReport,
) -> Result<()> {
    let (mut wrong, mut ignorable) = (Vec::new(), Some(BTreeMap::<_, Vec<&str>>::new()));
    for copy in copies {
        let Some(variable) = variables.get(&copy.variable) else { continue };
        let stored = copy.stored()?;
        let Some(found) = not_finite(&stored, variable.kind(), copy.first_row())? else { continue };
        let (path, key) = (copy.file.path().display(), &copy.entry.name);
        wrong.push(format!("{path}: `{key}` {:?} holds {found}", copy.entry.shape));
        match (&mut ignorable, report.table(copy)) {
            (Some(tables), Some(table)) => tables.entry(table).or_default().push(&copy.variable),
            _ => ignorable = None,
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let mut message = format!(
        "{}; nothing was loaded. Use another copy of the weights",
        listed(wrong.iter(), SHOWN)
    );
    for (table, mut names) in ignorable.into_iter().flatten().filter(|_| wrong.len() <= FEW) {
        names.dedup();
        let _ = write!(
            message,
            "\n  or let these variables start at random: {table} ignore = {names:?}"
        );
    }
    Err(Error::weights(message).into())
}

/// In words, how many values are not finite once they are of this kind, and the first; `None` if all are
/// finite. `first_row` is the row of the file's tensor where `stored` begins.
pub fn not_finite(stored: &Tensor, kind: Kind, first_row: i64) -> Result<Option<String>> {
    let bad = stored.f_to_kind(kind)?.f_isfinite()?.f_logical_not()?;
    let count = i64::try_from(bad.f_sum(Kind::Int64)?)?;
    if count == 0 {
        return Ok(None);
    }
    let mut flat = i64::try_from(bad.f_to_kind(Kind::Uint8)?.f_argmax(None, false)?)?;
    let value = stored.f_reshape([-1])?.f_double_value(&[flat])?;
    let mut index = Vec::new();
    for size in stored.size().into_iter().rev() {
        index.push(flat % size);
        flat /= size;
    }
    index.reverse();
    if let Some(row) = index.first_mut() {
        *row += first_row;
    }
    let values =
        if count == 1 { "1 value that is".to_owned() } else { format!("{count} values that are") };
    let too_large = if value.is_finite() { format!(" as {kind:?}") } else { String::new() };
    Ok(Some(format!("{values} not finite{too_large}, the first at {index:?}: {value:e}")))
}
