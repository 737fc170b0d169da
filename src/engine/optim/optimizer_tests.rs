//! Numbers of `torch.optim` (torch 2.11) on the same small problem, and what a resume needs.

use tch::{Device, Tensor, nn};

use super::*;
use crate::optim::{GroupConfig, groups};

/// `p = [1, −2]` in the base group, `q = [0.5]` with a tenth of the rate and no decay.
fn problem(config: &OptimizerConfig) -> (nn::VarStore, Optimizer) {
    let vs = nn::VarStore::new(Device::Cpu);
    let root = vs.root();
    let mut p = root.zeros("p", &[2]);
    let mut q = root.zeros("q", &[1]);
    no_grad(|| {
        p.copy_(&Tensor::from_slice(&[1f32, -2.0]));
        q.copy_(&Tensor::from_slice(&[0.5f32]));
    });
    let slow = GroupConfig {
        name: "slow".into(),
        pattern: "q".into(),
        lr_multiplier: 0.1,
        weight_decay_multiplier: 0.0,
        freeze: false,
    };
    let optimizer = Optimizer::new(config, groups::group(&vs, &[slow]).unwrap());
    (vs, optimizer)
}

fn train(vs: &nn::VarStore, optimizer: &mut Optimizer, steps: std::ops::Range<i64>) {
    let variables = vs.variables();
    for step in steps {
        optimizer.zero_grad().unwrap();
        let residual = &variables["p"] * Tensor::from_slice(&[1f32, 3.0]) - (step + 1) as f64;
        let loss = residual.square().sum(Kind::Float)
            + variables["q"].pow_tensor_scalar(3).sum(Kind::Float);
        loss.backward();
        optimizer.step(1.0, None).unwrap();
    }
}

fn values(vs: &nn::VarStore) -> [f64; 3] {
    let variables = vs.variables();
    [("p", 0), ("p", 1), ("q", 0)].map(|(name, i)| variables[name].double_value(&[i]))
}

fn assert_trains_to(config: &OptimizerConfig, expected: [f64; 3]) {
    let (vs, mut optimizer) = problem(config);
    train(&vs, &mut optimizer, 0..3);
    // fp32 rounding of three small updates.
    for (got, expected) in values(&vs).iter().zip(expected) {
        assert!((got - expected).abs() < 2e-6, "{got} instead of {expected}");
    }
}

fn sgd(momentum: f64, nesterov: bool) -> OptimizerConfig {
    OptimizerConfig {
        algorithm: Algorithm::Sgd,
        lr: 0.1,
        weight_decay: 0.05,
        momentum,
        nesterov,
        ..Default::default()
    }
}

fn adamw() -> OptimizerConfig {
    OptimizerConfig { lr: 0.1, weight_decay: 0.05, ..Default::default() }
}

#[test]
fn adamw_equals_torch() {
    assert_trains_to(&adamw(), ADAMW);
}

#[test]
fn sgd_equals_torch() {
    assert_trains_to(&sgd(0.9, true), NESTEROV);
    assert_trains_to(&sgd(0.9, false), MOMENTUM);
    assert_trains_to(&OptimizerConfig { weight_decay: 0.0, ..sgd(0.0, false) }, PLAIN);
}

/// AdamW as written down by Loshchilov and Hutter, and SGD with momentum as in PyTorch's documentation,
/// for one number.
fn by_hand(config: &OptimizerConfig, mut w: f64, gradients: &[f64]) -> f64 {
    let (mut m, mut v) = (0.0, 0.0);
    let OptimizerConfig { lr, weight_decay, betas: (beta1, beta2), eps, momentum, .. } = *config;
    for (t, &g) in (1..).zip(gradients) {
        match config.algorithm {
            Algorithm::AdamW => {
                w -= lr * weight_decay * w;
                m = beta1 * m + (1.0 - beta1) * g;
                v = beta2 * v + (1.0 - beta2) * g * g;
                let (m, v) = (m / (1.0 - beta1.powi(t)), v / (1.0 - beta2.powi(t)));
                w -= lr * m / (v.sqrt() + eps);
            }
            Algorithm::Sgd => {
                let g = g + weight_decay * w;
                m = if t == 1 { g } else { momentum * m + g };
                w -= lr * m;
            }
        }
    }
    w
}

