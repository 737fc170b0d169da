//! A process that is killed while it saves.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use sonotune_annotate::{Options, Session};
use sonotune_base::stop::StopFlag;
use sonotune_coco::CocoFile;

use crate::support::{Folder, agent, mask, reply};

const PLACE: &str = "SONOTUNE_TEST_ANNOTATE_IN";
const KILLS: u64 = 8;

/// The process that is killed.
#[test]
#[ignore = "another test starts it"]
fn victim() {
    let images = std::env::var_os(PLACE).unwrap().into();
    let options = Options { images, categories: vec!["cyst".to_owned()], ..Options::default() };
    let session = Session::open(&options, None).unwrap();
    println!("\nurl {}", session.url());
    session.run(&StopFlag::default()).unwrap();
}

#[test]
fn a_kill_leaves_a_whole_file_with_the_last_change_that_was_acknowledged() {
    let folder = Folder::new(1);
    let mut total = 0;
    for kill in 0..KILLS {
        let (mut child, url) = start(Command::new(std::env::current_exe().unwrap()), &folder);
        let id = child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60 + 37 * kill));
            // As the system does it to a process that is out of memory.
            assert!(Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
        });
        let (saved, sent) = save_until_it_dies(&url);
        killer.join().unwrap();
        child.wait().unwrap();
        let file = CocoFile::read(&folder.at("annotations.json")).unwrap();
        let number = file.annotations.len() as u64;
        assert!(
            number == saved || number == sent,
            "{number} objects, {saved} acknowledged, {sent} sent"
        );
        total += saved;
    }
    assert!(total > KILLS, "hardly anything was saved: {total}");
}

/// Starts a session in a process of its own, by the command that runs this file's tests; its page.
pub(crate) fn start(mut command: Command, folder: &Folder) -> (Child, String) {
    let mut child = command
        .args(["killed::victim", "--exact", "--ignored", "--nocapture"])
        .env(PLACE, folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url =
        lines.map(Result::unwrap).find_map(|line| line.strip_prefix("url ").map(str::to_owned));
    (child, url.unwrap())
}

/// Number of objects last acknowledged, and last sent.
fn save_until_it_dies(url: &str) -> (u64, u64) {
    let (base, token) = url.split_once("/?token=").unwrap();
    let authorization = format!("Token {token}");
    let at = format!("{base}/api/images/1");
    let agent = agent();
    let Ok(answer) = agent.get(&at).header("Authorization", &authorization).call() else {
        panic!("killed too early")
    };
    let image = reply(Ok(answer)).1;
    let mut objects = image["objects"].as_array().unwrap().clone();
    let mut saved = objects.len() as u64;
    let mut revision = image["revision"].as_u64().unwrap();
    loop {
        let uid = format!("u{}", objects.len());
        objects.push(json!({ "uid": uid, "category_id": 1, "mask": mask([1, 1, 9, 9]) }));
        let body = json!({ "revision": revision, "status": "draft", "objects": objects });
        let request =
            agent.put(&at).header("Authorization", &authorization).header("X-Sonotune", "1");
        match request.send_json(&body) {
            Ok(answer) if answer.status() == 200 => {
                saved = objects.len() as u64;
                revision += 1;
            }
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => return (saved, objects.len() as u64),
        }
    }
}
