//! Running out of memory, as an error that says how much there is and what to change.

use sonotune_base::Error;

/// Where libtorch's messages begin: that of its CUDA allocator, and that of its CPU allocator.
const BEGINNINGS: [&str; 2] = ["CUDA out of memory.", "DefaultCPUAllocator: "];

/// What follows a message: a link, the C++ stack (as it is, or in a panic's `Debug` form), the closing
/// quote of that form.
const ENDS: [&str; 5] =
    ["  See documentation", "\nException raised", "\\nException raised", "\")", "\n"];

/// The error to return if `text` contains libtorch's message that there is no memory left; `what` names what
/// was computed.
#[must_use]
pub(crate) fn explained(what: &str, text: &str) -> Option<Error> {
    let message = BEGINNINGS.iter().find_map(|beginning| Some(&text[text.find(beginning)?..]))?;
    let end = ENDS.iter().filter_map(|end| message.find(end)).min();
    let message = message[..end.unwrap_or(message.len())].trim_end_matches('.');
    let others = if message.contains("Process ") {
        "end the other process that holds memory (`nvidia-smi` names it), or choose another device; "
    } else {
        ""
    };
    Some(Error::memory(format!(
        "{what}: {message}. What helps: {others}fewer images at a time (loader.batch_size with \
         train.accumulate_batches raised by as much; evaluation.batch_size for evaluation and prediction), \
         precision = \"bf16\", backbone.activation_checkpointing = true. `sonotune train CONFIG --dry-run` \
         measures what fits and lists the changes in order of cost"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUDA: &str = "CUDA out of memory. Tried to allocate 63.00 KiB. GPU 0 has a total capacity of 3.81 MiB of \
                        which 28.25 KiB is free. Including non-PyTorch memory, this process has 3.79 MiB memory in \
                        use. If reserved but unallocated memory is large try setting \
                        PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation \
                        for Memory Management  (https://…)";

    #[test]
    fn the_numbers_stay_and_the_stack_goes() {
        let panic =
            format!("called unwrap() on Torch(\"{CUDA}\\nException raised from …\\nframe #0\")");
        for text in [CUDA, &panic] {
            let error = explained("training step 3", text).unwrap().to_string();
            let begins =
                "training step 3: CUDA out of memory. Tried to allocate 63.00 KiB. GPU 0 has";
            assert!(error.starts_with(begins), "{error}");
            assert!(error.contains("to avoid fragmentation. What helps: fewer images"), "{error}");
            assert!(!error.contains("frame") && !error.contains("nvidia-smi"), "{error}");
        }
    }

    #[test]
    fn another_process_is_named_first() {
        let text = CUDA.replace("Including", "Process 4242 has 60.00 GiB memory in use. Including");
        let error = explained("step", &text).unwrap().to_string();
        assert!(error.contains("What helps: end the other process"), "{error}");
    }

    #[test]
    fn main_memory_is_memory_as_well() {
        let text = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to \
                    allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)\nframe #0: …";
        let error = explained("training step 0", text).unwrap().to_string();
        assert!(error.contains("you tried to allocate 4398046511104 bytes"), "{error}");
        assert!(!error.contains("frame"), "{error}");
        assert!(explained("a step", "expected 3 channels").is_none());
    }
}
