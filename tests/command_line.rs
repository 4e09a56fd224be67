//! The face that all lessons share, as a person meets it: bad input, pipes and signals, on the first lesson's program.
mod common;

use common::program;
use rehearsal::{Script, Server};
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The lesson before this server, in a folder of its own.
fn lesson(url: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = alone(args);
    command.current_dir(folder).env("RUNGS_PROVIDER", "anthropic").env("ANTHROPIC_BASE_URL", url);
    command.env("ANTHROPIC_API_KEY", "sk-very-secret").env("MODEL_ID", "claude-sonnet-5-5");
    command
}

fn offline(args: &[&str]) -> Command {
    let mut command = alone(args);
    command.env("RUNGS_PROVIDER", "offline");
    command
}

/// The lesson without the keys and settings of whoever runs the tests.
fn alone(args: &[&str]) -> Command {
    let mut command = Command::new(program("s01_loop"));
    command
        .args(args)
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| name == "PATH" || name == "HOME"));
    command
        .env("RUNGS_ENV", "/dev/null")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A server that plays one scene for whatever is asked, and a folder to be in.
struct Play {
    server: Server,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn play(turn: &str) -> Play {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let script =
        Script::parse("script", &format!("scenes: [{{when: ., turns: [{turn}]}}]")).unwrap();
    let server = runtime.block_on(script.record(true).serve()).unwrap();
    Play { server, folder: tempfile::tempdir().unwrap(), _runtime: runtime }
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Whoever exits early closes the pipe; that is for the assertions to judge.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn wrong_use_is_2_and_says_what_is_right() {
    for (args, expected) in [
        (&["--frobnicate"][..], "unexpected argument '--frobnicate'"),
        (&["  "], "the prompt is empty"),
    ] {
        let done = offline(args).output().unwrap();
        assert_eq!(done.status.code(), Some(2));
        assert!(err(&done).contains(expected), "{}", err(&done));
    }
}

#[test]
fn a_provider_that_lacks_something_names_it() {
    let mut command = offline(&["hello"]);
    let done = command
        .env("RUNGS_PROVIDER", "openai")
        .env("OPENAI_API_KEY", "k")
        .env_remove("MODEL_ID")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).starts_with("error: MODEL_ID: name the model"), "{}", err(&done));
}

#[test]
fn what_the_server_refuses_is_said_in_one_line_and_the_code_is_1() {
    for (fault, expected) in [
        ("{status: 404, message: 'model: nope'}", "answered 404 (not_found_error): model: nope"),
        (
            "{status: 401, message: 'invalid x-api-key'}",
            "answered 401 (authentication_error): invalid x-api-key",
        ),
        ("{status: 429, retry_after: 0, times: always}", "answered 429 (rate_limit_error)"),
        (
            "{status: 502, html: true, retry_after: 0, times: always}",
            "HTML where JSON was expected",
        ),
    ] {
        let play = play(&format!("{{say: hello, faults: [{fault}]}}"));
        let mut command = lesson(play.server.url(), play.folder.path(), &["hello"]);
        let done = command.output().unwrap();
        let err = err(&done);
        assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "{err}");
        let error = err.lines().last().unwrap();
        assert!(error.starts_with("error: 127.0.0.1:") && error.contains(expected), "{err}");
        assert!(!err.contains("sk-very") && !err.contains("panicked"), "{err}");
    }
}

#[test]
fn nobody_there_is_said_too() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let done =
        lesson(&format!("http://127.0.0.1:{port}"), folder.path(), &["hello"]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(
        err(&done).contains(&format!("error: 127.0.0.1:{port}: no connection: ")),
        "{}",
        err(&done)
    );
}

#[test]
fn the_answer_alone_is_on_standard_output() {
    let play = play("{call: [{bash: {command: echo 7}}]}, {say: 'It is {{ results[0].text }}'}");
    let done = lesson(play.server.url(), play.folder.path(), &["how", "many?"]).output().unwrap();
    assert_eq!(
        (done.status.code(), &*String::from_utf8_lossy(&done.stdout)),
        (Some(0), "It is 7\n")
    );
    let asked = play.server.seen()[0].body["messages"][0]["content"][1]["text"].clone();
    assert_eq!(asked, "how many?");
}

