//! What a file's tensors say about the network that they are for.

use std::collections::BTreeMap;

use super::{
    architecture::Architecture,
    config::{MlpKind, PosEmbedKind, QkvBias, RelPosBiasKind},
    presets::Arch,
};

/// Shapes of a file's tensors by variable.
struct Shapes<'a>(&'a BTreeMap<String, Vec<i64>>);

impl Shapes<'_> {
    fn get(&self, name: &str) -> Option<&[i64]> {
        self.0.get(&format!("backbone.{name}")).map(Vec::as_slice)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// The keys in which a file differs from the config, as lines of the table; `None` if it has no blocks or
/// differs in nothing that its shapes show. The number of heads leaves no trace.
pub(super) fn differences(
    own: &Architecture,
    shapes: &BTreeMap<String, Vec<i64>>,
) -> Option<String> {
    let file = Shapes(shapes);
    let mut lines = sizes(own, &file)?;
    lines.extend(tokens(own, &file));
    lines.extend(layers(own, &file));
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn sizes(own: &Architecture, file: &Shapes) -> Option<Vec<String>> {
    let norm = |block: usize| file.get(&format!("blocks.{block}.norm1.weight"));
    let &[embed_dim] = norm(0)? else { return None };
    let depth = (0..).find(|&block| norm(block).is_none())?;
    let swiglu = file.has("blocks.0.mlp.w12.weight");
    let mut lines = Vec::new();
    if (own.embed_dim, own.depth) != (embed_dim, depth) {
        let fits = |arch: &Arch| {
            (arch.sizes().0, arch.sizes().1) == (embed_dim, depth as i64)
                && arch.is_swiglu() == swiglu
        };
        match Arch::ALL.into_iter().find(fits) {
            Some(arch) => lines.push(format!("arch = \"{}\"", arch.name())),
            None => lines.push(format!("embed_dim = {embed_dim}, depth = {depth}")),
        }
    } else if (own.mlp == MlpKind::Swiglu) != swiglu {
        lines.push(format!("mlp = \"{}\"", if swiglu { "swiglu" } else { "gelu" }));
    }
    if let Some(&[_, _, _, patch_size]) = file.get("patch_embed.proj.weight")
        && patch_size != own.patch_size
    {
        lines.push(format!("patch_size = {patch_size}"));
    }
    Some(lines)
}

fn tokens(own: &Architecture, file: &Shapes) -> Vec<String> {
    let mut lines = Vec::new();
    if file.has("cls_token") != own.class_token {
        lines.push(format!("class_token = {}", !own.class_token));
    }
    let registers = match file.get("reg_token") {
        Some(&[_, registers, _]) => registers,
        _ => 0,
    };
    if registers != own.num_register_tokens {
        lines.push(format!("num_register_tokens = {registers}"));
    }
    let positions = match file.get("pos_embed") {
        Some(&[.., count, _]) => Some(count),
        _ => None,
    };
    let has_positions = own.pos_embed != PosEmbedKind::None;
    match positions {
        None if has_positions => lines.push("pos_embed = \"none\"".to_owned()),
        Some(_) if !has_positions => lines.push("pos_embed = \"learned\"".to_owned()),
        Some(count) if own.class_token && file.has("cls_token") => {
            let no_embed_class = is_square(count);
            if no_embed_class != own.no_embed_class && (no_embed_class || is_square(count - 1)) {
                lines.push(format!("no_embed_class = {no_embed_class}"));
            }
        }
        _ => {}
    }
    lines
}

fn layers(own: &Architecture, file: &Shapes) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, ours, variable) in [
        ("pre_norm", own.pre_norm, "norm_pre.weight"),
        ("patch_bias", own.patch_bias, "patch_embed.proj.bias"),
    ] {
        if file.has(variable) != ours {
            lines.push(format!("{key} = {}", !ours));
        }
    }
    let in_block = |name: &str| file.has(&format!("blocks.0.{name}"));
    let bias = match () {
        () if in_block("attn.qkv.bias_mask") => (QkvBias::Masked, "masked"),
        () if in_block("attn.q_bias") => (QkvBias::QueryValue, "query_value"),
        () if in_block("attn.qkv.bias") => (QkvBias::All, "all"),
        () => (QkvBias::None, "none"),
    };
    if bias.0 != own.qkv_bias {
        lines.push(format!("qkv_bias = \"{}\"", bias.1));
    }
    if in_block("ls1.gamma") != own.layer_scale.is_some() {
        let start = if own.layer_scale.is_some() { "0" } else { "1e-5" };
        lines.push(format!("layer_scale = {start}"));
    }
    let table = "relative_position_bias_table";
    let positions = match () {
        () if in_block(&format!("attn.{table}")) => (RelPosBiasKind::PerBlock, "per_block"),
        () if file.has(&format!("rel_pos_bias.{table}")) => (RelPosBiasKind::Shared, "shared"),
        () => (RelPosBiasKind::None, "none"),
    };
    if positions.0 != own.rel_pos_bias {
        lines.push(format!("rel_pos_bias = \"{}\"", positions.1));
    }
    lines
}

