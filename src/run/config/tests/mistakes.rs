//! Keys, types and files that are wrong.

use super::*;

#[test]
fn unknown_keys_name_their_line_and_a_near_one() {
    assert_eq!(
        error_of("[optimizer]\nlr = 1e-3\nweight_decy = 0.1\n"),
        "a.toml:17: unknown key `optimizer.weight_decy`; did you mean `weight_decay`?\n    \
         keys of [optimizer]: type, lr, weight_decay, betas, eps, momentum, nesterov, groups"
    );
    let top = Folder::new(&[("a.toml", &format!("sed = 1\n{MINIMAL}"))]).error("a.toml", &[]);
    assert!(top.starts_with("a.toml:1: unknown key `sed`; did you mean `seed`?\n"), "{top}");
}

#[test]
fn more_values_than_any_config_has_are_refused_at_once() {
    let many: String = (0..30_000).map(|i| format!("a{i} = 1\n")).collect();
    let error = Folder::new(&[("a.toml", &many)]).error("a.toml", &[]);
    assert!(error.contains("a.toml: more than 20000 values"), "{error}");
}

#[test]
fn unknown_keys_inside_tagged_tables_name_their_line() {
    assert_eq!(
        error_of("[dataset.shore]\nlenght = 1\n"),
        "a.toml:16: unknown key `dataset.shore.lenght`; did you mean `length`?\n    \
         keys of [dataset.shore]: length, ends"
    );
    assert_eq!(
        Folder::new(&[("a.toml", &MINIMAL.replace("depth = 3", "depth = 3\ndeep = 4"))])
            .error("a.toml", &[]),
        "a.toml:6: unknown key `dataset.deep`; did you mean `depth`?\n    \
         keys of [dataset] with type = \"pond\": type, depth, shore, fish"
    );
    assert_eq!(
        error_of("[schedule]\ntype = \"multistep\"\nmilestones = [50]\nwarmup = { stesp = 5 }\n"),
        "a.toml:18: unknown key `schedule.warmup.stesp`; did you mean `steps`?\n    \
         keys of [schedule.warmup]: steps, start_factor"
    );
    assert_eq!(
        error_of("[schedule]\ntype = \"multistep\"\nmilestone = [50]\n"),
        "2 problems in the config\n\
         a.toml:17: unknown key `schedule.milestone`; did you mean `milestones`?\n    \
         keys of [schedule] with type = \"multistep\": type, milestones, gamma, warmup\n\
         a.toml:15: missing key `milestones` in [schedule]"
    );
}

#[test]
fn keys_that_a_lenient_type_ignores_are_refused() {
    let of = |key: &str| {
        let text = MINIMAL.replace("type = \"pond\"\ndepth = 3", key);
        Folder::new(&[("a.toml", &text)]).error("a.toml", &[])
    };
    assert_eq!(
        of("type = \"lenient\"\ndeep = { x = 1 }\ndepth = 3"),
        "a.toml:5: unknown key `dataset.deep`: nothing reads it\n    the type of its table ignores \
         keys that it does not know; with `#[serde(deny_unknown_fields)]` on that struct this \
         message lists the keys it does know"
    );
    let two = of("deep = 1\ntype = \"lenient\"\ndepht = 3");
    assert!(two.starts_with("2 problems in the config\n"), "{two}");
    assert!(two.contains("a.toml:4: unknown key `dataset.deep`"), "{two}");
}

#[test]
fn unknown_types_of_plugins_recall_linking() {
    let error = error_with("task.type=gestational_age");
    assert!(
        error.contains("unknown type \"gestational_age\"\n    linked in: ")
            && error.contains("main.rs names it: `use my_task as _;`"),
        "{error}"
    );
}

#[test]
fn a_key_of_another_table_says_where_it_belongs() {
    assert_eq!(
        error_of("seed = 3\n").lines().nth(1).unwrap().trim(),
        "`seed` is a top-level key: it must come before the first [table]"
    );
    assert_eq!(
        error_of("batch_size = 3\n").lines().nth(1).unwrap().trim(),
        "there is `loader.batch_size`, `evaluation.batch_size`"
    );
}

