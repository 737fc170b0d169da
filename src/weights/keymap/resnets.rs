//! Names of ResNet layers in conventions other than torchvision's.

use super::Rule;

const fn rule(theirs: &'static str, ours: &'static str) -> Rule {
    Rule { theirs, ours }
}

/// detectron2: stages `res2` to `res5`, and each norm below its convolution.
macro_rules! detectron2 {
    ($($stage:literal = $layer:literal),*) => {
        [
            rule("backbone.stem.conv1.weight", "backbone.conv1.weight"),
            rule("backbone.stem.conv1.norm.*", "backbone.bn1.*"),
            $(
                rule(
                    concat!("backbone.", $stage, ".{N}.conv{N}.weight"),
                    concat!("backbone.", $layer, ".{N}.conv{N}.weight"),
                ),
                rule(
                    concat!("backbone.", $stage, ".{N}.conv{N}.norm.*"),
                    concat!("backbone.", $layer, ".{N}.bn{N}.*"),
                ),
                rule(
                    concat!("backbone.", $stage, ".{N}.shortcut.weight"),
                    concat!("backbone.", $layer, ".{N}.downsample.0.weight"),
                ),
                rule(
                    concat!("backbone.", $stage, ".{N}.shortcut.norm.*"),
                    concat!("backbone.", $layer, ".{N}.downsample.1.*"),
                ),
            )*
        ]
    };
}

pub(super) const DETECTRON2: [Rule; 18] =
    detectron2!["res2" = "layer1", "res3" = "layer2", "res4" = "layer3", "res5" = "layer4"];

/// Where Hugging Face's Mask2Former keeps its backbone.
macro_rules! encoder {
    ($($rest:expr),*) => { concat!("model.pixel_level_module.encoder.", $($rest),*) };
}

/// The ResNet of transformers, with all indices from 0; then timm's, whose names are torchvision's.
macro_rules! huggingface {
    ($($stage:literal = $layer:literal),*) => {
        [
            rule(encoder!("embedder.embedder.convolution.weight"), "backbone.conv1.weight"),
            rule(encoder!("embedder.embedder.normalization.*"), "backbone.bn1.*"),
            $(
                huggingface!(@convolution $stage, "layer.0", $layer, "conv1"),
                huggingface!(@norm $stage, "layer.0", $layer, "bn1"),
                huggingface!(@convolution $stage, "layer.1", $layer, "conv2"),
                huggingface!(@norm $stage, "layer.1", $layer, "bn2"),
                huggingface!(@convolution $stage, "layer.2", $layer, "conv3"),
                huggingface!(@norm $stage, "layer.2", $layer, "bn3"),
                huggingface!(@convolution $stage, "shortcut", $layer, "downsample.0"),
                huggingface!(@norm $stage, "shortcut", $layer, "downsample.1"),
            )*
            rule(encoder!("_backbone.*"), "backbone.*"),
        ]
    };
    (@convolution $stage:literal, $theirs:literal, $layer:literal, $ours:literal) => {
        rule(
            encoder!("encoder.stages.", $stage, ".layers.{N}.", $theirs, ".convolution.weight"),
            concat!("backbone.", $layer, ".{N}.", $ours, ".weight"),
        )
    };
    (@norm $stage:literal, $theirs:literal, $layer:literal, $ours:literal) => {
        rule(
            encoder!("encoder.stages.", $stage, ".layers.{N}.", $theirs, ".normalization.*"),
            concat!("backbone.", $layer, ".{N}.", $ours, ".*"),
        )
    };
}

pub(super) const HUGGINGFACE: [Rule; 35] =
    huggingface!["0" = "layer1", "1" = "layer2", "2" = "layer3", "3" = "layer4"];
