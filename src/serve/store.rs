//! Uploaded images, in a temporary folder of limited size.

use std::{
    collections::VecDeque,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

/// An uploaded file. It is deleted when the store and all questions about it are done with it.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) path: PathBuf,
    /// SHA-256 of its content, hexadecimal: the same content is the same image, whatever it was called.
    pub(crate) hash: String,
    bytes: u64,
    // Outlives the file, whose folder it is.
    _folder: Arc<TempDir>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        // The folder is deleted with the store; a file that stays until then does no harm.
        drop(fs::remove_file(&self.path));
    }
}

/// The last uploads, the latest last.
pub(crate) struct Store {
    folder: Arc<TempDir>,
    max_bytes: u64,
    kept: Mutex<VecDeque<Arc<Upload>>>,
}

impl Store {
    /// An empty one that keeps `max_bytes`, and in any case the latest upload.
    pub(crate) fn new(max_bytes: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sonotune-serve-").tempdir();
        let folder = folder.context("creating a temporary folder for uploads")?;
        Ok(Self { folder: Arc::new(folder), max_bytes, kept: Mutex::default() })
    }

    /// Begins an upload.
    pub(crate) fn begin(&self) -> Result<Incoming> {
        let file = NamedTempFile::new_in(self.folder.path()).context("storing an upload")?;
        Ok(Incoming { file, hash: Sha256::new(), bytes: 0 })
    }

    /// Keeps a whole upload. An earlier one with the same content is used instead.
    pub(crate) fn keep(&self, incoming: Incoming) -> Result<Arc<Upload>> {
        let hash: String = incoming.hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|upload| upload.hash == hash)
            && let Some(upload) = kept.remove(at)
        {
            kept.push_back(Arc::clone(&upload));
            return Ok(upload);
        }
        // A question about an upload that is no longer kept may still need its file: each has a name of its own.
        let (_, path) = incoming.file.keep().context("storing an upload")?;
        let folder = Arc::clone(&self.folder);
        let upload = Arc::new(Upload { path, hash, bytes: incoming.bytes, _folder: folder });
        kept.push_back(Arc::clone(&upload));
        let mut bytes: u64 = kept.iter().map(|upload| upload.bytes).sum();
        while bytes > self.max_bytes && kept.len() > 1 {
            bytes -= kept.pop_front().map_or(0, |upload| upload.bytes);
        }
        Ok(upload)
    }

    /// Keeps bytes that are in memory.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Arc<Upload>> {
        let mut incoming = self.begin()?;
        incoming.write(bytes)?;
        self.keep(incoming)
    }

    #[cfg(test)]
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// An upload that is not complete.
pub(crate) struct Incoming {
    file: NamedTempFile,
    hash: Sha256,
    bytes: u64,
}

impl Incoming {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        let failed = |error| sonotune_base::fs::explain(self.file.path(), error);
        self.file.as_file().write_all(bytes).map_err(failed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The path of a file that a client names, if it is in one of the folders that it may name files of.
///
/// # Errors
/// Kind data without such a file; the message is the same whether it does not exist or may not be read.
pub(crate) fn within(roots: &[PathBuf], name: &str) -> Result<PathBuf> {
    let missing = || {
        sonotune_base::Error::data(format!(
            "no image {name} in the folders this server may read (--images)"
        ))
    };
    let relative = Path::new(name.trim_start_matches('/'));
    for root in roots {
        let Ok(root) = root.canonicalize() else { continue };
        let named = [Some(root.join(relative)), Some(PathBuf::from(name))];
        for path in named.into_iter().flatten() {
            // Links and `..` are resolved before the comparison.
            if let Ok(path) = path.canonicalize()
                && path.starts_with(&root)
                && path.is_file()
            {
                return Ok(path);
            }
        }
    }
    Err(missing().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(store: &Store) -> usize {
        fs::read_dir(store.folder()).unwrap().count()
    }

    #[test]
    fn the_oldest_uploads_make_room() {
        let store = Store::new(10).unwrap();
        let first = store.put(b"aaaa").unwrap();
        assert_eq!(first.hash, sonotune_dataset::sha256(b"aaaa"));
        drop(store.put(b"bbbb").unwrap());
        assert!(Arc::ptr_eq(&first, &store.put(b"aaaa").unwrap()));
        assert_eq!(files(&store), 2);
        drop(store.put(b"cccc").unwrap());
        // The second was the oldest.
        assert_eq!((files(&store), first.path.exists()), (2, true));
        drop(store.put(b"larger than all").unwrap());
        // A question about it is still under way.
        assert_eq!((files(&store), first.path.exists()), (2, true));
        drop(first);
        assert_eq!(files(&store), 1);
        drop(store.begin().unwrap());
        assert_eq!(files(&store), 1);
    }

    #[test]
    fn only_files_within_the_folders_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (root, other) = (folder.path().join("root"), folder.path().join("root2"));
        for folder in [&root.join("sub"), &other] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(root.join("sub/a.png"), b"a").unwrap();
        fs::write(other.join("b.png"), b"b").unwrap();
        std::os::unix::fs::symlink(other.join("b.png"), root.join("link.png")).unwrap();
        let roots = [root.clone(), folder.path().join("missing")];
        let found = root.join("sub/a.png").canonicalize().unwrap();
        for name in [
            "sub/a.png",
            "/sub/a.png",
            "sub/../sub/a.png",
            root.join("sub/a.png").to_str().unwrap(),
        ] {
            assert_eq!(within(&roots, name).unwrap(), found, "{name}");
        }
        let outside = other.join("b.png");
        for name in [
            "../root2/b.png",
            "link.png",
            "sub",
            "",
            "/",
            "sub/a.png\0",
            "/etc/passwd",
            outside.to_str().unwrap(),
        ] {
            assert!(within(&roots, name).is_err(), "{name}");
        }
        assert!(within(&[], "sub/a.png").is_err());
    }
}
