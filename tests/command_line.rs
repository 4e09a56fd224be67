//! The command line that all lessons share, mostly tried on the first lesson: wrong input, pipes
//! and signals.
mod common;

use rehearsal::{Scene, Server, Turn, call, say, scene, script};
use rungs_process::testing::{gone, marker, until};
use rungs_redis::testing::PrivateServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Seek, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tokio::runtime::Runtime;

/// How long the processes that a program has killed may take to go after its end.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// The key in the environment, which must appear nowhere.
const KEY: &str = "sk-very-secret";

/// The exit code of each signal.
const SIGNALS: [(Signal, i32); 6] = [
    (Signal::INT, 130),
    (Signal::TERM, 143),
    (Signal::HUP, 129),
    (Signal::QUIT, 131),
    (Signal::ALARM, 142),
    (Signal::USR1, 138),
];

/// The first lesson before its own rehearsal.
fn offline(args: &[&str]) -> Command {
    let mut command = common::lesson("s01_loop");
    command.args(args).env("RUNGS_PROVIDER", "offline");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A lesson in a folder of its own, before a server that plays a test's scenes.
struct Play {
    server: Server,
    folder: tempfile::TempDir,
    runtime: Runtime,
}

/// One scene, whatever is asked.
fn play(turns: impl IntoIterator<Item = Turn>) -> Play {
    play_scenes([scene(".", turns)])
}

fn play_scenes(scenes: impl IntoIterator<Item = Scene>) -> Play {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(script(scenes).record(true).serve()).unwrap();
    Play { server, folder: tempfile::tempdir().unwrap(), runtime }
}

impl Play {
    fn lesson(&self, args: &[&str]) -> Command {
        self.other_lesson("s01_loop", args)
    }

    fn other_lesson(&self, lesson: &str, args: &[&str]) -> Command {
        let mut command = live(lesson, self.server.url(), self.folder.path());
        command.args(args);
        command
    }

    /// What the server was asked, newest message by newest message: the last text of each.
    fn asked(&self) -> Vec<Value> {
        let last = |value: &Value| value.as_array().unwrap().last().unwrap().clone();
        let newest = |body: &Value| last(&last(&body["messages"])["content"])["text"].clone();
        self.server.requests().iter().map(|seen| newest(&seen.body)).collect()
    }
}

/// A lesson as with a real model.
fn live(lesson: &str, url: &str, folder: &Path) -> Command {
    let mut command = common::lesson(lesson);
    command.current_dir(folder).env("RUNGS_PROVIDER", "anthropic").env("ANTHROPIC_BASE_URL", url);
    command.env("ANTHROPIC_API_KEY", KEY).env("MODEL_ID", "claude-sonnet-5-5");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stdio(mut command: Command) -> Command {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that exits early closes the pipe; that is for the assertions to judge.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn wrong_use_exits_with_2_and_says_why() {
    for (args, expected) in [
        (
            &["--frobnicate"][..],
            "error: invalid option '--frobnicate'; --help says what there is\n",
        ),
        (&["  "], "error: the prompt is empty; "),
    ] {
        let done = offline(args).output().unwrap();
        assert_eq!((done.status.code(), stdout(&done)), (Some(2), String::new()));
        assert!(stderr(&done).starts_with(expected), "{}", stderr(&done));
    }
}

#[test]
fn standard_input_without_a_prompt_is_wrong_use() {
    let play = play([say("hello")]);
    for input in [&b""[..], b"\n  \n\t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"] {
        let done = with_input(play.lesson(&[]), input);
        assert_eq!((done.status.code(), stdout(&done)), (Some(2), String::new()));
        let expected = "error: standard input is empty; a prompt is a line of it";
        assert_eq!(stderr(&done).lines().last(), Some(expected), "{input:?}");
    }
    assert_eq!(play.server.request_count(), 0);
    let begun = with_input(play.lesson(&[]), b"\xef\xbb\xbfgo\n");
    assert_eq!((begun.status.code(), stdout(&begun)), (Some(0), "hello\n".into()));
    assert_eq!(play.asked(), ["go"]);
}

#[test]
fn standard_input_that_cannot_be_read_is_wrong_use() {
    let play = play([say("hello")]);
    for (input, why) in [
        ("/", "Is a directory (os error 21)"),
        ("/dev/zero", "line 1 has more than 67108864 bytes"),
    ] {
        let mut command = play.lesson(&[]);
        let done = command.stdin(std::fs::File::open(input).unwrap()).output().unwrap();
        assert_eq!((done.status.code(), stdout(&done)), (Some(2), String::new()));
        let expected = format!("error: standard input: {why}");
        assert_eq!(stderr(&done).lines().last(), Some(&*expected));
    }
    let done = with_input(play.lesson(&[]), b"one\ncaf\xe9\nthree\n");
    assert_eq!((done.status.code(), stdout(&done)), (Some(2), "hello\n".into()));
    let expected = "error: standard input: line 2 is not UTF-8 from byte 4 on";
    assert_eq!(stderr(&done).lines().last(), Some(expected));
    assert_eq!(play.asked(), ["one"]);
}

/// What stands in place of a file where a program looks for one.
fn no_files(folder: &Path) -> Vec<(std::path::PathBuf, &'static str)> {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let at = |name: &str| folder.join(name);
    mkfifoat(CWD, at("fifo"), Mode::RWXU).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::fs::File::create(at("sparse")).unwrap().set_len(3 << 30).unwrap();
    std::fs::write(at("latin-1"), b"# a\nKEY=caf\xe9\n").unwrap();
    let no_file = ": this is a pipe, a socket or a device, and a file is needed";
    vec![
        (at("fifo"), no_file),
        (at("socket"), no_file),
        ("/dev/zero".into(), no_file),
        ("/dev/full".into(), no_file),
        (folder.into(), ": this is a folder, and a file is needed"),
        (at("sparse"), ": it is larger than 1000000 bytes, the most that is read"),
        (at("latin-1"), ":2: it is not UTF-8 from byte 8 of this line on; save it as UTF-8"),
    ]
}

#[test]
fn what_is_no_file_in_place_of_the_settings_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (file, why) in no_files(folder.path()) {
        let done = offline(&["hello"]).env("RUNGS_ENV", &file).output().unwrap();
        assert_eq!((done.status.code(), stdout(&done)), (Some(2), String::new()));
        assert_eq!(stderr(&done), format!("error: {}{why}\n", file.display()));
    }
}

#[test]
fn rules_of_a_folder_that_cannot_be_read_are_wrong_use_and_nothing_is_asked() {
    let play = play([say("hello")]);
    let settings = play.folder.path().join(".claude/settings.json");
    std::fs::create_dir(settings.parent().unwrap()).unwrap();
    std::fs::write(&settings, "{\"permissions\": {\n\"deny\": [\"Bash(sudo\"]}}").unwrap();
    for args in [&["hello"][..], &["check"], &["explain", "ls"]] {
        let done = play.other_lesson("s15_permissions", args).output().unwrap();
        assert_eq!((done.status.code(), stdout(&done)), (Some(2), String::new()));
        let expected = format!("error: {}:2: ", settings.display());
        assert!(stderr(&done).lines().last().unwrap().starts_with(&expected), "{}", stderr(&done));
    }
    assert_eq!(play.server.request_count(), 0);
    std::fs::remove_file(&settings).unwrap();
    for args in [&["explain"][..], &["explain", "ls", "pwd"], &["check", "x"], &["--mode", "x"]] {
        let done = play.other_lesson("s15_permissions", args).output().unwrap();
        assert_eq!((done.status.code(), stdout(&done)), (Some(2), String::new()));
    }
}

#[test]
fn calls_are_judged_without_being_made() {
    let play = play([say("hello")]);
    let lines = [
        r#"{"tool": "bash", "input": {"command": "ls; pwd"}}"#,
        r#"{"tool": "bash", "input": {"command": "touch made"}}"#,
        r#"{"tool": "bash", "input": {"command": "echo $(sudo id)"}, "mode": "bypass"}"#,
        "no JSON",
        r#"{"tool": "edit", "input": {"file_path": "f", "old_string": "", "new_string": "x"},
            "mode": "acceptEdits"}"#,
        r#"{"tool": "bash", "input": {"command": "ls"}, "mode": "none"}"#,
        r#"{"tool": "bash", "input": {}, "cwd": "/tmp"}"#,
    ];
    let input = lines.map(|line| line.replace("\n            ", "")).join("\n");
    let done = with_input(play.other_lesson("s15_permissions", &["check"]), input.as_bytes());
    let judged: Vec<Value> =
        stdout(&done).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decisions: Vec<&str> =
        judged.iter().map(|line| line["decision"].as_str().unwrap_or("error")).collect();
    assert_eq!(decisions, ["allow", "ask", "deny", "error", "allow", "error", "ask"]);
    assert_eq!(judged[2]["rule"]["text"], "Bash(sudo:*)");
    assert!(judged[3]["error"].as_str().unwrap().starts_with("line 4: "), "{}", judged[3]);
    assert_eq!(done.status.code(), Some(1));
    assert!(std::fs::read_dir(play.folder.path()).unwrap().next().is_none());

    let explained = play.other_lesson("s15_permissions", &["explain", "ls | sudo id"]).output();
    let explained = explained.unwrap();
    let drawn = stdout(&explained);
    let tree: Vec<&str> = drawn.lines().map(|line| line.split("  ").next().unwrap()).collect();
    let expected = ["deny: it would run as another user", "└─ deny pipeline ls | sudo id"];
    assert_eq!((explained.status.code(), &tree[..2]), (Some(0), &expected[..]), "{drawn}");
    assert!(drawn.contains("deny command sudo id  Bash(sudo:*): "), "{drawn}");
    let explained = play.other_lesson("s15_permissions", &["explain", "ls | sh"]).output().unwrap();
    let drawn = stdout(&explained);
    let reason = "deny command sh  built in: a shell runs what a pipe brings it\n";
    assert!(drawn.ends_with(reason), "{drawn}");
}

#[test]
fn settings_that_do_not_exist_are_reported() {
    let done = offline(&["What is in this folder?"]).env("RUNGS_ENV", "/none").output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert!(stderr(&done).starts_with("RUNGS_ENV: there is no /none\n"), "{}", stderr(&done));
}

#[test]
fn in_one_file_what_is_said_of_a_cut_stands_in_a_line_of_its_own() {
    let whole = say("one two three four");
    let play = play_scenes([
        scene("^go$", [whole.fault(json!({"cut_after": 4}))]),
        scene("broke off", [say("five")]),
    ]);
    let mut file = tempfile::tempfile().unwrap();
    let mut command = play.other_lesson("s13_streaming", &["go"]);
    command.stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap());
    assert!(command.status().unwrap().success());
    let mut shown = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut shown).unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    let notice = lines.iter().position(|line| line.contains("the stream was cut")).unwrap();
    assert!(lines[notice].starts_with("127.0.0.1:"), "{shown}");
    assert_eq!((lines[notice - 1], lines[notice + 1]), ("one two ", "five"), "{shown}");
}

