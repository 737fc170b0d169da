//! The step loop's body.
//!
//! ```text
//! batches ─► train_step ─► Σ weight·loss ─► finite? ─► backward ─► clip ─► optimiser step ─► average
//!            (autocast)                     └ no: stop, the weights untouched
//! ```
//!
//! A run calls [`Trainer::step`] and decides when to log, evaluate, save and stop.

mod config;
mod early_stopping;
mod finite;

use anyhow::{Context, Result};
use sonotune_shim::CudnnBenchmark;
use tch::{Device, Kind, Tensor};

use crate::{
    batch::Batch,
    device::{Place, Precision, autocast},
    optim::{self, Ema, Optimizer, ScheduleConfig},
    parallel::{Combined, Gradients},
    task::{Loss, Scalar, StepOutput, Task},
};
pub use config::TrainConfig;
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
use finite::FiniteGuard;
use sonotune_base::{Error, panics::catching};

/// Applies one optimiser step after another to a task.
#[derive(Debug)]
pub struct Trainer<'a> {
    task: &'a dyn Task,
    optimizer: Optimizer,
    ema: Option<Ema>,
    schedule: &'a ScheduleConfig,
    config: &'a TrainConfig,
    precision: Precision,
    device: Device,
    guard: FiniteGuard,
    fixed_shapes: bool,
    /// Shared with other processes; `None` for one process.
    shared: Option<Gradients<'a>>,
}

/// What one optimiser step computed; still on the device, so that nothing waits for it until asked
/// ([`fetch`](StepValues::fetch)).
#[derive(Debug)]
pub struct StepValues<T = Tensor> {
    /// `loss` (the weighted sum) first, then the task's terms unweighted; 0-d means over the
    /// accumulated batches.
    pub losses: Vec<(String, T)>,
    /// What else the task reports about the batches; also 0-d means, NaN over nothing.
    pub scalars: Vec<(String, T)>,
    /// Before clipping.
    pub grad_norm: T,
}

impl StepValues {
    /// The values as numbers, after one wait for the device; without scalars that are NaN.
    ///
    /// # Errors
    /// Propagates errors from libtorch, such as for a scalar of a task that has several values.
    pub fn fetch(&self) -> Result<StepValues<f64>> {
        let named = self.losses.iter().chain(&self.scalars).map(|(_, value)| value);
        let all = named
            .chain([&self.grad_norm])
            .map(|value| value.f_to_kind(Kind::Double)?.f_view([1]))
            .collect::<Result<Vec<_>, _>>()?;
        let mut numbers = Vec::<f64>::try_from(&Tensor::f_cat(&all, 0)?)?.into_iter();
        let mut named = |values: &[(String, Tensor)]| -> Vec<(String, f64)> {
            values.iter().map(|(name, _)| name.clone()).zip(numbers.by_ref()).collect()
        };
        let (losses, mut scalars) = (named(&self.losses), named(&self.scalars));
        scalars.retain(|(_, value)| !value.is_nan());
        Ok(StepValues { losses, scalars, grad_norm: numbers.next().unwrap_or(f64::NAN) })
    }
}

impl<'a> Trainer<'a> {
    /// A trainer of `task`, whose variables live on `device`.
    #[must_use]
    pub fn new(
        task: &'a dyn Task,
        optimizer: Optimizer,
        schedule: &'a ScheduleConfig,
        config: &'a TrainConfig,
        precision: Precision,
        device: Device,
    ) -> Self {
        let guard = FiniteGuard::default();
        Self {
            task,
            optimizer,
            ema: None,
            schedule,
            config,
            precision,
            device,
            guard,
            fixed_shapes: false,
            shared: None,
        }
    }

    /// Also keeps a moving average of the weights.
    #[must_use]
    pub fn with_ema(self, ema: Option<Ema>) -> Self {
        Self { ema, ..self }
    }

    /// Whether all steps have the same shapes, so that it pays off on CUDA to look for the fastest
    /// convolutions. False if not called.
    #[must_use]
    pub fn with_fixed_shapes(self, fixed_shapes: bool) -> Self {
        Self { fixed_shapes, ..self }
    }

