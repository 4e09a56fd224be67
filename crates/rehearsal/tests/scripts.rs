//! Scripts in YAML, the folder that a script asks for, and the program that serves it.
use rehearsal::{Script, Workspace};
use std::{fs, process::Command};

/// A script with these lines as its first turn, which begins in line 4.
fn turn(lines: &[&str]) -> String {
    let mut yaml = vec!["scenes:".to_string(), "  - when: x".into(), "    turns:".into()];
    yaml.extend(lines.iter().map(|line| format!("      {line}")));
    yaml.join("\n")
}

#[test]
fn bad_scripts_name_file_line_and_reason() {
    let scene = |turns: &str| format!("scenes:\n  - when: x\n    turns: {turns}");
    let file = |path: &str| format!("workspace:\n  files:\n    {path}: y\nscenes: []");
    let cases = [
        (scene("[{sya: hi}]"), 3, "unknown field `sya`"),
        ("scenes:\n  - when: '('\n    turns: [{}]".into(), 2, "regex parse error"),
        (
            turn(&["- say: hi", "  call:", "    - bash:", "        command: '{{ m[ }}'"]),
            7,
            "template: syntax error",
        ),
        (turn(&["- say: '{% if %}'"]), 4, "template: syntax error"),
        (scene("[]"), 2, "a scene needs at least one turn"),
        (scene("[{say: a}, {say: b}]"), 2, "turns[1] is never played"),
        (scene("[{say: a, repeat: 2}]"), 2, "turns[0] is never played"),
        (scene("[{repeat: 0, call: [a: {}]}]"), 3, "expected a nonzero u32"),
        (turn(&["- call: [{a: {}, b: {}}]"]), 4, "a call is a map with one key"),
        (turn(&["- call: [{a: text}]"]), 4, "a call is a map with one key"),
        (turn(&["- call: [{a b: {}}]"]), 4, "`a b` cannot be a tool's name"),
        (turn(&["- raw: [{a: b}]"]), 4, "a raw block is a map with a `type`"),
        (turn(&["- raw: [{type: tool_use}]"]), 4, "use `call`"),
        (turn(&["- stop: now"]), 4, "unknown variant `now`"),
        (
            turn(&["- faults:", "    - {status: 429, cut_after: 1}"]),
            5,
            "a fault has exactly one of",
        ),
        (
            turn(&["- faults:", "    - {retry_after: 1, split: 3}"]),
            5,
            "`retry_after` is allowed only beside `status`",
        ),
        (
            turn(&["- faults:", "    - {cut_after: 1, after: 3}"]),
            5,
            "`after` is allowed only beside `error_event`",
        ),
        (turn(&["- faults:", "    - {status: 200}"]), 5, "status 200 is not an error"),
        (
            turn(&["- faults:", "    - {status: 500, times: often}"]),
            5,
            "a number from 1 up, or `always`",
        ),
        (
            turn(&["- faults:", "    - {status: 500, headers: {'a b': c}}"]),
            5,
            "invalid HTTP header name",
        ),
        (file("../x"), 3, "a file's path must be relative"),
        (file("/etc/x"), 3, "a file's path must be relative"),
        (file("x/"), 3, "a file's path must be relative"),
        (file(".git/config"), 3, "a file's path must be relative"),
        ("workspace: there\nscenes: []".into(), 1, "`here`, or a map with `git` and `files`"),
        ("about: x".into(), 1, "missing field `scenes`"),
        ("scenes: [".into(), 2, "did not find expected"),
    ];
    for (yaml, line, reason) in cases {
        let error = Script::parse("play.yaml", &yaml).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("play.yaml:{line}: ")), "line {line}: {text}");
        assert!(text.contains(reason) && !text.contains(" at line "), "{reason}: {text}");
        assert_eq!(error.line(), Some(line));
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Script::load("no/such.yaml").unwrap_err();
    assert!(error.to_string().starts_with("no/such.yaml: ") && error.line().is_none(), "{error}");
}

#[test]
fn a_script_gives_what_is_written_in_it() {
    let script =
        Script::parse("s", "about: Pears.\nsuggest: [a, b]\nscenes: [{when: '^a', turns: [{}]}]")
            .unwrap();
    assert_eq!(
        (script.about(), script.suggest(), script.scenes().collect::<Vec<_>>()),
        (Some("Pears."), &["a".to_string(), "b".into()][..], vec!["^a"])
    );
}

