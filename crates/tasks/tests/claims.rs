//! Processes claim the tasks of one board while they are killed: no task is finished twice, and
//! none is lost.
//!
//! The short form is the default. `LONG=1 cargo test --test claims -- --nocapture` runs the long
//! one. The processes are this test program again: `claimer` below, which learns from the
//! environment which one it is.
use durable::{Folder, Journal};
use rungs_tasks::{Board, BoardError, Status, Task, TaskError};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const FOLDER: &str = "RUNGS_TEST_FOLDER";
const NAME: &str = "RUNGS_TEST_NAME";

const LEASE: Duration = Duration::from_millis(250);
const TIME_LIMIT: Duration = Duration::from_secs(240);

/// How much is done.
struct Form {
    tasks: u64,
    processes: usize,
    kills: usize,
}

const SHORT: Form = Form { tasks: 1_500, processes: 8, kills: 40 };
const LONG: Form = Form { tasks: 10_000, processes: 16, kills: 200 };

/// A process that claims until everything is done.
struct Claimer(Child);

impl Claimer {
    fn start(folder: &Path, name: &str) -> Claimer {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["claimer", "--exact", "--ignored", "--test-threads=1"])
            .env(FOLDER, folder)
            .env(NAME, name);
        Claimer(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Claimer {
    fn drop(&mut self) {
        let _ = self.0.kill(); // By SIGKILL. It may have ended by itself.
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "the other test starts it as a process"]
fn claimer() {
    let (Some(folder), Ok(name)) = (env::var_os(FOLDER), env::var(NAME)) else { return };
    let folder = Path::new(&folder);
    let board = Board::open(&Folder::open(folder, "").unwrap(), "tasks.jsonl").unwrap();
    let mut log = File::create_new(folder.join(format!("{name}.log"))).unwrap();
    // One line in one write, so that a kill leaves it whole or not at all.
    let mut record = |what: &str, task: &Task| {
        log.write_all(format!("{what} {} {}\n", task.id, task.attempt).as_bytes()).unwrap();
    };
    let all_done = |board: &Board| {
        board.look(|tasks| tasks.all().all(|task| task.status == Status::Done)).unwrap()
    };
    loop {
        let Some(task) = board.claim(&name, LEASE).unwrap() else {
            if all_done(&board) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        record("claimed", &task);
        // The work. Without it, hardly any process would hold a task when it is killed.
        thread::sleep(Duration::from_micros(fastrand::u64(..3_000)));
        let finish = || board.finish(task.token(), "fine").map(|_| "finished");
        // Some are given back, some take longer than their lease, some are renewed. A task waits
        // for the one 100 before it, so every 49th, not every 50th: they must not wait for each
        // other.
        let answer = match (task.attempt, task.id % 49) {
            (1, 0) => board.release(task.token()).map(|()| "released"),
            (1, 1) => {
                thread::sleep(LEASE * 2);
                finish()
            }
            (_, 2..5) => board.renew(task.token(), LEASE).and_then(|()| finish()),
            _ => finish(),
        };
        match answer {
            Ok(what) => record(what, &task),
            Err(BoardError::Task(TaskError::Stale { .. })) => record("refused", &task),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn no_task_is_finished_twice_and_none_is_lost_while_processes_are_killed() {
    let long = env::var("LONG").is_ok_and(|value| value == "1");
    let Form { tasks, processes, kills } = if long { LONG } else { SHORT };
    let start = Instant::now();
    // In memory where possible: what a kill leaves does not depend on the disk, and nobody waits
    // for its flushes.
    let memory =
        Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir()).map(Path::to_path_buf);
    let folder = tempfile::tempdir_in(memory.unwrap_or_else(env::temp_dir)).unwrap();
    let state = Folder::open(folder.path(), "").unwrap();
    let board = Board::open(&state, "tasks.jsonl").unwrap();
    let new = |id: u64| {
        let after = id.checked_sub(100).filter(|before| *before > 0).into_iter().collect();
        Task { id, subject: format!("task {id}"), after, ..Task::default() }
    };
    board.change(|_| Ok(((1..=tasks).map(new).collect(), ()))).unwrap();

    // Who finished a task, by the journal, change by change.
    let mut finished: BTreeMap<u64, Task> = BTreeMap::new();
    let (mut journal, _) = Journal::<Task>::open(&state, "tasks.jsonl").unwrap();
    let mut names = (1..).map(|n| format!("claimer-{n}"));
    let mut begin = || Claimer::start(folder.path(), &names.next().unwrap());
    let mut claimers: Vec<Claimer> = (0..processes).map(|_| begin()).collect();
    let (mut killed, mut set_aside) = (0, 0);
    while finished.len() < tasks as usize {
        assert!(start.elapsed() < TIME_LIMIT, "{} are done, {killed} were killed", finished.len());
        thread::sleep(Duration::from_micros(fastrand::u64(..5_000)));
        for task in journal.read_new().unwrap().records {
            if let Some(before) = finished.get(&task.id) {
                assert_eq!(*before, task, "done, and then changed");
            } else if task.status == Status::Done {
                finished.insert(task.id, task);
            } else if task.status == Status::Failed {
                // Its holder was killed three times, which can happen.
                board.update(task.id, |task| task.status = Status::Pending).unwrap();
                set_aside += 1;
            }
        }
        // Spread over the whole work, however long it takes.
        while killed < kills && finished.len() >= killed * tasks as usize / kills {
            claimers[fastrand::usize(..processes)] = begin();
            killed += 1;
        }
    }
    for claimer in &mut claimers {
        assert!(claimer.0.wait().unwrap().success());
    }
    assert_eq!(killed, kills);

    let on_board: BTreeMap<u64, Task> =
        board.look(|tasks| tasks.all().map(|task| (task.id, task.clone())).collect()).unwrap();
    assert!(on_board == finished && on_board.keys().copied().eq(1..=tasks));
    // What the processes recorded: (task, attempt, process).
    let mut recorded: BTreeMap<String, Vec<(u64, u32, String)>> = BTreeMap::new();
    for n in 1..=processes + kills {
        let name = format!("claimer-{n}");
        // One that was killed before it had a board has no log.
        let log =
            fs::read_to_string(folder.path().join(&name).with_extension("log")).unwrap_or_default();
        for line in log.lines() {
            let [what, id, attempt] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line:?}")
            };
            let entry = (id.parse().unwrap(), attempt.parse().unwrap(), name.clone());
            recorded.entry(what.into()).or_default().push(entry);
        }
    }
    let claimed: BTreeSet<_> =
        recorded["claimed"].iter().map(|(id, attempt, _)| (id, attempt)).collect();
    assert_eq!(claimed.len(), recorded["claimed"].len(), "two held the same attempt");
    for (id, attempt, who) in &recorded["finished"] {
        let task = &on_board[id];
        assert_eq!(
            (task.attempt, task.owner.as_ref()),
            (*attempt, Some(who)),
            "#{id} was finished twice"
        );
    }
    let handled: BTreeSet<_> = recorded["finished"].iter().map(|(id, ..)| id).collect();
    assert_eq!(handled.len(), recorded["finished"].len(), "two finished the same task");
    for (id, attempt, _) in &recorded["refused"] {
        assert!(on_board[id].attempt > *attempt, "#{id} was refused though nobody took it over");
    }
    // Only killed processes can have finished a task without a record of it.
    assert!((tasks as usize - kills..=tasks as usize).contains(&recorded["finished"].len()));
    let takeovers: usize = on_board.values().map(|task| task.failures.len()).sum();
    assert!(takeovers > 0 && !recorded["refused"].is_empty() && !recorded["released"].is_empty());
    println!(
        "{tasks} tasks by {processes} processes, {killed} killed: {:.1?}; {takeovers} takeovers, \
         {} late answers refused, {} released, {set_aside} set aside and made pending again",
        start.elapsed(),
        recorded["refused"].len(),
        recorded["released"].len(),
    );
}