    /// Makes each step together with other processes.
    #[must_use]
    pub fn shared(self, shared: Option<Gradients<'a>>) -> Self {
        Self { shared, ..self }
    }

    /// Makes the steps from now on together with other processes, or alone.
    pub fn set_shared(&mut self, shared: Option<Gradients<'a>>) {
        self.shared = shared;
    }

    /// Whether a process of the group had been asked to stop at the end of the last step; `None` for one
    /// process, which asks its own flag.
    #[must_use]
    pub fn agreed_stop(&self) -> Option<bool> {
        self.shared.as_ref().map(Gradients::is_stop_agreed)
    }

    /// The moving average of the weights, for checkpoints.
    #[must_use]
    pub fn ema(&self) -> Option<&Ema> {
        self.ema.as_ref()
    }

    /// The result of `work` with the averaged weights in the model, if there are any.
    ///
    /// # Errors
    /// Same errors as [`Ema::with_average`].
    pub fn with_average<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match &mut self.ema {
            Some(ema) => ema.with_average(work),
            None => work(),
        }
    }

    /// The optimiser, for checkpoints.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Learning rate of each group at `step`.
    #[must_use]
    pub fn learning_rates(&self, step: u64) -> Vec<(String, f64)> {
        self.optimizer.learning_rates(self.schedule.factor(step, self.config.max_steps))
    }

    /// Optimiser step `step` (from 0) on `batches`, whose gradients are averaged.
    ///
    /// # Errors
    /// When the task refuses a batch, or on the CPU when a loss or the gradient is not finite: the
    /// weights are then as before the step. On CUDA the device skips such an update, and every
    /// later one, automatically; [`check_finite`](Self::check_finite) reports it.
    pub fn step(&mut self, step: u64, batches: Vec<Batch>) -> Result<StepValues> {
        let _tuning = self.tunes_convolutions().then(CudnnBenchmark::enter);
        let share = 1.0 / batches.len() as f64;
        let (mut losses, mut scalars, mut learns) = (Vec::new(), Vec::new(), false);
        self.optimizer.zero_grad()?;
        let images: Vec<_> =
            batches.iter().flat_map(|b| &b.targets).map(|t| t.path.clone()).collect();
        let last = batches.len().saturating_sub(1);
        for (index, batch) in batches.into_iter().enumerate() {
            let batch = batch.to_place(self.place())?;
            // Whatever the model draws (dropout, sampled points) is a function of (seed, step).
            tch::manual_seed(batch.seed as i64);
            let output = catching(|| panicked(step, &batch), || self.forward(&batch))?;
            learns |= output.has_something_to_learn();
            let images = batch.targets.iter().map(|t| t.path.clone()).collect();
            let Combined { total, losses: terms, scalars: values } =
                self.combine(output, batch.targets.len())?;
            self.guard.observe(step, images, &terms);
            self.check_finite_where_free()?;
            if index == last {
                self.shared.as_mut().map_or(Ok(()), Gradients::begin)?;
            }
            // The loss of a batch without anything to learn from may be a constant.
            if total.requires_grad() {
                (total * share).f_backward()?;
            }
            add_shares(&mut losses, terms, share);
            add_shares(&mut scalars, values, share);
        }
        self.shared.as_mut().map_or(Ok(()), Gradients::finish)?;
        let gradients = self.optimizer.gradients();
        if gradients.is_empty() && learns {
            return Err(Error::config(
                "no trainable variable received a gradient: the loss depends on frozen ones only",
            )
            .into());
        }
        let grad_norm = optim::grad_norm(&gradients)?.to_device(self.device);
        let observed = [("grad_norm".to_owned(), grad_norm.shallow_clone())];
        self.guard.observe(step, images, &observed);
        self.check_finite_where_free()?;
        if let Some(max_norm) = self.config.clip_grad_norm {
            optim::clip_grad_norm(&gradients, &grad_norm, max_norm)?;
        }
        let factor = self.schedule.factor(step, self.config.max_steps);
        self.optimizer.step(factor, self.guard.found_inf(self.device))?;
        if let Some(ema) = &mut self.ema {
            ema.update(step)?;
        }
        Ok(StepValues { losses, scalars, grad_norm })
    }

    /// Waits for the device and reports the first value since the last call that was not finite.
    ///
    /// # Errors
    /// Of kind non-finite: names step, term and images.
    pub fn check_finite(&mut self) -> Result<()> {
        let shared = self.shared.as_ref();
        self.guard.check(|images| match shared {
            Some(shared) => shared.of_all(images),
            None => Ok(images),
        })
    }

    fn place(&self) -> Place {
        Place { device: self.device, precision: self.precision }
    }

    fn tunes_convolutions(&self) -> bool {
        self.fixed_shapes && self.device.is_cuda()
    }

    fn check_finite_where_free(&mut self) -> Result<()> {
        if self.device == Device::Cpu { self.check_finite() } else { Ok(()) }
    }

    /// The loss to differentiate, and the values to log, of all processes.
    fn combine(&mut self, output: StepOutput, images: usize) -> Result<Combined> {
        check_losses(&output)?;
        if let Some(shared) = &mut self.shared {
            return shared.combine(&output, images);
        }
        let total = total_loss(&output)?;
        let losses = named_losses(&total, &output);
        Ok(Combined { total, losses, scalars: named_scalars(output.scalars) })
    }

    fn forward(&self, batch: &Batch) -> Result<StepOutput> {
        let _scope = autocast(self.precision, self.device)?;
        self.task.train_step(batch)
    }
}

