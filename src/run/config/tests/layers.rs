//! What files inherit, and what overrides change.

use super::*;

#[test]
fn the_nearest_file_wins_and_tables_merge() {
    let folder = Folder::new(&[
        ("base/far.toml", "seed = 1\n[optimizer]\nlr = 1.0\neps = 0.5\nbetas = [0.1, 0.2]\n"),
        ("base/near.toml", "extends = \"far.toml\"\n[optimizer]\nlr = 2.0\n"),
        ("base/late.toml", "[optimizer]\nbetas = [0.3, 0.4]\n"),
        ("a.toml", &format!("extends = [\"base/near.toml\", \"base/late.toml\"]\n{MINIMAL}")),
    ]);
    let loaded = folder.load("a.toml", &["seed=7"]).unwrap();
    assert_eq!(loaded.config.seed, 7);
    assert_eq!(loaded.config.optimizer.lr, 2.0);
    assert_eq!(loaded.config.optimizer.eps, 0.5);
    assert_eq!(loaded.config.optimizer.betas, (0.3, 0.4));
    let origin = |key: &str| folder.short(&loaded.locate(key));
    assert_eq!(origin("optimizer.lr"), "base/near.toml:3: `optimizer.lr`");
    assert_eq!(origin("optimizer.eps"), "base/far.toml:4: `optimizer.eps`");
    assert_eq!(origin("seed"), "override 1 (`seed=7`): `seed`");
    assert_eq!(origin("device"), "a.toml: `device` (default)");
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_error_in_a_parent_names_the_parent() {
    let folder = Folder::new(&[
        ("base.toml", "\n[loader]\nbatchsize = 3\n"),
        ("a.toml", &format!("extends = \"base.toml\"\n{MINIMAL}")),
    ]);
    assert!(folder.error("a.toml", &[]).starts_with("base.toml:3: unknown key `loader.batchsize`"));
}

#[test]
fn another_type_drops_the_inherited_keys_and_says_so() {
    let child = "extends = \"a.toml\"\n[dataset]\ntype = \"river\"\nflow = 2\n";
    let folder = Folder::new(&[("a.toml", MINIMAL), ("b.toml", child)]);
    let loaded = folder.load("b.toml", &[]).unwrap();
    assert!(loaded.resolved.contains("type = \"river\"\nflow = 2.0\n"), "{}", loaded.resolved);
    assert_eq!(
        folder.short(&loaded.warnings[0].to_string()),
        "b.toml:3: `dataset.type` differs from the inherited one, so the inherited depth is dropped"
    );
    // The order of the arguments does not matter.
    for order in
        [["dataset.flow=4", "dataset.type=river"], ["dataset.type=river", "dataset.flow=4"]]
    {
        let loaded = folder.load("a.toml", &order).unwrap();
        assert!(loaded.resolved.contains("type = \"river\"\nflow = 4.0\n"), "{}", loaded.resolved);
    }
    let same = folder.load("a.toml", &["dataset.type=pond"]).unwrap();
    assert!(same.resolved.contains("depth = 3"));
}

#[test]
fn circles_and_absent_parents_are_refused() {
    let folder = Folder::new(&[
        ("a.toml", "extends = \"sub/b.toml\"\n"),
        ("sub/b.toml", "\nextends = [\"../a.toml\"]\n"),
        ("self.toml", "extends = \"self.toml\"\n"),
        ("lost.toml", "extends = \"nowhere.toml\"\n"),
        ("typed.toml", "extends = [\"a.toml\", 3]\n"),
    ]);
    assert_eq!(
        folder.error("a.toml", &[]),
        "sub/b.toml:2: `extends` goes in a circle: a.toml → sub/b.toml → a.toml"
    );
    assert_eq!(
        folder.error("self.toml", &[]),
        "self.toml:1: `extends` goes in a circle: self.toml → self.toml"
    );
    assert_eq!(
        folder.error("lost.toml", &[]),
        "lost.toml:1: `extends` names nowhere.toml, which is not a file\n    \
         the path is relative to the folder of the file that contains `extends`"
    );
    assert_eq!(
        folder.error("typed.toml", &[]),
        "typed.toml:1: `extends`: expected a string or an array of strings, got the whole number 3"
    );
}

#[test]
fn unset_takes_inherited_keys_away() {
    let parent = format!("{MINIMAL}clip_grad_norm = 0.1\n[weights]\npath = \"w.pth\"\n");
    let folder = Folder::new(&[
        ("a.toml", &parent),
        ("b.toml", "extends = \"a.toml\"\nunset = [\"weights\", \"train.clip_grad_norm\"]\n"),
        ("c.toml", "extends = \"a.toml\"\nunset = \"wieghts\"\n"),
    ]);
    let kept = folder.load("a.toml", &[]).unwrap().config;
    assert!(kept.weights.is_some() && kept.train.clip_grad_norm.is_some());
    let config = folder.load("b.toml", &[]).unwrap().config;
    assert!(config.weights.is_none() && config.train.clip_grad_norm.is_none());
    assert!(folder.load("a.toml", &["~weights"]).unwrap().config.weights.is_none());
    assert_eq!(
        folder.error("c.toml", &[]),
        "c.toml:2: `wieghts` cannot be unset: it is not set\n    did you mean `weights`?"
    );
}

#[test]
fn overrides_are_toml_or_bare_words() {
    let groups = "[[optimizer.groups]]\nname = \"a\"\npattern = \"a.*\"\n";
    let folder = Folder::new(&[("a.toml", &format!("{MINIMAL}{groups}"))]);
    let set = [
        "run_dir=runs/some thing",
        "optimizer.lr=1e-3",
        "optimizer.groups.0.lr_multiplier=0.1",
        "device=cpu",
        "loader.shuffle=false",
        "dataset.fish=[\"cod\", 'eel']",
        "logging={every_steps = 3}",
        "dataset.shore.ends=[1, 2]",
    ];
    let loaded = folder.load("a.toml", &set).unwrap();
    let config = &loaded.config;
    assert_eq!(config.run_dir, Path::new("runs/some thing"));
    assert_eq!(config.optimizer.lr, 1e-3);
    assert_eq!(config.optimizer.groups[0].lr_multiplier, 0.1);
    assert_eq!(config.device, sonotune_engine::device::DeviceChoice::Cpu);
    assert!(!config.loader.shuffle);
    assert_eq!((config.logging.every_steps, config.logging.num_images), (3, 8));
    assert!(loaded.resolved.contains("fish = [\"cod\", \"eel\"]"), "{}", loaded.resolved);
    // A date is not a value of any config; as a folder's name it is a string.
    let dated = folder.load("a.toml", &["run_dir=2026-01-01"]).unwrap();
    assert_eq!(dated.config.run_dir, Path::new("2026-01-01"));
}

#[test]
fn bad_overrides_name_their_argument() {
    assert_eq!(
        error_with("optimizer.lr=hgih"),
        "override 1 (`optimizer.lr=hgih`): `optimizer.lr`: expected a number, got the string \"hgih\""
    );
    assert!(error_with("optimizer.lrr=1").starts_with(
        "override 1 (`optimizer.lrr=1`): unknown key `optimizer.lrr`; did you mean `lr`?"
    ));
    assert!(
        error_with("optimizer.lr").starts_with("override 1 (`optimizer.lr`): expected key=value")
    );
    assert!(error_with("=3").starts_with("override 1 (`=3`): \"\" is not a key of a config"));
    assert!(error_with("a b=3").starts_with("override 1 (`a b=3`): \"a b\" is not a key"));
    assert!(error_with("dataset.fish=[cod]").contains("\"[cod]\" is not a valid TOML value"));
    assert_eq!(
        error_with("optimizer.groups.0.freeze=true"),
        "override 1 (`optimizer.groups.0.freeze=true`): `optimizer.groups`: expected an array, got \
         a table"
    );
    assert_eq!(
        error_with("run_dir.x=1"),
        "override 1 (`run_dir.x=1`): `run_dir.x` cannot be set: `run_dir` is the string \"runs/a\", \
         not a table\n    `run_dir` is set at a.toml:1"
    );
    assert_eq!(
        error_with("run_dir=5"),
        "override 1 (`run_dir=5`): `run_dir`: expected a path (a string), got the whole number 5\n    \
         quote it to make it a string: key='\"…\"'"
    );
    assert_eq!(
        error_with("~optimizer.lr"),
        "override 1 (`~optimizer.lr`): `optimizer.lr` cannot be unset: it is not set"
    );
    let folder = Folder::new(&[(
        "a.toml",
        &format!("{MINIMAL}[schedule]\ntype = \"multistep\"\nmilestones = [5, 6]"),
    )]);
    assert_eq!(
        folder.error("a.toml", &["schedule.milestones.2=7"]),
        "override 1 (`schedule.milestones.2=7`): `schedule.milestones` is an array; \"2\" is not an \
         index: its elements are 0 to 1"
    );
}
