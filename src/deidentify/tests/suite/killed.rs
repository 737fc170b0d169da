//! A process that is killed leaves no half file under a final name.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use dicom_core::{PrimitiveValue, VR};
use dicom_object::{Tag, mem::InMemElement};
use sonotune_deidentify::deidentify;
use sonotune_formats::dicom::Dicom;

use crate::support::{Folder, files, open};

const PLACE: &str = "SONOTUNE_TEST_DEIDENTIFY_IN";
const KILLS: u64 = 6;

/// The process that is killed.
#[test]
#[ignore = "another test starts it"]
fn victim() {
    let folder = std::path::PathBuf::from(std::env::var_os(PLACE).unwrap());
    let options = sonotune_deidentify::Options {
        salt: Some(folder.join("salt")),
        overwrite: true,
        ..Default::default()
    };
    let stop = sonotune_base::stop::StopFlag::default();
    deidentify(&folder.join("in"), &folder.join("out"), &options, &|_, _| (), &stop).unwrap();
}

/// Twenty clips of 60 frames.
fn clips() -> Folder {
    let folder = Folder::with(&["everything.dcm"]);
    let path = folder.at("in/everything.dcm");
    let mut object = open(&path);
    fs::remove_file(&path).unwrap();
    let frames: Vec<u8> = (0..60 * 3 * 96 * 96).map(|i: u32| (i % 251) as u8).collect();
    for (element, value) in [(0x0010, 96_u16), (0x0011, 96)] {
        object.put(InMemElement::new(Tag(0x0028, element), VR::US, PrimitiveValue::from(value)));
    }
    object.put(InMemElement::new(Tag(0x0028, 0x0008), VR::IS, "60"));
    object.put(InMemElement::new(Tag(0x7fe0, 0x0010), VR::OB, PrimitiveValue::from(frames)));
    for number in 0..20 {
        object.put(InMemElement::new(Tag(0x0008, 0x0018), VR::UI, format!("1.2.3.{number}")));
        object.write_to_file(folder.at(&format!("in/{number}.dcm"))).unwrap();
    }
    folder
}

#[test]
fn a_kill_leaves_only_whole_files() {
    let folder = clips();
    let mut written = vec![];
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["killed::victim", "--exact", "--ignored"])
            .env(PLACE, folder.path.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(150 + 130 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = files(&folder.at("out"));
        let whole: Vec<_> =
            found.iter().filter(|path| path.extension().is_some_and(|e| e == "dcm")).collect();
        for path in &whole {
            let clip = Dicom::open(path).unwrap();
            assert_eq!(clip.num_frames(), 60);
            clip.frame(59).unwrap();
        }
        let temporary = |path: &&std::path::PathBuf| path.extension().is_some_and(|e| e == "tmp");
        let others = found.len() - whole.len() - found.iter().filter(temporary).count();
        assert!(others <= 1, "{found:?}");
        written.push(whole.len());
    }
    assert!(written.iter().any(|count| *count < 20), "no kill came in the middle: {written:?}");
}