#[test]
fn what_a_lesson_has_to_say_at_its_start_is_seen() {
    let play = play("{say: hello}");
    let skill = play.folder.path().join("skills/broken");
    std::fs::create_dir_all(&skill).unwrap();
    std::fs::write(skill.join("SKILL.md"), "no front matter").unwrap();
    let mut command = Command::new(program("s05_skill_loading"));
    command
        .arg("hello")
        .current_dir(play.folder.path())
        .env("RUNGS_ENV", "/dev/null")
        .env("RUNGS_PROVIDER", "anthropic");
    let done =
        command.env("ANTHROPIC_BASE_URL", play.server.url()).stdin(Stdio::null()).output().unwrap();
    assert!(
        done.status.success() && err(&done).contains("skills/broken/SKILL.md:1: "),
        "{}",
        err(&done)
    );
}

#[test]
fn what_the_model_declined_is_not_sent_again() {
    let play = play("{say: no, stop: refusal}");
    with_input(lesson(play.server.url(), play.folder.path(), &[]), b"bad words\nother words\n");
    let second = play.server.seen()[1].body["messages"].to_string();
    assert!(second.contains("other words") && !second.contains("bad words"), "{second}");
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_and_progress_that_nobody_reads_is_none() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let done = offline(&["What is in this folder?"]).stdout(full).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("error: standard output: No space left"), "{}", err(&done));
    let mut child = offline(&["What is in this folder?"]).spawn().unwrap();
    drop(child.stderr.take());
    let done = child.wait_with_output().unwrap();
    assert!(
        done.status.success()
            && String::from_utf8_lossy(&done.stdout).contains("There are 4 files")
    );
}

#[test]
fn a_question_of_the_command_line_is_no_command() {
    let play = play("{say: 'you said {{ text }}'}");
    let done = lesson(play.server.url(), play.folder.path(), &[":help", "quit"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "you said :help quit\n");
}

#[test]
fn each_line_of_a_pipe_is_a_prompt_and_a_failed_one_leaves_the_rest() {
    let play = play("{say: 'you said {{ text }}', faults: [{status: 400}]}");
    let command = lesson(play.server.url(), play.folder.path(), &[]);
    // The first attempt of each request fails, so each prompt is withdrawn, until one comes a second time.
    let done = with_input(command, b"one\n\none\n:nope\nquit\nnever\n");
    assert_eq!(
        (done.status.code(), &*String::from_utf8_lossy(&done.stdout)),
        (Some(1), "you said one\n")
    );
    let err = err(&done);
    assert!(
        err.contains("goes on without that prompt") && err.contains("there is no `:nope`"),
        "{err}"
    );
}

#[test]
fn a_prompt_of_ten_megabytes_arrives() {
    let play = play("{say: 'that was long'}");
    let done = with_input(lesson(play.server.url(), play.folder.path(), &[]), &[b'x'; 10_000_000]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "that was long\n");
    assert!(done.stderr.len() < 2000);
    let play = self::play("{say: 'hello {{ text }}'}");
    let mut input = vec![b'x'; 40_000_000];
    input.extend(b"\nshort\n");
    let done = with_input(lesson(play.server.url(), play.folder.path(), &[]), &input);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "hello short\n", "{}", err(&done));
    assert!(err(&done).contains("answered 413"), "{}", err(&done));
}

#[test]
fn a_reader_that_leaves_ends_it_in_silence() {
    let mut child = offline(&[]).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), &*first), (Some(0), "I'll look.\n"));
    assert!(
        !err(&done).contains("panicked") && !err(&done).contains("roken pipe"),
        "{}",
        err(&done)
    );
}

#[test]
fn what_could_deceive_the_eye_is_escaped() {
    let play = play(
        r#"{say: "a\u001b[2Jb\u202ec", call: [{bash: {command: "printf '\\033[31mred'"}}]}, {say: end}"#,
    );
    let done = lesson(play.server.url(), play.folder.path(), &["go"]).output().unwrap();
    let shown = [done.stdout, done.stderr].concat();
    assert!(!shown.contains(&0x1b) && !String::from_utf8_lossy(&shown).contains('\u{202e}'));
    assert!(String::from_utf8_lossy(&shown).contains("a\\u{1b}[2Jb\\u{202e}c"));
}