fn is_square(number: i64) -> bool {
    number > 0 && number.isqrt().pow(2) == number
}

#[cfg(test)]
mod tests {
    use tch::{Device, nn::VarStore};

    use super::*;
    use crate::backbone::{BackboneConfig, vit::VitConfig};

    const TINY: &str =
        "embed_dim = 16\ndepth = 2\nnum_heads = 2\nimage_size = 56\npatch_size = 14\n";

    fn config(base: &str, more: &str) -> VitConfig {
        let mut table: toml::Table = base.parse().unwrap();
        table.extend(more.parse::<toml::Table>().unwrap());
        table.try_into().unwrap()
    }

    fn shapes(config: &VitConfig) -> BTreeMap<String, Vec<i64>> {
        let vs = VarStore::new(Device::Cpu);
        config.build(&(vs.root() / "backbone")).unwrap();
        vs.variables().into_iter().map(|(name, tensor)| (name, tensor.size())).collect()
    }

    #[test]
    fn a_file_of_another_network_names_the_keys() {
        for (own, file, expected) in [
            ("", "", None),
            ("", "embed_dim = 24", Some("embed_dim = 24, depth = 2")),
            ("", "mlp = \"swiglu\"", Some("mlp = \"swiglu\"")),
            ("", "patch_size = 28", Some("patch_size = 28")),
            ("", "class_token = false", Some("class_token = false")),
            ("", "num_register_tokens = 4", Some("num_register_tokens = 4")),
            ("", "pos_embed = \"none\"", Some("pos_embed = \"none\"")),
            ("pos_embed = \"none\"", "", Some("pos_embed = \"learned\"")),
            ("", "no_embed_class = true", Some("no_embed_class = true")),
            ("pre_norm = true", "patch_bias = false", Some("pre_norm = false, patch_bias = false")),
            (
                "variant = \"dinov3\"",
                "variant = \"dinov3\"\nqkv_bias = \"query_value\"",
                Some("qkv_bias = \"query_value\""),
            ),
            ("qkv_bias = \"none\"", "", Some("qkv_bias = \"all\"")),
            ("layer_scale = 1e-5", "", Some("layer_scale = 0")),
            (
                "variant = \"beit\"",
                "variant = \"beit\"\nrel_pos_bias = \"shared\"",
                Some("rel_pos_bias = \"shared\""),
            ),
        ] {
            let got = config(TINY, own).other_sizes(&shapes(&config(TINY, file)));
            assert_eq!(got.as_deref(), expected, "{file}");
        }
        let base = VitConfig::default();
        let small = shapes(&config("", "arch = \"small\"\nimage_size = 32"));
        assert_eq!(base.other_sizes(&small).as_deref(), Some("arch = \"small\""));
        assert_eq!(base.other_sizes(&BTreeMap::new()), None);
    }
}
