//! Compares the kernels with grid_sampler, which is tested elsewhere, and with themselves.
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};

use super::*;

const CPU64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// The number of threads and the generator are global to the process: one test at a time.
fn alone(seed: i64) -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    guard
}

type Attention = fn(&Tensor, &[(i64, i64)], &Tensor, &Tensor) -> Result<Tensor, ShimError>;

struct Case {
    levels: Vec<(i64, i64)>,
    value: Tensor,
    locations: Tensor,
    weights: Tensor,
    /// The output is multiplied by this before it is summed to a loss.
    towards: Tensor,
}

impl Case {
    /// Two images, three heads, `d` channels each; locations from −0.4 to 1.4.
    fn random(levels: &[(i64, i64)], queries: i64, d: i64, points: i64) -> Self {
        let (b, heads, count) = (2, 3, levels.len() as i64);
        let pixels: i64 = levels.iter().map(|(h, w)| h * w).sum();
        Self {
            levels: levels.to_vec(),
            value: Tensor::randn([b, pixels, heads, d], CPU64),
            locations: Tensor::rand([b, queries, heads, count, points, 2], CPU64) * 1.8 - 0.4,
            weights: Tensor::rand([b, queries, heads, count, points], CPU64),
            towards: Tensor::randn([b, queries, heads * d], CPU64),
        }
    }

    fn to_kind(&self, kind: Kind) -> Self {
        Self {
            levels: self.levels.clone(),
            value: self.value.to_kind(kind),
            locations: self.locations.to_kind(kind),
            weights: self.weights.to_kind(kind),
            towards: self.towards.to_kind(kind),
        }
    }

    /// The output, and the gradients of value, locations and weights.
    fn run(&self, form: Attention) -> [Tensor; 4] {
        let leaf = |t: &Tensor| t.detach().copy().set_requires_grad(true);
        let leaves = [leaf(&self.value), leaf(&self.locations), leaf(&self.weights)];
        let out = form(&leaves[0], &self.levels, &leaves[1], &leaves[2]).unwrap();
        (&out * &self.towards).sum(out.kind()).backward();
        [out.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()]
    }

    /// Largest difference of kernel and composite, over all four, relative to the largest number of each.
    fn difference(&self) -> f64 {
        let (ours, theirs) = (self.run(ms_deform_attn), self.run(ms_deform_attn_composite));
        difference(&ours, &theirs)
    }
}

fn difference(ours: &[Tensor], theirs: &[Tensor]) -> f64 {
    let each = ours.iter().zip(theirs).map(|(a, b)| {
        assert_eq!((a.size(), a.kind()), (b.size(), b.kind()));
        let scale = b.abs().max().double_value(&[]);
        assert!(scale > 0.1, "nothing to compare");
        (a - b).abs().max().double_value(&[]) / scale
    });
    each.fold(0.0, f64::max)
}

const LEVELS: [(i64, i64); 3] = [(5, 7), (10, 13), (1, 3)];

// Sums of about a hundred terms: 1e-12 is a hundred times their rounding in fp64.
#[test]
fn parity_deformable_output_and_gradients_equal_grid_samplers() {
    let _alone = alone(1);
    for d in [1, 3, 4, 8, 12, 16, 20, 32, 37, 48] {
        let difference = Case::random(&LEVELS, 150, d, 4).difference();
        assert!(difference < 1e-12, "D = {d}: {difference:e}");
    }
}

#[test]
fn parity_deformable_fp32_is_as_close_to_fp64_as_grid_samplers() {
    let _alone = alone(2);
    // Sizes are powers of two, so that both precisions see the same neighbours.
    let case = Case::random(&[(8, 16), (4, 4), (32, 2)], 150, 32, 4).to_kind(Kind::Float);
    let exact = case.to_kind(Kind::Double).run(ms_deform_attn_composite);
    let in_double = |found: [Tensor; 4]| found.map(|t| t.to_kind(Kind::Double));
    let ours = difference(&in_double(case.run(ms_deform_attn)), &exact);
    let theirs = difference(&in_double(case.run(ms_deform_attn_composite)), &exact);
    assert!(ours < 2.0 * theirs + 1e-6, "{ours:e}, grid_sampler {theirs:e}");
}