/// Where a task panicked.
fn panicked(step: u64, batch: &Batch) -> String {
    let images: Vec<_> = batch.targets.iter().map(|t| t.path.display().to_string()).collect();
    format!("step {step}: the task panicked on the images {}", images.join(", "))
}

/// What is wrong here is a bug in the task's code.
fn check_losses(output: &StepOutput) -> Result<()> {
    anyhow::ensure!(
        !output.losses.is_empty(),
        "the task gave no loss: `train_step` must return at least one, such as \
         `StepOutput::loss(\"loss\", value)`"
    );
    for Loss { name, value, .. } in &output.losses {
        anyhow::ensure!(
            value.dim() == 0,
            "the task gave the loss {name:?} with the shape {:?}: expected a 0-d tensor; take its \
             mean or sum over the batch",
            value.size()
        );
        anyhow::ensure!(
            value.is_floating_point(),
            "the task gave the loss {name:?} as {:?}: expected floating point",
            value.kind()
        );
    }
    anyhow::ensure!(
        !output.has_something_to_learn()
            || output.losses.iter().any(|loss| loss.value.requires_grad()),
        "no loss of the task depends on a variable that trains; computed under `no_grad`, from a \
         detached tensor, or is everything frozen?"
    );
    Ok(())
}

/// The weighted sum of the terms, which are not none.
fn total_loss(output: &StepOutput) -> Result<Tensor> {
    let terms = output.losses.iter().map(|loss| &loss.value * loss.weight);
    terms.reduce(|sum, term| sum + term).context("a loss without terms")
}

fn named_losses(total: &Tensor, output: &StepOutput) -> Vec<(String, Tensor)> {
    let terms = output.losses.iter().map(|l| (l.name.clone(), l.value.detach()));
    std::iter::once(("loss".to_owned(), total.detach())).chain(terms).collect()
}

/// A mean over nothing is undefined.
fn named_scalars(scalars: Vec<Scalar>) -> Vec<(String, Tensor)> {
    let value = |Scalar { name, value, over }: Scalar| match over.is_nothing() {
        true => (name, value.full_like(f64::NAN)),
        false => (name, value.detach()),
    };
    scalars.into_iter().map(value).collect()
}

/// Adds `share · values` to the sums of the same names.
fn add_shares(sums: &mut Vec<(String, Tensor)>, values: Vec<(String, Tensor)>, share: f64) {
    for (name, value) in values {
        let part = value.detach() * share;
        match sums.iter_mut().find(|(n, _)| *n == name) {
            Some((_, sum)) => *sum = &*sum + part,
            None => sums.push((name, part)),
        }
    }
}
