//! Folders with links, and with names of other systems.

use super::*;
use crate::Listing;

#[test]
fn links_of_a_folder_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let bench = Bench::new();
    let disk = bench.folder.path().join("disk");
    fs::create_dir_all(disk.join("more")).unwrap();
    fs::write(disk.join("more/1.txt"), "one").unwrap();
    fs::write(bench.path("a/2.txt"), "two").unwrap();
    symlink("../../disk", bench.path("a/set")).unwrap();
    symlink("gone.txt", bench.path("a/3.txt")).unwrap();
    symlink("4.txt", bench.path("a/4.txt")).unwrap();
    for (link, target) in [("a/up", ".."), ("a/out", "../.."), ("root", "/")] {
        symlink(target, bench.path(link)).unwrap();
    }
    symlink(bench.path("a"), disk.join("back")).unwrap();
    let tree = bench.unpack("", &[]).unwrap();
    let keys: Vec<_> = tree.files.keys().map(String::as_str).collect();
    assert_eq!(keys, ["a/2.txt", "a/3.txt", "a/4.txt", "a/set/more/1.txt"]);
    assert_eq!((tree.links, tree.read("a/set/more/1.txt").unwrap().as_slice()), (4, &b"one"[..]));
    let error = format!("{:#}", tree.read("a/3.txt").unwrap_err());
    assert_eq!(error, "a/3.txt: is a link to gone.txt, which does not exist");
    let listing = Listing::of(&bench.path(""), None).unwrap();
    assert_eq!(listing.linked, [disk.canonicalize().unwrap()]);
    // A work folder is left out wherever a link reaches it.
    let limits = Limits::default();
    let stop = StopFlag::default();
    let tree = unpack(&bench.path(""), &[], &disk.join("more"), &limits, &|_| {}, &stop).unwrap();
    assert!(!tree.files.contains_key("a/set/more/1.txt"), "{tree:?}");
}

#[test]
fn names_of_a_folder_that_are_not_utf_8_are_refused_by_name() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let name = std::ffi::OsStr::from_bytes(b"\xc1\xbc.png");
    fs::write(bench.path("images/1.png").with_file_name(name), "x").unwrap();
    let error = format!("{:#}", bench.unpack("", &[]).unwrap_err());
    assert!(error.contains("images/\\xc1\\xbc.png: its name is not UTF-8; rename it"), "{error}");
}
