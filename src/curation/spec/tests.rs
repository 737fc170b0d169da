//! What a new user reads about an incorrect spec.

use sonotune_base::error::ErrorKind;

use super::*;

const SPEC: &str = r#"name = "MINE"
title = "Mine"
application = "thyroid"
url = "https://example.org"
licence = "CC BY 4.0"
access = "open"
source = ["mine.zip"]
categories = [
    { id = 1, name = "nodule", supercategory = "nodule" },
    { id = 2, name = "cyst", supercategory = "nodule" },
]

[rasters.images]
files = "images/*.png"
key = '/([^/]+)\.png$'

[[rasters.masks]]
files = "masks/*.png"
key = '/([^/]+)\.png$'
decode = { at_least = 128 }
category = 1
"#;

/// Replaces `old` in the spec, which must be refused; returns the message.
#[track_caller]
fn refused(old: &str, new: &str) -> String {
    refused_as(old, new, &Choice::AsIntended)
}

#[track_caller]
fn refused_as(old: &str, new: &str, choice: &Choice) -> String {
    assert!(SPEC.contains(old), "{old}");
    let text = SPEC.replacen(old, new, 1);
    let error = Spec::parse(&text, "mine.toml", choice).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), ErrorKind::Config.exit_code(), "{error:#}");
    let message = format!("{error:#}");
    assert!(message.starts_with("spec mine.toml"), "{message}");
    message
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no `{part}` in\n{message}");
    }
}

#[test]
fn the_spec_itself_holds() {
    Spec::parse(SPEC, "mine.toml", &Choice::AsIntended).unwrap();
}

#[test]
fn a_misspelt_key_is_told_with_its_line_and_the_nearest() {
    let message = refused("category = 1", "categry = 1");
    says(
        &message,
        &["line 21", "categry = 1", "unknown field `categry`", "did you mean `category`?"],
    );
    let message = refused("licence =", "license =");
    says(&message, &["line 5", "did you mean `licence`?"]);
}

#[test]
fn a_missing_key_and_a_wrong_type_are_told_with_their_line() {
    says(&refused("url = \"https://example.org\"\n", ""), &["missing field `url`"]);
    let message = refused("files = \"masks/*.png\"", "files = 3");
    says(&message, &["line 18", "expected a string or a list of strings"]);
}

#[test]
fn an_unknown_decode_form_is_told_with_the_nearest() {
    let message = refused("at_least = 128", "atleast = 128");
    says(
        &message,
        &["line 20", "unknown variant `atleast`", "`nonzero`", "did you mean `at_least`?"],
    );
}

#[test]
fn a_spec_has_one_reader() {
    let message = refused("[rasters.images]", "[other.images]");
    says(&message, &["line 13", "unknown field `other`"]);
    let (head, _) = SPEC.split_once("[rasters").unwrap();
    let error = Spec::parse(head, "mine.toml", &Choice::AsIntended).unwrap_err();
    says(&format!("{error:#}"), &["spec mine.toml: no reader", "[rasters], [volumes]"]);
    let coco =
        "[[coco.annotations]]\nfile = \"a.json\"\n[coco.images]\nfiles = \"*\"\nkey = '(.)'\n";
    let message = refused("[rasters.images]", &format!("{coco}[rasters.images]"));
    says(&message, &["two readers, [rasters] and [coco]"]);
}

#[test]
fn an_id_that_no_category_has_is_told_with_those_there_are() {
    let message = refused("category = 1", "category = 7");
    says(&message, &["rasters.masks[0].category: no category has the id 7", "1 nodule, 2 cyst"]);
    let message =
        refused("decode = { at_least = 128 }\ncategory = 1", "decode = { values = { 255 = 3 } }");
    says(&message, &["rasters.masks[0].decode: no category has the id 3"]);
}

#[test]
fn foreground_has_one_category() {
    let message = refused("category = 1\n", "");
    says(&message, &["rasters.masks[0]: `decode` yields foreground; give its `category`"]);
    let message = refused("at_least = 128", "values = { 255 = 1 }");
    says(&message, &["`decode` already yields categories"]);
}