#[test]
fn help_needs_no_key_and_no_server() {
    let done = offline(&["--help"]).env("RUNGS_PROVIDER", "nonsense").output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0));
    for part in ["# s01: ", "Try: ", ":commands", "--keep"] {
        assert!(out.contains(part), "{out}");
    }
}

#[test]
fn the_folder_of_a_rehearsal_goes_unless_it_is_kept() {
    for keep in [false, true] {
        let done = offline(if keep {
            &["--keep", "What is in this folder?"]
        } else {
            &["What is in this folder?"]
        })
        .output()
        .unwrap();
        let err = err(&done);
        let folder = err.lines().next().unwrap().rsplit(" in ").next().unwrap();
        assert_eq!(Path::new(folder).join("till.sh").exists(), keep, "{err}");
        if keep {
            assert!(err.ends_with(&format!("kept: {folder}\n")), "{err}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

/// Whether a process has this text in its command line.
fn alive(text: &str) -> bool {
    Command::new("pgrep").args(["-f", text]).output().unwrap().status.success()
}

/// Sends a signal once `ready` says so, and checks the exit code, and that no process is left with
/// the text `left` in its command line.
fn signalled(
    mut child: Child,
    signal: &str,
    code: i32,
    mut ready: impl FnMut() -> bool,
    left: &str,
) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(20), "it was not ready for the signal");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(code));
    // A killed process is gone only a moment later.
    let end = Instant::now();
    while !left.is_empty() && alive(left) {
        assert!(end.elapsed() < Duration::from_secs(2), "{left} is still alive");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn a_signal_leaves_from_every_phase_and_leaves_nothing() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        // While the model is silent.
        let slow = play("{say: hello, delay_ms: 60000}");
        let child = lesson(slow.server.url(), slow.folder.path(), &["go"]).spawn().unwrap();
        signalled(child, signal, code, || !slow.server.seen().is_empty(), "");
        // While it waits to try again.
        let busy = play("{say: hello, faults: [{status: 529, retry_after: 60, times: always}]}");
        let child = lesson(busy.server.url(), busy.folder.path(), &["go"]).spawn().unwrap();
        signalled(child, signal, code, || !busy.server.seen().is_empty(), "");
        // While a command runs, and what it has started.
        // A random number, since other runs of this test search for their processes too.
        let sleep = format!("sleep 300.{}", fastrand::u64(..));
        let tool =
            play(&format!("{{call: [{{bash: {{command: 'touch started; {sleep} & {sleep}'}}}}]}}"));
        let child = lesson(tool.server.url(), tool.folder.path(), &["go"]).spawn().unwrap();
        let started = || tool.folder.path().join("started").exists() && alive(&sleep);
        signalled(child, signal, code, started, &sleep);
        // At the prompt, with an open pipe.
        let idle = play("{say: hello}");
        let mut command = lesson(idle.server.url(), idle.folder.path(), &[]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"go\n").unwrap();
        let mut answer = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        signalled(child, signal, code, || true, "");
        drop(stdin);
    }
}

#[test]
fn what_fails_again_and_again_is_tried_later_each_time_and_given_up_at_last() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = "{say: x, faults: [{status: 401, times: always}]}";
    let script = format!(
        "scenes: [{{when: ^go$, turns: [{{call: [{{spawn_teammate: {{name: ann, role: helps, prompt: begin}}}}]}}, {{say: free}}]}},
         {{when: ., turns: [{refused}]}}]"
    );
    let server = runtime.block_on(Script::parse("script", &script).unwrap().serve()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("s09_agent_teams"));
    command
        .arg("go")
        .current_dir(folder.path())
        .env("RUNGS_ENV", "/dev/null")
        .env("RUNGS_PROVIDER", "anthropic");
    let done =
        command.env("ANTHROPIC_BASE_URL", server.url()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", err(&done));
    // Two for the first prompt, a few for the teammate, a few for the lead that hears of it.
    assert!(server.count() < 12, "{} requests", server.count());
}
