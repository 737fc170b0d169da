//! What the exit codes mean.

/// Codes and meanings; docs/configuration.md has the same table, and a test compares.
pub(super) const EXIT_CODES: [(u8, &str); 9] = [
    (0, "done"),
    (1, "anything else"),
    (2, "config, override or command line"),
    (3, "data: images, annotations, list files"),
    (4, "weights or checkpoints"),
    (5, "a loss or gradient that is not finite"),
    (
        6,
        "storage: no space on the disk, or no quota left; the message has the path and the bytes that are missing",
    ),
    (
        7,
        "memory: it ran out in training, evaluation or prediction, or `train --dry-run` found that the run does not \
         fit; the message says how much there is and what to change",
    ),
    (130, "interrupted by Ctrl-C or SIGTERM; the run is saved and prints how to resume"),
];

pub(super) fn page() -> String {
    let intro =
        "# Exit codes\n\nEach kind of error has its own, so that a script can tell them apart.\n\n";
    format!("{intro}{}", table())
}

fn table() -> String {
    let rows = EXIT_CODES.iter().map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
    format!("| exit code | meaning |\n|---|---|\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use sonotune_base::ErrorKind;

    use super::*;

    #[test]
    fn every_kind_of_error_is_listed_and_the_page_on_configs_agrees() {
        for code in 2..=u8::MAX {
            let listed = EXIT_CODES.iter().any(|(number, _)| *number == code);
            assert_eq!(listed, ErrorKind::of_exit_code(code).is_some(), "{code}");
        }
        let page = std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md"),
        );
        assert!(page.unwrap().contains(&table()), "docs/configuration.md: expected\n{}", table());
    }
}