#[test]
fn a_value_that_is_none_is_told_before_any_image_is_read() {
    let message = refused(
        "decode = { at_least = 128 }\ncategory = 1",
        "decode = { values = { \"1.5\" = 1 } }",
    );
    says(&message, &["rasters.masks[0]: decode: `1.5` is not a grey value, a whole number from 0"]);
    let message =
        refused("decode = { at_least = 128 }\ncategory = 1", "decode = { colors = { red = 1 } }");
    says(&message, &["`red` is not a colour", "\"255,128,0\""]);
}

#[test]
fn regexes_and_globs_are_told_by_their_key() {
    let images = "files = \"images/*.png\"\nkey = '/([^/]+)\\.png$'";
    let message = refused(images, "files = \"images/*.png\"\nkey = '/([^/]+\\.png$'");
    says(&message, &["rasters.images.key", "unclosed group", "/([^/]+\\.png$"]);
    let message = refused(images, "files = \"images/*.png\"\nkey = '/[^/]+\\.png$'");
    says(&message, &["rasters.images.key", "has no group", "parentheses"]);
    let message = refused("\"masks/*.png\"", "\"masks/{a,b.png\"");
    says(&message, &["rasters.masks[0].files", "masks/{a,b.png"]);
    let message = refused("[rasters.images]", "[[unpack]]\nfiles = \"[\"\n[rasters.images]");
    says(&message, &["unpack[0].files"]);
    let table = "[[tables]]\nfiles = \"t.csv\"\nformat = \"csv\"\nkey_column = \"id\"\nkey = 'x'\n";
    let message = refused("[rasters.images]", &format!("{table}[rasters.images]"));
    says(&message, &["tables[0].key", "has no group"]);
}

#[test]
fn categories_are_told_apart() {
    says(&refused("{ id = 2,", "{ id = 1,"), &["category 1 cyst", "twice"]);
    says(&refused("{ id = 2,", "{ id = 0,"), &["category cyst", "ids start at 1"]);
    says(
        &refused("name = \"MINE\"", "name = \"../MINE\""),
        &["`../MINE` cannot be used as a folder name"],
    );
}

const DEFECT: &str = "
[defects.low]
what = \"grey from 1 on\"
as_published.rasters.masks.0.decode = \"nonzero\"
";

fn with(defect: &str, choice: &Choice) -> anyhow::Result<Spec> {
    Spec::parse(&format!("{SPEC}{defect}"), "mine.toml", choice)
}

#[test]
fn a_defect_is_laid_over_the_spec_by_name() {
    let decode =
        |choice: &Choice| with(DEFECT, choice).unwrap().rasters.unwrap().masks[0].decode.clone();
    assert_eq!(decode(&Choice::AsIntended), Decode::AtLeast(128));
    assert_eq!(decode(&Choice::AsPublished), Decode::Nonzero);
    assert_eq!(decode(&Choice::Only(vec!["low".into()])), Decode::Nonzero);
    assert_eq!(decode(&Choice::Only(vec![FULL_FRAME_DEFECT.into()])), Decode::AtLeast(128));
    let error = with(DEFECT, &Choice::Only(vec!["lwo".into()])).unwrap_err().to_string();
    says(&error, &["does not have the defect `lwo`", "full-frame, low"]);
}

#[test]
fn a_defect_that_changes_what_is_not_there_is_refused() {
    let error = with(&DEFECT.replace("masks.0", "masks.1"), &Choice::AsPublished).unwrap_err();
    says(
        &format!("{error:#}"),
        &["as_published.rasters.masks: the list has no entry `1`; it has 1"],
    );
    let error = with(&DEFECT.replace("0.decode", "0.decod"), &Choice::AsPublished).unwrap_err();
    says(&format!("{error:#}"), &["with the defects full-frame, low", "unknown field `decod`"]);
}
