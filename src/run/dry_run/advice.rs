//! What to change when a run does not fit: a pure function of the config.

use std::collections::BTreeSet;

use sonotune_base::words::bytes;
use toml::{Table, Value};

/// What the advice is based on.
#[derive(Debug, Clone)]
pub(super) struct Situation<'a> {
    /// The config with its defaults written out.
    pub(super) resolved: &'a Table,
    /// Keys that the `[backbone]` table has.
    pub(super) backbone_keys: &'a BTreeSet<String>,
    pub(super) on_cuda: bool,
    /// The largest number of images that fits, if known.
    pub(super) fits: Option<usize>,
    /// Bytes of the device that other processes hold, if they are many.
    pub(super) held_by_others: Option<u64>,
}

/// Changes in terms of config keys, the least costly first; what is already set is left out.
pub(super) fn advice(situation: &Situation<'_>) -> Vec<String> {
    let Situation { resolved, backbone_keys, on_cuda, .. } = *situation;
    let value = |key: &str| lookup(resolved, key);
    let knows = |key: &str| backbone_keys.contains(key);
    let mut changes = Vec::new();
    if let Some(held) = situation.held_by_others {
        changes.push(format!(
            "other processes hold {} of the device's memory: end them (`nvidia-smi` lists them), or \
             choose another device",
            bytes(held)
        ));
    }
    changes.extend(smaller_batches(situation));
    if on_cuda && matches!(value("precision").and_then(Value::as_str), Some("fp32" | "tf32")) {
        changes.push(
            "precision = \"bf16\": activations take about half the memory; weights stay fp32"
                .to_owned(),
        );
    }
    if value("precision").and_then(Value::as_str) == Some("fp64") {
        changes.push("precision = \"auto\": half the memory, or less".to_owned());
    }
    let checkpoints = value("backbone.activation_checkpointing").and_then(Value::as_bool);
    if knows("backbone.activation_checkpointing") && checkpoints != Some(true) {
        changes.push(
            "backbone.activation_checkpointing = true: blocks are computed again in backward, which \
             takes a third more time"
                .to_owned(),
        );
    }
    let freeze = value("backbone.freeze");
    let frozen = freeze.and_then(Value::as_str) == Some("all");
    if knows("backbone.freeze") && !frozen {
        let lora = if knows("backbone.lora.rank") && value("backbone.lora").is_none() {
            ", with backbone.lora = {} to adapt it nevertheless"
        } else {
            ""
        };
        changes.push(format!(
            "backbone.freeze = \"all\": no gradients and no optimiser state for the backbone{lora}"
        ));
    }
    let adapted = value("backbone.lora").is_some() || value("backbone.adapter").is_some();
    if frozen && !adapted && value("embedding_cache").is_none() {
        changes.push(
            "embedding_cache.dir = \"embeddings\": the frozen backbone runs once per image, not in \
             training"
                .to_owned(),
        );
    }
    if let Some(side) = value("preprocess.image_size").and_then(Value::as_integer)
        && side > 64
    {
        changes.push(format!(
            "preprocess.image_size below {side}: half the side takes a quarter of the memory, but \
             shows less detail"
        ));
    }
    changes
}

/// Fewer images per forward pass, with as many per step.
fn smaller_batches(situation: &Situation<'_>) -> Option<String> {
    let number = |key: &str| {
        lookup(situation.resolved, key)
            .and_then(Value::as_integer)
            .and_then(|n| u64::try_from(n).ok())
    };
    let batch = number("loader.batch_size")?;
    let accumulate = number("train.accumulate_batches").unwrap_or(1);
    let most = match situation.fits {
        Some(0) => return None,
        Some(fits) => fits as u64,
        None => batch / 2,
    };
    // The largest that fits and keeps the number of images of a step whole.
    let smaller =
        (1..batch).rev().find(|n| *n <= most && (batch * accumulate).is_multiple_of(*n))?;
    Some(format!(
        "loader.batch_size = {smaller} with train.accumulate_batches = {}: the same {} images per step",
        batch * accumulate / smaller,
        batch * accumulate
    ))
}

fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(a, b)| (a, Some(b)));
    let value = table.get(first)?;
    match rest {
        None => Some(value),
        Some(rest) => lookup(value.as_table()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "precision = \"fp32\"\n[loader]\nbatch_size = 8\n[train]\n\
                        accumulate_batches = 1\n[preprocess]\nimage_size = 1024\n[backbone]\n\
                        freeze = \"none\"\nactivation_checkpointing = false\n";

    fn of(text: &str, on_cuda: bool, fits: Option<usize>) -> Vec<String> {
        let keys = ["activation_checkpointing", "freeze", "lora.rank"];
        let backbone_keys = keys.iter().map(|key| format!("backbone.{key}")).collect();
        let resolved: Table = text.parse().unwrap();
        let changes = advice(&Situation {
            resolved: &resolved,
            backbone_keys: &backbone_keys,
            on_cuda,
            fits,
            held_by_others: None,
        });
        changes.into_iter().map(|text| text.split(": ").next().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_cheapest_change_comes_first() {
        assert_eq!(
            of(FULL, true, Some(3)),
            [
                "loader.batch_size = 2 with train.accumulate_batches = 4",
                "precision = \"bf16\"",
                "backbone.activation_checkpointing = true",
                "backbone.freeze = \"all\"",
                "preprocess.image_size below 1024",
            ]
        );
        // Half the batch if the limit is unknown; on most CPUs bf16 costs more than it saves.
        let cpu = of(FULL, false, None);
        assert_eq!(cpu[0], "loader.batch_size = 4 with train.accumulate_batches = 2");
        assert_eq!(cpu[1], "backbone.activation_checkpointing = true");
    }

    #[test]
    fn images_of_a_step_stay_as_many() {
        let odd = FULL.replace("batch_size = 8", "batch_size = 7");
        assert_eq!(
            of(&odd, true, Some(5))[0],
            "loader.batch_size = 1 with train.accumulate_batches = 7"
        );
        let more = FULL.replace("accumulate_batches = 1", "accumulate_batches = 3");
        assert_eq!(
            of(&more, true, Some(6))[0],
            "loader.batch_size = 6 with train.accumulate_batches = 4"
        );
        // Not even one image fits: smaller batches do not help.
        assert_eq!(of(FULL, true, Some(0))[0], "precision = \"bf16\"");
        let one = FULL.replace("batch_size = 8", "batch_size = 1");
        assert_eq!(of(&one, true, None)[0], "precision = \"bf16\"");
    }

    #[test]
    fn what_is_set_is_left_out() {
        let frozen = FULL
            .replace("fp32", "bf16")
            .replace("checkpointing = false", "checkpointing = true")
            .replace("\"none\"", "\"all\"")
            .replace("batch_size = 8", "batch_size = 1");
        assert_eq!(
            of(&frozen, true, None),
            ["embedding_cache.dir = \"embeddings\"", "preprocess.image_size below 1024"]
        );
        let lora = format!("{frozen}lora = {{ rank = 4 }}\n");
        assert_eq!(of(&lora, true, None), ["preprocess.image_size below 1024"]);
        let cached = format!("{frozen}[embedding_cache]\ndir = \"x\"\n");
        assert_eq!(of(&cached, true, None), ["preprocess.image_size below 1024"]);
    }

    #[test]
    fn a_backbone_without_the_keys_gets_no_such_advice() {
        let resolved: Table = FULL.parse().unwrap();
        let situation = Situation {
            resolved: &resolved,
            backbone_keys: &BTreeSet::new(),
            on_cuda: false,
            fits: None,
            held_by_others: None,
        };
        assert_eq!(advice(&situation).len(), 2);
    }

    #[test]
    fn memory_of_other_processes_comes_before_changes_of_the_run() {
        let resolved: Table = FULL.parse().unwrap();
        let situation = Situation {
            resolved: &resolved,
            backbone_keys: &BTreeSet::new(),
            on_cuda: true,
            fits: None,
            held_by_others: Some(3 << 30),
        };
        let changes = advice(&situation);
        assert!(changes[0].starts_with("other processes hold 3.0 GiB"), "{changes:?}");
        assert!(changes[1].starts_with("loader.batch_size"), "{changes:?}");
    }
}
