//! What the processes of a training step share: values, gradients, and the wish to stop.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tch::{Kind, Tensor};

use super::Ranks;
use crate::{
    task::{Over, StepOutput},
    upload,
};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_shim::{Reducer, clear_grads};

/// Combines the values and gradients of several processes.
///
/// Gradients are added up in buckets while backward goes on. Buckets are fixed from the start: with three
/// processes and more, the order in which values are added depends on their place in a bucket, and a
/// resumed run must repeat the additions of an uninterrupted one.
#[derive(Debug)]
pub struct Gradients<'a> {
    ranks: &'a Ranks,
    reducer: Reducer,
    parameters: Vec<Tensor>,
    stop: StopFlag,
    stop_agreed: bool,
    /// Names of the values of every step.
    names: Vec<String>,
}

/// The values of a batch, over all processes.
#[derive(Debug)]
pub(crate) struct Combined {
    /// The sum of this process's terms, so weighed that gradients of all processes add up to those of the
    /// whole batch's loss. 0-d, differentiable.
    pub(crate) total: Tensor,
    /// `loss`, then the terms, over the whole batch; 0-d f64.
    pub(crate) losses: Vec<(String, Tensor)>,
    /// The same for the values that are only logged; NaN for a mean over nothing.
    pub(crate) scalars: Vec<(String, Tensor)>,
}

