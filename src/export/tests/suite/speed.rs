//! How fast an exported decoder is, beside this program's own.

use std::{fs, process::Command, time::Instant};

use sonotune_dataset::{ImagePrompts, ObjectPrompt, PointPrompt, Record, TargetNeeds};
use sonotune_engine::{
    batch::Batch,
    device::{Place, Precision as Computed},
    loader::{LoadPlan, prepare_batch},
};
use sonotune_export::{ExportOptions, Format, export};
use sonotune_run::Model;
use tch::{Device, no_grad};

use crate::models::{SAM, options, phantoms, python, tiny, trained};

const RUNS: usize = 15;

/// Prints the median milliseconds of a run of the decoder in onnxruntime.
const SCRIPT: &str = "
import sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
f = numpy.float32
shape = session.get_inputs()[0].shape
inputs = {'image_embeddings': numpy.random.randn(*shape).astype(f),
          'point_coords': numpy.array([[[500, 400], [0, 0]]], f), 'point_labels': numpy.array([[1, -1]], f),
          'mask_input': numpy.zeros((1, 1, 256, 256), f), 'has_mask_input': numpy.zeros(1, f),
          'orig_im_size': numpy.array([1024, 1024], f)}
times = []
for _ in range(int(sys.argv[3]) + 3):
    start = time.perf_counter()
    session.run(None, inputs)
    times.append(time.perf_counter() - start)
print(sorted(times[3:])[len(times[3:]) // 2] * 1000)
";

/// `cargo test -p sonotune-export -- --ignored --nocapture decoder_speed`, with a Python that has onnxruntime.
#[test]
#[ignore = "a measurement, of a decoder of SAM's size; takes a minute"]
fn decoder_speed() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let task = SAM.replace("num_heads = 2, mlp_dim = 32", "num_heads = 8, mlp_dim = 2048");
    let size = "preprocess.image_size = 1024\nbackbone.image_size = 1024\nbackbone.out_channels = 256\n\
        backbone.window_size = 14\nbackbone.global_attn_indexes = []\nloader.batch_size = 1\n[train]\nmax_steps = 1\n";
    let loaded = trained(&tiny(folder.path(), &task).with(size));
    let out = folder.path().join("out");
    let onnx = ExportOptions { formats: vec![Format::Onnx], ..options(&out, Some(python.clone())) };
    export(&loaded, &onnx).unwrap();
    let script = folder.path().join("speed.py");
    fs::write(&script, SCRIPT).unwrap();
    let threads = tch::get_num_threads().to_string();
    let output = Command::new(python)
        .env_remove("LD_LIBRARY_PATH")
        .args([&script, &out.join("decoder.onnx")])
        .args([&threads, &RUNS.to_string()])
        .output()
        .unwrap();
    let theirs: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();

    let config = &loaded.config;
    let checkpoint = config.run_dir.join("checkpoints/last.safetensors");
    let place = Place { device: Device::Cpu, precision: Computed::Fp32 };
    let (model, _) = Model::from_checkpoint(config, place, &checkpoint).unwrap();
    let plan = LoadPlan {
        preprocess: config.preprocess.clone(),
        augment: Default::default(),
        spec: model.spec.input.clone(),
        needs: TargetNeeds::ImageLabels,
        loader: config.loader.clone(),
        seed: 0,
        pixels: Default::default(),
        preparation: None,
        reader: Default::default(),
        share: Default::default(),
        embeddings: None,
    };
    let image = fs::read_dir(phantoms().join("data/images")).unwrap().next().unwrap().unwrap();
    let record = Record::new("1".into(), image.path());
    let mut batch = prepare_batch(&[record], &plan).unwrap();
    let points = vec![PointPrompt { x: 31.0, y: 25.0, positive: true }];
    let prompt = ObjectPrompt { points, ..ObjectPrompt::default() };
    let mut target = batch.targets.remove(0);
    target.prompts = Some(ImagePrompts::Objects(vec![prompt]));
    // A mask as large as the other program makes it.
    target.original_size = (1024, 1024);
    target.input_size = (1024, 1024);
    let features = tch::Tensor::randn([1, 256, 64, 64], (tch::Kind::Float, Device::Cpu));
    let batch = Batch::embedded(&batch.images.size(), vec![features], vec![target]);
    let mut times: Vec<f64> = (0..RUNS + 3)
        .map(|_| {
            let start = Instant::now();
            no_grad(|| model.task.predict(&batch)).unwrap();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .skip(3)
        .collect();
    times.sort_by(f64::total_cmp);
    let ours = times[RUNS / 2];
    println!(
        "decoder, {threads} threads: onnxruntime {theirs:.1} ms, this program {ours:.1} ms, ratio {:.2}",
        theirs / ours
    );
}
