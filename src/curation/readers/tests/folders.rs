//! Sources whose folders are links, as to another disk.

use std::os::unix::fs::symlink;

use super::*;

/// Images and masks in a folder beside the source, which links to them as `set`.
fn linked() -> (Source, String) {
    let source = Source::of_four();
    let disk = source.0.path().join("disk");
    fs::rename(source.path(""), &disk).unwrap();
    fs::create_dir_all(source.path("")).unwrap();
    symlink("../disk", source.path("set")).unwrap();
    (source, spec().replace("\"images/", "\"set/images/").replace("\"masks/", "\"set/masks/"))
}

#[test]
fn a_linked_folder_is_part_of_the_source() {
    let (source, spec) = linked();
    symlink("..", source.path("set/loop")).unwrap();
    let file = source.converted(&spec);
    assert_eq!((file.images.len(), file.annotations.len()), (4, 4));
    assert_eq!(file.images[0].provenance.source_file, "set/images/a.png");
    assert!(source.convert(&spec).unwrap().already_complete);
    // A change in the linked folder is converted.
    source.picture("set/images/e.png", 9);
    source.picture("set/masks/e.png", 255);
    assert_eq!(source.converted(&spec).images.len(), 5);
}

#[test]
fn an_output_folder_that_a_link_of_the_source_reaches_is_refused() {
    let (source, spec) = linked();
    let spec = Spec::parse(&spec, "mine.toml", &Choice::AsIntended).unwrap();
    let run = |out: &str| {
        let out = source.0.path().join(out);
        let options = Options::default();
        let result =
            convert(&spec, &source.path(""), &out, &options, &|_| {}, &StopFlag::default());
        format!("{:#}", result.unwrap_err())
    };
    says(&run("disk/out"), &["the output folder", "is inside a linked folder of the source, "]);
    fs::create_dir_all(source.0.path().join("all")).unwrap();
    fs::rename(source.0.path().join("disk"), source.0.path().join("all/disk")).unwrap();
    fs::remove_file(source.path("set")).unwrap();
    symlink("../all/disk", source.path("set")).unwrap();
    says(&run("all"), &["a linked folder of the source, ", "is inside the output folder"]);
}

#[test]
fn a_link_that_leads_nowhere_is_a_problem_where_it_is_needed() {
    let source = Source::of_four();
    source.remove("masks/b.png");
    symlink("/gone/b.png", source.path("masks/b.png")).unwrap();
    symlink("/gone", source.path("notes")).unwrap();
    let message = source.refused(&spec());
    says(&message, &["1 that cannot be read", "masks/b.png: is a link to /gone/b.png, which does"]);
    source.remove("masks/b.png");
    source.picture("masks/b.png", 255);
    assert_eq!(source.converted(&spec()).images.len(), 4);
}
