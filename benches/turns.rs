//! What the harness itself costs: start to first request, time per turn, memory.
//!
//! `cargo bench --bench turns`: the release build of the first lesson, as a process of its own,
//! before a rehearsal that counts. Nothing is asserted; it prints figures.
use rehearsal::{Script, Server};
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const TURNS: usize = 200;
const STARTS: usize = 20;

fn main() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--example", "s01_loop"]);
    // As in `tests/common`: with these of the benchmark, half of everything would be built twice.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().is_ok_and(|status| status.success()), "the lesson does not build");
    let runtime = tokio::runtime::Runtime::new().unwrap();

    let mut starts: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let server = serve(&runtime, "{say: done}");
            let start = Instant::now();
            lesson(&server).wait().unwrap();
            server.requests()[0].arrived - start
        })
        .collect();
    starts.sort();
    println!(
        "process start to first request, median of {STARTS}: {:.1} ms",
        ms(starts[STARTS / 2])
    );

    let tool = tool_alone();
    println!("the tool alone, bash running `true`, median: {:.2} ms", ms(tool));
    let server = serve(
        &runtime,
        &format!(
            "{{repeat: {TURNS}, call: [{{bash: {{command: 'true'}}}}]}}, \
             {{say: done, delay_ms: 300}}"
        ),
    );
    let mut child = lesson(&server);
    while server.requests().len() <= TURNS {
        std::thread::sleep(Duration::from_millis(5));
    }
    let memory = peak_memory(child.id());
    child.wait().unwrap();
    let seen = server.requests();
    // From the answer of the model to the next request, less the tool: what the harness itself
    // takes.
    let turns = seen.windows(2).map(|pair| pair[1].arrived - pair[0].answered.unwrap());
    let mut turns: Vec<Duration> = turns.map(|turn| turn.saturating_sub(tool)).collect();
    let (all, last) =
        (turns.iter().sum::<Duration>(), turns[TURNS - 10..].iter().sum::<Duration>());
    turns.sort();
    println!(
        "beyond the tool, per turn over {TURNS} turns: mean {:.2} ms, median {:.2} ms; the last \
         ten: {:.2} ms",
        ms(all) / TURNS as f64,
        ms(turns[TURNS / 2]),
        ms(last) / 10.0
    );
    println!("peak memory: {memory}");
}

fn serve(runtime: &tokio::runtime::Runtime, turns: &str) -> Server {
    let script = format!("scenes: [{{when: ., turns: [{turns}]}}]");
    runtime.block_on(Script::parse("bench", &script).unwrap().serve()).unwrap()
}

fn lesson(server: &Server) -> std::process::Child {
    // Cargo has built it beside this program, wherever that is.
    let bench = std::env::current_exe().unwrap();
    let mut command = Command::new(bench.ancestors().nth(2).unwrap().join("examples/s01_loop"));
    command.arg("go").env("RUNGS_PROVIDER", "anthropic").env("ANTHROPIC_BASE_URL", server.url());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn tool_alone() -> Duration {
    let mut times: Vec<Duration> = (0..TURNS)
        .map(|_| {
            let start = Instant::now();
            Command::new("bash").args(["--norc", "--noprofile", "-c", "true"]).status().unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[TURNS / 2]
}

/// The kernel's own account, in its own words.
fn peak_memory(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown on this system".into(), |line| line.trim().into())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