#[test]
fn all_unknown_and_mistyped_keys_are_named_at_once() {
    assert_eq!(
        error_of("[optimizer]\nlr = \"high\"\n[loader]\nbatchsize = 1\nnum_workers = -1\n"),
        "3 problems in the config\n\
         a.toml:16: `optimizer.lr`: expected a number, got the string \"high\"\n\
         a.toml:18: unknown key `loader.batchsize`; did you mean `batch_size`?\n    \
         keys of [loader]: batch_size, num_workers, prefetch_batches, shuffle, bad_images, max_bad_images\n\
         a.toml:19: `loader.num_workers`: expected a whole number of at least 0, got the whole \
         number -1"
    );
}

#[test]
fn wrong_types_name_key_expected_and_got() {
    let of = |addition| error_of(addition);
    assert_eq!(
        of("[optimizer]\nbetas = [0.9]\n"),
        "a.toml:16: `optimizer.betas`: expected an array of 2, got an array of 1"
    );
    assert_eq!(
        of("[optimizer]\nbetas = [0.9, 0.99, 0.999]\n"),
        "a.toml:16: `optimizer.betas`: expected an array of 2, got an array of 3"
    );
    assert_eq!(
        of("[optimizer]\nbetas = [0.9, true]\n"),
        "a.toml:16: `optimizer.betas.1`: expected a number, got true"
    );
    assert_eq!(
        of("[loader]\nbatch_size = 2.5\n"),
        "a.toml:16: `loader.batch_size`: expected a whole number of at least 0, got the number 2.5"
    );
    assert_eq!(
        of("[evaluation]\nbest_is = \"high\"\n"),
        "a.toml:16: `evaluation.best_is`: expected \"highest\" or \"lowest\", got \"high\"; did you \
         mean \"highest\"?"
    );
    assert_eq!(
        of("[evaluation]\nbest_is = 3\n"),
        "a.toml:16: `evaluation.best_is`: expected \"highest\" or \"lowest\", got the whole number 3"
    );
    assert_eq!(
        of("[[optimizer]]\nlr = 1\n"),
        "a.toml:15: `optimizer`: expected a table, got an array of 1"
    );
    assert_eq!(
        of("[logging]\nnum_images = 2026-01-01\n"),
        "a.toml:16: `logging.num_images`: expected a whole number of at least 0, got the date \
         2026-01-01"
    );
}

#[test]
fn wrong_types_inside_buffered_tables_name_their_line() {
    assert_eq!(
        error_of(
            "[schedule]\ntype = \"multistep\"\nmilestones = [\n  50,\n  \"x\",\n]\ngamma = 0.1\n"
        ),
        "a.toml:19: `schedule.milestones.1`: expected a whole number of at least 0, got the string \
         \"x\""
    );
    // Both are the string "x", and only the second is wrong for its key.
    assert_eq!(
        error_of(
            "[dataset.shore]\nlength = 1\n[schedule]\ntype = \"cosine\"\nend_factor = \"x\"\n"
        ),
        "a.toml:19: `schedule.end_factor`: expected a number, got the string \"x\""
    );
    assert_eq!(
        error_of(
            "[schedule]\ntype = \"poly\"\npower = 1\nwarmup = { steps = 1, start_factor = [] }"
        ),
        "a.toml:18: `schedule.warmup.start_factor`: expected a number, got an array of 0"
    );
}

#[test]
fn missing_keys_name_their_table_and_its_line() {
    let without =
        |line: &str| Folder::new(&[("a.toml", &MINIMAL.replace(line, ""))]).error("a.toml", &[]);
    assert_eq!(without("run_dir = \"runs/a\"\n"), "a.toml:1: missing key `run_dir`");
    assert_eq!(without("depth = 3\n"), "a.toml:3: missing key `depth` in [dataset]");
    assert_eq!(without("max_steps = 100\n"), "a.toml:13: missing key `max_steps` in [train]");
    assert_eq!(without("[train]\nmax_steps = 100\n"), "a.toml:1: missing table `[train]`");
    assert_eq!(without("[task]\ntype = \"plain\"\n"), "a.toml:1: missing table `[task]`");
    assert_eq!(
        error_of("[schedule]\ntpye = \"cosine\"\n"),
        "a.toml:15: missing key `type` in [schedule]\n    \
         `type` is one of: constant, multistep, cosine, poly\n    \
         `tpye` is there; did you mean `type`?"
    );
}

