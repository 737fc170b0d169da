//! A model that answers questions about single images, one after the other, for as long as it lives: behind a
//! browser or a server.
//!
//! Two threads share the work. One computes what depends on the pixels alone, the backbone's output, which takes
//! seconds for a large model; the other answers questions about images whose output is there, in milliseconds. So a
//! click on one image need not wait until the next one is ready.

mod embed;
mod kept;
mod model;
mod queue;

use std::{path::PathBuf, sync::Arc, thread::JoinHandle};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use sonotune_base::Category;
use sonotune_dataset::{ObjectPrompt, TargetNeeds, pixels::ImageFile};
use sonotune_engine::task::Prediction;

use crate::{config::Loaded, model::ModelSource};
use queue::{Asked, Queue};

/// An image, and what changes whenever its pixels do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LiveImage {
    pub file: ImageFile,
    pub version: String,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveAnswer {
    /// In the pixels of the file.
    pub prediction: Prediction,
    /// Whether the backbone's output was there when the question came.
    pub was_prepared: bool,
}

/// What a model is, in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveAbout {
    /// The `type` of its `[task]` table.
    pub task: String,
    /// The `type` of its `[backbone]` table.
    pub backbone: String,
    pub takes_prompts: bool,
    /// `None`: the task does not say.
    #[serde(skip)]
    pub learns_from: Option<TargetNeeds>,
    /// In the order of class indices.
    pub categories: Vec<Category>,
    pub min_score: f64,
    pub weights: PathBuf,
    /// Optimiser steps; 0 for pretrained weights.
    pub step: u64,
    pub device: String,
    /// What is worth knowing before the first question, one sentence each.
    pub notes: Vec<String>,
}

/// A model in its threads. Dropping it ends them.
#[derive(Debug)]
pub struct Live {
    about: LiveAbout,
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Live {
    /// Opens the model of a run or of pretrained weights, as `predict` does.
    ///
    /// # Errors
    /// Of kind config, data or weights.
    pub fn open(loaded: Loaded, source: ModelSource) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let (told, hear) = std::sync::mpsc::channel();
        let answering = std::thread::Builder::new().name("answers".to_owned()).spawn({
            let queue = queue.clone();
            move || {
                // An error goes to whoever opens it; once it is open, nobody listens here.
                let outcome = model::run(&loaded, &source, &queue, |about, encoder| {
                    told.send(Ok((about, encoder))).is_ok()
                });
                if let Err(error) = outcome {
                    let _ = told.send(Err(error));
                }
                queue.close();
            }
        })?;
        let (about, encoder) =
            hear.recv().map_err(|_| anyhow!("the model's thread ended without a message"))??;
        let embedding = std::thread::Builder::new().name("embeddings".to_owned()).spawn({
            let queue = queue.clone();
            move || encoder.run(&queue)
        })?;
        Ok(Self { about, queue, threads: vec![answering, embedding] })
    }

    /// What the model is.
    #[must_use]
    pub fn about(&self) -> &LiveAbout {
        &self.about
    }

    /// Answers `prompts`, or, without any, says what the model finds on its own. Blocks until the answer is there.
    ///
    /// # Errors
    /// Of kind data if the image cannot be read or a prompt does not fit it, of kind config if the task takes no
    /// prompts.
    pub fn answer(
        &self,
        image: &LiveImage,
        prompts: Option<Vec<ObjectPrompt>>,
    ) -> Result<LiveAnswer> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.queue.ask(Asked { image: image.clone(), prompts, reply, was_prepared: false })?;
        answer.recv().context("the model has stopped")?
    }

    /// Computes the backbone's output for the image when nobody waits for another one. Returns at once.
    pub fn prepare(&self, image: &LiveImage) {
        self.queue.prepare(image.clone());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}
