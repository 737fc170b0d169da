//! Faults planted into a task's training step are found on the rehearsal device; without one the same run
//! passes. (The device's own tests plant a host that follows a pointer into its memory.)

use anyhow::{Result, anyhow};
use classification as _;
use rehearsal::{Device, Outcome};
use sonotune_base::stop::StopFlag;
use sonotune_dataset::TargetNeeds;
use sonotune_engine::{
    batch::Batch,
    task::{Evaluator, Prediction, StepOutput, Task},
};
use sonotune_run::{ModelSource, TrainOptions, config};
use sonotune_run_folder::Existing;
use tch::{Kind, Tensor};

use crate::{
    cuda_support::tiny, cuda_waits::waits_of_a_step, support::CLASSIFICATION, wrapped_task::Wrapped,
};

/// What is done to the loss of a step.
type Fault = fn(&Batch, &Tensor) -> Result<Tensor>;

/// A task as it is, but for a fault in its training step.
#[derive(Debug)]
struct Faulty(Box<dyn Task>, Fault);

impl Task for Faulty {
    fn needs(&self) -> TargetNeeds {
        self.0.needs()
    }

    fn train_step(&self, batch: &Batch) -> Result<StepOutput> {
        let mut output = self.0.train_step(batch)?;
        let loss = output.losses.first_mut().ok_or_else(|| anyhow!("no loss"))?;
        loss.value = (self.1)(batch, &loss.value)?;
        Ok(output)
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Prediction>> {
        self.0.predict(batch)
    }

    fn evaluator(&self) -> Result<Box<dyn Evaluator>> {
        self.0.evaluator()
    }
}

fn train(wrap: fn(Box<dyn Task>) -> Box<dyn Task>) {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path(), CLASSIFICATION).with("logging.every_steps = 1000").write();
    let mut loaded = config::load(&config, &[]).unwrap();
    loaded.config.task = Wrapped::around(loaded.config.task, wrap);
    let options = TrainOptions {
        existing: Existing::Refuse,
        resume_from: ModelSource::Last,
        changed_data: false,
        stop: StopFlag::default(),
        ranks: std::sync::Arc::default(),
    };
    sonotune_run::train(&loaded, &options).unwrap();
}

/// In a process of its own; the program loads the device's libraries.
fn inside<F: FnOnce()>(body: F) -> Option<Outcome> {
    rehearsal::inside(&Device::new(), || (), body)
}

fn none(_: &Batch, loss: &Tensor) -> Result<Tensor> {
    Ok(loss.shallow_clone())
}

/// A tensor that stays on the CPU meets one on the device.
fn wrong_device(batch: &Batch, loss: &Tensor) -> Result<Tensor> {
    let image = batch.images.get(0);
    let sum = image.f_add(&image.to_device(tch::Device::Cpu))?;
    Ok(loss + sum.mean(Kind::Float) * 0.0)
}

/// A value is read, so the program waits for it.
fn reads_value(_: &Batch, loss: &Tensor) -> Result<Tensor> {
    Ok(loss + loss.double_value(&[]) * 0.0)
}

#[test]
fn without_a_fault_the_run_passes_and_waits_for_nothing() {
    let Some(outcome) = inside(|| train(|task| Box::new(Faulty(task, none)))) else { return };
    let statistics = outcome.success();
    assert!(statistics.problems.is_empty(), "{:?}", statistics.problems);
    assert_eq!(waits_of_a_step(&statistics), 0);
}

#[test]
fn a_tensor_on_the_wrong_device_ends_the_run() {
    let Some(outcome) = inside(|| train(|task| Box::new(Faulty(task, wrong_device)))) else {
        return;
    };
    let text = outcome.text();
    assert!(!outcome.output.status.success());
    assert!(text.contains("Expected all tensors to be on the same device"), "{text}");
}

#[test]
fn a_value_read_in_a_step_exceeds_the_budget_of_waits() {
    let Some(outcome) = inside(|| train(|task| Box::new(Faulty(task, reads_value)))) else {
        return;
    };
    assert_eq!(waits_of_a_step(&outcome.success()), 1);
}
