//! AdamW and SGD on libtorch's fused kernels, with state that can be saved.

use std::collections::HashMap;

use anyhow::Result;
use tch::{Kind, Tensor, no_grad};

use super::{Algorithm, OptimizerConfig, groups::ParameterGroup};
use sonotune_base::Error;

/// Updates the variables of its groups from their gradients.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    name: String,
    lr: f64,
    weight_decay: f64,
    slots: Vec<Slot>,
}

/// A variable and the algorithm's state for it.
#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    state: State,
}

#[derive(Debug)]
enum State {
    /// First and second moment, and the number of updates (0-d fp32, as the fused kernel needs it).
    AdamW { exp_avg: Tensor, exp_avg_sq: Tensor, step: Tensor },
    /// Absent before the first update, and always without momentum.
    Sgd { momentum_buffer: Option<Tensor> },
}

impl Optimizer {
    /// An optimiser with fresh state for `groups`.
    #[must_use]
    pub fn new(config: &OptimizerConfig, groups: Vec<ParameterGroup>) -> Self {
        let groups = groups
            .into_iter()
            .map(|group| Group {
                name: group.name,
                lr: config.lr * group.lr_multiplier,
                weight_decay: config.weight_decay * group.weight_decay_multiplier,
                slots: group
                    .parameters
                    .into_iter()
                    .map(|(name, parameter)| Slot {
                        name,
                        state: State::new(config.algorithm, &parameter),
                        parameter,
                    })
                    .collect(),
            })
            .collect();
        Self { config: config.clone(), groups }
    }

    /// Name and learning rate of each group at schedule factor `factor`.
    #[must_use]
    pub fn learning_rates(&self, factor: f64) -> Vec<(String, f64)> {
        self.groups.iter().map(|g| (g.name.clone(), g.lr * factor)).collect()
    }

    /// Gradients of all variables that have one (a variable outside the graph has none).
    #[must_use]
    pub fn gradients(&self) -> Vec<Tensor> {
        self.slots().map(|slot| slot.parameter.grad()).filter(Tensor::defined).collect()
    }

