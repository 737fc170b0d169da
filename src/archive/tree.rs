//! One sorted listing of files that are stored in several places.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::Error;
use walkdir::WalkDir;

use super::{
    entry::{LeftOut, is_hidden},
    listing::{Listing, reason},
};

/// The files of a dataset by their path in it, wherever they are on disk.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Maps the path with `/` from the dataset's root to the path on disk. Sorted by bytes.
    pub files: BTreeMap<String, PathBuf>,
    /// Archives that were unpacked, by their path in the source, in the order of unpacking.
    pub archives: Vec<String>,
    /// Files left out: their name begins with a dot, or they are below `__MACOSX` or `.git`.
    pub hidden: u64,
    /// Links left out: all in archives, and in folders those to a folder that holds them; and anything
    /// that is neither a file nor a folder.
    pub links: u64,
    /// Globs of inner archives that matched nothing. Not an error: those archives may already be
    /// unpacked.
    pub unmatched: Vec<String>,
}

impl Tree {
    /// Lists a folder that needs no unpacking.
    ///
    /// # Errors
    /// When it is not a folder or cannot be read; names it.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut nodes = Nodes::default();
        nodes.add_folder(folder, None)?;
        Ok(nodes.into_tree(Vec::new()))
    }

    /// The files by their path in the tree, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Where the file `name` of the tree is on disk; an unknown name gives a path that does not exist.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.get(name).cloned().unwrap_or_default()
    }

    /// The bytes of the file `name` of the tree.
    ///
    /// # Errors
    /// Of kind data, naming the file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name);
        fs::read(&path).map_err(|e| Error::data(format!("{name}: {}", reason(&path, &e))).into())
    }
}

/// A file of the tree.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) path: PathBuf,
    /// How many archives it is nested in.
    pub(super) depth: u32,
    /// The archive it comes from; empty if none.
    origin: String,
}

/// A tree under construction.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) files: BTreeMap<String, Node>,
    pub(super) archives: Vec<String>,
    pub(super) left_out: LeftOut,
}

impl Nodes {
    /// Adds the files of `folder`, except those below `skip`.
    pub(super) fn add_folder(&mut self, folder: &Path, skip: Option<&Path>) -> Result<()> {
        // A work folder inside the source is not part of the dataset.
        let listing = Listing::of(folder, skip)?;
        self.left_out.links += listing.others;
        for (path, _) in listing.files {
            let key = key(&path);
            if is_hidden(&key) {
                self.left_out.hidden += 1;
                continue;
            }
            if path.to_str().is_none() {
                return Err(Error::data(format!(
                    "{}/{}: its name is not UTF-8; rename it (all names in GBK: `convmv -r -f gbk -t \
                     utf8 --notest FOLDER`)",
                    folder.display(),
                    path.as_os_str().as_encoded_bytes().escape_ascii()
                ))
                .into());
            }
            let path = folder.join(path);
            self.insert(key, Node { path, depth: 0, origin: String::new() })?;
        }
        Ok(())
    }

    /// Adds the entries of an unpacked archive below `place`; returns their keys.
    pub(super) fn add_unpacked(
        &mut self,
        folder: &Path,
        place: &str,
        archive: &str,
        depth: u32,
    ) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            if entry.file_type().is_dir() {
                continue;
            }
            let key = join(place, &key(entry.path().strip_prefix(folder)?));
            let node = Node { path: entry.into_path(), depth, origin: archive.to_owned() };
            self.insert(key.clone(), node)?;
            keys.push(key);
        }
        Ok(keys)
    }

    fn insert(&mut self, key: String, node: Node) -> Result<()> {
        let Some(other) = self.files.get(&key) else {
            self.files.insert(key, node);
            return Ok(());
        };
        // Already unpacked by hand, with the archive still there: harmless.
        let same = same_content(&other.path, &node.path)
            .map_err(|e| Error::data(format!("{key}: cannot be read: {e}")))?;
        if same {
            return Ok(());
        }
        let from = |node: &Node| match node.origin.as_str() {
            "" => "the folder".to_owned(),
            archive => archive.to_owned(),
        };
        Err(Error::data(format!(
            "{key}: is both in {} and in {}, with different content; remove the one that you do not \
             want, or unpack the archive into its own folder (`into = \"own_folder\"`)",
            from(other),
            from(&node)
        ))
        .into())
    }

    pub(super) fn into_tree(self, unmatched: Vec<String>) -> Tree {
        Tree {
            files: self.files.into_iter().map(|(key, node)| (key, node.path)).collect(),
            archives: self.archives,
            hidden: self.left_out.hidden,
            links: self.left_out.links,
            unmatched,
        }
    }
}

/// Whether a source is a folder or a file; anything else is an error.
pub(super) fn is_folder(source: &Path) -> Result<bool> {
    let meta = fs::metadata(source)
        .map_err(|e| Error::data(format!("cannot read {}: {e}", source.display())))?;
    if meta.is_dir() || meta.is_file() {
        return Ok(meta.is_dir());
    }
    Err(Error::data(format!("{}: is neither a folder nor a file", source.display())).into())
}

/// Files and bytes below an unpacked folder.
pub(super) fn measure(folder: &Path) -> Result<(u64, u64)> {
    let mut sum = (0, 0);
    for entry in WalkDir::new(folder) {
        let meta = entry?.metadata()?;
        if !meta.is_dir() {
            sum = (sum.0 + 1, sum.1 + meta.len());
        }
    }
    Ok(sum)
}

pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn key(relative: &Path) -> String {
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let mut buffers = [vec![0; 64 << 10], vec![0; 64 << 10]];
    loop {
        let read = one.read(&mut buffers[0])?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut buffers[1][..read])?;
        if buffers[0][..read] != buffers[1][..read] {
            return Ok(false);
        }
    }
}
