//! What a command may leave behind, against every way in which it can end.
use rungs_process::{Clip, Process};
use std::{
    future::Future,
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Each starts `SLEEP` in a way of its own and comes to its end, but for what it waits for.
const DAEMONS: [(&str, &str); 19] = [
    ("in the background", "SLEEP &"),
    ("holding no pipe", "SLEEP >/dev/null 2>&1 </dev/null &"),
    ("disowned", "SLEEP & disown"),
    ("nohup", "nohup SLEEP >/dev/null 2>&1 &"),
    ("deaf to TERM", "trap '' TERM; SLEEP &"),
    (
        "deaf to all that can be ignored",
        "trap '' TERM INT HUP QUIT USR1 USR2; (SLEEP; SLEEP) & disown",
    ),
    ("stopped", "SLEEP & sleep 0.2; kill -STOP $!"),
    ("subshells", "( ( ( SLEEP & ) & ) & )"),
    ("in a pipeline", "SLEEP | cat | cat &"),
    ("a coprocess", "coproc SLEEP"),
    ("in a group of its own", "set -m; SLEEP & disown"),
    ("in a group of its own, without an environment", "set -m; env -i SLEEP & disown"),
    ("in a session of its own", "setsid SLEEP &"),
    ("in a session of its own, deaf", "trap '' TERM; setsid SLEEP >/dev/null 2>&1 </dev/null &"),
    ("forked twice", "(setsid SLEEP >/dev/null 2>&1 </dev/null &) &"),
    ("setsid --fork", "setsid --fork SLEEP >/dev/null 2>&1 </dev/null"),
    (
        "sessions in sessions",
        "setsid bash -c 'setsid bash -c \"setsid SLEEP & SLEEP & wait\" & SLEEP & wait' &",
    ),
    (
        "started again whenever it dies",
        "setsid bash -c 'trap \"\" TERM; while :; do SLEEP; done' >/dev/null 2>&1 &",
    ),
    (
        "in Perl, by the book",
        "perl -e 'use POSIX; fork && exit; setsid; fork && exit; open STDOUT, \">/dev/null\"; \
      open STDERR, \">/dev/null\"; close STDIN; chdir \"/\"; system \"SLEEP\"'",
    ),
];

/// A `sleep` that no other test starts: a day and some seconds.
fn sleep(number: usize) -> String {
    format!("sleep {}.{:06}", 86_400 + number, std::process::id())
}

/// The processes whose command line holds this, but for the shell that was given it as text.
fn running(sleep: &str) -> Vec<String> {
    let listed = std::process::Command::new("ps").args(["-axwwo", "stat=,args="]).output().unwrap();
    let lines = String::from_utf8_lossy(&listed.stdout).into_owned();
    lines
        .lines()
        .filter(|line| line.contains(sleep) && !line.starts_with('Z'))
        .map(String::from)
        .collect()
}

async fn until(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..1000 {
        if done() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Runs every daemon, each ended by `end`, all at once, and wants nothing left of any.
async fn none_is_left<F: Future<Output = ()> + Send + 'static>(
    start: usize,
    end: fn(Process) -> F,
    wait: &str,
) {
    let mut all = JoinSet::new();
    for (number, (name, command)) in DAEMONS.into_iter().enumerate() {
        if cfg!(not(target_os = "linux"))
            && (command.contains("setsid") || command.contains("set -m"))
        {
            continue;
        }
        let sleep = sleep(start + number);
        let command = format!("{}\n{wait}", command.replace("SLEEP", &sleep));
        all.spawn(async move {
            let process = Process::start(&command, Path::new("/")).unwrap();
            if !command.ends_with('\n') {
                assert!(
                    until(|| running(&sleep).iter().any(|line| !line.contains("bash"))).await,
                    "{name} never ran"
                );
            }
            end(process).await;
            assert!(until(|| running(&sleep).is_empty()).await, "{name}: {:?}", running(&sleep));
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_the_command_ends() {
    async fn finish(mut process: Process) {
        process.finish(&mut Clip::default()).await.unwrap();
    }
    // The shell may well be faster than what it starts; that is stopped all the same.
    none_is_left(0, finish, "").await;
    none_is_left(100, finish, "sleep 0.5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_it_is_stopped() {
    async fn stop(mut process: Process) {
        process.stop(&mut Clip::default()).await;
    }
    none_is_left(200, stop, "sleep 100").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_it_is_dropped() {
    async fn drop_it(process: Process) {
        drop(process);
    }
    none_is_left(300, drop_it, "sleep 100").await;
    none_is_left(400, drop_it, "trap '' TERM; while :; do sleep 100; done").await;
}

#[tokio::test]
async fn other_commands_are_left_alone() {
    let mine = sleep(500);
    let command = format!("setsid {mine} & setsid --fork {mine}; sleep 100");
    let mut other = Process::start(&command, Path::new("/")).unwrap();
    assert!(until(|| running(&mine).len() == 2).await);
    let mut process = Process::start("setsid sleep 100 & exit 0", Path::new("/")).unwrap();
    process.finish(&mut Clip::default()).await.unwrap();
    assert_eq!(running(&mine).len(), 2);
    other.stop(&mut Clip::default()).await;
    assert!(until(|| running(&mine).is_empty()).await);
}

async fn run(command: &str) -> (ExitStatus, String) {
    let mut clip = Clip::default();
    let status = Process::start(command, Path::new("/")).unwrap().finish(&mut clip).await.unwrap();
    (status, clip.into_text())
}

#[tokio::test]
async fn the_result_is_there_soon_after_the_shell_has_gone() {
    let mut all = JoinSet::new();
    // Each once held an agent for as long as it ran.
    for command in [
        "sleep 100 & echo hi",
        "trap '' TERM; sleep 100 & echo hi",
        "setsid yes >&2 & echo hi",
        "(trap '' TERM; while :; do echo more; sleep 0.01; done) & echo hi",
    ] {
        all.spawn(async move {
            let start = Instant::now();
            let (status, text) = run(command).await;
            assert!(status.success() && text.contains("hi\n"), "{command}: {text}");
            // Three seconds are promised; the rest is for a machine that does much else.
            assert!(start.elapsed() < Duration::from_secs(20), "{command}: {:?}", start.elapsed());
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn it_can_not_ask() {
    let (_, text) =
        run("cat; read x; echo \"[$x]\"; (: </dev/tty) 2>/dev/null || echo no terminal; echo $PAGER $EDITOR").await;
    assert_eq!(text, "[]\nno terminal\ncat true\n");
}

#[tokio::test]
async fn what_it_says_while_it_ends_is_read() {
    let mut clip = Clip::default();
    let mut process = Process::start(
        "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done",
        Path::new("/"),
    )
    .unwrap();
    let up = tokio::time::timeout(Duration::from_millis(300), process.finish(&mut clip)).await;
    assert!(up.is_err());
    process.stop(&mut clip).await;
    let text = clip.into_text();
    assert!(text.starts_with("up\n") && text.contains("bye\n"), "{text}");
}

#[test]
fn it_may_be_dropped_when_the_runtime_is_gone() {
    let mine = sleep(600);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let process = runtime.block_on(async {
        Process::start(&format!("setsid {mine} & {mine}"), Path::new("/")).unwrap()
    });
    assert!(runtime.block_on(until(|| {
        running(&mine).iter().filter(|line| !line.contains("bash")).count() == 2
    })));
    drop(runtime);
    drop(process);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(until(|| running(&mine).is_empty())));
}