impl<'a> Gradients<'a> {
    /// For `parameters`, each with its name; `None` if the process is alone. `stop` is this process's own
    /// flag.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn new(
        ranks: &'a Ranks,
        parameters: Vec<(String, Tensor)>,
        bucket_bytes: usize,
        stop: StopFlag,
    ) -> Result<Option<Self>> {
        let Some(group) = ranks.of_gradients() else { return Ok(None) };
        let parameters = in_order_of_use(parameters);
        let reducer = ranks.waiting(|| Reducer::new(&parameters, group, bucket_bytes))?;
        let parameters = parameters.into_iter().map(|(_, parameter)| parameter).collect();
        let names = Vec::new();
        Ok(Some(Self { ranks, reducer, parameters, stop, stop_agreed: false, names }))
    }

    /// Bytes of each bucket, in the order in which backward fills them.
    #[must_use]
    pub fn bucket_bytes(&self) -> Vec<usize> {
        self.reducer.buckets().iter().map(|bucket| bucket.bytes).collect()
    }

    /// The parameters of each bucket, in that order.
    #[must_use]
    pub fn buckets(&self) -> Vec<Vec<Tensor>> {
        let of = |index: &usize| self.parameters[*index].shallow_clone();
        let buckets = self.reducer.buckets().into_iter();
        buckets.map(|bucket| bucket.parameters.iter().map(of).collect()).collect()
    }

    /// Whether a process of the group had been asked to stop at the end of the last step.
    #[must_use]
    pub fn is_stop_agreed(&self) -> bool {
        self.stop_agreed
    }

    /// The values over all processes. On CUDA nothing waits for them.
    ///
    /// # Errors
    /// If the names differ from those of earlier steps or of other processes; if a process has ended.
    pub(crate) fn combine(&mut self, output: &StepOutput, images: usize) -> Result<Combined> {
        self.require_names(output)?;
        let losses = output.losses.iter().map(|loss| (&loss.value, &loss.over));
        let scalars = output.scalars.iter().map(|scalar| (&scalar.value, &scalar.over));
        let (values, overs): (Vec<_>, Vec<_>) = losses.chain(scalars).unzip();
        let Means { means, factors } = self.means(&values, &overs, output.losses.len(), images)?;
        let mut total: Option<Tensor> = None;
        let mut sum = means.get(0).zeros_like();
        let mut losses = Vec::new();
        for (i, loss) in (0..).zip(&output.losses) {
            let factor = factors.get(i).to_kind(loss.value.kind());
            let term = &loss.value * factor * loss.weight;
            total = Some(total.map_or_else(|| term.shallow_clone(), |total| total + &term));
            sum += means.get(i) * loss.weight;
            losses.push((loss.name.clone(), means.get(i)));
        }
        losses.insert(0, ("loss".to_owned(), sum));
        let first = output.losses.len() as i64;
        let scalars = (first..).zip(&output.scalars);
        let scalars = scalars.map(|(i, scalar)| (scalar.name.clone(), means.get(i))).collect();
        let total = total.context("the task gave no loss")?;
        Ok(Combined { total, losses, scalars })
    }

    /// The images that all processes have, given those of this one.
    ///
    /// # Errors
    /// If a process has ended.
    pub(crate) fn of_all(&self, images: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        Ok(self.ranks.tell(images)?.into_iter().flatten().collect())
    }

    /// The next backward pass adds up the gradients of all processes; one without this call adds to those
    /// of this process.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub(crate) fn begin(&mut self) -> Result<()> {
        Ok(self.reducer.prepare()?)
    }

    /// Waits for the gradients after that backward pass, on CUDA on the device. A variable that no process
    /// used has no gradient, as with one process.
    ///
    /// # Errors
    /// If a process has ended or does not answer in time.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let used = self.ranks.waiting(|| self.reducer.finish())?;
        let mut said: Vec<u8> = used.into_iter().map(u8::from).collect();
        said.push(u8::from(self.stop.is_raised()));
        let said = self.ranks.any(&said)?;
        let Some((&stop, used)) = said.split_last() else { return Ok(()) };
        self.stop_agreed = stop != 0;
        let unused = used.iter().zip(&self.parameters).filter(|&(&used, _)| used == 0);
        let unused: Vec<Tensor> = unused.map(|(_, p)| p.shallow_clone()).collect();
        Ok(clear_grads(&unused)?)
    }

    /// The named values must be the same everywhere: they are added up by their place.
    fn require_names(&mut self, output: &StepOutput) -> Result<()> {
        let losses = output.losses.iter().map(|loss| loss.name.clone());
        let names: Vec<String> =
            losses.chain(output.scalars.iter().map(|scalar| scalar.name.clone())).collect();
        if self.names.is_empty() {
            self.ranks.require_same("names of the step's losses and values", &names.join(", "))?;
            self.names.clone_from(&names);
        }
        if self.names == names {
            return Ok(());
        }
        Err(Error::config(format!(
            "the task gave the losses and values {} at this step and {} at an earlier one: with several \
             processes, the names must be the same for every batch. Give one without anything to \
             learn from as 0 over `Over::Count(0.0)`",
            names.join(", "),
            self.names.join(", ")
        ))
        .into())
    }

    /// The means over all processes of 0-d `values`, each over what `overs` says.
    fn means(
        &self,
        values: &[&Tensor],
        overs: &[&Over],
        losses: usize,
        images: usize,
    ) -> Result<Means> {
        let device = values.first().map_or(tch::Device::Cpu, |value| value.device());
        let flag = |is: bool| if is { 1.0 } else { 0.0 };
        let known: Vec<f64> = overs
            .iter()
            .map(|over| over.number(images).unwrap_or(0.0))
            .chain(overs.iter().map(|over| flag(matches!(over, Over::Sum))))
            .chain((0..overs.len()).map(|i| flag(i < losses)))
            .collect();
        let known = upload(&Tensor::from_slice(&known).view([3, -1]), device);
        let (amounts, is_sum, is_loss) = (known.get(0), known.get(1), known.get(2));
        for (i, over) in (0..).zip(overs) {
            if let Over::Weights(weights) = over {
                amounts.get(i).f_copy_(&weights.f_detach()?)?;
            }
        }
        let values: Vec<Tensor> =
            values.iter().map(|value| value.detach().to_kind(Kind::Double)).collect();
        let sums = Tensor::f_stack(&[Tensor::f_stack(&values, 0)? * &amounts, amounts.copy()], 0)?;
        self.ranks.add_up(&sums)?;
        let totals: Tensor = sums.get(1) * (1.0 - &is_sum) + &is_sum;
        // A loss over nothing is 0; a value to log is undefined.
        let totals = &totals + totals.eq(0.0).to_kind(Kind::Double) * is_loss;
        Ok(Means { means: sums.get(0) / &totals, factors: amounts / totals })
    }
}

/// `[values]` f64 each.
struct Means {
    means: Tensor,
    /// The share of each mean that is this process's.
    factors: Tensor,
}

/// The parameters as a forward pass uses them, as far as their names tell: the backbone first, blocks by
/// number. Backward fills buckets from the end.
fn in_order_of_use(mut parameters: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    parameters.sort_by_cached_key(|(name, _)| {
        let parts = name.split('.').map(|part| (part.parse::<u64>().unwrap_or(0), part.to_owned()));
        (!name.starts_with("backbone."), parts.collect::<Vec<_>>())
    });
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_as_they_are_used() {
        let names = ["head.fc.weight", "backbone.layers.10.w", "backbone.layers.2.w"];
        let parameters = names.map(|name| (name.to_owned(), Tensor::new())).into();
        let names: Vec<_> = in_order_of_use(parameters).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["backbone.layers.2.w", "backbone.layers.10.w", "head.fc.weight"]);
    }
}
