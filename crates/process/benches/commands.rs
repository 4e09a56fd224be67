//! What it costs to run a command as a `Process`: `cargo bench -p rungs-process`.
use rungs_process::{Clip, Environment, Process};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const RUNS: u32 = 300;

#[tokio::main]
async fn main() {
    let start = Instant::now();
    for _ in 0..RUNS {
        let mut bare = tokio::process::Command::new("bash");
        bare.args(["--norc", "--noprofile", "-c", ":"]).output().await.expect("bash runs");
    }
    let bare = start.elapsed() / RUNS;
    let supervised = time(":").await;
    let escaped = time("setsid sleep 9 >/dev/null 2>&1 &").await;
    let start = Instant::now();
    let mut clip = Clip::spilling(Arc::default());
    let much = "head -c 200000000 /dev/zero | tr '\\0' x";
    Process::start(much, Path::new("/"), &Environment::default())
        .expect("bash runs")
        .finish(&mut clip)
        .await
        .expect("it ends");
    println!("bash -c :                      {bare:?} bare, {supervised:?} supervised");
    println!("with one that escaped          {escaped:?}");
    println!("200 MB of output, 64 MiB kept  {:?}, {} of memory at most", start.elapsed(), peak());
}

async fn time(command: &str) -> Duration {
    let start = Instant::now();
    for _ in 0..RUNS {
        let mut process =
            Process::start(command, Path::new("/"), &Environment::default()).expect("bash runs");
        process.finish(&mut Clip::default()).await.expect("it ends");
    }
    start.elapsed() / RUNS
}

/// The most memory that this program has used at once, as Linux counts it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("an unknown amount".into(), |kib| kib.trim().to_owned())
}
