//! The prompt on a terminal: a real one, of the kernel's, with nobody before it but these tests.
mod common;

use common::program;
use rehearsal::{Script, Server};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
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

struct Terminal {
    person: Option<File>,
    /// Keeps the terminal alive, and tells its modes.
    slave: Option<File>,
    child: Child,
    screen: Arc<Mutex<String>>,
    closed: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// The first lesson on a terminal of its own; `None`, and a word, where the system has no `setsid --ctty`.
fn lesson(url: Option<&str>) -> Option<Terminal> {
    on_terminal("s01_loop", url, Path::new("."))
}

/// What a program and all that it starts has in its environment: the folder in which it was started.
const MARK: &str = "RUNGS_TEST_FOLDER";

fn on_terminal(lesson: &str, url: Option<&str>, folder: &Path) -> Option<Terminal> {
    if !Command::new("setsid").arg("--version").output().is_ok_and(|done| done.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "setsid of util-linux is missing");
        let _ = writeln!(
            std::io::stderr(),
            "skipped: there is no setsid of util-linux to give a program a terminal"
        );
        return None;
    }
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, vec![]).unwrap().into_string().unwrap();
    let slave = File::options().read(true).write(true).open(name).unwrap();
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait"])
        .arg(program(lesson))
        .current_dir(folder)
        .env_clear()
        .env(MARK, folder)
        .env("TERM", "xterm")
        .env("RUNGS_ENV", "/dev/null");
    command.envs(std::env::vars().filter(|(name, _)| name == "PATH" || name == "HOME"));
    match url {
        Some(url) => command.env("ANTHROPIC_BASE_URL", url),
        None => command.env("RUNGS_PROVIDER", "offline"),
    };
    let end = || slave.try_clone().unwrap();
    let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    let screen = Arc::new(Mutex::new(String::new()));
    let person = File::from(master);
    // A terminal answers when it is asked where its cursor is.
    let (mut reads, mut answers, shown) =
        (person.try_clone().unwrap(), person.try_clone().unwrap(), screen.clone());
    let closed = Arc::new(AtomicBool::new(false));
    let flag = closed.clone();
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while !flag.load(Relaxed) {
            let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            if !poll(&mut [PollFd::new(&reads, PollFlags::IN)], Some(&soon)).is_ok_and(|n| n > 0) {
                continue;
            }
            let Ok(n @ 1..) = reads.read(&mut bytes) else { break };
            let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
            for _ in text.matches("\x1b[6n") {
                let _ = answers.write_all(b"\x1b[1;1R");
            }
            shown.lock().unwrap().push_str(&text);
        }
    });
    Some(Terminal {
        person: Some(person),
        slave: Some(slave),
        child,
        screen,
        closed,
        reader: Some(reader),
    })
}

