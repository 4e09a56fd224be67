//! Writers that are killed at any moment.
use rungs_files::{Root, Stamp, glob};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// Names the folder for the process that is to be killed.
const FOLDER: &str = "RUNGS_FILES_WRITE_IN";
const ROUNDS: u64 = 10;

/// Replaces a file with larger and larger ones for ever, each of one letter.
fn write_for_ever(folder: &Path) {
    let root = Root::open(folder).unwrap();
    let mut old = root.open_file("f").ok().map(|file| Stamp::of(file).unwrap());
    for letter in (b'a'..=b'z').cycle() {
        let content = vec![letter; 1_000_000 * usize::from(letter - b'a' + 1)];
        old = Some(root.write("f", &content, old.as_ref()).unwrap());
    }
}

#[test]
fn a_killed_writer_leaves_a_whole_file_and_what_else_it_left_is_removed() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return write_for_ever(folder.as_ref());
    }
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let rounds = if std::env::var("LONG").is_ok() { 100 * ROUNDS } else { ROUNDS };
    let mut left = 0;
    for round in 0..rounds {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !dir.path().join("f").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(10 + 7 * (round % 10)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let content = fs::read(dir.path().join("f")).unwrap();
        assert!(content.iter().all(|byte| *byte == content[0]), "round {round}");
        assert_eq!(glob(&root, None, "*", &|| false).unwrap(), "f\n");
        left += fs::read_dir(dir.path()).unwrap().count() - 1;
        root.write(&format!("new/{round}"), b"x", None).unwrap();
        fs::remove_dir_all(dir.path().join("new")).unwrap();
    }
    println!("{rounds} writers were killed, {left} temporary files were left at those moments");
    root.write("last", b"x", None).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["f", "last"]);
}
