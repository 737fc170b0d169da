//! A file system that fills up.

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// A file system in memory of a given size.
pub(crate) struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// `None`, with the reason printed, if this process may not mount.
    pub(crate) fn mount(kibibytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={kibibytes}k");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        let is_mounted = mount.as_ref().is_ok_and(|output| output.status.success());
        if !is_mounted {
            eprintln!("skipped: no tmpfs can be mounted here: {mount:?}");
            return None;
        }
        Some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn resize(&self, kibibytes: u64) {
        let size = format!("remount,size={kibibytes}k");
        let status =
            Command::new("mount").args(["-o", &size]).arg(self.folder.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.folder.path()).status());
    }
}
