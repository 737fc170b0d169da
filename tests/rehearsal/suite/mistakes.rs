//! What a GPU refuses, or dies of.

use std::os::unix::process::ExitStatusExt;

use rehearsal::Device;
use tch::{Device as Place, Kind, Tensor};

use crate::{CPU, CUDA, counting_up, inside};

/// A name, and what must fail.
type Mistake = (&'static str, fn() -> Result<Tensor, tch::TchError>);

fn mistakes() -> Vec<Mistake> {
    vec![
        ("add", || there().f_add(&here())),
        ("matmul", || there().f_matmul(&here().transpose(0, 1))),
        ("index_select", || there().f_index_select(0, &rows())),
        ("cat", || Tensor::f_cat(&[there(), here()], 0)),
        ("stack of scalars", || {
            Tensor::f_stack(&[Tensor::ones([], CPU), Tensor::ones([], CUDA)], 0)
        }),
        ("where", || here().f_where_self(&there().gt(0.0), &there())),
        ("gather", || {
            there().f_gather(0, &Tensor::zeros([1, 3], (Kind::Int64, Place::Cpu)), false)
        }),
        ("index_put", || {
            there().f_index_put_::<Tensor>(&[Some(rows())], &Tensor::ones([3], CPU), false)
        }),
        ("masked_fill", || there().f_masked_fill_tensor(&here().gt(0.0), &Tensor::ones([], CUDA))),
        ("layer_norm", || {
            there().f_layer_norm([3], Some(Tensor::ones([3], CPU)), None, 1e-5, true)
        }),
        ("grid_sampler", || {
            Tensor::ones([1, 1, 4, 4], CUDA).f_grid_sampler(
                &Tensor::ones([1, 2, 2, 2], CPU),
                0,
                0,
                false,
            )
        }),
        ("embedding", || Tensor::f_embedding(&there(), &rows(), -1, false, false)),
        ("conv2d", || {
            let weight = Tensor::ones([1, 1, 3, 3], CPU);
            Tensor::ones([1, 1, 4, 4], CUDA).f_conv2d(&weight, None::<Tensor>, 1, 0, 1, 1)
        }),
        ("attention", || {
            let (q, k) = (Tensor::ones([1, 1, 4, 8], CUDA), Tensor::ones([1, 1, 4, 8], CPU));
            Tensor::f_scaled_dot_product_attention(
                &q,
                &k,
                &k,
                None::<Tensor>,
                0.0,
                false,
                None,
                false,
            )
        }),
        ("a device that is not there", || Tensor::f_ones([2], (Kind::Float, Place::Cuda(1)))),
    ]
}

fn there() -> Tensor {
    counting_up(Place::Cuda(0))
}

fn here() -> Tensor {
    counting_up(Place::Cpu)
}

fn rows() -> Tensor {
    Tensor::from_slice(&[0i64, 1])
}

#[test]
fn mixed_devices_are_refused_in_libtorchs_words() {
    let outcome = inside(&Device::new(), || {
        for (name, mistake) in mistakes() {
            let message = match mistake() {
                Ok(result) => panic!("{name} gave {result:?}"),
                Err(error) => error.to_string(),
            };
            let words = [
                "Expected all tensors to be on the same device",
                "to have the same device type",
                "CUDA error: invalid device ordinal",
            ];
            assert!(words.iter().any(|part| message.contains(part)), "{name}: {message}");
        }
    });
    if let Some(outcome) = outcome {
        let problems = outcome.success().problems;
        assert!(problems.len() >= 12, "{problems:?}");
        let index = problems.keys().find(|text| text.starts_with("aten::index_select")).unwrap();
        assert!(
            index.contains("argument 'index' is cpu Long[2], but the others are on cuda:0"),
            "{index}"
        );
    }
}

#[test]
fn two_gpus_are_two_devices() {
    let outcome = inside(&Device::new().devices(2), || {
        let error = there().f_add(&counting_up(Place::Cuda(1))).unwrap_err().to_string();
        assert!(error.contains("at least two devices, cuda:0 and cuda:1!"), "{error}");
    });
    if let Some(outcome) = outcome {
        drop(outcome.success());
    }
}

#[test]
fn scalars_and_indices_of_the_host_are_taken() {
    let outcome = inside(&Device::new(), || {
        assert_eq!((there() * Tensor::from(2.0f32)).to_device(Place::Cpu), here() * 2.0);
        assert_eq!(there().index(&[Some(rows())]).to_device(Place::Cpu), here());
    });
    if let Some(outcome) = outcome {
        assert!(outcome.success().problems.is_empty());
    }
}

#[test]
fn a_host_that_follows_a_device_pointer_dies() {
    let output = Device::new().command(rehearsal::checks()).arg("follow_pointer").output().unwrap();
    assert_eq!(output.status.signal(), Some(11), "{output:?}");
}

#[test]
fn an_operator_without_a_cuda_kernel_is_refused() {
    let outcome = inside(&Device::new(), || {
        let x = Tensor::ones([1, 4, 4], CUDA);
        let error = x.f_mkldnn_max_pool2d([2], [2], [0], [1], false).unwrap_err().to_string();
        assert!(error.contains("with arguments from the 'CUDA' backend"), "{error}");
    });
    if let Some(outcome) = outcome {
        let problems = outcome.success().problems;
        assert!(
            problems.keys().any(|text| text.contains("libtorch has no CUDA kernel")),
            "{problems:?}"
        );
    }
}

#[test]
fn operators_that_are_not_deterministic_say_so() {
    let outcome = inside(&Device::new(), || {
        let backward = || {
            let x = Tensor::ones([1, 1, 4, 4], CUDA).set_requires_grad(true);
            let grid = Tensor::zeros([1, 2, 2, 2], CUDA);
            x.grid_sampler(&grid, 0, 0, false).sum(Kind::Float).f_backward()
        };
        backward().unwrap();
        sonotune_shim::set_determinism(sonotune_shim::Determinism::Require).unwrap();
        let error = backward().unwrap_err().to_string();
        assert!(
            error.contains("grid_sampler_2d_backward_cuda does not have a deterministic"),
            "{error}"
        );
    });
    if let Some(outcome) = outcome {
        drop(outcome.success());
    }
}