/// Where fresh offsets put every point: on pixel centres, up to two pixels outside, at the edges.
fn on_the_lattice(levels: &[(i64, i64)], kind: Kind) -> Case {
    let case = Case::random(levels, 200, 8, 4);
    for (level, &(h, w)) in levels.iter().enumerate() {
        let at = case.locations.select(3, level as i64);
        for (axis, size) in [(0, w), (1, h)] {
            let coordinate = at.select(-1, axis);
            // Halves: pixel centres, and the edges between them.
            let halves = Tensor::randint(2 * size + 9, coordinate.size(), CPU64) - 4.0;
            coordinate.shallow_clone().copy_(&(halves / (2 * size)));
        }
    }
    case.to_kind(kind)
}

// There the last bit decides on which side of a pixel a location's gradient is taken.
#[test]
fn parity_deformable_locations_on_centres_and_edges_take_the_same_side() {
    let _alone = alone(3);
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
        for levels in [[(8, 4), (16, 2), (1, 4)], [(6, 11), (25, 14), (3, 50)]] {
            let difference = on_the_lattice(&levels, kind).difference();
            assert!(difference < tolerance, "{levels:?} in {kind:?}: {difference:e}");
        }
    }
}

#[test]
fn deformable_bits_depend_neither_on_threads_nor_on_the_run() {
    let _alone = alone(4);
    let case = Case::random(&[(16, 16), (32, 32)], 1280, 40, 4).to_kind(Kind::Float);
    let threads = tch::get_num_threads();
    let found: Vec<_> = [1, 2, 2, 16]
        .into_iter()
        .map(|threads| {
            tch::set_num_threads(threads);
            case.run(ms_deform_attn)
        })
        .collect();
    tch::set_num_threads(threads);
    for other in &found[1..] {
        assert!(found[0].iter().zip(other).all(|(a, b)| a.equal(b)));
    }
}

#[test]
fn deformable_bf16_is_computed_in_fp32_and_given_in_bf16() {
    let _alone = alone(5);
    let case = Case::random(&LEVELS, 50, 16, 4).to_kind(Kind::Float);
    let low = case.value.to_kind(Kind::BFloat16).set_requires_grad(true);
    let out = ms_deform_attn(&low, &LEVELS, &case.locations, &case.weights).unwrap();
    let expected =
        ms_deform_attn(&low.to_kind(Kind::Float), &LEVELS, &case.locations, &case.weights);
    assert!(out.equal(&expected.unwrap().to_kind(Kind::BFloat16)));
    out.sum(Kind::Float).backward();
    assert_eq!(low.grad().kind(), Kind::BFloat16);
}

