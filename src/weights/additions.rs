//! Variables that fine-tuning adds beside the pretrained ones.

/// What they are for, and the parts of a name that mark them.
const ADDITIONS: [(&str, [&str; 2]); 2] =
    [("LoRA", [".lora_A.", ".lora_B."]), ("adapters", [".Space_Adapter.", ".MLP_Adapter."])];

/// What a variable was added for, `LoRA` or `adapters`; `None` if it belongs to the pretrained model.
#[must_use]
pub fn addition(variable: &str) -> Option<&'static str> {
    let marked = |parts: &[&str; 2]| parts.iter().any(|part| variable.contains(part));
    ADDITIONS.iter().find(|(_, parts)| marked(parts)).map(|(what, _)| *what)
}