#[test]
fn every_script_in_the_readme_is_valid() {
    let readme = include_str!("../README.md");
    let mut examples = 0;
    for example in readme.split("```yaml\n").skip(1) {
        let example = example.split("```").next().unwrap();
        let yaml = if example.contains("scenes:") {
            example.to_string()
        } else if example.starts_with("- ") {
            // Turns of a scene.
            format!(
                "scenes:\n- when: x\n  turns:\n{}",
                example.lines().map(|line| format!("  {line}\n")).collect::<String>()
            )
        } else {
            format!("{example}scenes: []\n")
        };
        Script::parse("README.md", &yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        examples += 1;
    }
    assert!(examples >= 5, "{examples}");
}

const FOLDER: &str = "
workspace:
  git: true
  files:
    .gitignore: \"*.log\\n\"
    notes/todo.txt: |
      one
      two
    noise.log: x
scenes: []
";

#[test]
fn a_folder_with_a_git_repository_is_the_same_every_time() {
    let workspace = Script::parse("s", FOLDER).unwrap().workspace().unwrap();
    let path = workspace.path().unwrap().to_path_buf();
    assert_eq!(fs::read_to_string(path.join("notes/todo.txt")).unwrap(), "one\ntwo\n");
    let repository = git2::Repository::open(&path).unwrap();
    let head = repository.head().unwrap();
    let commit = head.peel_to_commit().unwrap();
    assert_eq!((head.shorthand(), commit.parent_count()), (Ok("main"), 0));
    let author = commit.author();
    let identity = (author.name(), author.email(), author.when().seconds());
    assert_eq!(identity, (Ok("Rungs"), Ok("rungs@example.com"), 1_767_225_600));
    assert!(
        repository
            .statuses(Some(git2::StatusOptions::new().include_untracked(true)))
            .unwrap()
            .is_empty()
    );
    let tree = commit.tree().unwrap();
    let names: Vec<String> = tree.iter().map(|entry| entry.name().unwrap().to_string()).collect();
    assert_eq!(names, [".gitignore", "notes"]);
    // The id does not depend on the time, the machine or the person.
    let again = Script::parse("s", FOLDER).unwrap().workspace().unwrap();
    let second = git2::Repository::open(again.path().unwrap()).unwrap();
    assert_eq!(second.head().unwrap().target(), Some(commit.id()));
    drop(workspace);
    assert!(!path.exists());
}

#[test]
fn a_folder_is_removed_unless_it_is_kept() {
    let script = Script::parse("s", "workspace: {files: {a.txt: x}}\nscenes: []").unwrap();
    let path = script.workspace().unwrap().keep().unwrap();
    assert!(path.join("a.txt").exists() && !path.join(".git").exists());
    fs::remove_dir_all(&path).unwrap();
    let here = Script::parse("s", "scenes: []").unwrap().workspace().unwrap();
    assert!(matches!(here, Workspace::Here) && here.path().is_none() && here.keep().is_none());
    let clash = Script::parse("s", "workspace: {files: {a: x, a/b: y}}\nscenes: []").unwrap();
    assert!(clash.workspace().unwrap_err().to_string().contains("/a"));
}

fn program(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rehearsal")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_checks_scripts_and_reports_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("play.yaml");
    let name = file.to_str().unwrap();
    fs::write(&file, "scenes: [{when: a, turns: [{}]}]").unwrap();
    let printed = format!("{name}: a valid script with 1 scene\n");
    assert_eq!(program(&["--script", name, "--check"]), (0, printed, String::new()));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, errors) = program(&["--script", name, "--port", &port]);
    assert_eq!(code, 1);
    assert!(errors.starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{errors}");
    fs::write(&file, "scenes: 5").unwrap();
    let (code, printed, errors) = program(&["--script", name]);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(errors.starts_with(&format!("{name}:1: ")), "{errors}");
    let wrong = [
        (&["--scirpt", name][..], "invalid option '--scirpt'; --help says what there is\n"),
        (&["--check"], "--script is missing; --help says what there is\n"),
        (
            &["--script", name, "--port", "x"],
            "cannot parse argument \"x\": invalid digit found in string; --help says what there \
             is\n",
        ),
    ];
    for (arguments, expected) in wrong {
        assert_eq!(program(arguments), (2, String::new(), expected.into()));
    }
    let (code, printed, errors) = program(&["--help"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(printed.contains("--script FILE"), "{printed}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_program_with_130() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("play.yaml");
    fs::write(&file, "scenes: []").unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .arg("--script")
        .arg(&file)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let printed = format!("rehearsal of {} listening on http://127.0.0.1:", file.display());
    assert!(line.starts_with(&printed), "{line}");
    let killed = Command::new("kill").args(["-INT", &program.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(program.wait().unwrap().code(), Some(130));
}
