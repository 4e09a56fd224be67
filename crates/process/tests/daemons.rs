//! Whatever a command leaves running is gone afterwards, however the command ends.
use rungs_process::{
    Clip, Environment, Process,
    testing::{gone, marker, processes, until},
};
use std::{
    future::Future,
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Each starts `SLEEP` in another way and then ends, unless it waits for something.
const DAEMONS: [(&str, &str); 19] = [
    ("in the background", "SLEEP &"),
    ("holding no pipe", "SLEEP >/dev/null 2>&1 </dev/null &"),
    ("disowned", "SLEEP & disown"),
    ("nohup", "nohup SLEEP >/dev/null 2>&1 &"),
    ("ignoring SIGTERM", "trap '' TERM; SLEEP &"),
    (
        "ignoring all signals that can be ignored",
        "trap '' TERM INT HUP QUIT USR1 USR2; (SLEEP; SLEEP) & disown",
    ),
    ("stopped", "SLEEP & sleep 0.2; kill -STOP $!"),
    ("subshells", "( ( ( SLEEP & ) & ) & )"),
    ("in a pipeline", "SLEEP | cat | cat &"),
    ("a coprocess", "coproc SLEEP"),
    ("in a group of its own", "set -m; SLEEP & disown"),
    ("in a group of its own, without an environment", "set -m; env -i SLEEP & disown"),
    ("in a session of its own", "setsid SLEEP &"),
    (
        "in a session of its own, ignoring SIGTERM",
        "trap '' TERM; setsid SLEEP >/dev/null 2>&1 </dev/null &",
    ),
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
        "in Perl, as a textbook daemon",
        "perl -e 'use POSIX; fork && exit; setsid; fork && exit; open STDOUT, \">/dev/null\"; \
      open STDERR, \">/dev/null\"; close STDIN; chdir \"/\"; system \"SLEEP\"'",
    ),
];

/// The marked processes that run `sleep`, which others got as text only.
fn sleeps(marker: &str) -> usize {
    processes(marker).iter().filter(|line| line.starts_with("sleep ")).count()
}

/// Runs all of these at once, ends each by `end`, and asserts that nothing of any is left.
async fn none_is_left<F: Future<Output = ()> + Send + 'static>(end: fn(Process) -> F, wait: &str) {
    let mut all = JoinSet::new();
    for (name, command) in DAEMONS {
        if cfg!(not(target_os = "linux"))
            && (command.contains("setsid") || command.contains("set -m"))
        {
            continue;
        }
        let marker = marker();
        let command = format!("{}\n{wait}", command.replace("SLEEP", &format!("sleep {marker}")));
        all.spawn(async move {
            let process =
                Process::start(&command, Path::new("/"), &Environment::default()).unwrap();
            if !command.ends_with('\n') {
                assert!(until(|| sleeps(&marker) > 0).await, "{name} never ran");
            }
            end(process).await;
            assert!(gone(&marker).await, "{name}: {:?}", processes(&marker));
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
    // The shell may end before what it started has begun; that is stopped too.
    none_is_left(finish, "").await;
    none_is_left(finish, "sleep 0.5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_it_is_stopped() {
    async fn stop(mut process: Process) {
        process.stop(&mut Clip::default()).await;
    }
    none_is_left(stop, "sleep 100").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_it_is_dropped() {
    async fn drop_it(process: Process) {
        drop(process);
    }
    none_is_left(drop_it, "sleep 100").await;
    none_is_left(drop_it, "trap '' TERM; while :; do sleep 100; done").await;
}

#[tokio::test]
async fn other_commands_are_left_alone() {
    let marker = marker();
    let command = format!("setsid sleep {marker} & setsid --fork sleep {marker}; sleep 100");
    let mut other = Process::start(&command, Path::new("/"), &Environment::default()).unwrap();
    assert!(until(|| sleeps(&marker) == 2).await);
    let mut process =
        Process::start("setsid sleep 100 & exit 0", Path::new("/"), &Environment::default())
            .unwrap();
    process.finish(&mut Clip::default()).await.unwrap();
    assert_eq!(sleeps(&marker), 2);
    other.stop(&mut Clip::default()).await;
    assert!(gone(&marker).await);
}

async fn run(command: &str) -> (ExitStatus, String) {
    let mut clip = Clip::default();
    let status = Process::start(command, Path::new("/"), &Environment::default())
        .unwrap()
        .finish(&mut clip)
        .await
        .unwrap();
    (status, clip.into_text().await)
}

#[tokio::test]
async fn the_result_is_there_soon_after_the_end_of_the_shell() {
    let mut all = JoinSet::new();
    // Without a bound each would delay the result for as long as it runs.
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
            // At most 1.5 seconds are promised; the rest is for a machine under load.
            assert!(start.elapsed() < Duration::from_secs(20), "{command}: {:?}", start.elapsed());
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn it_cannot_ask() {
    let command = "cat; read x; echo \"[$x]\"; (: </dev/tty) 2>/dev/null || echo no terminal; \
                   echo $PAGER $EDITOR";
    let (_, text) = run(command).await;
    assert_eq!(text, "[]\nno terminal\ncat true\n");
}

#[tokio::test]
async fn what_it_prints_while_it_ends_is_read() {
    let mut clip = Clip::default();
    let mut process = Process::start(
        "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done",
        Path::new("/"),
        &Environment::default(),
    )
    .unwrap();
    let up = tokio::time::timeout(Duration::from_millis(300), process.finish(&mut clip)).await;
    assert!(up.is_err());
    process.stop(&mut clip).await;
    let text = clip.into_text().await;
    assert!(text.starts_with("up\n") && text.contains("bye\n"), "{text}");
}

#[test]
fn it_may_be_dropped_after_the_runtime() {
    let marker = marker();
    let command = format!("setsid sleep {marker} & sleep {marker}");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let process = first.block_on(async {
        let process = Process::start(&command, Path::new("/"), &Environment::default()).unwrap();
        assert!(until(|| sleeps(&marker) == 2).await);
        process
    });
    drop(first);
    assert_eq!(sleeps(&marker), 2);
    drop(process);
    assert!(runtime().block_on(gone(&marker)));
}

#[tokio::test]
async fn what_cannot_be_started_blames_what_is_to_blame() {
    let refused = |command: &str, folder: &str, environment: &Environment| {
        Process::start(command, Path::new(folder), environment).unwrap_err().to_string()
    };
    let nul = refused("echo \0", "/", &Environment::default());
    assert_eq!(nul, "the command holds a NUL character, which no command can");
    let missing = refused("true", "/no/such", &Environment::default());
    assert!(missing.starts_with("cannot start bash in /no/such: No such file"), "{missing}");
    let file = refused("true", "/etc/passwd", &Environment::default());
    assert!(file.starts_with("cannot start bash in /etc/passwd: Not a directory"), "{file}");
    let large = Environment::new([("LARGE".into(), "x".repeat(200_000).into())], &[]);
    let too_large = "cannot start bash: the environment has 200007 bytes, more than the system \
                     gives to a program";
    if cfg!(target_os = "linux") {
        assert_eq!(refused("true", "/", &large), too_large);
    }
}
