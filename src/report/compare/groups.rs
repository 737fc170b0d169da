//! Which runs are repeats of each other, and what to call them.

use std::{collections::BTreeSet, path::Path};

use super::Run;

/// A name made of more settings than this says less than that of the folder.
const MOST_SETTINGS: usize = 3;
const LONGEST_NAME: usize = 60;

/// Runs that differ only in their seed, in the order given, with a name each.
pub(super) fn group(runs: &[Run]) -> Vec<(String, Vec<&Run>)> {
    let mut groups: Vec<Vec<&Run>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group[0].settings == run.settings) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    let names = by_settings(&groups).unwrap_or_else(|| by_folder(&groups));
    names.into_iter().zip(groups).collect()
}

/// `lr 0.001, type resnet`, if few settings tell all groups apart.
fn by_settings(groups: &[Vec<&Run>]) -> Option<Vec<String>> {
    let keys: BTreeSet<&String> = groups.iter().flat_map(|g| g[0].settings.keys()).collect();
    let value = |group: &[&Run], key: &str| group[0].settings.get(key).cloned();
    let differs = |key: &&String| groups.iter().any(|g| value(g, key) != value(&groups[0], key));
    let keys: Vec<&String> = keys.into_iter().filter(differs).collect();
    if keys.is_empty() || keys.len() > MOST_SETTINGS {
        return None;
    }
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let short = |key: &str| {
        // `type` and `path` say nothing on their own.
        let is_clear = !["type", "path", "name"].contains(&last(key).as_str())
            && keys.iter().filter(|other| last(other) == last(key)).count() == 1;
        if is_clear { last(key) } else { key.to_owned() }
    };
    let name = |group: &Vec<&Run>| {
        let settings = keys.iter().map(|key| {
            let value = value(group, key).unwrap_or_else(|| "none".to_owned());
            format!("{} {}", short(key), value)
        });
        settings.collect::<Vec<_>>().join(", ")
    };
    let names: Vec<String> = groups.iter().map(name).collect();
    names.iter().all(|name| name.chars().count() <= LONGEST_NAME).then_some(names)
}

/// What the folders of a group have in common at the beginning; whole paths if that does not tell
/// them apart.
fn by_folder(groups: &[Vec<&Run>]) -> Vec<String> {
    let folder = |path: &Path| {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    };
    let name = |group: &Vec<&Run>| {
        let names: Vec<String> = group.iter().map(|run| folder(&run.path)).collect();
        let common = common_start(&names);
        if common.is_empty() { names.join(" + ") } else { common }
    };
    let names: Vec<String> = groups.iter().map(name).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    if distinct.len() == names.len() {
        return names;
    }
    groups.iter().map(|group| group[0].path.display().to_string()).collect()
}

/// `sam-lr1` of `sam-lr1-seed1` and `sam-lr1-seed2`; a single name stays whole.
fn common_start(names: &[String]) -> String {
    let [first, others @ ..] = names else { return String::new() };
    if others.is_empty() {
        return first.clone();
    }
    let is_common = |(i, c): &(usize, char)| {
        others.iter().all(|n| n[..].get(*i..).is_some_and(|rest| rest.starts_with(*c)))
    };
    let length = first.char_indices().take_while(is_common).map(|(i, c)| i + c.len_utf8()).last();
    let common = &first[..length.unwrap_or(0)];
    let trimmed = common.trim_end_matches(|c: char| c.is_ascii_digit() || "-_. ".contains(c));
    let trimmed =
        trimmed.strip_suffix("seed").or_else(|| trimmed.strip_suffix("-s")).unwrap_or(trimmed);
    trimmed.trim_end_matches(|c: char| "-_. ".contains(c)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::common_start;

    #[test]
    fn the_seed_is_no_part_of_a_name() {
        let of = |names: &[&str]| {
            common_start(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["sam-seed1", "sam-seed2"]), "sam");
        assert_eq!(of(&["sam_1", "sam_12"]), "sam");
        assert_eq!(of(&["sam-seed1"]), "sam-seed1");
        assert_eq!(of(&["a", "b"]), "");
        assert_eq!(of(&["größe-1", "größe-2"]), "größe");
        assert_eq!(of(&["größe-1", "gräben-2"]), "gr");
    }
}
