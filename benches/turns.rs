//! What the harness itself costs: start to first request, time per turn, memory; of the first
//! lesson, which has no layer, and of `full`, which has them all.
//!
//! `cargo bench --bench turns`: release builds, each as a process of its own, before a rehearsal
//! that counts. Nothing is asserted; it prints figures. With `LONG=1` a conversation of 5,000 turns
//! follows (some minutes), whose last turns are set against its first ones.
use rehearsal::{ReceivedRequest, Script, Server};
use rungs_process::{Clip, Environment, Process};
use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const TURNS: usize = 200;
const LONG_TURNS: usize = 5_000;
const STARTS: usize = 20;
/// A process for each call, whose time is taken off, and a tool that takes nearly none.
const BASH: &str = "{bash: {command: 'echo {{ n }}'}}";
const READ: &str = "{read: {file_path: 'f{{ n }}'}}";
const LESSONS: [&str; 2] = ["s01_loop", "full"];

fn main() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release"]);
    cargo.args(LESSONS.iter().flat_map(|lesson| ["--example", lesson]));
    // As in `tests/common`: with these of the benchmark, half of everything would be built twice.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().is_ok_and(|status| status.success()), "the lessons do not build");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tool = runtime.block_on(alone("echo 1"));
    println!("the tool alone, `bash` running `echo`, median: {:.2} ms", ms(tool));
    let hook = ms(runtime.block_on(alone(&session_hook())));
    println!("the hook alone that `config/hooks.yaml` runs at the start, median: {hook:.2} ms");
    // Folders are kept to the end, and none is where tests keep theirs: where files were just
    // deleted, some file systems create others slowly.
    let mut kept = vec![];
    for name in LESSONS {
        println!("{name}:");
        let folders: Vec<_> = (0..STARTS).map(|_| new_folder()).collect();
        for kind in ["new", "used"] {
            let starts = folders.iter().map(|folder| {
                let server = serve(&runtime, "{say: done}");
                let start = Instant::now();
                lesson(name, &server, 1, folder.path()).wait().unwrap();
                server.requests()[0].arrived - start
            });
            let mut starts: Vec<Duration> = starts.collect();
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
        let calls = if name == "full" { &[BASH, READ][..] } else { &[BASH] };
        for (call, own) in calls.iter().zip([tool, Duration::ZERO]) {
            let (turns, memory) = turns(&runtime, name, TURNS, call, &mut kept);
            let turns = turns.into_iter().map(|(turn, _)| turn.saturating_sub(own));
            let turns: Vec<Duration> = turns.collect();
            let all = turns.iter().sum::<Duration>();
            let mut sorted = turns.clone();
            sorted.sort();
            println!(
                "  {call}, per turn over {TURNS} turns: mean {:.2} ms, median {:.2} ms; the last \
                 ten: {:.2} ms; peak memory: {memory}",
                ms(all) / TURNS as f64,
                ms(sorted[TURNS / 2]),
                ms(turns[TURNS - 10..].iter().sum()) / 10.0
            );
        }
    }
    if std::env::var_os("LONG").is_some() {
        let (turns, memory) = turns(&runtime, "full", LONG_TURNS, READ, &mut kept);
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

/// What each of so many turns takes, from the answer of the model to the next request, and the size
/// of that in bytes. And the peak of memory.
fn turns(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    count: usize,
    call: &str,
    kept: &mut Vec<TempDir>,
) -> (Vec<(Duration, usize)>, String) {
    // Each call is another one, and brings another result: or the agent would be taken for stuck.
    // A prompt may lead to so many turns only.
    let (prompts, of_prompt) = (count.div_ceil(TURNS), count.min(TURNS));
    let calls = format!("{{repeat: {of_prompt}, call: [{call}]}}");
    let server = serve(runtime, &format!("{calls}, {{say: done, delay_ms: 300}}"));
    let folder = new_folder();
    for n in 0..=TURNS {
        std::fs::write(folder.path().join(format!("f{n}")), n.to_string()).unwrap();
    }
    let mut child = lesson(name, &server, prompts, folder.path());
    let (mut seen, mut memory): (Vec<ReceivedRequest>, _) = (vec![], String::new());
    // The request that ends it is answered late, so that the process is still there.
    while seen.len() < count + prompts {
        std::thread::sleep(Duration::from_millis(50));
        memory = peak_memory(child.id()).unwrap_or(memory);
        // The server remembers the newest ones only.
        let last = seen.last().map(|seen| seen.arrived);
        let new = server.requests().into_iter().filter(|new| Some(new.arrived) > last);
        seen.extend(new.take_while(|new| new.answered.is_some()));
    }
    child.wait().unwrap();
    kept.push(folder);
    let turns = seen
        .windows(2)
        .map(|pair| (pair[1].arrived - pair[0].answered.unwrap(), pair[1].bytes))
        .collect();
    (turns, memory)
}

fn serve(runtime: &tokio::runtime::Runtime, turns: &str) -> Server {
    let script = format!("scenes: [{{when: ., turns: [{turns}]}}]");
    runtime.block_on(Script::parse("bench", &script).unwrap().serve()).unwrap()
}

fn new_folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn lesson(name: &str, server: &Server, prompts: usize, folder: &Path) -> Child {
    // Cargo has built it beside this program, wherever that is.
    let bench = std::env::current_exe().unwrap();
    let mut command = Command::new(bench.ancestors().nth(2).unwrap().join("examples").join(name));
    command.current_dir(folder);
    if prompts == 1 {
        command.arg("go");
    }
    command.env("RUNGS_PROVIDER", "anthropic").env("ANTHROPIC_BASE_URL", server.url());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
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

/// What a command takes by itself, as the tool `bash` and hooks run it: watched, and ended with all
/// it starts.
async fn alone(command: &str) -> Duration {
    let mut times = vec![];
    for _ in 0..TURNS {
        let start = Instant::now();
        let mut process =
            Process::start(command, Path::new("/"), &Environment::default()).expect("bash runs");
        process.finish(&mut Clip::default()).await.expect("it ends");
        times.push(start.elapsed());
    }
    times.sort();
    times[TURNS / 2]
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