#[test]
fn unknown_types_list_what_is_linked_in() {
    let error = error_with("dataset.type=pnd");
    let (first, rest) = error.split_once('\n').unwrap();
    assert_eq!(
        first,
        "override 1 (`dataset.type=pnd`): [dataset]: unknown type \"pnd\"; did you mean \"pond\"?"
    );
    assert!(rest.trim().starts_with("linked in: "), "{rest}");
    assert!(rest.contains("pond") && rest.contains("river"), "{rest}");
    assert_eq!(
        error_of("[schedule]\ntype = \"cosin\"\n"),
        "a.toml:16: [schedule]: unknown type \"cosin\"; did you mean \"cosine\"?\n    \
         linked in: constant, multistep, cosine, poly"
    );
}

#[test]
fn bad_toml_names_its_line() {
    let error = error_of("[loader]\nbatch_size = = 1\n");
    assert!(error.starts_with("a.toml:16: not valid TOML: "), "{error}");
    assert!(error.ends_with("the line reads `batch_size = = 1`"), "{error}");
    let error = error_of("[loader]\nbatch_size = 1\nbatch_size = 2\n");
    assert!(error.starts_with("a.toml:17: not valid TOML: duplicate key"), "{error}");
    let error = error_of("[train]\n");
    assert!(error.starts_with("a.toml:15: not valid TOML: duplicate key"), "{error}");
    assert_eq!(
        error_of("[loader]\nbatch_size = 99999999999999999999\n"),
        "a.toml:16: 99999999999999999999 is beyond the range of 64-bit numbers"
    );
}

#[test]
fn files_that_are_no_configs_are_refused() {
    let folder =
        Folder::new(&[("sub/x.toml", ""), ("deep.toml", &format!("{}1", "a.".repeat(9999)))]);
    assert!(folder.error("none.toml", &[]).starts_with("none.toml: cannot be read: "));
    assert_eq!(folder.error("sub", &[]), "sub: is a folder, expected a TOML file");
    fs::write(folder.0.path().join("bytes.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    assert_eq!(folder.error("bytes.toml", &[]), "bytes.toml:2: not UTF-8 text");
    assert!(folder.error("deep.toml", &[]).contains("not valid TOML"));
    for opening in ["[", "{a=", "a=[", "a={b="] {
        fs::write(folder.0.path().join("deep.toml"), format!("a = {}", opening.repeat(9999)))
            .unwrap();
        assert!(folder.error("deep.toml", &[]).contains("not valid TOML"));
    }
}

#[test]
fn devices_are_spelt_as_documented() {
    let expected = "expected \"auto\", \"cpu\", \"cuda\" or a device such as \"cuda:1\"";
    let error = error_with("device=gpu");
    assert!(error.contains("`device`") && error.contains(expected), "{error}");
    assert!(error_with("device=1").contains(expected));
    let config = Folder::new(&[("a.toml", MINIMAL)]);
    let loaded = config.load("a.toml", &["device=cuda:1"]).unwrap();
    assert!(loaded.resolved.contains("device = \"cuda:1\""), "{}", loaded.resolved);
}

#[test]
fn attention_without_a_deterministic_form_is_refused_where_one_is_required() {
    let text = format!("attention_backend = \"cudnn\"\ndeterministic = \"require\"\n{MINIMAL}");
    let error = Folder::new(&[("a.toml", &text)]).error("a.toml", &[]);
    assert!(error.starts_with("a.toml:1: `attention_backend`: \"cudnn\" contradicts"), "{error}");
    Folder::new(&[("a.toml", &text)]).load("a.toml", &["deterministic=warn"]).unwrap();
}
