//! A model as functions of tensors, for programs that do not have this one: what the export records.

use std::fmt::{self, Debug};

use anyhow::Result;
use tch::Tensor;

/// What a task computes, as functions that can be recorded.
#[derive(Debug)]
pub enum Parts<'a> {
    /// One function of images.
    Whole(Part<'a>),
    /// An encoder of images and a decoder of prompts.
    Promptable(Promptable<'a>),
}

/// From a part's inputs to its outputs, in their orders.
pub type Function<'a> = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>> + 'a>;

/// Computes outputs from inputs.
///
/// A recording keeps the operators that run, so a function must take the same course for all inputs and use
/// nothing but its inputs, the model's variables and constants. A size that an input decides may only end up in
/// a reshape.
pub struct Part<'a> {
    /// Becomes part of a file name, as `encoder` in `encoder.onnx`.
    pub name: &'static str,
    pub inputs: Vec<PartInput>,
    pub outputs: Vec<PartOutput>,
    pub forward: Function<'a>,
}

/// An input of a [`Part`].
#[derive(Debug)]
pub struct PartInput {
    pub name: &'static str,
    /// What it holds, for the description of the file: sizes, range, frame.
    pub about: String,
    pub example: Tensor,
    /// The same with other sizes where any size will do; `None`: sizes are fixed.
    pub other: Option<Tensor>,
}

/// An output of a [`Part`].
#[derive(Debug)]
pub struct PartOutput {
    pub name: &'static str,
    pub about: String,
    pub meaning: Meaning,
}

/// What an output's values are, which decides how close two programs must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// In [0, 1], or another quality of about that size.
    Scores,
    /// A mask is where they are above 0.
    MaskLogits,
    /// For another part of the model.
    Internal,
}

/// SAM's two halves.
///
/// The decoder takes, in this order: the encoder's outputs; `point_coords` `[1, T, 2]` in input pixels, with the
/// offset added, and `point_labels` `[1, T]` i64 (−1 filler, 0 background, 1 foreground, 2 and 3 corners of a
/// box); `mask_input` `[1, 1, h, w]`, logits of an earlier mask; `has_mask_input` `[1]`, 1 if there is one, else
/// 0. It gives `low_res_masks` `[1, 1, h, w]`, logits, and `iou_predictions` `[1, 1]` of the mask that the task
/// would choose.
#[derive(Debug)]
pub struct Promptable<'a> {
    pub encoder: Part<'a>,
    pub decoder: Part<'a>,
    /// A second pass with the first one's mask as a prompt.
    pub refinement: Option<Refinement<'a>>,
    pub prompts: PromptRules,
}

/// How prompts become tokens, and logits a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptRules {
    /// Added to coordinates in input pixels.
    pub offset: f64,
    /// Whether a filler also follows a box; it always follows points alone.
    pub filler_with_box: bool,
    /// Whether logits are cut at 0 before they are enlarged, not after.
    pub cut_first: bool,
    /// Whether logits of images that fill the input are enlarged in one step.
    pub direct: bool,
}

/// The second pass of a [`Promptable`]: the prompts are the first pass's mask and, unless they include a box,
/// the mask's own box in place of points.
#[derive(Debug)]
pub struct Refinement<'a> {
    /// Takes and gives the same as the first pass's.
    pub decoder: Part<'a>,
    /// Added to the corners of the mask's box, in input pixels.
    pub offset: f64,
    /// Whether an empty mask has a box, of zeros; if not, the first pass's prompts stay.
    pub box_of_empty: bool,
}

impl Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl PartInput {
    /// One of fixed sizes.
    #[must_use]
    pub fn fixed(name: &'static str, example: Tensor, about: impl Into<String>) -> Self {
        Self { name, about: about.into(), example, other: None }
    }
}

impl PartOutput {
    #[must_use]
    pub fn new(name: &'static str, meaning: Meaning, about: impl Into<String>) -> Self {
        Self { name, about: about.into(), meaning }
    }
}
