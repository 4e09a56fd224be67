//! Sixteen processes claim the tasks of one board while they are killed: none is handled twice, none is lost.
//!
//! The processes are this test program again: `claimer` below, told by the environment which one it is.

use durable::Journal;
use lessons::{
    s07_task_system::{Board, Refused, Status, Task, Trouble},
    s11_autonomous_agents::Claims,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const FOLDER: &str = "RUNGS_TEST_FOLDER";
const NAME: &str = "RUNGS_TEST_NAME";

const TASKS: u64 = 10_000;
const CLAIMERS: usize = 16;
const KILLS: usize = 200;
const LEASE: Duration = Duration::from_millis(500);

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

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
#[ignore = "a part of the other test, which starts it as a process"]
fn claimer() {
    let (Some(folder), Ok(name)) = (env::var_os(FOLDER), env::var(NAME)) else { return };
    let folder = Path::new(&folder);
    let (board, _) = Board::open(&folder.join("tasks.jsonl")).unwrap();
    let claims = Claims::new(board.clone(), LEASE);
    let mut log = File::create_new(folder.join(format!("{name}.log"))).unwrap();
    // One line in one write, so that a kill leaves it whole or not at all.
    let mut say = |what: &str, task: &Task| {
        log.write_all(format!("{what} {} {}\n", task.id, task.attempt).as_bytes()).unwrap();
    };
    loop {
        let Some(claim) = claims.claim(&name).unwrap() else {
            let done =
                || board.look(|tasks| tasks.all().all(|task| task.status == Status::Done)).unwrap();
            while !claims.claimable().unwrap() {
                if done() {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
            continue;
        };
        say("claimed", claim.task());
        // Now and then it has to go, or sleeps past its lease, or takes its time and says so.
        let finish = || claims.finish(&claim, "fine").map(|_| "finished");
        let answer = match random(300) {
            0 => claims.release(&claim).map(|()| "released"),
            1 => {
                thread::sleep(LEASE * 2);
                finish()
            }
            2..5 => claims.renew(&claim).and_then(|()| finish()),
            _ => finish(),
        };
        match answer {
            Ok(what) => say(what, claim.task()),
            Err(Trouble::Refused(Refused::Late(..))) => say("refused", claim.task()),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn none_is_handled_twice_and_none_is_lost_while_processes_are_killed() {
    let start = Instant::now();
    // In memory where that can be: what a kill leaves does not depend on the disk, and nobody waits for its flushes.
    let memory =
        Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir()).map(Path::to_path_buf);
    let folder = tempfile::tempdir_in(memory.unwrap_or_else(env::temp_dir)).unwrap();
    let file = folder.path().join("tasks.jsonl");
    let (board, _) = Board::open(&file).unwrap();
    let new = |id: u64| {
        let after = id.checked_sub(100).filter(|before| *before > 0).into_iter().collect();
        Task { id, subject: format!("task {id}"), after, ..Task::default() }
    };
    board.change(|_| Ok(((1..=TASKS).map(new).collect(), ()))).unwrap();

    // Who finished a task, as the journal tells it change by change.
    let mut finished: BTreeMap<u64, Task> = BTreeMap::new();
    let (mut journal, _) = Journal::<Task>::open(&file).unwrap();
    let mut names = (1..).map(|n| format!("claimer-{n}"));
    let mut begin = || Claimer::start(folder.path(), &names.next().unwrap());
    let mut claimers: Vec<Claimer> = (0..CLAIMERS).map(|_| begin()).collect();
    let (mut kills, mut set_aside) = (0, 0);
    while finished.len() < TASKS as usize {
        assert!(
            start.elapsed() < Duration::from_secs(240),
            "{} are done, {kills} were killed",
            finished.len()
        );
        thread::sleep(Duration::from_micros(random(30_000)));
        for task in journal.read_new().unwrap().records {
            if let Some(before) = finished.get(&task.id) {
                assert_eq!(*before, task, "done, and then changed");
            } else if task.status == Status::Done {
                finished.insert(task.id, task);
            } else if task.status == Status::Failed {
                // Three of its holders were killed, which can happen: whoever leads wants it all the same.
                board.update(task.id, |task| task.status = Status::Pending).unwrap();
                set_aside += 1;
            }
        }
        // Spread over the whole work, however long it takes.
        if kills < KILLS && finished.len() >= kills * TASKS as usize / KILLS {
            claimers[random(CLAIMERS as u64) as usize] = begin();
            kills += 1;
        }
    }
    for claimer in &mut claimers {
        assert!(claimer.0.wait().unwrap().success());
    }
    assert_eq!(kills, KILLS);

    let on_board: BTreeMap<u64, Task> =
        board.look(|tasks| tasks.all().map(|task| (task.id, task.clone())).collect()).unwrap();
    assert!(on_board == finished && on_board.keys().copied().eq(1..=TASKS));
    // What the processes know of it: (task, attempt, who).
    let mut told: BTreeMap<String, Vec<(u64, u32, String)>> = BTreeMap::new();
    for n in 1..=CLAIMERS + KILLS {
        let name = format!("claimer-{n}");
        // One that was killed before it had a board has no log.
        let log =
            fs::read_to_string(folder.path().join(&name).with_extension("log")).unwrap_or_default();
        for line in log.lines() {
            let [what, id, attempt] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line:?}")
            };
            let entry = (id.parse().unwrap(), attempt.parse().unwrap(), name.clone());
            told.entry(what.into()).or_default().push(entry);
        }
    }
    let claimed: BTreeSet<_> =
        told["claimed"].iter().map(|(id, attempt, _)| (id, attempt)).collect();
    assert_eq!(claimed.len(), told["claimed"].len(), "two held the same attempt");
    for (id, attempt, who) in &told["finished"] {
        let task = &on_board[id];
        assert_eq!(
            (task.attempt, task.owner.as_ref()),
            (*attempt, Some(who)),
            "#{id} was handled twice"
        );
    }
    let handled: BTreeSet<_> = told["finished"].iter().map(|(id, ..)| id).collect();
    assert_eq!(handled.len(), told["finished"].len(), "two finished the same task");
    for (id, attempt, _) in &told["refused"] {
        assert!(on_board[id].attempt > *attempt, "#{id} was refused though nobody took it over");
    }
    // Only the dead can have finished without a word.
    assert!((TASKS as usize - KILLS..=TASKS as usize).contains(&told["finished"].len()));
    let takeovers: usize = on_board.values().map(|task| task.failures.len()).sum();
    assert!(takeovers > 0 && !told["refused"].is_empty() && !told["released"].is_empty());
    println!(
        "{TASKS} tasks by {CLAIMERS} processes, {kills} killed: {:.1?}; {takeovers} takeovers, {} late answers refused, \
         {} given back, {set_aside} set aside and wanted again",
        start.elapsed(),
        told["refused"].len(),
        told["released"].len(),
    );
}
