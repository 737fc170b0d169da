//! Faults planted into a task's training step are found on the rehearsal device; without one the same run
//! passes. (The device's own tests plant a host that follows a pointer into its memory.)

use anyhow::{Result, anyhow};
use classification as _;
use rehearsal::{Device, Outcome};
use serde::{Deserialize, Serialize};
use sonotune_base::{Category, stop::StopFlag};
use sonotune_dataset::TargetNeeds;
use sonotune_engine::{
    backbone::Backbone,
    batch::Batch,
    task::{Evaluator, Prediction, StepOutput, Task, TaskConfig},
};
use sonotune_run::{ModelSource, TrainOptions, config};
use sonotune_run_folder::Existing;
use tch::nn;

use crate::{cuda_support::tiny, cuda_waits::waits_of_a_step, support::CLASSIFICATION};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fault {
    None,
    /// A tensor that stays on the CPU meets one on the device.
    WrongDevice,
    /// A value is read, so the program waits for it.
    ReadsValue,
}

/// A task as it is, but for a fault in its training step. Not registered: other tests count what is.
#[derive(Debug, Serialize, Deserialize)]
struct Faulty(Box<dyn TaskConfig>, Fault);

impl TaskConfig for Faulty {
    fn typetag_name(&self) -> &'static str {
        self.0.typetag_name()
    }

    fn typetag_deserialize(&self) {}

    fn build(
        &self,
        vs: &nn::Path<'_>,
        backbone: Box<dyn Backbone>,
        categories: &[Category],
    ) -> Result<Box<dyn Task>> {
        Ok(Box::new(FaultyTask(self.0.build(vs, backbone, categories)?, self.1)))
    }
}

#[derive(Debug)]
struct FaultyTask(Box<dyn Task>, Fault);

impl Task for FaultyTask {
    fn needs(&self) -> TargetNeeds {
        self.0.needs()
    }

    fn train_step(&self, batch: &Batch) -> Result<StepOutput> {
        let mut output = self.0.train_step(batch)?;
        let loss = output.losses.first_mut().ok_or_else(|| anyhow!("no loss"))?;
        match self.1 {
            Fault::None => {}
            Fault::WrongDevice => {
                let pixels =
                    batch.images.get(0).f_add(&batch.images.get(0).to_device(tch::Device::Cpu))?;
                loss.value = &loss.value + pixels.mean(tch::Kind::Float) * 0.0;
            }
            Fault::ReadsValue => {
                let value = loss.value.double_value(&[]);
                loss.value = &loss.value + value * 0.0;
            }
        }
        Ok(output)
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Prediction>> {
        self.0.predict(batch)
    }

    fn evaluator(&self) -> Result<Box<dyn Evaluator>> {
        self.0.evaluator()
    }
}

fn train(fault: Fault) {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path(), CLASSIFICATION).with("logging.every_steps = 1000").write();
    let mut loaded = config::load(&config, &[]).unwrap();
    loaded.config.task = Box::new(Faulty(loaded.config.task, fault));
    let options = TrainOptions {
        existing: Existing::Refuse,
        resume_from: ModelSource::Last,
        changed_data: false,
        stop: StopFlag::default(),
    };
    sonotune_run::train(&loaded, &options).unwrap();
}

/// In a process of its own; the program loads the device's libraries.
fn inside<F: FnOnce()>(body: F) -> Option<Outcome> {
    rehearsal::inside(&Device::new(), || (), body)
}

#[test]
fn without_a_fault_the_run_passes_and_waits_for_nothing() {
    let Some(outcome) = inside(|| train(Fault::None)) else { return };
    let statistics = outcome.success();
    assert!(statistics.problems.is_empty(), "{:?}", statistics.problems);
    assert_eq!(waits_of_a_step(&statistics), 0);
}

#[test]
fn a_tensor_on_the_wrong_device_ends_the_run() {
    let Some(outcome) = inside(|| train(Fault::WrongDevice)) else { return };
    let text = outcome.text();
    assert!(!outcome.output.status.success());
    assert!(text.contains("Expected all tensors to be on the same device"), "{text}");
}

#[test]
fn a_value_read_in_a_step_exceeds_the_budget_of_waits() {
    let Some(outcome) = inside(|| train(Fault::ReadsValue)) else { return };
    assert_eq!(waits_of_a_step(&outcome.success()), 1);
}
