//! What a file holds, for people and for programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sonotune_base::words::{abbreviated, bytes, listed};

use super::{
    Container, OtherContent, TensorEntry, WeightsFile,
    dtype::Dtype,
    keymap::{Recognised, recognise_if_known, refuse_flattened},
};

/// Shards that are named on a terminal.
const SHOWN: usize = 4;

/// The contents of a file. Reads the names, not the values.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    pub path: PathBuf,
    pub container: Container,
    pub file_bytes: u64,
    /// The files that hold the tensors, if `path` is an index of several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<PathBuf>,
    /// Dotted path of the state dict within the file; empty at its top.
    pub state_dict: String,
    /// `None` if the keys fit no known convention.
    pub convention: Option<Recognised>,
    /// Why the convention is open: several state dicts fit one, or FSDP has flattened the parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclear: Option<String>,
    /// Number of values in all tensors together.
    pub parameters: u64,
    pub tensor_bytes: u64,
    /// Tensors per number format.
    pub dtypes: BTreeMap<Dtype, usize>,
    pub tensors: Vec<TensorEntry>,
    /// What else the file holds: named, not loaded.
    pub others: Vec<OtherContent>,
    /// The text metadata of a `.safetensors` file.
    pub metadata: BTreeMap<String, String>,
}

impl Inspection {
    /// Lists the contents of an open file.
    #[must_use]
    pub fn of(file: &WeightsFile) -> Self {
        let mut dtypes = BTreeMap::new();
        for entry in file.entries() {
            *dtypes.entry(entry.dtype).or_insert(0) += 1;
        }
        let recognised = refuse_flattened(file).and_then(|()| recognise_if_known(file, None));
        let (convention, unclear) = match recognised {
            Ok(convention) => (convention, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self {
            path: file.path().to_owned(),
            container: file.container(),
            file_bytes: file.file_len(),
            shards: file.shards().into_iter().map(Path::to_owned).collect(),
            state_dict: file.found_at().to_owned(),
            convention,
            unclear,
            parameters: file.entries().iter().map(TensorEntry::numel).sum(),
            tensor_bytes: file.entries().iter().map(TensorEntry::nbytes).sum(),
            dtypes,
            tensors: file.entries().to_vec(),
            others: file.others().to_vec(),
            metadata: file.metadata().clone(),
        }
    }

    /// The listing for a terminal. Tensors whose names differ only in numbers share a line unless `all`.
    #[must_use]
    pub fn words(&self, all: bool) -> String {
        let mut text =
            format!("{}: {}, {}\n", self.path.display(), self.container, bytes(self.file_bytes));
        match &self.convention {
            Some(recognised) => {
                let _ = writeln!(text, "convention  {}", recognised.words());
            }
            None => {
                let _ =
                    writeln!(text, "convention  {}", self.unclear.as_deref().unwrap_or("unknown"));
            }
        }
        if !self.shards.is_empty() {
            let names = self.shards.iter().filter_map(|shard| shard.file_name());
            let names = listed(names.map(|name| name.to_string_lossy()), SHOWN);
            let _ = writeln!(text, "shards      {}: {names}", self.shards.len());
        }
        if !self.state_dict.is_empty() {
            let _ = writeln!(text, "state dict  under `{}`", self.state_dict);
        }
        let _ = writeln!(
            text,
            "tensors     {}, {} numbers, {}",
            self.tensors.len(),
            abbreviated(self.parameters),
            bytes(self.tensor_bytes)
        );
        let dtypes: Vec<_> = self.dtypes.iter().map(|(d, n)| format!("{d} ({n})")).collect();
        let _ = writeln!(text, "dtypes      {}\n", dtypes.join(", "));
        table(&mut text, &self.lines(all));
        section(
            &mut text,
            "beside the weights, not loaded",
            self.others.iter().map(|other| (other.name.as_str(), other.what.as_str())),
        );
        section(
            &mut text,
            "metadata",
            self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())),
        );
        text
    }

    fn lines(&self, all: bool) -> Vec<(String, String, String)> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for entry in &self.tensors {
            let (pattern, numbers) = split_numbers(&entry.name);
            let key =
                (if all { entry.name.clone() } else { pattern.clone() }, &entry.shape, entry.dtype);
            let index = *places.entry(key).or_insert_with(|| {
                groups.push(Group { pattern, entry, numbers: Vec::new() });
                groups.len() - 1
            });
            groups[index].numbers.push(numbers);
        }
        groups
            .iter()
            .map(|group| {
                let name =
                    if group.numbers.len() == 1 { group.entry.name.clone() } else { group.name() };
                (name, format!("{:?}", group.entry.shape), group.entry.dtype.to_string())
            })
            .collect()
    }
}

/// Tensors whose names differ only in numbers.
struct Group<'a> {
    /// The name with `#` for each number.
    pattern: String,
    entry: &'a TensorEntry,
    /// The numbers of each member.
    numbers: Vec<Vec<u64>>,
}

impl Group<'_> {
    /// `layers.{0-11}.ln1.weight`.
    fn name(&self) -> String {
        let mut name = String::new();
        for (slot, part) in self.pattern.split('#').enumerate() {
            if slot > 0 {
                let values: BTreeSet<u64> =
                    self.numbers.iter().filter_map(|n| n.get(slot - 1).copied()).collect();
                name += &match values.len() {
                    1 => ranges(&values),
                    _ => format!("{{{}}}", ranges(&values)),
                };
            }
            name += part;
        }
        name
    }
}

/// Splits the dotted components that are numbers off a name.
fn split_numbers(name: &str) -> (String, Vec<u64>) {
    let mut numbers = Vec::new();
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| match part.parse() {
            Ok(number) if !part.starts_with('+') => {
                numbers.push(number);
                "#"
            }
            _ => part,
        })
        .collect();
    (parts.join("."), numbers)
}

/// `0-1,3-4`.
fn ranges(values: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &value in values {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == value => *end = value,
            _ => ranges.push((value, value)),
        }
    }
    let words = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    words.collect::<Vec<_>>().join(",")
}

fn table(text: &mut String, lines: &[(String, String, String)]) {
    let width = |column: fn(&(String, String, String)) -> &str| {
        lines.iter().map(|line| column(line).chars().count()).max().unwrap_or(0)
    };
    let (names, shapes) = (width(|line| &line.0), width(|line| &line.1));
    for (name, shape, dtype) in lines {
        let _ = writeln!(text, "  {name:<names$}  {shape:<shapes$}  {dtype}");
    }
}

fn section<'a>(text: &mut String, title: &str, items: impl Iterator<Item = (&'a str, &'a str)>) {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    let width = items.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(40);
    for (name, what) in items {
        let _ = writeln!(text, "  {name:<width$}  {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_fold_into_ranges() {
        assert_eq!(
            split_numbers("layers.10.ffn.0.w2"),
            ("layers.#.ffn.#.w2".to_owned(), vec![10, 0])
        );
        assert_eq!(ranges(&BTreeSet::from([0, 1, 3, 4, 5, 9])), "0-1,3-5,9");
    }
}
