//! Recorded computations, loaded back and run.

use tch::{CModule, Device};

use super::*;
use crate::{RelPosAttention, ms_deform_attn, rel_pos_attention};

fn normal(size: &[i64]) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu))
}

fn recorded(
    variables: &[(String, Tensor)],
    [inputs, other_inputs]: [&[Tensor]; 2],
    body: impl Fn(&[Tensor]) -> Tensor,
) -> Result<(Script, Graph), ShimError> {
    let mut script = Script::new(variables)?;
    let recording = Recording { name: "forward", inputs, other_inputs };
    let graph = script.record(&recording, &|inputs| Ok(vec![body(inputs)]))?;
    Ok((script, graph))
}

fn loaded(script: &Script) -> CModule {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    script.save(&path, ("note.txt", "text")).unwrap();
    CModule::load(path).unwrap()
}

fn operators(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.operator.as_str()).collect()
}

#[test]
fn weights_are_attributes_of_the_file_and_constants_of_the_graph() {
    let weight = normal(&[4, 3]);
    let variables = [("head.fc.weight".to_owned(), weight.shallow_clone())];
    let input = normal(&[2, 3]);
    // In place, and of weights alone.
    let body =
        |x: &[Tensor]| x[0].matmul(&(&weight * 2.0).tr()).relu_().view([8]) + Tensor::from(1.5f32);
    let (script, graph) = recorded(&variables, [std::slice::from_ref(&input), &[]], body).unwrap();
    assert_eq!(operators(&graph), ["aten::matmul", "aten::relu", "aten::view", "aten::add"]);
    let matmul = &graph.nodes[0];
    let Some(Constant::Tensor(folded)) = &graph.values[matmul.inputs[1]].constant else {
        panic!("{:?}", graph.values[matmul.inputs[1]])
    };
    assert!(folded.equal(&(&weight * 2.0).tr()));
    assert_eq!(graph.values[matmul.outputs[0]].sizes, Some(vec![2, 4]));
    let module = loaded(&script);
    let names: Vec<_> = module.named_parameters().unwrap();
    assert!(names.is_empty(), "buffers, since nothing is trained: {names:?}");
    let output = module.forward_ts(&[&input]).unwrap();
    let expected = body(&[input]);
    assert!(
        output.allclose(&expected, 1e-6, 1e-6, false),
        "{output:?} {output} {expected:?} {expected}"
    );
}

#[test]
fn tensors_made_of_data_keep_their_values() {
    let input = normal(&[3]);
    let body = |x: &[Tensor]| {
        let _unused = Tensor::from_slice(&[7f32]);
        let mut sum = Tensor::from_slice(&[1f32, 2.0, 3.0]);
        let factor = Tensor::from_slice(&[10f32]);
        // In place: the constant is what it was before.
        let _ = sum.g_add_(&x[0]);
        let zeros = Tensor::zeros([3], (Kind::Float, Device::Cpu));
        (sum + zeros.zeros_like()) * factor - zeros
    };
    let data = |_: &[Tensor]| Tensor::from_slice(&[1f32]);
    let error = recorded(&[], [std::slice::from_ref(&input), &[]], data).unwrap_err();
    assert!(error.to_string().contains("no input changes"), "{error}");
    let (script, _) = recorded(&[], [std::slice::from_ref(&input), &[]], body).unwrap();
    for input in [input, normal(&[3])] {
        let output = loaded(&script).forward_ts(&[&input]).unwrap();
        assert!(output.allclose(&body(&[input]), 1e-6, 1e-6, false), "{output}");
    }
}

#[test]
fn a_size_of_the_input_stays_open_and_other_uses_of_it_are_refused() {
    let [short, long] = [normal(&[1, 3, 8]), normal(&[1, 5, 8])];
    let flat = |x: &[Tensor]| {
        let n = x[0].size()[1];
        x[0].view([1, n, 2, 4]).transpose(1, 2).softmax(-1, Kind::Float).sum(Kind::Float)
            + x[0].reshape([n * 2, 4]).sum(Kind::Float)
    };
    let inputs = [std::slice::from_ref(&short), std::slice::from_ref(&long)];
    let (script, graph) = recorded(&[], inputs, flat).unwrap();
    assert_eq!(graph.values[graph.inputs[0]].sizes, Some(vec![1, -1, 8]));
    let other = normal(&[1, 7, 8]);
    let output = loaded(&script).forward_ts(&[&other]).unwrap();
    assert!(output.allclose(&flat(&[other]), 1e-6, 1e-6, false));
    let narrowed = |x: &[Tensor]| x[0].narrow(1, x[0].size()[1] - 1, 1);
    let error = recorded(&[], inputs, narrowed).unwrap_err().to_string();
    assert!(error.contains("used by aten::narrow"), "{error}");
    let branching = |x: &[Tensor]| if x[0].size()[1] > 4 { x[0].relu() } else { x[0].tanh() };
    let error = recorded(&[], inputs, branching).unwrap_err().to_string();
    assert!(error.contains("another course"), "{error}");
}

#[test]
fn kernels_of_ours_become_operators_of_libtorch() {
    for (window, tokens) in [(None, (5, 4)), (Some(3), (5, 4))] {
        let side = window.unwrap_or(0);
        let (h, w) = if side > 0 { (side, side) } else { tokens };
        let [padding, rel_h, rel_w] =
            [normal(&[24]), normal(&[2 * h - 1, 4]), normal(&[2 * w - 1, 4])];
        let attend = |x: &[Tensor]| {
            rel_pos_attention(&RelPosAttention {
                qkv: &x[0],
                padding: &padding,
                rel_pos_h: &rel_h,
                rel_pos_w: &rel_w,
                num_heads: 2,
                window_size: window,
            })
            .unwrap()
        };
        let qkv = normal(&[1, tokens.0, tokens.1, 24]);
        let (script, _) = recorded(&[], [std::slice::from_ref(&qkv), &[]], attend).unwrap();
        let output = loaded(&script).forward_ts(&[&qkv]).unwrap();
        assert!(output.allclose(&attend(&[qkv]), 1e-4, 1e-5, false), "{window:?}");
    }
    let sample = |x: &[Tensor]| ms_deform_attn(&x[0], &[(4, 3), (2, 2)], &x[1], &x[2]).unwrap();
    let locations = Tensor::rand([1, 5, 2, 2, 3, 2], (Kind::Float, Device::Cpu));
    let inputs = [normal(&[1, 16, 2, 4]), locations, normal(&[1, 5, 2, 2, 3])];
    let (script, _) = recorded(&[], [&inputs, &[]], sample).unwrap();
    let references: Vec<_> = inputs.iter().collect();
    let output = loaded(&script).forward_ts(&references).unwrap();
    assert!(output.allclose(&sample(&inputs), 1e-4, 1e-5, false));
}

#[test]
fn errors_and_panics_of_the_computation_are_reported() {
    let input = [normal(&[2])];
    let recording = Recording { name: "forward", inputs: &input, other_inputs: &[] };
    let mut script = Script::new(&[]).unwrap();
    let error = script.record(&recording, &|_| Err("no such size".to_owned())).unwrap_err();
    assert!(error.to_string().contains("no such size"), "{error}");
    let error = script.record(&recording, &|_| panic!("a fault")).unwrap_err();
    assert!(error.to_string().contains("a fault"), "{error}");
    // The next one starts anew.
    assert!(recorded(&[], [&input, &[]], |x| x[0].relu()).is_ok());
}
