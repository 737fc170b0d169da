use std::{fs, time::Instant};

use super::*;

fn run(script: &str, patience: Duration) -> Result<Vec<String>> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let mut process = Process::start(command, patience, |pipe| {
        let mut line = String::new();
        Ok((pipe.read_line(&mut line)? > 0).then_some(line))
    })?;
    let mut lines = Vec::new();
    while let Some(line) = process.next()? {
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(unix)]
#[test]
fn a_process_that_fails_says_why_and_one_that_hangs_is_stopped() {
    let second = Duration::from_secs(1);
    assert_eq!(run("echo a; echo b", second * 20).unwrap(), ["a\n", "b\n"]);
    let error = run("echo a; echo first >&2; echo second >&2; exit 3", second * 20).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("first; second") && error.contains('3'), "{error}");
    let error = run("exit 1", second * 20).unwrap_err().to_string();
    assert!(error.contains("said nothing"), "{error}");
    let began = Instant::now();
    let error = run("echo a; sleep 60", second / 4).unwrap_err().to_string();
    assert!(error.contains("no progress in 0.25 s"), "{error}");
    // A process that closes its output but does not end.
    let error = run("exec >&-; sleep 60", second / 4).unwrap_err().to_string();
    assert!(error.contains("does not end"), "{error}");
    assert!(began.elapsed() < second * 20);
}

/// More error output than a pipe holds does not block the process, and little of it is kept.
#[cfg(unix)]
#[test]
fn error_output_is_bounded() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo a line of about forty bytes, as they are >&2; \
                  i=$((i+1)); done; exit 1";
    let error = run(script, Duration::from_secs(60)).unwrap_err().to_string();
    assert!(error.len() > 1000 && error.len() < 2500, "{}", error.len());
}

#[test]
fn versions_decide_the_option() {
    for (version, option) in [
        ("n9.0.2-17-g2a571b6068", "-fps_mode"),
        ("5.1", "-fps_mode"),
        ("5.0.1-3ubuntu1", "-vsync"),
        ("4.4.2-0ubuntu0.22.04.1", "-vsync"),
        ("N-109474-gabcdef", "-fps_mode"),
        ("2021-11-18-git-85a6b7f7b7", "-fps_mode"),
    ] {
        let ffmpeg = Ffmpeg {
            program: PathBuf::from("ffmpeg"),
            version: version.to_owned(),
            patience: PATIENCE,
        };
        assert_eq!(ffmpeg.passthrough(), [option, "passthrough"], "{version}");
    }
}

#[test]
fn what_is_not_ffmpeg_is_an_error() {
    let error = format!("{:#}", Ffmpeg::at(Path::new("/nowhere/ffmpeg")).unwrap_err());
    assert!(error.contains("/nowhere/ffmpeg cannot be started"), "{error}");
    if cfg!(unix) {
        let error = format!("{:#}", Ffmpeg::at(Path::new("/bin/echo")).unwrap_err());
        assert!(error.contains("does not answer"), "{error}");
    }
}

/// Streams without frames, damaged ones and playlists that name other files, through the real program.
#[test]
fn what_ffmpeg_refuses_is_quoted() {
    let Some(ffmpeg) = Ffmpeg::find().unwrap() else {
        eprintln!("skipped: there is no ffmpeg (set SONOTUNE_FFMPEG)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(crate::fixture("clips/mpeg_4.avi")).unwrap();
    let mut damaged = good.clone();
    let middle = damaged.len() - 700;
    damaged[middle..middle + 300].fill(0xff);
    let playlist =
        format!("#EXTM3U\n#EXTINF:1,\n{}\n", crate::fixture("clips/mpeg_2.mpg").display());
    for (name, bytes) in [
        ("cut.avi", &good[..900]),
        ("damaged.avi", &damaged),
        ("list.avi", playlist.as_bytes()),
        ("concat:a.avi", b"ffconcat version 1.0\nfile mpeg_2.mpg\n"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = ffmpeg.count(&path).unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains("said nothing"), "{name}: {error}");
    }
    // The same name is fine for a file that is a video.
    let path = folder.path().join("concat:b.avi");
    fs::write(&path, &good).unwrap();
    assert_eq!(ffmpeg.count(&path).unwrap(), 3);
}
