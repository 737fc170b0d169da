//! Writes checkpoints while training continues.

use std::{
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

use super::{Snapshot, State};
use sonotune_base::fs::require_space;

/// Writes the checkpoints of a run, one at a time, on a thread of its own.
///
/// A save copies the state and returns. The copy takes as much CPU memory as the checkpoint takes on
/// the disk, until it is written. If writing fails, the next call returns the error, whichever that
/// is.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    keep: u64,
    under_way: Option<JoinHandle<Result<()>>>,
}

impl Writer {
    /// A writer into `folder` that keeps the newest `keep` checkpoints besides the last.
    #[must_use]
    pub fn new(folder: &Path, keep: u64) -> Self {
        Self { folder: folder.to_owned(), keep, under_way: None }
    }

    /// Starts to write the last checkpoint, and the best before it if asked to. First waits for the
    /// one in progress.
    ///
    /// # Errors
    /// When writing the previous one failed, when the disk has no space for this one, or when there is
    /// no memory for the copy. Every file is then unchanged.
    pub fn save(&mut self, state: &State<'_>, with_best: bool) -> Result<()> {
        self.wait()?;
        let live = Snapshot::live(state);
        require_space(&self.folder, live.bytes(with_best)?)
            .with_context(|| format!("no checkpoint of step {} is saved", state.progress.step))?;
        let snapshot = live.copied()?;
        let (folder, keep) = (self.folder.clone(), self.keep);
        let write = move || snapshot.write(&folder, with_best, keep);
        let thread = thread::Builder::new().name("checkpoint".to_owned());
        self.under_way = Some(thread.spawn(write).context("cannot start the checkpoint's thread")?);
        Ok(())
    }

    /// Reports errors of a checkpoint whose writing has ended in the meantime; never waits.
    ///
    /// # Errors
    /// Errors of writing it.
    pub fn poll(&mut self) -> Result<()> {
        if self.under_way.as_ref().is_some_and(JoinHandle::is_finished) {
            self.wait()
        } else {
            Ok(())
        }
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// Errors of writing it.
    pub fn wait(&mut self) -> Result<()> {
        let Some(thread) = self.under_way.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            Err(anyhow::anyhow!("the checkpoint's thread failed: {text}"))
        })
    }
}

impl Drop for Writer {
    /// A run that ends with another error keeps the checkpoint that was in progress.
    fn drop(&mut self) {
        drop(self.wait());
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor, nn, no_grad};

    use super::*;
    use crate::{
        checkpoint::{self, LAST, Progress, kept},
        optim::{Optimizer, OptimizerConfig, groups},
    };

    struct Tiny {
        vs: nn::VarStore,
        weight: Tensor,
        optimizer: Optimizer,
        progress: Progress,
    }

    impl Tiny {
        fn new() -> Self {
            let vs = nn::VarStore::new(Device::Cpu);
            let weight = vs.root().zeros("weight", &[3]);
            let groups = groups::group(&vs, &[]).unwrap();
            let optimizer = Optimizer::new(&OptimizerConfig::default(), groups);
            let progress = Progress {
                step: 0,
                seed: 0,
                categories: Vec::new(),
                best: None,
                convention: None,
                early_stopping: None,
                evaluation_pending: false,
                averaged: false,
            };
            Self { vs, weight, optimizer, progress }
        }

        fn step(&mut self) {
            self.progress.step += 1;
            let _ = no_grad(|| self.weight.fill_(self.progress.step as f64));
        }

        fn state(&self) -> State<'_> {
            let (vs, optimizer, progress) = (&self.vs, &self.optimizer, &self.progress);
            State { vs, optimizer, ema: None, progress }
        }
    }

    fn saved(path: &Path) -> (u64, f64) {
        let vs = nn::VarStore::new(Device::Cpu);
        let weight = vs.root().ones("weight", &[3]);
        let restored = checkpoint::load_model(path, &vs).unwrap();
        (restored.progress.step, weight.mean(Kind::Double).double_value(&[]))
    }

    #[test]
    fn what_is_written_is_the_state_at_the_save_not_what_came_after() {
        let folder = tempfile::tempdir().unwrap();
        let (mut tiny, mut writer) = (Tiny::new(), Writer::new(folder.path(), 2));
        for _ in 0..4 {
            tiny.step();
            writer.save(&tiny.state(), tiny.progress.step == 2).unwrap();
            let _ = no_grad(|| tiny.weight.fill_(-1.0));
        }
        writer.wait().unwrap();
        assert_eq!(saved(&folder.path().join(LAST)), (4, 4.0));
        assert_eq!(saved(&folder.path().join(checkpoint::BEST)), (2, 2.0));
        assert_eq!(kept::steps(folder.path()).unwrap(), [3, 4]);
        assert_eq!(saved(&kept::path(folder.path(), 3)), (3, 3.0));
    }

    #[test]
    fn a_checkpoint_that_is_not_finite_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let tiny = Tiny::new();
        let _ = no_grad(|| tiny.weight.narrow(0, 1, 2).fill_(f64::NAN));
        Snapshot::live(&tiny.state()).write(folder.path(), false, 0).unwrap();
        let error = checkpoint::load_model(&folder.path().join(LAST), &tiny.vs).unwrap_err();
        let words = "`weight` holds 2 values that are not finite, the first at [1]: NaN";
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn the_size_is_known_before_the_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let tiny = Tiny::new();
        let snapshot = Snapshot::live(&tiny.state());
        snapshot.write(folder.path(), true, 0).unwrap();
        let len = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!(snapshot.bytes(false).unwrap(), len(LAST));
        assert_eq!(snapshot.bytes(true).unwrap(), len(LAST) + len(checkpoint::BEST));
    }

    #[test]
    fn a_failed_write_is_the_error_of_the_next_call_and_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let (mut tiny, mut writer) = (Tiny::new(), Writer::new(folder.path(), 0));
        tiny.step();
        writer.save(&tiny.state(), false).unwrap();
        writer.wait().unwrap();
        // A folder in the place of the best checkpoint: no file can take its name.
        std::fs::create_dir_all(folder.path().join(checkpoint::BEST).join("x")).unwrap();
        tiny.step();
        writer.save(&tiny.state(), true).unwrap();
        tiny.step();
        let error = writer.save(&tiny.state(), false).unwrap_err();
        assert!(format!("{error:#}").contains("cannot save checkpoint"), "{error:#}");
        assert_eq!(saved(&folder.path().join(LAST)), (1, 1.0));
        // Reported once.
        writer.poll().unwrap();
        writer.save(&tiny.state(), false).unwrap();
        drop(writer);
        assert_eq!(saved(&folder.path().join(LAST)), (3, 3.0));
    }
}
