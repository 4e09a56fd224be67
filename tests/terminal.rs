//! The prompt on a terminal of the kernel's own (a pseudoterminal), on which these tests type.
mod common;

use rehearsal::{Scene, Server, call, calls, say, scene, script};
use rungs_process::testing::{asleep, gone, marker, processes};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// How long a test waits for what must happen.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long the processes that a program has killed may take to go after its end.
const GONE_WITHIN: Duration = Duration::from_secs(2);

struct Terminal {
    /// The end at which a person types; `None` once the terminal is closed.
    person: Option<File>,
    /// Keeps the terminal alive, and reports its modes.
    program_end: Option<File>,
    child: Child,
    screen: Arc<Mutex<String>>,
    closed: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// The first lesson before its own rehearsal.
fn offline() -> Option<Terminal> {
    let mut command = common::lesson("s01_loop");
    command.env("RUNGS_PROVIDER", "offline");
    on_terminal(&command)
}

/// A lesson before this server.
fn live(lesson: &str, server: &Server) -> Command {
    let mut command = common::lesson(lesson);
    command.env("RUNGS_PROVIDER", "anthropic").env("ANTHROPIC_BASE_URL", server.url());
    command
}

/// Starts a program on a terminal of its own; `None`, and a line that says so, where there is no
/// `setsid --ctty`.
fn on_terminal(program: &Command) -> Option<Terminal> {
    if !Command::new("setsid").arg("--version").output().is_ok_and(|done| done.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "setsid of util-linux is missing");
        // Not by `println!`, which the test runner swallows.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: there is no setsid of util-linux to give a program a terminal"
        );
        return None;
    }
    let controller =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, vec![]).unwrap().into_string().unwrap();
    let program_end = File::options().read(true).write(true).open(name).unwrap();
    // It replaces itself with the program, so the child's id is the program's.
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(program.get_program()).args(program.get_args());
    command.env_clear().env("TERM", "xterm");
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    let end = || program_end.try_clone().unwrap();
    let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    let person = File::from(controller);
    let (screen, closed) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicBool::new(false)));
    let reader = std::thread::spawn({
        let (person, screen, closed) =
            (person.try_clone().unwrap(), screen.clone(), closed.clone());
        move || read(person, &screen, &closed)
    });
    Some(Terminal {
        person: Some(person),
        program_end: Some(program_end),
        child,
        screen,
        closed,
        reader: Some(reader),
    })
}

/// Takes what the program writes onto the screen, until the terminal is closed.
fn read(mut person: File, screen: &Mutex<String>, closed: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !closed.load(Relaxed) {
        let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        if !poll(&mut [PollFd::new(&person, PollFlags::IN)], Some(&soon)).is_ok_and(|n| n > 0) {
            continue;
        }
        let Ok(n @ 1..) = person.read(&mut bytes) else { break };
        let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
        // A terminal answers when it is asked where its cursor is.
        for _ in text.matches("\x1b[6n") {
            let _ = person.write_all(b"\x1b[1;1R");
        }
        screen.lock().unwrap().push_str(&text);
    }
}

