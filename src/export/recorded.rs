//! The model's parts as recorded graphs.

use std::collections::HashMap;

use anyhow::{Context, Result};
use sonotune_engine::task::{Part, Parts};
use sonotune_shim::{Graph, Recording, Script};
use tch::{Tensor, nn::VarStore, no_grad};

/// A TorchScript module with a method for each part, and the parts' graphs.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) script: Script,
    graphs: Vec<(&'static str, Graph)>,
    /// Names and sizes of the model's variables, by the address of their values.
    names: HashMap<usize, (String, Vec<i64>)>,
}

/// The name of a part's method.
pub(crate) fn method(parts: &Parts<'_>, part: &Part<'_>) -> &'static str {
    match parts {
        Parts::Whole(_) => "forward",
        Parts::Promptable(_) => part.name,
    }
}

/// In the order in which they are run.
pub(crate) fn all<'p, 'a>(parts: &'p Parts<'a>) -> Vec<&'p Part<'a>> {
    match parts {
        Parts::Whole(part) => vec![part],
        Parts::Promptable(promptable) => {
            let second = promptable.refinement.iter().map(|refinement| &refinement.decoder);
            [&promptable.encoder, &promptable.decoder].into_iter().chain(second).collect()
        }
    }
}

impl Recorded {
    /// Runs every part once, or twice if its inputs may have other sizes.
    ///
    /// # Errors
    /// If a part cannot be recorded; names it.
    pub(crate) fn new(vs: &VarStore, parts: &Parts<'_>) -> Result<Self> {
        let mut variables: Vec<_> = vs.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let address = |(name, tensor): &(String, Tensor)| {
            (tensor.data_ptr() as usize, (name.clone(), tensor.size()))
        };
        let names = variables.iter().map(address).collect();
        let mut script = Script::new(&variables)?;
        // With several threads products become convolutions, which is of use to libtorch alone.
        let _alone = OneThread::start();
        let mut graphs = Vec::new();
        for part in all(parts) {
            let graph = no_grad(|| record(&mut script, method(parts, part), part))
                .with_context(|| format!("recording the part `{}` of the model", part.name))?;
            graphs.push((part.name, graph));
        }
        Ok(Self { script, graphs, names })
    }

    pub(crate) fn graph(&self, part: &str) -> Result<&Graph> {
        let found = self.graphs.iter().find(|(name, _)| *name == part);
        found.map(|(_, graph)| graph).with_context(|| format!("no part `{part}`"))
    }

    /// The model's name for a tensor that is one of its variables as a whole.
    pub(crate) fn name_of(&self, tensor: &Tensor) -> Option<String> {
        let (name, sizes) = self.names.get(&(tensor.data_ptr() as usize))?;
        (*sizes == tensor.size() && tensor.is_contiguous()).then(|| name.clone())
    }
}

fn record(script: &mut Script, name: &str, part: &Part<'_>) -> Result<Graph> {
    let inputs: Vec<_> = part.inputs.iter().map(|input| input.example.shallow_clone()).collect();
    let is_open = part.inputs.iter().any(|input| input.other.is_some());
    let others = part.inputs.iter().map(|i| i.other.as_ref().unwrap_or(&i.example).shallow_clone());
    let others: Vec<_> = if is_open { others.collect() } else { Vec::new() };
    let recording = Recording { name, inputs: &inputs, other_inputs: &others };
    let forward = |inputs: &[Tensor]| (part.forward)(inputs).map_err(|error| format!("{error:#}"));
    Ok(script.record(&recording, &forward)?)
}

/// One thread for libtorch's operators while it exists.
struct OneThread(i32);

impl OneThread {
    fn start() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self(before)
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.0);
    }
}
