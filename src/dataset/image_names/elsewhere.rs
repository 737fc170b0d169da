//! Images that are missing where the config looks, and are elsewhere: where, and what to write.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::{
    folders::{Folders, folded},
    paths::tidy,
    resolve::percent_decoded,
};
use crate::files::is_image;

/// Images looked at to tell where all of them are.
const SAMPLE: usize = 8;
/// Folders beside the annotations or below `root` that are looked into.
const MAX_FOLDERS: usize = 64;

/// Where the images of a split are looked for.
#[derive(Debug, Clone)]
pub struct Places {
    /// Folder that names are relative to.
    pub images: PathBuf,
    /// Folder that the paths of the config are relative to.
    pub root: PathBuf,
    /// The annotation file.
    pub source: PathBuf,
    /// The key that names `images`; without one, only `images` is looked into.
    pub key: Option<String>,
}

/// Where missing images of a split are.
#[derive(Debug)]
pub struct Elsewhere {
    places: Places,
    folder: PathBuf,
    /// How many parts of a name count, from its end; `None`: the name as it is.
    parts: Option<usize>,
    listed: Mutex<Folders>,
}

impl Elsewhere {
    /// Looks for the missing ones among the first of `paths`: those of their names in another folder, then
    /// under the last parts of their names.
    #[must_use]
    pub fn find<'a>(paths: impl Iterator<Item = &'a Path>, places: &Places) -> Option<Self> {
        let sample: Vec<&Path> = paths.take(SAMPLE).collect();
        let missing: Vec<&Path> = sample.iter().copied().filter(|path| !path.is_file()).collect();
        let longest = missing.iter().map(|path| parts(&places.name(path)).len()).max()?;
        // If some are where the config looks, the folder is right.
        let is_open = places.key.is_some() && missing.len() == sample.len();
        let others = if is_open { places.others() } else { Vec::new() };
        let same = others.iter().map(|folder| (folder, None));
        let shorter = (1..=longest).rev().map(|parts| (&places.images, Some(parts)));
        let both = (1..=longest).rev();
        let both = both.flat_map(|parts| others.iter().map(move |folder| (folder, Some(parts))));
        let mut listed = Folders::default();
        let mut is_there = |(folder, parts): &(&PathBuf, Option<usize>)| {
            let file = |path| file(&mut listed, folder, *parts, &places.name(path));
            let files: Option<Vec<_>> = missing.iter().copied().map(file).collect();
            // No two images are one file.
            files.is_some_and(|files| files.iter().collect::<HashSet<_>>().len() == missing.len())
        };
        let (folder, parts) = same.chain(shorter).chain(both).find(|place| is_there(place))?;
        let (folder, places) = (folder.clone(), places.clone());
        Some(Self { places, folder, parts, listed: Mutex::new(listed) })
    }

    /// `images/1.png exists: …`, with what to do.
    #[must_use]
    pub fn hint(&self, path: &Path) -> Option<String> {
        let name = self.places.name(path);
        let (file, written) =
            file(&mut *self.listed.lock().ok()?, &self.folder, self.parts, &name)?;
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_else(|_| text.to_owned());
        let mut remedies = Vec::new();
        if written != name {
            remedies.push(match name.strip_suffix(&written) {
                Some(prefix) => format!("remove {} from `file_name`", quoted(prefix)),
                None => format!("write {} as its `file_name`", quoted(&written)),
            });
        }
        if let Some(key) = self.places.key.as_ref().filter(|_| self.folder != self.places.images) {
            let folder = self.folder.strip_prefix(&self.places.root).unwrap_or(&self.folder);
            let folder = tidy(folder).display().to_string();
            let folder = if folder.is_empty() { "." } else { &folder };
            remedies.push(format!("set {key} = {}", quoted(folder)));
        }
        Some(format!("{} exists: {}", tidy(&file).display(), remedies.join(" and ")))
    }
}

/// The file in `folder` that the last `parts` of `name` mean, and the name that leads to it.
fn file(
    listed: &mut Folders,
    folder: &Path,
    parts: Option<usize>,
    name: &str,
) -> Option<(PathBuf, String)> {
    let written = match parts {
        None if Path::new(name).is_absolute() => return None,
        None => name.to_owned(),
        Some(count) => {
            let parts = self::parts(name);
            parts[parts.len().saturating_sub(count)..].join("/")
        }
    };
    let file = listed.find(folder, &written)?;
    // As it is spelled on this disk.
    let spelled = file.strip_prefix(folder).ok()?.to_str()?.to_owned();
    let written = if folded(&spelled) == folded(&written) { spelled } else { written };
    Some((file, written))
}

impl Places {
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.images).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Other folders that may hold the images.
    fn others(&self) -> Vec<PathBuf> {
        let beside = self.source.parent().unwrap_or(Path::new(""));
        let above = beside.join("..");
        let mut folders = vec![self.root.clone(), beside.to_owned()];
        folders.extend([beside.join("images"), above.join("images"), above.clone()]);
        for folder in [&self.root, &beside.to_owned()] {
            folders.extend(sub_folders(folder).into_iter().take(MAX_FOLDERS));
        }
        let mut others: Vec<PathBuf> = Vec::new();
        for folder in folders.iter().map(|folder| tidy(folder)) {
            if folder != tidy(&self.images) && !others.contains(&folder) {
                others.push(folder);
            }
        }
        others
    }
}

fn sub_folders(folder: &Path) -> Vec<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    crate::files::sub_folders(folder).map(|(folders, _)| folders).unwrap_or_default()
}

/// The parts of a name that may be parts of a path here: without scheme and server, drive, `..` and
/// percent-encoding, and of a Label Studio name only the path that it asks for.
fn parts(name: &str) -> Vec<String> {
    let name = name.replace('\\', "/");
    let name = name.rsplit_once("?d=").map_or(name.as_str(), |(_, path)| path);
    let name = name.split_once("://").map_or(name, |(_, rest)| {
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        path.split(['?', '#']).next().unwrap_or_default()
    });
    let name = percent_decoded(name).unwrap_or_else(|| name.to_owned());
    let counts = |part: &&str| !matches!(*part, "" | "." | ".." | "~") && !part.ends_with(':');
    name.split('/').filter(counts).map(str::to_owned).collect()
}

/// The only image beside `path` whose name differs in its ending or in case.
#[must_use]
pub fn sibling(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = |path: &Path| path.file_stem().map(|stem| folded(&stem.to_string_lossy()));
    let entries = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut alike = entries.filter(|other| is_image(other) && stem(other) == stem(path));
    let first = alike.next()?;
    alike.next().is_none().then_some(first)
}
