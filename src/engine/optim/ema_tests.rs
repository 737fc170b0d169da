use tch::{Device, Kind};

use super::*;

fn config(decay: f64) -> EmaConfig {
    EmaConfig { decay, warmup: None }
}

fn variable(values: &[f32]) -> Tensor {
    Tensor::from_slice(values).set_requires_grad(true)
}

fn set(variable: &Tensor, values: &[f32]) {
    no_grad(|| variable.shallow_clone().copy_(&Tensor::from_slice(values)));
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor).unwrap()
}

#[test]
fn the_decay_is_that_of_timm() {
    // ModelEmaV3(decay=0.9999, use_warmup=True).get_decay(step) of timm for step = updates + 1.
    let warm = EmaConfig { decay: 0.9999, warmup: Some(EmaWarmup::default()) };
    for (updates, decay) in [(0, 0.0), (1, 0.370_039_5), (9, 0.784_556_5), (999, 0.99)] {
        assert!((warm.decay_after(updates) - decay).abs() < 1e-6, "{updates}");
    }
    assert_eq!(warm.decay_after(u64::MAX), 0.9999);
    assert_eq!(config(0.5).decay_after(0), 0.0);
    assert_eq!(config(0.5).decay_after(1), 0.5);
}

#[test]
fn the_first_update_copies_and_later_ones_average() {
    let weights = variable(&[1.0, 2.0]);
    let mut ema = Ema::new(&config(0.75), vec![("w".to_owned(), weights.shallow_clone())]);
    set(&weights, &[0.1, 3.0]);
    ema.update(0).unwrap();
    assert_eq!(values(&ema.state()[0].1), [0.1, 3.0]);
    set(&weights, &[4.1, 7.0]);
    ema.update(1).unwrap();
    let [first, second] = values(&ema.state()[0].1)[..] else { panic!() };
    assert!((first - 1.1).abs() < 1e-6 && second == 4.0, "{first} {second}");
    assert!(!ema.state()[0].1.requires_grad());
}

#[test]
fn the_weights_are_the_same_bits_after_a_swap_also_where_work_fails() {
    // Values that no arithmetic would give back: NaN with a payload, −0, a subnormal.
    let odd = [f32::from_bits(0x7fc0_1234), -0.0, 1e-42];
    let weights = variable(&[1.0, 2.0, 3.0]);
    let view = weights.shallow_clone();
    let mut ema = Ema::new(&config(0.5), vec![("w".to_owned(), weights.shallow_clone())]);
    set(&weights, &odd);
    let seen = ema.with_average(|| Ok(values(&view.detach()))).unwrap();
    assert_eq!(seen, [1.0, 2.0, 3.0]);
    let failed: Result<()> = ema.with_average(|| anyhow::bail!("no"));
    assert_eq!(failed.unwrap_err().to_string(), "no");
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&values(&weights.detach())), bits(&odd));
    assert_eq!(values(&ema.state()[0].1), [1.0, 2.0, 3.0]);
    assert!(weights.requires_grad());
}

#[test]
fn a_state_of_other_variables_is_refused() {
    let mut ema = Ema::new(&config(0.5), vec![("w".to_owned(), variable(&[1.0]))]);
    let zeros = |n: i64| Tensor::zeros([n], (Kind::Float, Device::Cpu));
    let load = |ema: &mut Ema, entries: Vec<(&str, i64)>| {
        let state = entries.into_iter().map(|(name, n)| (name.to_owned(), zeros(n))).collect();
        ema.load_state(state).map_err(|e| e.to_string())
    };
    assert!(load(&mut ema, vec![]).unwrap_err().contains("no moving average of `w`"));
    assert!(load(&mut ema, vec![("w", 2)]).unwrap_err().contains("shape [2]"));
    let more = load(&mut ema, vec![("w", 1), ("x", 1)]).unwrap_err();
    assert!(more.contains("`x`, which this run does not train"));
    load(&mut ema, vec![("w", 1)]).unwrap();
    assert_eq!(values(&ema.state()[0].1), [0.0]);
}