#[test]
fn locations_that_are_no_numbers_read_nothing_outside() {
    let _alone = alone(6);
    for wild in [f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 1e38, -1e9, f64::NAN] {
        for kind in [Kind::Double, Kind::Float] {
            if kind == Kind::Float && wild.abs() == 1e300 {
                continue; // no such number
            }
            let case = Case::random(&LEVELS, 20, 16, 4).to_kind(kind);
            drop(case.locations.select(1, 0).fill_(wild));
            let [out, ..] = case.run(ms_deform_attn);
            let first = out.select(1, 0);
            if wild.is_nan() {
                assert!(bool::try_from(first.isnan().all()).unwrap(), "NaN must appear");
            } else {
                assert_eq!(first.abs().max().double_value(&[]), 0.0, "{wild} in {kind:?}");
            }
            assert!(bool::try_from(out.narrow(1, 1, 19).isfinite().all()).unwrap());
            let points = Tensor::full([5, 2], wild, (kind, Device::Cpu));
            let sampled =
                point_sample(&Tensor::ones([2, 4, 4], (Kind::Bool, Device::Cpu)), &points);
            assert_eq!(
                sampled.unwrap().sum(Kind::Double).double_value(&[]).is_nan(),
                wild.is_nan()
            );
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let _alone = alone(7);
    let case = Case::random(&LEVELS, 4, 8, 2);
    let Case { value, locations, weights, .. } = &case;
    let refused = |value: &Tensor, levels: &[(i64, i64)], at: &Tensor, weights: &Tensor, says| {
        for form in [ms_deform_attn as Attention, ms_deform_attn_composite] {
            let error = form(value, levels, at, weights).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    };
    refused(&value.narrow(1, 0, 100), &LEVELS, locations, weights, "S = 100");
    refused(&value.flatten(2, 3), &LEVELS, locations, weights, "[B, S, heads, D]");
    refused(value, &LEVELS[..2], locations, weights, "2 levels");
    refused(value, &[], locations, weights, "0 levels");
    refused(value, &[(5, 7), (-10, -13), (1, 3)], locations, weights, "-10 by -13");
    refused(value, &[(5, 7), (i64::MAX, 2), (1, 3)], locations, weights, "S = 168");
    refused(value, &[(5, 7), (10, 13), (3, 2)], locations, weights, "171 pixels");
    refused(value, &LEVELS, &locations.narrow(2, 0, 2), weights, "[B, Q, heads, L, P, 2]");
    refused(value, &LEVELS, &locations.select(5, 0), weights, "[B, Q, heads, L, P, 2]");
    refused(value, &LEVELS, locations, &weights.narrow(4, 0, 1), "attention_weights");
    refused(value, &LEVELS, &locations.to_kind(Kind::Int64), weights, "floating point");
    let maps = Tensor::zeros([3, 4, 4], CPU64);
    for points in [&[5, 3][..], &[2, 5, 2], &[5]] {
        let error = point_sample(&maps, &Tensor::zeros(points, CPU64)).unwrap_err();
        assert!(error.to_string().contains("[P, 2] or [N, P, 2]"), "{error}");
    }
    assert!(point_sample(&maps.to_kind(Kind::Int64), &Tensor::zeros([5, 2], CPU64)).is_err());
    assert!(point_sample(&Tensor::zeros([3, 0, 4], CPU64), &Tensor::zeros([5, 2], CPU64)).is_err());
}

#[test]
fn nothing_to_sample_gives_nothing() {
    let _alone = alone(8);
    let case = Case::random(&LEVELS, 0, 8, 4);
    let out = ms_deform_attn(&case.value, &LEVELS, &case.locations, &case.weights).unwrap();
    assert_eq!(out.size(), [2, 0, 24]);
    let maps = Tensor::zeros([0, 4, 4], CPU64);
    assert_eq!(point_sample(&maps, &Tensor::zeros([5, 2], CPU64)).unwrap().size(), [0, 5]);
    let maps = Tensor::zeros([3, 4, 4], CPU64);
    assert_eq!(point_sample(&maps, &Tensor::zeros([0, 2], CPU64)).unwrap().size(), [3, 0]);
}

#[test]
fn parity_point_sample_of_masks_equals_that_of_floats() {
    let _alone = alone(10);
    let bytes = Tensor::randint(256, [4, 30, 21], (Kind::Uint8, Device::Cpu));
    // More points than a task takes, some of them outside.
    for sizes in [&[5001, 2][..], &[4, 5001, 2], &[4, 3, 2]] {
        // 255 times the rounding of a coordinate.
        for (kind, tolerance) in [(Kind::Float, 2e-3), (Kind::Double, 2e-11)] {
            let points = Tensor::rand(sizes, (kind, Device::Cpu)) * 1.4 - 0.2;
            for masks in [bytes.gt(127), bytes.shallow_clone()] {
                let found = point_sample(&masks, &points).unwrap();
                let floats = point_sample(&masks.to_kind(kind), &points).unwrap();
                assert_eq!(found.kind(), kind);
                assert!((found - floats).abs().max().double_value(&[]) < tolerance);
            }
        }
    }
}

#[test]
fn point_sample_bits_do_not_depend_on_threads() {
    let _alone = alone(11);
    let masks = Tensor::randn([5, 64, 64], (Kind::Float, Device::Cpu)).gt(0.0);
    let points = Tensor::rand([5, 12_544, 2], (Kind::Float, Device::Cpu));
    let threads = tch::get_num_threads();
    let found = [1, 2, 5].map(|threads| {
        tch::set_num_threads(threads);
        point_sample(&masks, &points).unwrap()
    });
    tch::set_num_threads(threads);
    assert!(found[1..].iter().all(|other| found[0].equal(other)));
}