#[test]
fn in_fp64_steps_are_exact_to_rounding_and_go_on_from_fp32() {
    let gradients = [0.3, -1.7, 0.123_456_789_012_345, 11.0];
    for config in [adamw(), sgd(0.9, false)] {
        // More values than a vector of any processor has.
        let mut vs = nn::VarStore::new(Device::Cpu);
        let w = vs.root().ones("w", &[37]);
        vs.double();
        let mut optimizer = Optimizer::new(&config, groups::group(&vs, &[]).unwrap());
        for gradient in gradients {
            optimizer.zero_grad().unwrap();
            (&w * gradient).sum(None).backward();
            optimizer.step(1.0, None).unwrap();
        }
        let expected = by_hand(&config, 1.0, &gradients);
        assert!((w.detach() - expected).abs().max().double_value(&[]) < 1e-14);

        let mut state = HashMap::new();
        for (name, tensor) in optimizer.state() {
            let kind = if name.starts_with("step") { Kind::Float } else { Kind::Double };
            assert_eq!(tensor.kind(), kind, "{name}");
            state.insert(name, tensor.to_kind(Kind::Float));
        }
        optimizer.load_state(state).unwrap();
        optimizer.step(1.0, None).unwrap();
        let expected = by_hand(&config, 1.0, &[&gradients[..], &[11.0]].concat());
        assert!((w.detach() - expected).abs().max().double_value(&[]) < 1e-6);
    }
}

#[test]
fn a_restored_state_goes_on_bit_for_bit() {
    for config in [adamw(), sgd(0.9, false)] {
        let (through, mut optimizer) = problem(&config);
        train(&through, &mut optimizer, 0..5);

        let (first, mut optimizer) = problem(&config);
        train(&first, &mut optimizer, 0..2);
        let saved: HashMap<_, _> =
            optimizer.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
        let (mut second, mut optimizer) = problem(&config);
        second.copy(&first).unwrap();
        optimizer.load_state(saved).unwrap();
        train(&second, &mut optimizer, 2..5);
        assert_eq!(values(&second), values(&through));

        let (mut cold, mut optimizer) = problem(&config);
        cold.copy(&first).unwrap();
        train(&cold, &mut optimizer, 2..5);
        assert_ne!(values(&cold), values(&through), "the state must matter");
    }
}

#[test]
fn a_state_of_another_algorithm_is_refused() {
    let (vs, mut optimizer) = problem(&sgd(0.9, false));
    train(&vs, &mut optimizer, 0..1);
    let state = |optimizer: &Optimizer| optimizer.state().into_iter().collect::<HashMap<_, _>>();
    let (_, mut other) = problem(&adamw());
    let message = other.load_state(state(&optimizer)).unwrap_err().to_string();
    assert!(message.contains("no optimizer state `exp_avg."), "{message}");
    let message = optimizer.load_state(state(&other)).unwrap_err().to_string();
    assert!(message.contains("does not use"), "{message}");
}

#[test]
fn variables_without_gradient_stay() {
    let (vs, mut optimizer) = problem(&adamw());
    optimizer.zero_grad().unwrap();
    vs.variables()["q"].sum(Kind::Float).backward();
    optimizer.step(1.0, None).unwrap();
    let [p0, p1, q] = values(&vs);
    assert_eq!([p0, p1], [1.0, -2.0]);
    assert_ne!(q, 0.5);
}

// Values of p[0], p[1], q[0] after three steps, printed by torch.optim with lr 0.1, weight_decay 0.05
// on p and lr 0.01 without decay on q.
const ADAMW: [f64; 3] =
    [1.142_313_480_377_197_3, -1.671_162_366_867_065_4, 0.470_046_401_023_864_75];
const NESTEROV: [f64; 3] =
    [2.126_559_495_925_903_3, 20.275_072_097_778_32, 0.442_634_612_321_853_64];
const MOMENTUM: [f64; 3] =
    [1.715_659_856_796_264_6, 0.115_945_719_182_491_3, 0.458_981_186_151_504_5];
const PLAIN: [f64; 3] = [1.560_000_061_988_830_6, 2.248_000_383_377_075, 0.478_160_083_293_914_8];
