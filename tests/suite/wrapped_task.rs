//! A registered task with something around it: a fault, or a witness.

use anyhow::Result;
use serde::Serialize;
use sonotune_base::Category;
use sonotune_dataset::{Dataset, TargetNeeds};
use sonotune_engine::{
    backbone::Backbone,
    task::{Task, TaskConfig},
};
use tch::nn;

/// The config of a task that is wrapped once it is built. Not registered: other tests count what is.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Wrapped {
    task: Box<dyn TaskConfig>,
    #[serde(skip)]
    wrap: fn(Box<dyn Task>) -> Box<dyn Task>,
}

impl Wrapped {
    pub(crate) fn around(
        task: Box<dyn TaskConfig>,
        wrap: fn(Box<dyn Task>) -> Box<dyn Task>,
    ) -> Box<dyn TaskConfig> {
        Box::new(Self { task, wrap })
    }
}

impl TaskConfig for Wrapped {
    fn typetag_name(&self) -> &'static str {
        self.task.typetag_name()
    }

    fn typetag_deserialize(&self) {}

    fn build(
        &self,
        vs: &nn::Path<'_>,
        backbone: Box<dyn Backbone>,
        categories: &[Category],
    ) -> Result<Box<dyn Task>> {
        Ok((self.wrap)(self.task.build(vs, backbone, categories)?))
    }

    fn learns_from(&self) -> Option<TargetNeeds> {
        self.task.learns_from()
    }

    fn check_labels(&self, dataset: &Dataset) -> Result<()> {
        self.task.check_labels(dataset)
    }

    fn metric_names(&self) -> Option<Vec<String>> {
        self.task.metric_names()
    }
}