impl Terminal {
    fn types(&mut self, text: &str) {
        self.person.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn shows(&self, text: &str) {
        wait(
            || self.screen.lock().unwrap().contains(text),
            || format!("no {text:?} in {:?}", self.screen.lock().unwrap()),
        );
    }

    /// Waits until the editor, in raw mode, has the terminal.
    fn edits(&self) {
        wait(
            || !self.is_cooked(),
            || format!("the editor never came: {:?}", self.screen.lock().unwrap()),
        );
    }

    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(self.slave.as_ref().unwrap()).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    fn ends(&mut self, code: i32) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(code), "{:?}", self.screen.lock().unwrap());
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "it never ended: {:?}",
                self.screen.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The program itself; `setsid` runs it in its own place, or below itself where it had to fork.
    fn pid(&self) -> u32 {
        let pid = self.child.id();
        let name = Command::new("ps")
            .args(["-o", "comm=", "-p", &pid.to_string()])
            .output()
            .unwrap()
            .stdout;
        if name.trim_ascii() != b"setsid" {
            return pid;
        }
        let below = Command::new("pgrep").args(["-P", &pid.to_string()]).output().unwrap().stdout;
        String::from_utf8_lossy(&below).trim().parse().unwrap()
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
        assert!(start.elapsed() < Duration::from_secs(20), "{}", why());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn serve(turn: &str) -> (Server, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    (serve_scenes(&format!("{{when: ., turns: [{turn}]}}"), &runtime), runtime)
}

fn serve_scenes(scenes: &str, runtime: &tokio::runtime::Runtime) -> Server {
    let script = Script::parse("script", &format!("scenes: [{scenes}]")).unwrap();
    runtime.block_on(script.record(true).serve()).unwrap()
}

#[test]
fn enter_plays_what_is_suggested() {
    let Some(mut terminal) = lesson(None) else { return };
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
fn what_is_typed_while_a_turn_runs_is_asked_next_line_by_line() {
    let (server, _runtime) = serve("{say: 'you said {{ text }}', delay_ms: 500}");
    let Some(mut terminal) = lesson(Some(server.url())) else { return };
    terminal.edits();
    terminal.types("first\r");
    wait(|| !server.seen().is_empty(), || "nothing was asked".into());
    terminal.types("second\rthird\rquit\r");
    terminal.shows("you said third");
    terminal.ends(0);
    let asked: Vec<String> = server
        .seen()
        .iter()
        .map(|seen| {
            seen.body["messages"].as_array().unwrap().last().unwrap()["content"].to_string()
        })
        .collect();
    assert_eq!(asked.len(), 3);
    for (asked, text) in asked.iter().zip(["first", "second", "third"]) {
        assert!(asked.contains(text), "{asked}");
    }
}

#[test]
fn keys_leave_and_restore_the_terminal() {
    for (key, code) in [("\x04", 0), ("\x03", 130)] {
        let Some(mut terminal) = lesson(None) else { return };
        terminal.edits();
        terminal.types(key);
        terminal.ends(code);
        assert!(terminal.is_cooked());
    }
}

#[test]
fn signals_at_the_prompt_leave_and_restore_the_terminal() {
    for (signal, code) in [("-TERM", 143), ("-HUP", 129), ("-INT", 130)] {
        let Some(mut terminal) = lesson(None) else { return };
        terminal.edits();
        terminal.types("half a line");
        terminal.shows("half a line");
        let killed =
            Command::new("kill").args([signal, &terminal.pid().to_string()]).status().unwrap();
        assert!(killed.success());
        terminal.ends(code);
        assert!(terminal.is_cooked());
    }
}

#[test]
fn a_terminal_that_is_closed_ends_the_program() {
    let Some(mut terminal) = lesson(None) else { return };
    terminal.edits();
    terminal.shows("What is in this folder?");
    let screen = terminal.screen.lock().unwrap().clone();
    let folder = screen.split("real, in ").nth(1).unwrap().split(['\r', '\x1b']).next().unwrap();
    assert!(std::path::Path::new(folder).exists(), "{folder}");
    // As a window that is closed: all its ends go, and the kernel hangs up.
    terminal.closed.store(true, Relaxed);
    terminal.reader.take().unwrap().join().unwrap();
    drop((terminal.person.take(), terminal.slave.take()));
    terminal.ends(129);
    assert!(!std::path::Path::new(folder).exists());
}

/// Every lesson, by its number and name.
fn lessons() -> Vec<(u32, String)> {
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap();
    let names =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string());
    let mut lessons: Vec<(u32, String)> = names
        .filter_map(|name| Some((name.strip_prefix('s')?.split('_').next()?.parse().ok()?, name)))
        .collect();
    lessons.sort();
    lessons
}

/// The processes that were started, however indirectly, by the program of this folder and run this command.
fn started_in(folder: &Path, command: &str) -> Vec<String> {
    let mark = format!("{MARK}={}\0", folder.display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let own = processes.filter(|process| {
        // One that ends meanwhile has no environment any more.
        std::fs::read(process.join("environ"))
            .is_ok_and(|all| String::from_utf8_lossy(&all).contains(&mark))
    });
    let lines = own.filter_map(|process| std::fs::read_to_string(process.join("cmdline")).ok());
    lines.map(|line| line.replace('\0', " ")).filter(|line| line.starts_with(command)).collect()
}

/// What a lesson is at when it ends: processes of every kind, in the foreground or behind an open prompt.
fn at_work(lesson: u32, foreground: bool) -> String {
    const SLEEPS: &str = "{command: 'sleep 300 & setsid sleep 300 & sleep 300'}";
    let hire = "{spawn_teammate: {name: ann, role: sleeps, prompt: begin}}";
    let sleeps = format!("turns: [{{call: [{{bash: {SLEEPS}}}]}}, {{say: x}}]");
    match lesson {
        8 => format!("{{when: ^go$, turns: [{{call: [{{bash_background: {SLEEPS}}}]}}, {{say: begun}}]}}"),
        9 => format!("{{when: ^go$, turns: [{{call: [{hire}]}}, {{say: begun}}]}}, {{when: 'lead.>', {sleeps}}}"),
        10 => format!(
            "{{when: ^go$, turns: [{{call: [{hire}]}}, {{say: hired}}]}},
             {{when: 'lead.>\\s*begin', turns: [{{call: [{{request: {{to: lead, kind: plan, text: sleep}}}}]}}, {{say: x}}]}},
             {{when: 'request ann-1', turns: [{{call: [{{respond: {{id: ann-1, approve: true, text: yes}}}}]}}, {{say: begun}}]}},
             {{when: 'ann-1 approved', {sleeps}}}"
        ),
        11 => format!(
            "{{when: ^go$, turns: [{{call: [{{task_create: {{subject: sleep}}}}, {hire}]}}, {{say: hired}}]}},
             {{when: 'lead.>', turns: [{{say: ready}}]}}, {{when: 'ann.>', turns: [{{say: begun}}]}}, {{when: '<task id', {sleeps}}}"
        ),
        12 if foreground => format!(
            "{{when: ^go$, turns: [{{call: [{{task_create: {{subject: sleep}}}}, {{work_on: {{tasks: [1]}}}}]}}, {{say: x}}]}},
             {{when: ., {sleeps}}}"
        ),
        _ if foreground => format!("{{when: ^go$, {sleeps}}}"),
        _ => "{when: ^go$, turns: [{call: [{bash: {command: 'sleep 300 & setsid sleep 300 & echo'}}]}, {say: begun}]}".into(),
    }
}

/// Ends every lesson in this way, and looks whether anything that it started is alive two seconds later.
fn nothing_survives(ending: &str, code: i32) {
    if !Path::new("/proc/self/environ").exists() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "there is no /proc");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let foreground = ending.starts_with('-') || ending == "\x03";
    for (number, lesson) in lessons() {
        let folder = tempfile::tempdir().unwrap();
        git2::Repository::init(folder.path())
            .and_then(|repository| empty_commit(&repository))
            .unwrap();
        let server = serve_scenes(&at_work(number, foreground), &runtime);
        let Some(mut terminal) = on_terminal(&lesson, Some(server.url()), folder.path()) else {
            return;
        };
        terminal.edits();
        terminal.types("go\r");
        let behind_the_prompt = (8..=11).contains(&number);
        if foreground || behind_the_prompt {
            wait(
                || !started_in(folder.path(), "sleep").is_empty(),
                || format!("{lesson} started nothing"),
            );
        }
        if !foreground || behind_the_prompt {
            terminal.shows("begun");
            terminal.edits();
        }
        match ending.strip_prefix('-') {
            Some(_) => {
                assert!(
                    Command::new("kill")
                        .args([ending, &terminal.pid().to_string()])
                        .status()
                        .unwrap()
                        .success()
                );
            }
            None => terminal.types(ending),
        }
        terminal.ends(code);
        let end = Instant::now();
        while !started_in(folder.path(), "").is_empty() {
            let left = started_in(folder.path(), "");
            assert!(
                end.elapsed() < Duration::from_secs(2),
                "{ending:?} leaves behind of {lesson}: {left:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn empty_commit(repository: &git2::Repository) -> Result<(), git2::Error> {
    let author = git2::Signature::now("a", "a@example.com")?;
    let tree = repository.find_tree(repository.index()?.write_tree()?)?;
    repository.commit(Some("HEAD"), &author, &author, "begin", &tree, &[]).map(drop)
}

#[test]
fn exit_leaves_nothing_alive() {
    nothing_survives("exit\r", 0);
}

#[test]
fn the_end_of_input_leaves_nothing_alive() {
    nothing_survives("\x04", 0);
}

#[test]
fn an_interrupt_leaves_nothing_alive() {
    nothing_survives("\x03", 130);
}

#[test]
fn a_signal_leaves_nothing_alive() {
    nothing_survives("-TERM", 143);
}
