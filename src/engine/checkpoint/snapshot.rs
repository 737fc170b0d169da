//! What a checkpoint holds, and a copy of it that outlives the next step.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context, Result};
use tch::{Tensor, nn};

use super::{BEST, EMA_PREFIX, HEADER_KEY, LAST, OPTIMIZER_PREFIX, Progress, kept};
use crate::optim::{Ema, Optimizer};
use sonotune_shim::download;
use sonotune_weights as weights;

/// The live state of a run.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    pub vs: &'a nn::VarStore,
    pub optimizer: &'a Optimizer,
    pub ema: Option<&'a Ema>,
    pub progress: &'a Progress,
}

type Named = Vec<(String, Tensor)>;

/// Tensors and progress of a run at one step.
#[derive(Debug)]
pub struct Snapshot {
    progress: Progress,
    /// The model's variables by name.
    model: Named,
    /// Averages of some variables of `model`, by their names.
    averages: Named,
    optimizer: Named,
}

impl Snapshot {
    /// The run's own tensors: the content of this value changes with the next step.
    #[must_use]
    pub fn live(state: &State<'_>) -> Self {
        let mut model: Vec<_> = state.vs.variables().into_iter().collect();
        model.sort_by(|a, b| a.0.cmp(&b.0));
        Self {
            progress: state.progress.clone(),
            model,
            averages: state.ema.map(Ema::state).unwrap_or_default(),
            optimizer: state.optimizer.state(),
        }
    }

    /// A copy in CPU memory of all weights, the optimiser's state and the average.
    ///
    /// # Errors
    /// Propagates errors from libtorch, including out of memory.
    pub fn copied(&self) -> Result<Self> {
        let parts = [&self.model, &self.averages, &self.optimizer];
        let all: Vec<&Tensor> =
            parts.iter().flat_map(|part| part.iter()).map(|(_, tensor)| tensor).collect();
        // Together, so that training waits for the device once.
        let mut copies = download(&all).context("copying the checkpoint's tensors")?.into_iter();
        let mut copied = |part: &Named| -> Named {
            part.iter().map(|(name, _)| name.clone()).zip(copies.by_ref()).collect()
        };
        Ok(Self {
            progress: self.progress.clone(),
            model: copied(&self.model),
            averages: copied(&self.averages),
            optimizer: copied(&self.optimizer),
        })
    }

    /// Bytes of the files that [`write`](Self::write) makes.
    ///
    /// # Errors
    /// When the file cannot represent a number format.
    pub fn bytes(&self, with_best: bool) -> Result<u64> {
        let (last, best) = (self.last(), self.best());
        let mut bytes = weights::safetensors_len(&last, &header(&self.progress)?)?;
        if with_best {
            bytes += weights::safetensors_len(&best.0, &header(&best.1)?)?;
        }
        Ok(bytes)
    }

    /// Writes the best checkpoint if asked to, then the last, into `folder`, and keeps the newest
    /// `keep` checkpoints of single steps. A process that stops anywhere in
    /// between leaves whole files, and a last checkpoint from which the run gets here again.
    ///
    /// # Errors
    /// When a file cannot be written; the old one is then untouched.
    pub fn write(&self, folder: &Path, with_best: bool, keep: u64) -> Result<()> {
        if with_best {
            let (tensors, progress) = self.best();
            save_tensors(&folder.join(BEST), &tensors, &progress)?;
        }
        if keep == 0 {
            return save_tensors(&folder.join(LAST), &self.last(), &self.progress);
        }
        let step = kept::path(folder, self.progress.step);
        save_tensors(&step, &self.last(), &self.progress)?;
        kept::link(&step, &folder.join(LAST))?;
        kept::remove_old(folder, self.progress.step, keep)
    }

    /// Everything, for the last checkpoint.
    fn last(&self) -> Named {
        let mut tensors = shallow(&self.model);
        tensors.extend(prefixed(OPTIMIZER_PREFIX, &self.optimizer));
        tensors.extend(prefixed(EMA_PREFIX, &self.averages));
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }

    /// The model alone: the average if there is one.
    fn best(&self) -> (Named, Progress) {
        let averages: HashMap<_, _> =
            self.averages.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let chosen = self.model.iter().map(|(name, tensor)| {
            let tensor = averages.get(name.as_str()).copied().unwrap_or(tensor);
            (name.clone(), tensor.shallow_clone())
        });
        let averaged = !self.averages.is_empty();
        (chosen.collect(), Progress { averaged, ..self.progress.clone() })
    }
}

fn shallow(tensors: &Named) -> Named {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

fn prefixed(prefix: &str, tensors: &Named) -> Named {
    tensors.iter().map(|(name, t)| (format!("{prefix}{name}"), t.shallow_clone())).collect()
}

fn header(progress: &Progress) -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([(HEADER_KEY.to_owned(), serde_json::to_string(progress)?)]))
}

/// Writes tensors as a checkpoint of a run.
pub fn save_tensors(path: &Path, tensors: &[(String, Tensor)], progress: &Progress) -> Result<()> {
    weights::save_safetensors(path, tensors, &header(progress)?)
        .with_context(|| format!("cannot save checkpoint {}", path.display()))
}