impl Terminal {
    fn types(&mut self, text: &str) {
        self.person.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn sends(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    fn shows(&self, text: &str) {
        wait(|| self.screen().contains(text), || format!("no {text:?} in {:?}", self.screen()));
    }

    /// Waits until the line editor has the terminal. In raw mode it is while a turn runs too, which
    /// drops an empty line; the editor alone, after it marks what is pasted, asks for the cursor.
    fn edits(&self) {
        let begun = || self.screen().rsplit("\x1b[?2004h").next().unwrap().contains("\x1b[6n");
        wait(begun, || format!("the line editor never began: {:?}", self.screen()));
    }

    fn modes(&self) -> LocalModes {
        tcgetattr(self.program_end.as_ref().unwrap()).unwrap().local_modes
    }

    fn is_cooked(&self) -> bool {
        self.modes().contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// Waits until the program has ended, with this exit code.
    fn ends(&mut self, code: i32) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < TIMEOUT / 2, "it never ended: {:?}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(code), "{:?}", self.screen());
    }
}

impl Drop for Terminal {
    /// A test that fails leaves nothing behind either.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(mut until: impl FnMut() -> bool, why: impl Fn() -> String) {
    let start = Instant::now();
    while !until() {
        assert!(start.elapsed() < TIMEOUT, "{}", why());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn serve(runtime: &Runtime, scenes: impl IntoIterator<Item = Scene>) -> Server {
    runtime.block_on(script(scenes).record(true).serve()).unwrap()
}

#[test]
fn enter_plays_what_is_suggested() {
    let Some(mut terminal) = offline() else { return };
    terminal.edits();
    terminal.shows("What is in this folder?");
    terminal.types("\r");
    terminal.shows("There are 4 files here");
    terminal.edits();
    terminal.types("quit\r");
    terminal.ends(0);
    assert!(terminal.is_cooked());
}

#[test]
fn a_recording_shows_what_was_typed_and_what_enter_has_played() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let mut command = common::lesson("s01_loop");
    command.env("RUNGS_PROVIDER", "offline").arg("--record").arg(&file);
    let Some(mut terminal) = on_terminal(&command) else { return };
    for typed in [":request\r", "\r", "quit\r"] {
        terminal.edits();
        terminal.types(typed);
        match typed {
            ":request\r" => terminal.shows("nothing has been sent yet"),
            "\r" => terminal.shows("There are 4 files here"),
            _ => terminal.ends(0),
        }
    }
    let records = std::fs::read_to_string(file).unwrap();
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let screen = records.filter(|record| record["type"] == "screen");
    let screen: String = screen.map(|r| r["text"].as_str().unwrap().to_string()).collect();
    let lines: Vec<&str> = screen.lines().filter(|line| line.contains(" >> ")).collect();
    let prompt = "\x1b[1ms01 >> \x1b[0m";
    let expected = [":request", "What is in this folder?", "quit"];
    assert_eq!(lines, expected.map(|typed| format!("{prompt}{typed}")), "{screen:?}");
}

#[test]
fn lines_typed_while_a_turn_runs_are_asked_next_one_by_one() {
    let runtime = Runtime::new().unwrap();
    let echo = say("you said {{ text }}").delay_ms(500);
    let server = serve(&runtime, [scene(".", [echo])]);
    let Some(mut terminal) = on_terminal(&live("s01_loop", &server)) else { return };
    terminal.edits();
    terminal.types("first\r");
    wait(|| server.request_count() > 0, || "nothing was asked".into());
    terminal.types("second\rthird\rquit\r");
    terminal.shows("you said third");
    terminal.ends(0);
    let last = |value: &Value| value.as_array().unwrap().last().unwrap().clone();
    let newest = |body: &Value| last(&last(&body["messages"])["content"])["text"].clone();
    let asked: Vec<Value> = server.requests().iter().map(|seen| newest(&seen.body)).collect();
    assert_eq!(asked, ["first", "second", "third"]);
}

#[test]
fn a_streamed_reply_appears_as_it_arrives_and_stays_when_it_is_cut() {
    let runtime = Runtime::new().unwrap();
    let slow = say("one two three four five").think("I count.").pace_ms(400);
    let scenes = [
        scene("^go$", [slow.fault(json!({"cut_after": 9}))]),
        scene("Your reply broke off", [say("r five")]),
    ];
    let server = serve(&runtime, scenes);
    let Some(mut terminal) = on_terminal(&live("s13_streaming", &server)) else { return };
    terminal.edits();
    terminal.types("go\r");
    terminal.shows("\x1b[2mI count.\x1b[0m");
    terminal.shows("one two");
    assert!(!terminal.screen().contains("three"), "{:?}", terminal.screen());
    terminal.shows("\none two three fo\r\n[cut off here]\r\n");
    terminal.shows("; the model is asked to continue");
    terminal.shows("r five\r\n");
    let prompts = || terminal.screen().rsplit("2 requests").next().unwrap().contains("s13 >> ");
    wait(prompts, || format!("no prompt in {:?}", terminal.screen()));
    terminal.types("\x04");
    terminal.ends(0);
    assert_eq!(terminal.screen().matches("one two").count(), 1);
}

/// The last messages that the server was sent: of each its role and the texts of its blocks.
fn newest(server: &Server, count: usize) -> Vec<(String, Vec<String>)> {
    let body = server.requests().last().unwrap().body.clone();
    let messages = body["messages"].as_array().unwrap().clone();
    let text = |block: &Value| match &block["content"] {
        Value::Null => block["text"].as_str().unwrap_or_default().to_string(),
        Value::Array(blocks) => blocks.iter().filter_map(|b| b["text"].as_str()).collect(),
        content => content.as_str().unwrap_or_default().to_string(),
    };
    let texts = |message: &Value| match &message["content"] {
        Value::Array(blocks) => blocks.iter().map(text).collect(),
        content => vec![content.as_str().unwrap_or_default().to_string()],
    };
    let shape = |message: &Value| (message["role"].as_str().unwrap().to_string(), texts(message));
    messages[messages.len() - count..].iter().map(shape).collect()
}

#[test]
fn ctrl_c_keeps_what_was_shown_of_an_answer_and_the_conversation_goes_on() {
    let runtime = Runtime::new().unwrap();
    let long: String = (0..2000).map(|n| format!("word{n} ")).collect();
    let scenes = [scene("^long$", [say(&long).pace_ms(20)]), scene("^next$", [say("fine")])];
    let server = serve(&runtime, scenes);
    let Some(mut terminal) = on_terminal(&live("s19_interrupts", &server)) else { return };
    terminal.edits();
    terminal.types("long\r");
    terminal.shows("word3 ");
    terminal.types("\x03");
    terminal.shows("stopped; the conversation stays");
    // A line typed before the prompt would be a draft in it.
    terminal.edits();
    terminal.types("next\r");
    terminal.shows("fine");
    terminal.edits();
    let [(_, said), (_, next)] = &newest(&server, 2)[..] else { panic!("two messages") };
    assert!(said[0].starts_with("word0 word1 word2 word3") && long.starts_with(said[0].trim()));
    assert_eq!(said[1], "\n[cut off here]");
    assert!(next[0].contains("The person stopped the turn here") && next[1] == "next", "{next:?}");
    terminal.types("\x04");
    terminal.ends(0);
    assert!(terminal.is_cooked());
    // What the editor switches on for pasting it has switched off.
    let count = |code: &str| terminal.screen().matches(code).count();
    let is_off = || count("\x1b[?2004h") == count("\x1b[?2004l");
    wait(is_off, || format!("pasted text stays marked: {:?}", terminal.screen()));
}

#[test]
fn a_line_typed_while_a_tool_runs_waits_and_joins_its_result() {
    let runtime = Runtime::new().unwrap();
    let turns = [
        call("bash", json!({"command": "until [ -e go-on ]; do sleep 0.1; done; echo one"})),
        say("heard {{ texts | join('+') }}"),
    ];
    let server = serve(&runtime, [scene("^go$", turns)]);
    let here = tempfile::tempdir().unwrap();
    let mut command = live("s19_interrupts", &server);
    command.current_dir(here.path());
    let Some(mut terminal) = on_terminal(&command) else { return };
    terminal.edits();
    terminal.types("go\r");
    terminal.shows("> $ until");
    // A command is for the prompt, and what follows it too.
    terminal.types("be kind\r:messages\rlater\r");
    terminal.shows("waiting: be kind | :messages | later");
    std::fs::write(here.path().join("go-on"), "").unwrap();
    terminal.shows("joins the turn: be kind");
    terminal.shows("heard be kind");
    wait(|| server.request_count() == 3, || "the last line was not asked".into());
    assert_eq!(newest(&server, 3)[0].1, ["one\n", "be kind"]);
    terminal.edits();
    terminal.types("\x04");
    terminal.ends(0);
}

#[test]
fn a_line_that_is_half_typed_when_a_turn_begins_by_itself_stays_whole() {
    let runtime = Runtime::new().unwrap();
    let job = json!({"command": "until [ -e go-on ]; do sleep 0.1; done"});
    let scenes = [
        scene("^go$", [call("bash_background", job), say("begun")]),
        scene("<job", [say("noted").delay_ms(2000)]),
        scene(".", [say("you said {{ text }}")]),
    ];
    let server = serve(&runtime, scenes);
    let here = tempfile::tempdir().unwrap();
    let mut command = live("s08_background_tasks", &server);
    command.current_dir(here.path());
    let Some(mut terminal) = on_terminal(&command) else { return };
    terminal.edits();
    terminal.types("go\r");
    terminal.shows("begun");
    terminal.edits();
    terminal.types("fix the te");
    terminal.shows("fix the te");
    std::fs::write(here.path().join("go-on"), "").unwrap();
    wait(|| server.request_count() == 3, || "the end of the job began no turn".into());
    terminal.types("sts\r");
    terminal.shows("waiting: fix the tests");
    terminal.shows("you said fix the tests");
}

#[test]
fn a_tool_that_ignores_a_request_to_terminate_holds_up_nothing() {
    let (runtime, marker) = (Runtime::new().unwrap(), marker());
    let stubborn = format!("trap '' TERM; sleep {marker}; sleep {marker}");
    let server = serve(&runtime, [scene("^go$", [call("bash", json!({"command": stubborn}))])]);
    let Some(mut terminal) = on_terminal(&live("s19_interrupts", &server)) else { return };
    terminal.edits();
    terminal.types("go\r");
    wait(|| !processes(&marker).is_empty(), || "nothing runs".into());
    terminal.types("half a line");
    let begin = Instant::now();
    terminal.sends(Signal::TERM);
    terminal.ends(143);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(terminal.is_cooked());
    assert!(runtime.block_on(gone(&marker)));
}

#[test]
fn keys_that_leave_restore_the_terminal() {
    // The zero byte is Ctrl+D too, typed just before the editor took the terminal.
    for (key, code) in [("\x04", 0), ("\0", 0), ("\x03", 130)] {
        let Some(mut terminal) = offline() else { return };
        terminal.edits();
        terminal.types(key);
        terminal.ends(code);
        assert!(terminal.is_cooked());
    }
}

#[test]
fn signals_at_the_prompt_restore_the_terminal() {
    for (signal, code) in
        [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)]
    {
        let Some(mut terminal) = offline() else { return };
        terminal.edits();
        terminal.types("half a line");
        terminal.shows("half a line");
        terminal.sends(signal);
        terminal.ends(code);
        assert!(terminal.is_cooked());
    }
}

#[test]
fn a_person_is_asked_before_damaged_records_are_given_up() {
    let runtime = Runtime::new().unwrap();
    let server = serve(&runtime, [scene(".", [say("fine")])]);
    let here = tempfile::tempdir().unwrap();
    let state = durable::Folder::open(here.path(), ".rungs/s07_task_system").unwrap();
    let board = rungs_tasks::Board::open(&state, "tasks.jsonl").unwrap();
    for subject in ["one", "two", "three"] {
        let subject = subject.to_string();
        board.create(rungs_tasks::Task { subject, ..Default::default() }).unwrap();
    }
    drop(board);
    let file = state.path().join("tasks.jsonl");
    let damaged = std::fs::read_to_string(&file).unwrap().replace("two", "owt");
    std::fs::write(&file, &damaged).unwrap();
    let start = || {
        let mut command = live("s07_task_system", &server);
        command.env("MODEL_ID", "rehearsal").current_dir(here.path());
        let terminal = on_terminal(&command)?;
        terminal.shows("tasks.jsonl:3: wrong checksum; 2 records intact, 1 lost");
        terminal.shows("answer: ");
        Some(terminal)
    };
    let Some(mut terminal) = start() else { return };
    terminal.types("n\r");
    terminal.ends(1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), damaged);
    let Some(mut terminal) = start() else { return };
    terminal.types("1\r");
    terminal.shows("2 records kept, 1 lost");
    terminal.edits();
    terminal.types("quit\r");
    terminal.ends(0);
    let aside = std::fs::read_to_string(file.with_extension("jsonl.damaged-1")).unwrap();
    assert_eq!(aside, damaged);
}

#[test]
fn a_call_that_asks_is_shown_as_it_is_and_the_model_hears_why_not() {
    let runtime = Runtime::new().unwrap();
    let hidden = "touch a\u{3164}b";
    let go = [call("bash", json!({ "command": hidden })), say("{{ results[0].text }}")];
    let again = [call("bash", json!({"command": "touch c"})), say("done: {{ results[0].text }}")];
    let server = serve(&runtime, [scene("^go$", go), scene("^again$", again)]);
    let here = tempfile::tempdir().unwrap();
    let mut command = live("s15_permissions", &server);
    command.env("MODEL_ID", "rehearsal").current_dir(here.path());
    let Some(mut terminal) = on_terminal(&command) else { return };
    terminal.edits();
    terminal.types("go\r");
    terminal.shows("command: touch a\\u{3164}b");
    terminal.shows("answer: ");
    terminal.types("n, use a plain name\r");
    terminal.shows("not run: the person said no: use a plain name");
    terminal.edits();
    terminal.types("again\r");
    terminal.shows("2  in this session: allow Bash(touch c)");
    terminal.types("1\r");
    terminal.shows("done: ");
    terminal.edits();
    terminal.types("quit\r");
    terminal.ends(0);
    let made: Vec<_> = std::fs::read_dir(here.path()).unwrap().collect();
    assert_eq!(made.len(), 1, "{made:?}");
}

#[test]
fn a_closed_terminal_ends_the_program() {
    let Some(mut terminal) = offline() else { return };
    terminal.edits();
    terminal.shows("What is in this folder?");
    let screen = terminal.screen();
    let folder = screen.split("real, in ").nth(1).unwrap().split(['\r', '\x1b']).next().unwrap();
    assert!(Path::new(folder).exists(), "{folder}");
    // As when a window is closed: all its ends go, and the kernel sends a hangup.
    terminal.closed.store(true, Relaxed);
    terminal.reader.take().unwrap().join().unwrap();
    drop((terminal.person.take(), terminal.program_end.take()));
    terminal.ends(129);
    assert!(!Path::new(folder).exists());
}

/// How a program is ended.
#[derive(Clone, Copy)]
enum Ending {
    /// By what is typed once the turn has ended.
    Typed(&'static str),
    /// By Ctrl+C at the prompt; while a turn runs, which it stops, by another one.
    Interrupts,
    /// By a signal while the turn runs.
    Signal(Signal),
}

/// One call of bash that starts processes of every kind and waits for one of them.
fn sleeps(marker: &str) -> Value {
    json!({"command": format!("sleep {marker} & setsid sleep {marker} & sleep {marker}")})
}

/// What a lesson does when it is ended: it runs commands in the foreground, or behind a prompt that
/// waits for the next line. `begun` is the last text before that.
fn scenes(lesson: &str, marker: &str, foreground: bool) -> Vec<Scene> {
    let sleeping = || [call("bash", sleeps(marker)), say("never")];
    let ann = || ("spawn_teammate", json!({"name": "ann", "role": "sleeps", "prompt": "begin"}));
    let spawn = || calls([ann()]);
    let task = || ("task_create", json!({"subject": "sleep"}));
    match lesson.split('_').next().unwrap_or_default() {
        "s08" => vec![scene("^go$", [call("bash_background", sleeps(marker)), say("begun")])],
        "s09" => vec![
            scene("^go$", [spawn(), say("begun")]),
            scene(r#"from="lead">\s*begin"#, sleeping()),
        ],
        "s10" => {
            let plan = json!({"to": "lead", "kind": "plan", "text": "sleep"});
            let approve = json!({"id": "{{ m[1] }}", "approve": true, "text": "yes"});
            vec![
                scene("^go$", [spawn(), say("spawned")]),
                scene(r#"from="lead">\s*begin"#, [call("request", plan), say("asked")]),
                scene(r"\[request (\S+), Plan", [call("respond", approve), say("begun")]),
                scene(r"\[\S+ approved\]", sleeping()),
            ]
        }
        "s11" => vec![
            scene("^go$", [calls([task(), ann()]), say("spawned")]),
            scene(r#"from="lead">"#, [say("ready")]),
            scene(r#"from="ann">"#, [say("begun")]),
            scene("<task id", sleeping()),
        ],
        "s12" if foreground => vec![
            scene("^go$", [calls([task(), ("work_on", json!({"tasks": [1]}))]), say("never")]),
            scene(".", sleeping()),
        ],
        _ if foreground => vec![scene("^go$", sleeping())],
        _ => {
            let command = format!("sleep {marker} & setsid sleep {marker} & echo");
            vec![scene("^go$", [call("bash", json!({ "command": command })), say("begun")])]
        }
    }
}

/// Ends every lesson in this way, and checks that two seconds later nothing it started is alive.
fn nothing_survives(ending: Ending, code: i32) {
    let runtime = Runtime::new().unwrap();
    let foreground = !matches!(ending, Ending::Typed(_));
    for lesson in common::lessons() {
        let (folder, marker) = (tempfile::tempdir().unwrap(), marker());
        git2::Repository::init(folder.path())
            .and_then(|repository| empty_commit(&repository))
            .unwrap();
        let server = serve(&runtime, scenes(&lesson, &marker, foreground));
        let mut command = live(&lesson, &server);
        // Whatever the program starts inherits this.
        command.current_dir(folder.path()).env("RUNGS_TEST_MARKER", &marker);
        let Some(mut terminal) = on_terminal(&command) else { return };
        terminal.edits();
        terminal.types("go\r");
        if ["s15_", "s21_", "full"].iter().any(|name| lesson.starts_with(name)) {
            terminal.shows("May this call of `bash` run?");
            terminal.types("1\r");
        }
        let behind_the_prompt =
            ["s08_", "s09_", "s10_", "s11_"].iter().any(|number| lesson.starts_with(number));
        if foreground || behind_the_prompt {
            wait(
                || asleep(&marker),
                || format!("{lesson} started nothing: {:?}", terminal.screen()),
            );
        }
        if !foreground || behind_the_prompt {
            terminal.shows("begun");
            terminal.edits();
        }
        match ending {
            Ending::Typed(keys) => terminal.types(keys),
            Ending::Interrupts => {
                terminal.types("\x03");
                if !behind_the_prompt {
                    terminal.shows("stopped; the conversation stays");
                }
                // Behind the prompt, mail may have begun a turn, which the first one stops. Two
                // signals at the same instant would be one.
                std::thread::sleep(Duration::from_millis(100));
                terminal.types("\x03");
            }
            Ending::Signal(signal) => terminal.sends(signal),
        }
        terminal.ends(code);
        let gone = async { tokio::time::timeout(GONE_WITHIN, gone(&marker)).await };
        let gone = runtime.block_on(gone);
        assert_eq!(gone, Ok(true), "{lesson} leaves behind: {:?}", processes(&marker));
    }
}

fn empty_commit(repository: &git2::Repository) -> Result<(), git2::Error> {
    let author = git2::Signature::now("a", "a@example.com")?;
    let tree = repository.find_tree(repository.index()?.write_tree()?)?;
    repository.commit(Some("HEAD"), &author, &author, "begin", &tree, &[]).map(drop)
}

#[test]
fn exit_leaves_nothing_alive() {
    nothing_survives(Ending::Typed("exit\r"), 0);
}

#[test]
fn the_end_of_input_leaves_nothing_alive() {
    nothing_survives(Ending::Typed("\x04"), 0);
}

#[test]
fn two_interrupts_leave_nothing_alive() {
    nothing_survives(Ending::Interrupts, 130);
}

#[test]
fn a_signal_leaves_nothing_alive() {
    nothing_survives(Ending::Signal(Signal::TERM), 143);
}
