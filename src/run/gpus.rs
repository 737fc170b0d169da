//! Which of this machine's GPUs is a CUDA device of the process: CUDA numbers those it may use, which the
//! environment chooses and orders.

use std::{env, fs, path::Path};

/// The GPU behind CUDA device `index`, in the words that `nvidia-smi -i` understands: a number by the
/// PCI bus, or a UUID. `None`: the environment does not say.
pub(crate) fn of_device(index: usize) -> Option<String> {
    let variable = |name: &str| env::var(name).ok();
    named(
        index,
        variable("CUDA_VISIBLE_DEVICES").as_deref(),
        variable("CUDA_DEVICE_ORDER").as_deref(),
    )
}

fn named(index: usize, visible: Option<&str>, order: Option<&str>) -> Option<String> {
    // By default CUDA puts the fastest first, and only it knows which that is.
    let by_bus = order.is_some_and(|order| order.eq_ignore_ascii_case("PCI_BUS_ID"));
    let Some(list) = visible else { return by_bus.then(|| index.to_string()) };
    let entry = list.split(',').nth(index)?.trim();
    match entry.parse::<usize>() {
        Ok(_) => by_bus.then(|| entry.to_owned()),
        // Parts of a GPU (`MIG-…`) have no figures of their own.
        Err(_) => entry.starts_with("GPU-").then(|| entry.to_owned()),
    }
}

/// Product name of CUDA device `index`, as far as the driver's files tell: libtorch's stable interface does
/// not report it.
pub(crate) fn model(index: usize) -> Option<String> {
    let mut folders: Vec<_> = fs::read_dir("/proc/driver/nvidia/gpus")
        .ok()?
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    // Named by their place on the bus.
    folders.sort();
    let read = |folder: &Path| fs::read_to_string(folder.join("information")).ok();
    let texts: Vec<String> = folders.iter().filter_map(|folder| read(folder)).collect();
    model_in(&texts, of_device(index).as_deref())
}

/// The model of the `named` GPU; if it is not known which that is, the model that all have.
fn model_in(texts: &[String], named: Option<&str>) -> Option<String> {
    let models: Vec<_> = texts.iter().map(|text| value_of(text, "Model", ':')).collect();
    let at = named.and_then(|name| match name.parse::<usize>() {
        Ok(number) => Some(number),
        Err(_) => texts.iter().position(|text| {
            value_of(text, "GPU UUID", ':').is_some_and(|uuid| uuid.starts_with(name))
        }),
    });
    if let Some(model) = at.and_then(|at| models.get(at)) {
        return model.map(str::to_owned);
    }
    let same = models.windows(2).all(|pair| pair[0] == pair[1]);
    models.first().copied().flatten().filter(|_| same).map(str::to_owned)
}

/// What follows `key` and `separator` on a line of `text`, without blanks and quotes.
pub(crate) fn value_of<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_if_the_environment_says_which_it_is() {
        let bus = Some("PCI_BUS_ID");
        let name = |index, visible, order| named(index, visible, order);
        assert_eq!(name(1, None, bus).as_deref(), Some("1"));
        assert_eq!(name(1, None, None), None);
        assert_eq!(name(1, None, Some("FASTEST_FIRST")), None);
        assert_eq!(name(1, Some("3, 2"), bus).as_deref(), Some("2"));
        assert_eq!(name(1, Some("3,2"), None), None);
        assert_eq!(name(0, Some("GPU-1a2b"), None).as_deref(), Some("GPU-1a2b"));
        assert_eq!(name(0, Some("MIG-1a2b"), bus), None);
        assert_eq!(name(2, Some("3,2"), bus), None);
    }

    #[test]
    fn the_model_is_that_of_the_named_gpu() {
        let text = |model: &str, uuid: &str| format!("Model: \t\t {model}\nGPU UUID: \t {uuid}\n");
        let two = [text("NVIDIA T1000", "GPU-aa"), text("NVIDIA H200", "GPU-bb")];
        let model = |named: Option<&str>| model_in(&two, named);
        assert_eq!(model(Some("1")).as_deref(), Some("NVIDIA H200"));
        assert_eq!(model(Some("GPU-a")).as_deref(), Some("NVIDIA T1000"));
        assert_eq!([model(None), model(Some("7")), model(Some("GPU-c"))], [None, None, None]);
        let equal = [text("NVIDIA H200", "GPU-aa"), text("NVIDIA H200", "GPU-bb")];
        assert_eq!(model_in(&equal, None).as_deref(), Some("NVIDIA H200"));
        assert_eq!(model_in(&[], Some("0")), None);
    }
}
