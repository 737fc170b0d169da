//! Which variable goes into which parameter group.

use anyhow::Result;
use tch::{Tensor, nn};

use super::GroupConfig;
use sonotune_base::{Error, pattern};

/// Name under which variables that no pattern matches are grouped and logged.
pub(crate) const BASE_GROUP: &str = "base";

/// Variables that are updated in the same way.
#[derive(Debug)]
pub struct ParameterGroup {
    pub name: String,
    pub lr_multiplier: f64,
    pub weight_decay_multiplier: f64,
    /// Sorted by name, so that the order (and with it every rounding) is the same in each run.
    pub parameters: Vec<(String, Tensor)>,
}

/// Trainable variables of `vs` by name.
#[must_use]
pub fn trainable(vs: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut variables: Vec<_> =
        vs.variables().into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}

/// Sorts the trainable variables into groups; freezes those of frozen groups.
///
/// The first pattern that matches a variable's name wins. Variables without a match form the group
/// `base`, which comes first.
///
/// # Errors
/// When a pattern wins no variable: otherwise a typo there would silently train or freeze the wrong
/// variables. When nothing is left to train.
pub fn group(vs: &nn::VarStore, configs: &[GroupConfig]) -> Result<Vec<ParameterGroup>> {
    let variables = trainable(vs);
    let mut members: Vec<Vec<(String, Tensor)>> = configs.iter().map(|_| Vec::new()).collect();
    let mut base = Vec::new();
    for (name, tensor) in variables {
        match configs.iter().position(|c| pattern::matches(&c.pattern, &name)) {
            Some(index) => members[index].push((name, tensor)),
            None => base.push((name, tensor)),
        }
    }
    for (index, (config, members)) in configs.iter().zip(&members).enumerate() {
        if members.is_empty() {
            return Err(unused_pattern(vs, configs, index, config).into());
        }
    }
    let mut groups = vec![ParameterGroup {
        name: BASE_GROUP.to_owned(),
        lr_multiplier: 1.0,
        weight_decay_multiplier: 1.0,
        parameters: base,
    }];
    for (config, parameters) in configs.iter().zip(members) {
        if config.freeze {
            for (_, tensor) in &parameters {
                let _ = tensor.set_requires_grad(false);
            }
            continue;
        }
        groups.push(ParameterGroup {
            name: config.name.clone(),
            lr_multiplier: config.lr_multiplier,
            weight_decay_multiplier: config.weight_decay_multiplier,
            parameters,
        });
    }
    groups.retain(|group| !group.parameters.is_empty());
    if groups.is_empty() {
        return Err(Error::config(
            "nothing to train: every variable of the model is frozen. Unfreeze some in [backbone] \
             or [[optimizer.groups]]",
        )
        .into());
    }
    Ok(groups)
}

fn unused_pattern(
    vs: &nn::VarStore,
    configs: &[GroupConfig],
    index: usize,
    config: &GroupConfig,
) -> Error {
    let mut matching: Vec<_> =
        vs.variables().into_iter().filter(|(n, _)| pattern::matches(&config.pattern, n)).collect();
    matching.sort_by(|a, b| a.0.cmp(&b.0));
    let reason = match matching.first() {
        None => {
            let mut names: Vec<_> = vs.variables().into_keys().collect();
            names.sort();
            let sample = names.iter().take(3).map(|n| format!("`{n}`")).collect::<Vec<_>>();
            format!(
                "no variable of the model has a name like this; names look like {}",
                sample.join(", ")
            )
        }
        Some((name, tensor)) if !tensor.requires_grad() => {
            format!("it matches only variables that are already frozen, such as `{name}`")
        }
        Some((name, _)) => {
            let earlier = configs[..index].iter().find(|c| pattern::matches(&c.pattern, name));
            format!(
                "an earlier pattern (`{}`) takes all it matches, such as `{name}`; put the narrower \
                 pattern first",
                earlier.map_or("?", |c| c.pattern.as_str())
            )
        }
    };
    Error::config(format!(
        "[[optimizer.groups]] `{}`: pattern `{}` matches no trainable variable: {reason}",
        config.name, config.pattern
    ))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn model() -> nn::VarStore {
        let vs = nn::VarStore::new(Device::Cpu);
        for name in ["weight", "bias"] {
            let _ = (vs.root() / "backbone").zeros(name, &[2]);
            let _ = (vs.root() / "head").zeros(name, &[2]);
        }
        let _ = (vs.root() / "backbone").zeros_no_train("running_mean", &[2]);
        vs
    }

    fn config(name: &str, pattern: &str) -> GroupConfig {
        GroupConfig {
            name: name.into(),
            pattern: pattern.into(),
            lr_multiplier: 0.1,
            weight_decay_multiplier: 0.0,
            freeze: false,
        }
    }

    fn names(group: &ParameterGroup) -> Vec<&str> {
        group.parameters.iter().map(|(n, _)| n.as_str()).collect()
    }

    #[test]
    fn the_first_match_wins_and_the_rest_is_base() {
        let vs = model();
        let groups = group(&vs, &[config("bias", "*.bias"), config("body", "backbone.*")]).unwrap();
        assert_eq!(groups.len(), 3);
        assert_eq!(names(&groups[0]), ["head.weight"]);
        assert_eq!(names(&groups[1]), ["backbone.bias", "head.bias"]);
        assert_eq!(names(&groups[2]), ["backbone.weight"]);
    }

    #[test]
    fn freezing_takes_variables_out_of_training() {
        let vs = model();
        let mut frozen = config("body", "backbone.*");
        frozen.freeze = true;
        let groups = group(&vs, &[frozen]).unwrap();
        assert_eq!(names(&groups[0]), ["head.bias", "head.weight"]);
        assert!(trainable(&vs).iter().all(|(n, _)| n.starts_with("head.")));
    }

    #[test]
    fn a_pattern_without_effect_is_an_error_that_says_why() {
        let message = |configs: &[GroupConfig]| group(&model(), configs).unwrap_err().to_string();
        assert!(message(&[config("x", "bakbone.*")]).contains("no variable of the model"));
        assert!(message(&[config("x", "*.running_mean")]).contains("already frozen"));
        let shadowed = message(&[config("all", "*"), config("bias", "*.bias")]);
        assert!(shadowed.contains("an earlier pattern (`*`)"), "{shadowed}");
    }

    #[test]
    fn a_model_frozen_whole_is_an_error() {
        let mut all = config("all", "*");
        all.freeze = true;
        let vs = model();
        assert!(group(&vs, &[all]).unwrap_err().to_string().contains("nothing to train"));
        assert_eq!(vs.variables()["head.bias"].kind(), Kind::Float);
    }
}
