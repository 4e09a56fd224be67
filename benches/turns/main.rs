//! What the harness itself costs: start to first request, time per turn, memory; of the first
//! lesson, which has no layer, and of `full`, which has them all.
//!
//! `cargo bench --bench turns`: release builds, each as a process of its own, before a server on
//! loopback that answers at once. Nothing is asserted; it prints figures. With `LONG=1` a
//! conversation of 5,000 turns follows (some minutes), whose last turns are set against its first
//! ones.
//!
//! Let five minutes pass between two runs: where files were just deleted, some file systems create
//! others slowly, and a run deletes its folders at its end.
mod server;

use rungs_process::{Clip, Environment, Process};
use serde_json::{Value, json};
use server::Server;
use std::{
    io::Write,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

const TURNS: usize = 200;
const LONG_TURNS: usize = 5_000;
const STARTS: usize = 20;
const LESSONS: [&str; 2] = ["s01_loop", "full"];

/// The name and the input of the call of a turn.
type Call = fn(usize) -> (&'static str, Value);

/// A process for each call, whose time is taken off.
fn bash(turn: usize) -> (&'static str, Value) {
    ("bash", json!({"command": format!("echo {turn}")}))
}

/// A tool that takes nearly no time.
fn read(turn: usize) -> (&'static str, Value) {
    ("read", json!({"file_path": format!("f{turn}")}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["build", "--release"]);
    cargo.args(LESSONS.iter().flat_map(|lesson| ["--example", lesson]));
    // As in `tests/common`: with these of the benchmark, half of everything would be built twice.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().is_ok_and(|status| status.success()), "the lessons do not build");
    let hook = alone(&session_hook()).await;
    println!("the hook alone that `config/hooks.yaml` runs at the start, median: {hook:.2} ms");
    // Folders are kept to the end, and none is where tests keep theirs.
    let mut kept = vec![];
    for name in LESSONS {
        println!("{name}:");
        let folders: Vec<_> = (0..STARTS).map(|_| new_folder()).collect();
        for kind in ["new", "used"] {
            let mut starts = vec![];
            for folder in &folders {
                starts.push(start(name, folder.path()).await);
            }
            starts.sort();
            println!(
                "  start to first request, in a {kind} folder, of {STARTS}: median {:.1} ms, most \
                 {:.1} ms",
                ms(starts[STARTS / 2]),
                ms(starts[STARTS - 1])
            );
        }
        kept.extend(folders);
    }
    for name in LESSONS {
        println!("{name}:");
        // The first lesson has no other tool.
        let calls = if name == "full" { &[bash as Call, read][..] } else { &[bash as Call] };
        for call in calls {
            let (folder, tool) = (new_folder(), call(0).0);
            // Just before, since the speed of a shared machine changes within minutes.
            let own = if tool == "bash" { alone("echo 1").await } else { 0.0 };
            let (turns, memory) = turns(name, TURNS, *call, folder.path()).await;
            kept.push(folder);
            let mut turns: Vec<f64> = turns.iter().map(|(turn, _)| ms(*turn) - own).collect();
            let mean = turns.iter().sum::<f64>() / TURNS as f64;
            let last = turns[TURNS - 10..].iter().sum::<f64>() / 10.0;
            turns.sort_by(f64::total_cmp);
            println!(
                "  `{tool}`, per turn over {TURNS} turns, beyond the {own:.2} ms of the tool \
                 alone: mean {mean:.2} ms, median {:.2} ms; the last ten: {last:.2} ms; peak \
                 memory: {memory}",
                turns[TURNS / 2],
            );
        }
    }
    if std::env::var_os("LONG").is_some() {
        let folder = new_folder();
        let (turns, memory) = turns("full", LONG_TURNS, read, folder.path()).await;
        for first in [5, 500, 1_100, 2_500, LONG_TURNS - 10] {
            let ten = &turns[first..first + 10];
            println!(
                "full, turns {first} to {}: {:.2} ms each, {} kB sent",
                first + 10,
                ms(ten.iter().map(|(turn, _)| *turn).sum()) / 10.0,
                ten[0].1 / 1000
            );
        }
        println!("peak memory after {LONG_TURNS} turns: {memory}");
    }
}

/// The time from the start of a process to its first request.
async fn start(name: &str, folder: &Path) -> Duration {
    let mut server = Server::bind().await;
    let start = Instant::now();
    let mut child = lesson(name, &server, 1, folder);
    let request = server.request(&mut child).await;
    server.reply(&request, None).await;
    child.wait().await.unwrap();
    request.arrived - start
}

/// What each of so many turns takes, from the model's reply to the next request, and the size of
/// that in bytes. And the peak of memory.
async fn turns(
    name: &str,
    count: usize,
    call: Call,
    folder: &Path,
) -> (Vec<(Duration, usize)>, String) {
    for n in 0..=TURNS {
        std::fs::write(folder.join(format!("f{n}")), n.to_string()).unwrap();
    }
    // A prompt may lead to so many turns only.
    let prompts = count.div_ceil(TURNS);
    let mut server = Server::bind().await;
    let mut child = lesson(name, &server, prompts, folder);
    let mut request = server.request(&mut child).await;
    let mut turns = vec![];
    for _ in 0..prompts {
        for n in 0..count.min(TURNS) {
            // Each call is another one, or the agent would be taken for stuck.
            let replied = server.reply(&request, Some(call(n))).await;
            request = server.request(&mut child).await;
            turns.push((request.arrived - replied, request.bytes));
        }
        if turns.len() < count {
            server.reply(&request, None).await;
            request = server.request(&mut child).await;
        }
    }
    let memory = child.id().and_then(peak_memory).unwrap_or_default();
    server.reply(&request, None).await;
    child.wait().await.unwrap();
    (turns, memory)
}

fn new_folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn lesson(name: &str, server: &Server, prompts: usize, folder: &Path) -> Child {
    // Cargo has built it beside this program, wherever that is.
    let bench = std::env::current_exe().unwrap();
    let mut command = Command::new(bench.ancestors().nth(2).unwrap().join("examples").join(name));
    command.current_dir(folder);
    // As from a shell: with the folders of libraries that cargo names, each program that starts
    // would look for its own in them first.
    command.env_remove("LD_LIBRARY_PATH");
    if prompts == 1 {
        command.arg("go");
    }
    command.env("RUNGS_PROVIDER", "anthropic").env("ANTHROPIC_BASE_URL", server.url());
    let (stdin, mut input) = std::io::pipe().unwrap();
    command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    if prompts > 1 {
        input.write_all("go\n".repeat(prompts).as_bytes()).unwrap();
    }
    child
}

/// The command that `full` runs before its first request.
fn session_hook() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/hooks.yaml");
    let hooks: serde_yaml::Value =
        serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    hooks["hooks"]["SessionStart"][0]["command"].as_str().unwrap().into()
}

/// The milliseconds that a command takes by itself, the median of some runs, as the tool `bash` and
/// hooks run it: watched, and ended with all it starts.
async fn alone(command: &str) -> f64 {
    let mut times = vec![];
    for _ in 0..TURNS {
        let start = Instant::now();
        let mut process =
            Process::start(command, Path::new("/"), &Environment::default()).expect("bash runs");
        process.finish(&mut Clip::default()).await.expect("it ends");
        times.push(start.elapsed());
    }
    times.sort();
    ms(times[TURNS / 2])
}

/// The kernel's own account, in its own words.
fn peak_memory(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().into())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