    /// Clears the gradients.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn zero_grad(&self) -> Result<()> {
        let parameters: Vec<_> = self.slots().map(|s| s.parameter.shallow_clone()).collect();
        Ok(sonotune_shim::clear_grads(&parameters)?)
    }

    /// One update with learning rates multiplied by `factor`. Variables without a gradient stay
    /// as they are. If `found_inf` (0-d fp32) is given and not 0, nothing changes: in this way a CUDA
    /// run guards its weights without waiting for the device.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn step(&mut self, factor: f64, found_inf: Option<&Tensor>) -> Result<()> {
        match self.config.algorithm {
            Algorithm::AdamW => self.step_adamw(factor, found_inf),
            Algorithm::Sgd => self.step_sgd(factor, found_inf),
        }
    }

    fn step_adamw(&mut self, factor: f64, found_inf: Option<&Tensor>) -> Result<()> {
        for group in &self.groups {
            let (mut params, mut grads) = (Vec::new(), Vec::new());
            let (mut exp_avgs, mut exp_avg_sqs, mut steps) = (Vec::new(), Vec::new(), Vec::new());
            for (slot, grad) in group.slots_with_gradient() {
                let State::AdamW { exp_avg, exp_avg_sq, step } = &slot.state else { continue };
                params.push(slot.parameter.shallow_clone());
                grads.push(grad);
                exp_avgs.push(exp_avg.shallow_clone());
                exp_avg_sqs.push(exp_avg_sq.shallow_clone());
                steps.push(step.shallow_clone());
            }
            let options = sonotune_shim::AdamW {
                lr: group.lr * factor,
                beta1: self.config.betas.0,
                beta2: self.config.betas.1,
                weight_decay: group.weight_decay,
                eps: self.config.eps,
            };
            let tensors = sonotune_shim::AdamWTensors {
                params: &params,
                grads: &grads,
                exp_avgs: &exp_avgs,
                exp_avg_sqs: &exp_avg_sqs,
                steps: &steps,
            };
            sonotune_shim::fused_adamw(tensors, options, found_inf)?;
        }
        Ok(())
    }

    fn step_sgd(&mut self, factor: f64, found_inf: Option<&Tensor>) -> Result<()> {
        let has_momentum = self.config.momentum != 0.0;
        for group in &mut self.groups {
            let options = sonotune_shim::Sgd {
                lr: group.lr * factor,
                momentum: self.config.momentum,
                weight_decay: group.weight_decay,
                nesterov: self.config.nesterov,
            };
            // The kernel fills the buffers in a first update and adds to them in a later one. Later
            // ones go first: after its first update a variable has a buffer.
            for is_first_step in [false, true] {
                let (mut params, mut grads, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
                for slot in &mut group.slots {
                    let grad = slot.parameter.grad();
                    let State::Sgd { momentum_buffer } = &mut slot.state else { continue };
                    if !grad.defined() || momentum_buffer.is_none() != is_first_step {
                        continue;
                    }
                    if has_momentum {
                        let buffer = momentum_buffer
                            .take()
                            .unwrap_or_else(|| no_grad(|| slot.parameter.zeros_like()));
                        buffers.push(buffer);
                    }
                    params.push(slot.parameter.shallow_clone());
                    grads.push(grad);
                }
                sonotune_shim::fused_sgd(
                    sonotune_shim::SgdTensors {
                        params: &params,
                        grads: &grads,
                        momentum_buffers: &buffers,
                    },
                    options,
                    is_first_step,
                    found_inf,
                )?;
                group.keep_buffers(&params, buffers);
            }
        }
        Ok(())
    }

    /// The state as named tensors, e.g. `exp_avg.head.fc.weight`.
    #[must_use]
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for slot in self.slots() {
            let mut push = |kind: &str, tensor: &Tensor| {
                tensors.push((format!("{kind}.{}", slot.name), tensor.shallow_clone()));
            };
            match &slot.state {
                State::AdamW { exp_avg, exp_avg_sq, step } => {
                    push("exp_avg", exp_avg);
                    push("exp_avg_sq", exp_avg_sq);
                    push("step", step);
                }
                State::Sgd { momentum_buffer: Some(buffer) } => push("momentum_buffer", buffer),
                State::Sgd { momentum_buffer: None } => {}
            }
        }
        tensors
    }

    /// Restores a state that [`state`](Self::state) returned.
    ///
    /// # Errors
    /// When the variables or the algorithm are not the same; names the first difference.
    pub(crate) fn load_state(&mut self, mut tensors: HashMap<String, Tensor>) -> Result<()> {
        for slot in self.groups.iter_mut().flat_map(|g| &mut g.slots) {
            let device = slot.parameter.device();
            let format = slot.parameter.kind();
            // A run may go on in another format than the one in which it was saved.
            let mut take = |kind: &str, shape: &[i64], format: Kind| match tensors
                .remove(&format!("{kind}.{}", slot.name))
            {
                Some(tensor) if tensor.size() == shape => {
                    Ok(Some(tensor.to_device(device).to_kind(format)))
                }
                Some(tensor) => Err(Error::weights(format!(
                    "optimizer state `{kind}.{}` has shape {:?}, the model needs {shape:?}",
                    slot.name,
                    tensor.size()
                ))),
                None => Ok(None),
            };
            let shape = slot.parameter.size();
            match &mut slot.state {
                State::AdamW { exp_avg, exp_avg_sq, step } => {
                    for (kind, shape, format, target) in [
                        ("exp_avg", shape.as_slice(), format, exp_avg),
                        ("exp_avg_sq", shape.as_slice(), format, exp_avg_sq),
                        ("step", &[], Kind::Float, step),
                    ] {
                        *target = take(kind, shape, format)?.ok_or_else(|| {
                            Error::weights(format!(
                                "the checkpoint has no optimizer state `{kind}.{}`: it was written \
                                 with another [optimizer] or model",
                                slot.name
                            ))
                        })?;
                    }
                }
                State::Sgd { momentum_buffer } => {
                    *momentum_buffer = take("momentum_buffer", &shape, format)?;
                }
            }
        }
        match tensors.keys().min() {
            None => Ok(()),
            Some(name) => Err(Error::weights(format!(
                "the checkpoint holds optimizer state `{name}`, which this run does not use: it \
                 was written with another [optimizer] or model"
            ))
            .into()),
        }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.groups.iter().flat_map(|g| &g.slots)
    }
}

impl Group {
    fn slots_with_gradient(&self) -> impl Iterator<Item = (&Slot, Tensor)> {
        self.slots.iter().map(|s| (s, s.parameter.grad())).filter(|(_, grad)| grad.defined())
    }

    /// Puts momentum buffers back beside their parameters, which come in the slots' order.
    fn keep_buffers(&mut self, params: &[Tensor], buffers: Vec<Tensor>) {
        let mut slots = self.slots.iter_mut();
        for (param, buffer) in params.iter().zip(buffers) {
            let owner = slots.find(|s| s.parameter.data_ptr() == param.data_ptr());
            if let Some(Slot { state: State::Sgd { momentum_buffer }, .. }) = owner {
                *momentum_buffer = Some(buffer);
            }
        }
    }
}

impl State {
    fn new(algorithm: Algorithm, parameter: &Tensor) -> Self {
        match algorithm {
            Algorithm::AdamW => no_grad(|| Self::AdamW {
                exp_avg: parameter.zeros_like(),
                exp_avg_sq: parameter.zeros_like(),
                step: Tensor::zeros([], (Kind::Float, parameter.device())),
            }),
            Algorithm::Sgd => Self::Sgd { momentum_buffer: None },
        }
    }
}

#[cfg(test)]
#[path = "optimizer_tests.rs"]
mod tests;
