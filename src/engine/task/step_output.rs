//! What a training step yields, and how the parts of several processes combine.

use tch::Tensor;

/// What one training step yields.
#[derive(Debug, Default)]
pub struct StepOutput {
    /// Terms of the loss; at least one.
    pub losses: Vec<Loss>,
    /// Further values to log, e.g. a batch accuracy. Not differentiated.
    pub scalars: Vec<Scalar>,
}

/// One named term of the training loss.
#[derive(Debug)]
pub struct Loss {
    /// As upstream logs it, e.g. `loss_focal`; appears as `train/<name>`.
    pub name: String,
    /// 0-d, differentiable.
    pub value: Tensor,
    /// Factor in the sum.
    pub weight: f64,
    /// What `value` is a mean over.
    pub over: Over,
}

/// A named value that is only logged.
#[derive(Debug)]
pub struct Scalar {
    /// Appears as `train/<name>`.
    pub name: String,
    /// 0-d.
    pub value: Tensor,
    /// What `value` is a mean over. A mean over nothing is not logged.
    pub over: Over,
}

/// What a value of a step is a mean over.
///
/// With several processes, each computes the value for its images alone; the engine then weighs them by
/// this, so that the result is the value for the whole batch, however many processes share it. A loss that
/// is divided by the number of objects, say, is `Over::Count(number of objects of these images)`. With
/// one process it changes nothing.
#[derive(Debug)]
pub enum Over {
    /// The images of the batch.
    Images,
    /// This number of things, such as objects or pixels. If there are none, the value must be finite, such as 0.
    Count(f64),
    /// Things of different weights, which add up to this, 0-d.
    Weights(Tensor),
    /// It is no mean but a sum.
    Sum,
}

impl StepOutput {
    /// A step of one loss, of weight 1: `value` is 0-d, differentiable, and a mean over the images.
    pub fn loss(name: impl Into<String>, value: Tensor) -> Self {
        let losses = vec![Loss { name: name.into(), value, weight: 1.0, over: Over::Images }];
        Self { losses, scalars: Vec::new() }
    }

    /// Whether any of its losses is over something, as far as is known without asking the device.
    pub(crate) fn has_something_to_learn(&self) -> bool {
        self.losses.iter().any(|loss| !loss.over.is_nothing())
    }

    /// Adds a value to log.
    pub fn log(&mut self, name: impl Into<String>, value: Tensor, over: Over) {
        self.scalars.push(Scalar { name: name.into(), value, over });
    }
}

impl Over {
    /// Whether it is known, without asking the device, that there was nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Count(0.0))
    }

    /// How much a process's value counts for among `images` of its own; `None` if the device knows.
    pub(crate) fn number(&self, images: usize) -> Option<f64> {
        match self {
            Self::Images => Some(images as f64),
            Self::Count(count) => Some(*count),
            Self::Sum => Some(1.0),
            Self::Weights(_) => None,
        }
    }
}
