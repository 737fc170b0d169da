//! The config file that X-AnyLabeling loads a pair by.

use crate::layout::Layout;

/// Files beside it, by name.
pub(crate) fn config(layout: Layout, name: &str, encoder: &str, decoder: &str) -> String {
    let mut text = format!(
        "type: {kind}\nname: {name}\nprovider: Sonotune\ndisplay_name: {display}\n\
         encoder_model_path: {encoder}\ndecoder_model_path: {decoder}\n",
        kind = layout.name(),
        name = quoted(name),
        display = quoted(&format!("Sonotune {name}")),
        encoder = quoted(encoder),
        decoder = quoted(decoder),
    );
    if layout == Layout::SegmentAnything {
        // Read, but not used: its loader scales every image into 684 x 1024.
        text += "input_size: 1024\nmax_width: 1024\nmax_height: 682\n";
    }
    text
}

/// A YAML text in double quotes, whatever it holds; JSON's escapes are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_file() {
        let text = config(Layout::SegmentAnything, "a: \"b\"\n#c", "encoder.onnx", "decoder.onnx");
        assert!(text.contains("name: \"a: \\\"b\\\"\\n#c\"\n"), "{text}");
        assert!(text.starts_with("type: segment_anything\n") && text.contains("max_height: 682"));
        let text = config(Layout::SegmentAnything2, "x", "e.onnx", "d.onnx");
        assert!(!text.contains("input_size"), "{text}");
    }
}
