//! Whether the commands that the documents show are commands of this program.

use std::{fs, path::Path};

use clap::{CommandFactory, error::ErrorKind};

/// A command line in a document.
struct Shown {
    /// `FILE:LINE`.
    place: String,
    words: Vec<String>,
    /// It is named within a sentence, so that arguments may be missing.
    in_prose: bool,
}

#[test]
fn documents_show_commands_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(docs.filter(|path| path.extension() == Some("md".as_ref())));
    let shown: Vec<Shown> = files.iter().flat_map(|file| commands(file)).collect();
    assert!(shown.iter().filter(|shown| !shown.in_prose).count() > 100, "{}", shown.len());
    let faults: Vec<String> = shown.iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn wrong_commands_are_noticed() {
    let fault_of = |line: &str, in_prose: bool| {
        let words = words(line);
        let place = "page.md:1".to_owned();
        fault(&Shown { place, words, in_prose })
    };
    assert_eq!(fault_of("sonotune train FILE --overwrite optimizer.lr=1 # why", false), None);
    assert_eq!(fault_of("sonotune predict --run RUN", true), None);
    assert_eq!(fault_of("sonotune train FILE --processes N", false), None);
    for wrong in
        ["sonotune trian FILE", "sonotune train FILE --overwite", "sonotune train --device"]
    {
        assert!(fault_of(wrong, true).is_some(), "{wrong}");
    }
    assert!(fault_of("sonotune train", false).is_some());
}

/// Commands in blocks of a shell, and those in back quotes.
fn commands(file: &Path) -> Vec<Shown> {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(file).unwrap();
    let mut found = Vec::new();
    let mut block: Option<bool> = None;
    let mut begun = String::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", index + 1);
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = match block {
                Some(_) => None,
                None => Some(matches!(language.trim(), "sh" | "bash" | "console" | "shell")),
            };
            begun.clear();
            continue;
        }
        match block {
            None => {
                let spans = line.split('`').skip(1).step_by(2);
                let named = spans.filter(|span| span.starts_with("sonotune "));
                found.extend(named.map(|span| Shown {
                    place: place.clone(),
                    words: words(span),
                    in_prose: true,
                }));
            }
            Some(false) => {}
            Some(true) => {
                begun.push_str(line.trim_start().trim_start_matches("$ "));
                if let Some(start) = begun.strip_suffix('\\') {
                    begun = start.to_owned();
                    continue;
                }
                let words = words(&begun);
                begun.clear();
                // The last word of a line is a name, such as that of an environment.
                if words.len() > 1 {
                    found.push(Shown { place, words, in_prose: false });
                }
            }
        }
    }
    found
}

/// The words of the first `sonotune` command in a line of a shell, up to a comment or another command.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut quoted = false;
    for c in line.chars().chain([' ']) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                quoted = true;
            }
            None if c.is_whitespace() => {
                if !quoted
                    && matches!(word.as_str(), "|" | "||" | "&&" | "&" | ";" | ">" | "2>" | ">>")
                    || !quoted && word.starts_with('#')
                {
                    break;
                }
                if !word.is_empty() || quoted {
                    words.push(std::mem::take(&mut word));
                }
                quoted = false;
            }
            None => word.push(c),
        }
    }
    let start = words.iter().position(|word| word == "sonotune" || word.ends_with("/sonotune"));
    let mut words = words.split_off(start.unwrap_or(words.len()));
    if let Some(program) = words.first_mut() {
        *program = "sonotune".to_owned();
    }
    words
}

/// What is wrong with a command.
fn fault(shown: &Shown) -> Option<String> {
    // `[--json]` is an option that may be given; `…` stands for something.
    let elided = shown.words.iter().any(|word| word.contains('…') || word.contains("..."));
    let words = shown.words.iter().filter(|word| !matches!(word.as_str(), "…" | "..."));
    let words: Vec<&str> = words.map(|word| word.trim_matches(['[', ']', '…'])).collect();
    let error = crate::Cli::command().try_get_matches_from(&words).err()?;
    let fits = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand => elided || shown.in_prose,
        // A word in capitals stands for a value.
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let given = error.get(clap::error::ContextKind::InvalidValue);
            let given = given.map(ToString::to_string).unwrap_or_default();
            // Within a sentence, an option may be named without its value.
            (shown.in_prose || !given.is_empty())
                && !given.contains(|c: char| c.is_lowercase() || c.is_numeric())
        }
        // `sonotune COMMAND --help`
        ErrorKind::InvalidSubcommand => {
            words.get(1).is_some_and(|word| !word.contains(|c: char| !c.is_ascii_uppercase()))
        }
        _ => false,
    };
    let first = error.to_string();
    let first = first.lines().next().unwrap_or_default().to_owned();
    (!fits).then(|| format!("{}: {}: {first}", shown.place, words.join(" ")))
}