#[test]
fn the_team_of_a_rehearsal_leaves_nothing_on_the_server() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let temporary = tempfile::tempdir().unwrap();
    let rehearse = |arguments: &[&str]| -> Vec<String> {
        let mut lesson = common::lesson("s22_production_mailbox");
        lesson.args(arguments).env("RUNGS_PROVIDER", "offline").env("REDIS_URL", server.url());
        lesson.env("TMPDIR", temporary.path());
        let done = with_input(stdio(lesson), b"");
        assert!(stderr(&done).contains("mail and tasks: team "), "{}", stderr(&done));
        server.command(&["KEYS", "*"])
    };
    let _: u64 = server.command(&["LPUSH", "rungs:{other}:mail:ann", "a letter"]);
    assert_eq!(rehearse(&[]), ["rungs:{other}:mail:ann"]);
    assert!(rehearse(&["--keep"]).len() > 1);
}

#[test]
fn a_missing_setting_is_named() {
    let mut command = offline(&["hello"]);
    let done = command.env("RUNGS_PROVIDER", "openai").env("OPENAI_API_KEY", "k").output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(stderr(&done).starts_with("error: MODEL_ID: name the model"), "{}", stderr(&done));
}

#[test]
fn a_refusal_is_one_line_and_exit_code_1() {
    for (fault, expected) in [
        (
            json!({"status": 404, "message": "model: nope"}),
            "answered 404 (not_found_error): model: nope",
        ),
        (
            json!({"status": 401, "message": "invalid x-api-key"}),
            "answered 401 (authentication_error): invalid x-api-key",
        ),
        (
            json!({"status": 429, "headers": {"retry-after-ms": "1"}, "times": "always"}),
            "answered 429 (rate_limit_error)",
        ),
        (
            json!({"status": 502, "html": true, "headers": {"retry-after-ms": "1"},
                "times": "always"}),
            "HTML where JSON was expected",
        ),
    ] {
        let play = play([say("hello").fault(fault)]);
        let done = play.lesson(&["hello"]).output().unwrap();
        let err = stderr(&done);
        assert_eq!((done.status.code(), stdout(&done)), (Some(1), String::new()), "{err}");
        let errors: Vec<&str> = err.lines().filter(|line| line.starts_with("error: ")).collect();
        let [error] = errors[..] else { panic!("{err}") };
        assert_eq!(err.lines().last(), Some(error));
        assert!(error.starts_with("error: 127.0.0.1:"), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!err.contains(KEY), "{err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = live("s01_loop", "http://127.0.0.1:1", folder.path());
    let done = command.arg("hello").output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let expected = "error: 127.0.0.1:1: no connection: ";
    assert!(stderr(&done).contains(expected), "{}", stderr(&done));
}

#[test]
fn only_the_answer_is_on_standard_output() {
    let look = call("bash", json!({"command": "echo 7"})).say("I'll look.");
    let play = play([look, say("It is {{ results[0].text }}")]);
    let done = play.lesson(&["how", "many?"]).output().unwrap();
    assert_eq!((done.status.code(), stdout(&done)), (Some(0), "It is 7\n".into()));
    assert!(stderr(&done).contains("\nI'll look.\n> $ echo 7\n"), "{}", stderr(&done));
    assert_eq!(play.asked()[0], "how many?");
    let done = with_input(play.lesson(&[]), b"one\ntwo\n");
    assert_eq!((done.status.code(), stdout(&done)), (Some(0), "It is 7\nIt is 7\n".into()));
}

#[test]
fn what_a_lesson_reports_while_it_is_built_is_shown() {
    let play = play([say("hello")]);
    let skill = play.folder.path().join("skills/broken");
    std::fs::create_dir_all(&skill).unwrap();
    std::fs::write(skill.join("SKILL.md"), "no front matter").unwrap();
    let done = play.other_lesson("s05_skill_loading", &["hello"]).output().unwrap();
    assert_eq!((done.status.code(), stdout(&done)), (Some(0), "hello\n".into()));
    assert!(stderr(&done).contains("skills/broken/SKILL.md:1: "), "{}", stderr(&done));
}

#[test]
fn a_prompt_that_the_model_declined_is_not_sent_again() {
    let play = play([say("no").stop("refusal")]);
    let done = with_input(play.lesson(&[]), b"bad words\nother words\n");
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    assert_eq!(play.asked(), ["bad words", "other words"]);
    let second = play.server.requests()[1].body["messages"].to_string();
    assert!(!second.contains("bad words"), "{second}");
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let done = offline(&["What is in this folder?"]).stdout(full).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let err = stderr(&done);
    assert!(err.contains("error: standard output: No space left"), "{err}");
}

#[test]
fn progress_that_nobody_reads_is_no_failure() {
    let mut child = offline(&["What is in this folder?"]).spawn().unwrap();
    drop(child.stderr.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert!(stdout(&done).contains("There are 4 files"), "{}", stdout(&done));
}

#[test]
fn a_question_of_the_command_line_is_never_a_command() {
    let play = play([say("you said {{ text }}")]);
    let done = play.lesson(&[":help", "quit"]).output().unwrap();
    assert_eq!(stdout(&done), "you said :help quit\n");
}

#[test]
fn each_line_of_a_pipe_is_a_prompt_and_a_failed_one_is_withdrawn() {
    let play = play([say("you said {{ text }}").fault(json!({"status": 400}))]);
    // The first attempt at each request fails, and its prompt is withdrawn; the second `one` is the
    // second attempt at the same request.
    let done = with_input(play.lesson(&[]), b"one\n\none\n:nope\nquit\nnever\n");
    assert_eq!((done.status.code(), stdout(&done)), (Some(1), "you said one\n".into()));
    let err = stderr(&done);
    for expected in ["the conversation goes on without that prompt", "there is no `:nope`"] {
        assert_eq!(err.matches(expected).count(), 1, "{err}");
    }
    assert_eq!(play.asked(), ["one", "one"]);
}

#[test]
fn with_sandbox_a_live_model_works_in_a_folder_of_the_rehearsal() {
    let play = play([call("bash", json!({"command": "ls"})), say("{{ results[0].text }}")]);
    let done = play.lesson(&["--sandbox", "go"]).output().unwrap();
    assert_eq!(stdout(&done), "README.md\ncheck.sh\nprices.txt\ntill.sh\n");
    assert_eq!(std::fs::read_dir(play.folder.path()).unwrap().count(), 0);
}

#[test]
fn the_conversation_and_the_last_request_can_be_looked_at() {
    let play = play([call("bash", json!({"command": "echo hello"})), say("done")]);
    let input = b":request\ngo\n:messages\n:messages 2\n:messages 9\n:request\n";
    let shown = stderr(&with_input(play.lesson(&[]), input));
    let after = |line: &str| shown.split(&format!("s01 >> {line}\n")).last().unwrap().to_string();
    assert!(shown.contains("nothing has been sent yet"), "{shown}");
    let list = after(":messages");
    for line in
        ["[inserted text: environment]", "[text] go", "[tool_use bash]", "[tool_result] hello"]
    {
        assert!(list.contains(line), "{line} is not in {list}");
    }
    assert!(after(":messages 2").starts_with("{\n  \"role\": \"user\""), "{shown}");
    assert!(after(":messages 9").contains("there is no message 9; the last is 3"), "{shown}");
    let request: Value = serde_json::from_str(&after(":request")).unwrap();
    assert_eq!(Some(&request), play.server.requests().last().map(|sent| &sent.body));
}

#[test]
fn a_prompt_of_ten_megabytes_arrives() {
    let play = play([say("that was long")]);
    let done = with_input(play.lesson(&[]), &[b'x'; 10_000_000]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(0), "that was long\n".into()));
    assert_eq!(play.asked()[0].as_str().map(str::len), Some(10_000_000));
    assert!(done.stderr.len() < 2000);
}

#[test]
fn a_prompt_that_is_too_long_for_the_server_is_withdrawn() {
    let play = play([say("hello {{ text }}")]);
    let mut input = vec![b'x'; 40_000_000];
    input.extend(b"\nshort\n");
    let done = with_input(play.lesson(&[]), &input);
    assert_eq!(
        (done.status.code(), stdout(&done)),
        (Some(1), "hello short\n".into()),
        "{}",
        stderr(&done)
    );
    assert!(stderr(&done).contains("answered 413"), "{}", stderr(&done));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = offline(&[]).spawn().unwrap();
    let mut first = String::new();
    // The reader goes after one line.
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(
        (done.status.code(), &*first),
        (Some(0), "There are 4 files here, and 1 commit in git.\n")
    );
    for unwanted in ["panicked", "roken pipe"] {
        assert!(!stderr(&done).contains(unwanted), "{}", stderr(&done));
    }
}

#[test]
fn control_characters_are_escaped() {
    let red = json!({"command": r"printf '\033[31mred'"});
    let said = "a\u{1b}[2Jb\u{202e}c";
    let play = play([call("bash", red).say(said), say(said)]);
    let done = play.lesson(&["go"]).output().unwrap();
    for shown in [stdout(&done), stderr(&done)] {
        assert!(shown.contains("a\\u{1b}[2Jb\\u{202e}c"), "{shown}");
    }
    let shown = stdout(&done) + &stderr(&done);
    assert!(shown.contains("red"), "{shown}");
    for dangerous in ['\u{1b}', '\u{202e}'] {
        assert!(!shown.contains(dangerous), "{shown:?}");
    }
}

#[test]
fn help_needs_no_key_and_no_server() {
    let done = offline(&["--help"]).env("RUNGS_PROVIDER", "nonsense").output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    for part in ["# s01: ", "Try, and predict first:", ":commands", "--keep"] {
        assert!(stdout(&done).contains(part), "{part}: {}", stdout(&done));
    }
}

/// What a rehearsal of one question says, and the folder that it says it plays in.
fn rehearsed(args: &[&str]) -> (String, String) {
    let err = stderr(&offline(args).output().unwrap());
    let folder = err.lines().next().unwrap().rsplit(" in ").next().unwrap().to_string();
    assert!(Path::new(&folder).is_absolute(), "{err}");
    (err, folder)
}

#[test]
fn whoever_types_a_command_alone_is_played_nothing() {
    let done = with_input(offline(&[]), b":help\n");
    assert_eq!((done.status.code(), stdout(&done).as_str()), (Some(0), ""));
}

#[test]
fn the_folder_of_a_rehearsal_is_deleted() {
    let (_, folder) = rehearsed(&["What is in this folder?"]);
    assert!(!Path::new(&folder).exists(), "{folder}");
}

#[test]
fn keep_keeps_the_folder_of_a_rehearsal() {
    let (err, folder) = rehearsed(&["--keep", "What is in this folder?"]);
    assert!(Path::new(&folder).join("till.sh").exists(), "{err}");
    assert!(err.ends_with(&format!("kept: {folder}\n")), "{err}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_a_lesson_keeps_on_disk_is_there_after_a_restart_in_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = |input: &[u8]| {
        let mut lesson = common::lesson("s07_task_system");
        lesson.env("RUNGS_PROVIDER", "offline").arg("--folder").arg(folder.path());
        with_input(stdio(lesson), input)
    };
    let planned = run(b"Plan the release on the board.\n");
    assert_eq!(planned.status.code(), Some(0), "{}", stderr(&planned));
    let again = stderr(&run(b":tasks\n"));
    assert!(again.contains("\n#1 [pending] Run the tests, priority 5\n#2 "), "{again}");
}

#[test]
fn a_folder_that_cannot_be_used_is_wrong_use() {
    for (args, why) in [
        (&["--folder", "/none"][..], "--folder: /none: No such file or directory (os error 2)"),
        (&["--folder", "/dev/null"], "--folder: /dev/null: it is no folder"),
        (&["--folder"], "missing argument for option '--folder'; --help says what there is"),
        (
            &["--sandbox", "--folder", "/"],
            "--sandbox makes a folder, --folder names one; give one of them; --help says what \
             there is",
        ),
    ] {
        let done = offline(args).output().unwrap();
        assert_eq!((done.status.code(), stderr(&done)), (Some(2), format!("error: {why}\n")));
    }
}

/// Ends a program with each signal once it is `ready`: the exit code is right, and nothing that it
/// has started is left.
fn ends_by_each_signal(
    turn: &Turn,
    start: impl Fn(Command) -> Child,
    ready: impl Fn(&Play) -> bool,
) {
    for (signal, code) in SIGNALS {
        let play = play([turn.clone()]);
        let marker = marker();
        let mut command = play.lesson(&[]);
        // Whatever the program starts inherits this.
        command.env("RUNGS_TEST_MARKER", &marker);
        let temporary = tempfile::tempdir().unwrap();
        command.env("TMPDIR", temporary.path());
        let mut child = start(command);
        assert!(play.runtime.block_on(until(|| ready(&play))), "it was never ready");
        assert_eq!(child.try_wait().unwrap(), None);
        // The wait would close it, and the end of the input race with the signal.
        let _input = child.stdin.take();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let gone = async { tokio::time::timeout(GONE_WITHIN, gone(&marker)).await };
        assert_eq!(play.runtime.block_on(gone), Ok(true), "{signal:?} leaves processes behind");
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(!err.contains("panicked"), "{err}");
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "{signal:?}");
    }
}

fn with_a_question(mut command: Command) -> Child {
    command.arg("go").spawn().unwrap()
}

#[test]
fn a_signal_ends_a_program_that_waits_for_the_model() {
    let slow = say("hello").delay_ms(600_000);
    ends_by_each_signal(&slow, with_a_question, |play| play.server.request_count() == 1);
}

#[test]
fn a_signal_ends_a_program_that_waits_before_a_retry() {
    let fault = json!({"status": 529, "retry_after": 60, "times": "always"});
    let answered = |play: &Play| play.server.requests().iter().any(|seen| seen.answered.is_some());
    ends_by_each_signal(&say("hello").fault(fault), with_a_question, answered);
}

#[test]
fn a_signal_ends_a_command_and_all_that_it_has_started() {
    let command = "seq 100000; sleep 86400 & setsid sleep 86400 & touch started; sleep 86400";
    let turn = call("bash", json!({ "command": command }));
    ends_by_each_signal(&turn, with_a_question, |play| play.folder.path().join("started").exists());
}

#[test]
fn a_signal_ends_a_program_that_waits_for_input() {
    let at_the_prompt = |mut command: Command| {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // The pipe stays open.
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut answer = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        child
    };
    ends_by_each_signal(&say("hello"), at_the_prompt, |_| true);
}

/// What one command prints in a program that was started with the key and these variables, and what
/// the program says.
fn printed(command: &str, variables: &[(&str, &str)]) -> (String, String) {
    let play = play([call("bash", json!({ "command": command })), say("{{ results[0].text }}")]);
    let mut lesson = play.lesson(&["go"]);
    lesson.envs(variables.iter().copied());
    let done = lesson.output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let first = play.server.requests()[0].body["messages"][0].to_string();
    (stdout(&done), first + &stderr(&done))
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_cannot_read_the_key_from_the_environment_of_the_program() {
    let command = "env; ls /proc/self/fd | wc -l; cat /proc/$PPID/environ /proc/$PPID/cmdline";
    let url = "postgres://me:pg-secret@db/x";
    let (out, said) = printed(&format!("({command}; ps e) 2>&1 | tr -d '\\0'"), &[("MINE", url)]);
    assert!(out.contains("RUNGS_ENV="), "{out}");
    assert!(!out.contains(KEY) && !out.contains("pg-secret"), "{out}");
    assert!(!said.contains(KEY) && !said.contains("pg-secret"), "{said}");
    // Not even another of the same user's processes can open its memory; root can.
    let (out, _) = printed("stat -c %u /proc/$PPID/mem; id -u", &[]);
    assert_eq!(out.lines().next(), Some("0"), "{out}");
}

#[test]
fn what_commands_do_not_get_is_said_by_name_and_can_be_passed_on() {
    let variables = [
        ("GITHUB_TOKEN", "t"),
        ("PGPASSWORD", "p"),
        ("NODE_OPTIONS", "n"),
        ("LD_LIBRARY_PATH", "/l"),
        ("RUNGS_COMMAND_ENV", "PGPASSWORD, OTHER"),
    ];
    let command = "echo $GITHUB_TOKEN-$PGPASSWORD-$NODE_OPTIONS-$LD_LIBRARY_PATH";
    let (out, said) = printed(command, &variables);
    assert_eq!(out, "-p-n-/l\n");
    assert!(said.contains("variables that commands do not get: ANTHROPIC_API_KEY, GITHUB_TOKEN"));
    assert!(
        said.contains("commands do not get ANTHROPIC_API_KEY, GITHUB_TOKEN; RUNGS_COMMAND_ENV")
    );
}

#[test]
fn turns_that_fail_again_and_again_are_given_up() {
    let ann = json!({"name": "ann", "role": "helps", "prompt": "begin"});
    let refused = say("x").fault(json!({"status": 401, "times": "always"}));
    let play = play_scenes([
        scene("^go$", [call("spawn_teammate", ann), say("free")]),
        scene(".", [refused]),
    ]);
    let done = play.other_lesson("s09_agent_teams", &["go"]).output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    // Two for the first prompt, a few for the teammate, a few for the lead that is told of it.
    assert!(play.server.request_count() < 12, "{} requests", play.server.request_count());
}

/// What `--record` has written.
fn records(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_recording_goes_into_a_new_file_or_nothing_is_begun() {
    let play = play([say("hello")]);
    let existing = play.folder.path().join("existing");
    std::fs::write(&existing, "mine").unwrap();
    for (file, why) in [
        ("existing", "it exists, and is not overwritten; name another file, or remove it"),
        ("no/such/folder", "No such file or directory (os error 2)"),
        (".", "it exists, and is not overwritten; name another file, or remove it"),
    ] {
        let done = play.lesson(&["--record", file, "go"]).output().unwrap();
        assert_eq!((done.status.code(), stdout(&done)), (Some(2), String::new()));
        assert_eq!(stderr(&done), format!("error: --record: {file}: {why}\n"));
    }
    assert_eq!(std::fs::read_to_string(existing).unwrap(), "mine");
    assert_eq!(play.server.request_count(), 0);
}

#[test]
fn a_recorded_run_shows_the_same_in_both_formats() {
    let turns = [call("bash", json!({"command": "echo hello"})).say("I look."), say("done")];
    let play = play(turns);
    let shown = play.lesson(&["go"]).output().unwrap();
    for (provider, file) in [("anthropic", "a.jsonl"), ("openai", "o.jsonl")] {
        let before = play.server.requests().len();
        let mut command = play.lesson(&["--record", file, "go"]);
        command.env("RUNGS_PROVIDER", provider).env("OPENAI_API_KEY", KEY);
        command.env("OPENAI_BASE_URL", format!("{}/v1", play.server.url()));
        let done = command.output().unwrap();
        assert_eq!(stdout(&done), stdout(&shown));
        let file = play.folder.path().join(file);
        let said = stderr(&done);
        let line = format!("recorded: {}; the player", file.canonicalize().unwrap().display());
        assert!(said.lines().last().unwrap().starts_with(&line), "{said}");
        let progress = said.lines().filter(|line| line.starts_with(['I', '>', ' ']));
        let expected = stderr(&shown);
        let expected = expected.lines().filter(|line| line.starts_with(['I', '>', ' ']));
        assert_eq!(progress.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let records = records(&file);
        let head = &records[0];
        let named = ["version", "format", "live"].map(|name| head[name].clone());
        assert_eq!(named, [json!(1), json!(provider), json!(true)]);
        // The messages went over the wire like that.
        let sent = play.server.requests().split_off(before);
        let requests = records.iter().filter(|record| record["type"] == "request");
        for (request, sent) in requests.clone().zip(&sent) {
            let ids = request["body"]["messages"].as_array().unwrap();
            let part = |id| records.iter().find(|r| r["type"] == "part" && &r["id"] == id).unwrap();
            let messages: Vec<Value> = ids.iter().map(|id| part(id)["value"].clone()).collect();
            assert_eq!(Value::from(messages), sent.body["messages"]);
            assert_eq!(request["bytes"], sent.bytes);
        }
        assert_eq!((requests.count(), sent.len()), (2, 2));
        let screen = records.iter().filter(|record| record["type"] == "screen");
        let screen: String = screen.map(|record| record["text"].as_str().unwrap()).collect();
        assert!(screen.contains("\x1b[1ms01 >> \x1b[0mgo\n"), "{screen}");
        assert!(screen.contains("\x1b[38;5;31m> $ echo hello\x1b[0m\n"), "{screen}");
        assert_eq!(records.last().unwrap()["type"], "end");
    }
}

#[test]
fn the_recording_of_a_killed_run_can_be_read() {
    // It waits for the model, so that no process of it is left, which another lesson would end.
    let turns = [call("bash", json!({"command": "echo 1"})), say("late").delay_ms(60_000)];
    let play = play(turns);
    let mut child = play.lesson(&["--record", "run.jsonl", "go"]).spawn().unwrap();
    assert!(play.runtime.block_on(until(|| play.server.request_count() == 2)));
    child.kill().unwrap();
    child.wait().unwrap();
    let records = records(&play.folder.path().join("run.jsonl"));
    let kinds: Vec<&str> = records.iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"reply") && !kinds.contains(&"end"), "{kinds:?}");
}
