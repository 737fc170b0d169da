//! The backbone of a model on its own, for outputs that are kept: by the embedding cache, or between questions.

use anyhow::{Context, Result};
use sonotune_engine::{
    backbone::Backbone,
    batch::Batch,
    device::{Place, autocast},
};
use tch::{Tensor, nn, no_grad};

use super::model::Model;

/// A backbone with the values of the model's, which belongs to the task.
#[derive(Debug)]
pub(super) struct Encoder {
    backbone: Box<dyn Backbone>,
}

impl Encoder {
    /// Copies the model's backbone.
    ///
    /// # Errors
    /// If it cannot be built.
    pub(super) fn new(model: &Model) -> Result<Self> {
        Self::with(model, &backbone_variables(&model.vs))
    }

    /// Copies `variables` of the model's backbone.
    ///
    /// # Errors
    /// Same errors as [`new`](Self::new).
    pub(super) fn with(model: &Model, variables: &[(String, Tensor)]) -> Result<Self> {
        Self::filled(model, variables, |variable, value| {
            no_grad(|| variable.f_copy_(value))?;
            Ok(())
        })
    }

    /// The model's backbone itself: its variables are in memory once. Training either trains both.
    ///
    /// # Errors
    /// Same errors as [`new`](Self::new).
    pub(super) fn sharing(model: &Model) -> Result<Self> {
        let variables = backbone_variables(&model.vs);
        Self::filled(model, &variables, |variable, value| Ok(variable.f_set_data(value)?))
    }

    fn filled(
        model: &Model,
        variables: &[(String, Tensor)],
        fill: impl Fn(&mut Tensor, &Tensor) -> Result<()>,
    ) -> Result<Self> {
        let mut vs = nn::VarStore::new(model.device());
        let backbone = model.config.backbone.build(&(vs.root() / "backbone"))?;
        model.precision.apply(&mut vs);
        let mut own = vs.variables();
        for (name, value) in variables {
            let variable = own
                .get_mut(name)
                .with_context(|| format!("`{name}` is not a backbone variable"))?;
            fill(variable, value)?;
        }
        Ok(Self { backbone })
    }

    /// The levels of a batch that is in `place`, which is the model's.
    ///
    /// # Errors
    /// Same errors as [`Backbone::forward`].
    pub(super) fn levels(&self, place: Place, batch: &Batch) -> Result<Vec<Tensor>> {
        no_grad(|| {
            let _scope = autocast(place.precision, place.device)?;
            self.backbone.forward(&batch.images, false)
        })
    }

    /// `batch` as the loader gives it if its embeddings are in the cache.
    ///
    /// # Errors
    /// Same errors as [`levels`](Self::levels).
    pub(super) fn embedded(&self, model: &Model, batch: Batch) -> Result<Batch> {
        let mut batch = batch.to_place(model.place())?;
        batch.features = Some(self.levels(model.place(), &batch)?);
        Ok(batch)
    }
}

/// The backbone's variables, sorted by name.
pub(super) fn backbone_variables(vs: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut variables: Vec<_> =
        vs.variables().into_iter().filter(|(name, _)| name.starts_with("backbone.")).collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}
