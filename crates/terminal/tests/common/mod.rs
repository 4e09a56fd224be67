//! A program on a pseudo-terminal whose screen is interpreted, so that a test sees what a person
//! sees.
use rehearsal::{Scene, Server, script};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    num::NonZero,
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, Once},
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// How long a test waits for what must happen.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long nothing may change before a screen counts as finished.
const QUIET: Duration = Duration::from_millis(150);
/// How many rows that have left the screen are kept.
const SCROLLBACK: usize = 1000;
/// How a program asks where the cursor is.
const WHERE: &[u8] = b"\x1b[6n";

/// A model that plays these scenes.
pub(crate) struct Model {
    pub(crate) server: Server,
    _runtime: Runtime,
}

impl Model {
    pub(crate) fn new(scenes: impl IntoIterator<Item = Scene>) -> Model {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(script(scenes).record(true).serve()).unwrap();
        Model { server, _runtime: runtime }
    }
}

/// The program of `examples/prompt.rs`, before a person.
pub(crate) struct Terminal {
    pub(crate) model: Model,
    person: File,
    /// Keeps the terminal alive, and reports its modes.
    program_end: File,
    child: Child,
    screen: Arc<Mutex<Seen>>,
}

/// What the program has written.
struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
    changed: Instant,
}

impl Terminal {
    /// Starts it on a terminal of this size; `None`, and a line that says so, where there is no
    /// `setsid --ctty`.
    pub(crate) fn start(
        model: Model,
        (rows, cols): (u16, u16),
        env: &[(&str, &str)],
    ) -> Option<Terminal> {
        let found = Command::new("setsid").arg("--version").output();
        if !found.is_ok_and(|done| done.status.success()) {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "setsid is missing");
            let _ = writeln!(std::io::stderr(), "skipped: there is no setsid of util-linux");
            return None;
        }
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).unwrap();
        let name = ptsname(&controller, vec![]).unwrap().into_string().unwrap();
        let program_end = File::options().read(true).write(true).open(name).unwrap();
        let end = || program_end.try_clone().unwrap();
        // It replaces itself with the program, so the child's id is the program's.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(program())
            .env_clear()
            .envs([("TERM", "xterm-256color"), ("PATH", &std::env::var("PATH").unwrap())])
            .env("MODEL", model.server.url())
            .envs(env.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let cells = |n| NonZero::new(n).unwrap();
        let parser = vt100::Parser::new(cells(rows), cells(cols), SCROLLBACK);
        let seen = Seen { parser, bytes: vec![], changed: Instant::now() };
        let (person, screen) = (File::from(controller), Arc::new(Mutex::new(seen)));
        let (reader, shown) = (person.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || read(reader, &shown));
        Some(Terminal { model, person, program_end, child, screen })
    }

    pub(crate) fn types(&self, text: &str) {
        (&self.person).write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn sends(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What is on the screen, and above it.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut seen = self.screen.lock().unwrap();
        let (rows, cols) = size(&seen.parser);
        seen.parser.screen_mut().set_scrollback(SCROLLBACK);
        let above = seen.parser.screen().scrollback();
        let mut lines = vec![];
        for offset in (0..=above).rev() {
            seen.parser.screen_mut().set_scrollback(offset);
            let count = if offset == 0 { rows as usize } else { 1 };
            lines.extend(seen.parser.screen().rows(0, cols).take(count));
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.iter().map(|line| line.trim_end().to_string()).collect()
    }

    /// Of the line under each turn, which differs from run to run, only the beginning.
    pub(crate) fn settled_turns(&self) -> Vec<String> {
        let mut lines = self.settled();
        for line in &mut lines {
            if line.contains(" request, ") || line.contains(" requests, ") {
                let requests = line.find("request").unwrap();
                line.truncate(requests + "request".len());
            }
        }
        // Its second row.
        lines.retain(|line| !line.contains('$') || line.starts_with("> $ "));
        lines
    }

    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// All that was written, escape sequences too.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.screen.lock().unwrap().bytes.clone()
    }

    /// What `of` gives for each cell of the screen that holds something, with its text.
    pub(crate) fn cells<T>(&self, of: impl Fn(&vt100::Cell) -> T) -> Vec<(String, T)> {
        let seen = self.screen.lock().unwrap();
        let (rows, cols) = size(&seen.parser);
        let places = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        let cells = places.filter_map(|(row, col)| seen.parser.screen().cell(row, col));
        cells
            .filter(|cell| !cell.contents().trim().is_empty())
            .map(|cell| (cell.contents().to_string(), of(cell)))
            .collect()
    }

    pub(crate) fn shows(&self, text: &str) {
        self.until(&format!("{text:?}"), |screen| screen.contains(text));
    }

    pub(crate) fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !holds(&self.text()) {
            assert!(start.elapsed() < TIMEOUT, "no {what} in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the line editor, in raw mode, has the terminal.
    pub(crate) fn edits(&self) {
        let start = Instant::now();
        while self.modes().contains(LocalModes::ICANON) {
            assert!(start.elapsed() < TIMEOUT, "no line editor:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn modes(&self) -> LocalModes {
        tcgetattr(&self.program_end).unwrap().local_modes
    }

    /// The lines, once nothing has changed for a while.
    pub(crate) fn settled(&self) -> Vec<String> {
        while self.screen.lock().unwrap().changed.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.lines()
    }

    pub(crate) fn ends(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < TIMEOUT, "it never ended:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(parser: &vt100::Parser) -> (u16, u16) {
    let (rows, cols) = parser.screen().size();
    (rows.into(), cols.into())
}

/// `cargo test` builds it beside the tests; `cargo test --test screen` does not, so it is done
/// here.
fn program() -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "prompt"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(built.success(), "the program does not build");
    });
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/prompt")
}

/// Takes what the program writes onto the screen, and answers as a terminal does.
fn read(mut person: File, screen: &Mutex<Seen>) {
    let mut bytes = [0; 4096];
    // The beginning of a question that is not whole yet.
    let mut pending: Vec<u8> = vec![];
    while let Ok(n @ 1..) = person.read(&mut bytes) {
        let mut seen = screen.lock().unwrap();
        seen.bytes.extend(&bytes[..n]);
        pending.extend(&bytes[..n]);
        while let Some(at) = pending.windows(WHERE.len()).position(|part| part == WHERE) {
            let rest = pending.split_off(at + WHERE.len());
            seen.parser.process(&pending);
            pending = rest;
            let (row, col) = seen.parser.screen().cursor_position();
            let _ = person.write_all(format!("\x1b[{};{}R", row + 1, col + 1).as_bytes());
        }
        let keep = (1..WHERE.len()).rev().find(|len| pending.ends_with(&WHERE[..*len]));
        let rest = pending.split_off(pending.len() - keep.unwrap_or(0));
        seen.parser.process(&pending);
        pending = rest;
        seen.changed = Instant::now();
    }
}
