//! What a server asks of a model. The model itself needs libtorch and is elsewhere.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use sonotune_base::{Category, Rle};
use sonotune_dataset::{ObjectPrompt, pixels::ImageFile};

/// A model that answers questions about images. Calls block until the answer is there; several at a time
/// are answered one after the other.
pub trait Inference: Send + Sync {
    /// What it is.
    fn about(&self) -> &About;

    /// Answers a question about an image. For the last few images the model keeps what it has computed of the pixels
    /// alone, so that further questions about them are answered at once.
    ///
    /// # Errors
    /// Kind data if the image cannot be read or a prompt does not fit it; any other kind is the server's fault.
    fn answer(&self, image: &Image, question: &Question) -> Result<Answer>;

    /// Announces that questions about the image are likely to come: the model computes what depends on the pixels
    /// alone when nobody waits. Returns at once. What goes wrong is told by [`answer`](Self::answer).
    fn prepare(&self, image: &Image);
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct About {
    /// Name of its run's folder, or of its config.
    pub name: String,
    /// The `type` of its `[task]` table.
    pub task: String,
    /// The `type` of its `[backbone]` table.
    pub backbone: String,
    /// Whether it answers points, boxes and masks.
    pub takes_prompts: bool,
    /// Whether it is about the image as a whole, or about objects in it.
    pub is_of_image: bool,
    /// Whether its objects have masks.
    pub has_masks: bool,
    /// In the order of class indices.
    pub categories: Vec<Category>,
    /// Score from which on an object that it finds on its own is worth showing.
    pub min_score: f64,
    /// File of its weights.
    pub weights: PathBuf,
    /// Optimiser steps that it was trained for; 0 for pretrained weights.
    pub step: u64,
    /// Where it computes, e.g. `cpu`.
    pub device: String,
}

/// An image to answer questions about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image {
    pub file: ImageFile,
    /// Changes whenever the pixels do: a hash of the content, or a file's time and size.
    pub version: String,
}

/// What is asked about an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// One object for each prompt. Coordinates are in the pixels of the file.
    Prompts(Vec<ObjectPrompt>),
    /// What the model finds on its own: all objects of a promptable model, else its predictions.
    Unasked,
}

/// What a model says about an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// `(height, width)` of the file in pixels, the frame of boxes and masks.
    pub size: (u32, u32),
    /// Objects: for prompts, one for each and in their order; else by descending score, all of them, even those below
    /// [`About::min_score`].
    pub objects: Vec<Found>,
    /// A score in [0, 1] for each category; empty if the model gives none.
    pub scores: Vec<f64>,
    /// Predicted categories of the image as a whole, as indices.
    pub labels: Vec<usize>,
    /// Numbers of the image as a whole.
    pub values: Vec<(String, f64)>,
    /// Whether the pixels had been dealt with before the question came.
    pub was_prepared: bool,
}

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Index into the categories.
    pub category: usize,
    pub score: f64,
    /// XYXY, pixels of the file.
    pub bbox: [f64; 4],
    pub mask: Option<Rle>,
}
