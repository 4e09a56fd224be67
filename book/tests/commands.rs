//! Every command that the book shows runs.
use super::{assert_none, below, blocks, pages, programs, repository};
use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

/// A reader waits no longer either.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Stands for cargo: what is built runs at once, without a look at every source file.
const CARGO: &str = r#"#!/usr/bin/env bash
case "$1 $2" in
  "run --example") program=$BUILT/examples/$3; shift 3 ;;
  "run -p") program=$BUILT/$3; shift 3 ;;
  # These are run by whoever runs all tests, such as this one.
  test\ *) exit 0 ;;
  *) cd "$REPOSITORY"; exec "$CARGO" "$@" ;;
esac
[ "${1:-}" != -- ] || shift
exec "$program" "$@"
"#;

/// Runs a block as a person would type it: in a folder that has what the repository has, so that
/// whatever it writes there stays there. Standard input is closed, and there are no keys.
fn fault(script: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(repository()).unwrap() {
        let entry = entry.unwrap();
        if ![".git", ".env", "target"].contains(&entry.file_name().to_str().unwrap()) {
            symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let tools = tempfile::tempdir().unwrap();
    let cargo = tools.path().join("cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = tools.path().as_os_str().to_owned();
    path.push(":");
    path.push(env::var_os("PATH").unwrap());
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut bash = programs::program(Path::new("bash"), folder.path());
    bash.args(["-euo", "pipefail", "-c", script]).env("PATH", path).stdin(Stdio::null());
    bash.env_remove("TMPDIR")
        .env("BUILT", &*programs::BUILT)
        .env("REPOSITORY", repository())
        .env("CARGO", env!("CARGO"));
    bash.env("CARGO_TARGET_DIR", programs::BUILT.parent().unwrap());
    bash.stdout(said.reopen().unwrap()).stderr(said.reopen().unwrap());
    let _beside = programs::RUNNING.read().unwrap();
    let mut child = bash.spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > MAX_TIME {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    };
    let said = fs::read_to_string(said.path()).unwrap_or_default();
    (!status.success()).then(|| format!("{status}:\n{said}"))
}

/// Why a command of cargo runs no test, if it does.
fn runs_no_test(command: &str) -> Option<String> {
    let mut words = command.split_whitespace().skip(2).take_while(|word| *word != "--");
    let (mut package, mut filter) = ("", "");
    while let Some(word) = words.next() {
        match word {
            "-p" => package = words.next().unwrap_or_default(),
            "--lib" | "-q" => {}
            "--test" => _ = words.next(),
            word => filter = word,
        }
    }
    let name = package.strip_prefix("rungs-").unwrap_or(package);
    let folders = [repository().join("crates").join(name), repository().join(name)];
    let folder = match package {
        "" => repository().join("examples"),
        _ => folders.into_iter().find(|folder| folder.is_dir()).unwrap_or_default(),
    };
    let last = filter.rsplit("::").next().unwrap_or_default();
    let is_in = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let named = file.file_stem().is_some_and(|stem| stem.to_str().unwrap().contains(last));
        named || text.lines().any(|line| line.contains(" fn ") && line.contains(last))
    };
    let found = folder.is_dir() && below(&folder, ".rs").iter().any(is_in);
    (!found).then(|| format!("no test of {} has {last} in its name", folder.display()))
}

#[test]
fn every_command_runs() {
    let mut scripts: BTreeMap<String, String> = BTreeMap::new();
    for (page, text) in pages() {
        for (line, script) in blocks(&text, "sh") {
            scripts.entry(script).or_insert(format!("{page}:{line}"));
        }
    }
    assert!(!scripts.is_empty());
    let wrong = programs::for_all(scripts.into_iter().collect(), |(script, place)| {
        let tests = script.lines().filter(|line| line.starts_with("cargo test"));
        let fault = tests.filter_map(runs_no_test).next().or_else(|| fault(&script))?;
        Some(format!("{place}: {fault}\n{script}"))
    });
    assert_none(&wrong);
}

#[test]
fn a_command_that_fails_is_found() {
    assert_eq!(fault("test -d examples\nls Cargo.toml > x\ntest ! -e target"), None);
    assert!(
        fault("cargo run --example s01_loop -- --no-such-option")
            .unwrap()
            .contains("exit status: 2")
    );
    assert!(fault("false | true").is_some());
    assert_eq!(runs_no_test("cargo test --lib s01_loop::tests::a_call_that_fails"), None);
    assert!(runs_no_test("cargo test --lib s01_loop::tests::a_call_that_fell").is_some());
    assert!(runs_no_test("cargo test -p rungs-tasks --test claims -- --nocapture").is_none());
    assert!(!repository().join("x").exists());
}
