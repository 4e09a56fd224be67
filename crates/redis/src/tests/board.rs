use crate::{Server, open_board, testing::PrivateServer};
use rungs_tasks::{Board, Claims, Status, Task};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);

async fn open(server: &PrivateServer) -> Board {
    let server = Server::connect(&server.url(), "blue").await.unwrap();
    open_board(&server).await.unwrap()
}

fn task(subject: &str) -> Task {
    Task { subject: subject.into(), ..Task::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_task_is_claimed_once_and_no_change_is_lost_among_processes() {
    let Some(server) = PrivateServer::start(&["--appendfsync", "no"]) else { return };
    let (tasks, workers) = (40, 4);
    let mut running = vec![];
    for n in 0..workers {
        // Each has a connection of its own, as a process does.
        let board = open(&server).await;
        running.push(tokio::task::spawn_blocking(move || {
            let me = format!("w{n}");
            for _ in 0..tasks / workers {
                board.create(task("x")).unwrap();
            }
            let mut done = vec![];
            while let Some(claimed) = board.claim(&me, LONG).unwrap() {
                board.finish(claimed.token(), &me).unwrap();
                done.push(claimed.id);
            }
            (me, done)
        }));
    }
    let mut owners = BTreeMap::new();
    for worker in running {
        let (me, done) = worker.await.unwrap();
        for id in done {
            assert_eq!(owners.insert(id, me.clone()), None, "#{id} was done twice");
        }
    }
    let board = open(&server).await;
    let all = board
        .blocking(|board| board.look(|tasks| tasks.all().cloned().collect::<Vec<_>>()).unwrap())
        .await;
    assert_eq!(all.len(), tasks);
    // Those that were created when all workers had ended.
    for task in all.into_iter().filter(|task| task.status == Status::Done) {
        assert_eq!((task.owner.as_ref(), task.attempt), (owners.get(&task.id), 1));
    }
}

#[tokio::test]
async fn who_waits_for_the_board_is_woken_by_another_process_and_by_the_end_of_a_lease() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let (ann, lead) = (open(&server).await, open(&server).await);
    let claims = Claims::new(ann, LONG);
    let waiting = tokio::spawn({
        let claims = claims.clone();
        async move { claims.wait().await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    lead.blocking(|board| board.create(task("x"))).await.unwrap();
    timeout(LONG, waiting).await.unwrap().unwrap();
    let lease = Duration::from_millis(700);
    let dead = lead.blocking(move |board| board.claim("bob", lease)).await.unwrap().unwrap();
    // News of the claim may wake it before the lease ends.
    let after_the_lease = async {
        loop {
            claims.wait().await.unwrap();
            if let Some(claim) = claims.claim("ann").await.unwrap() {
                return claim;
            }
        }
    };
    let claim = timeout(LONG, after_the_lease).await.unwrap();
    assert_eq!((claim.task().id, claim.task().attempt), (dead.id, 2));
    let late = lead.blocking(move |board| board.finish(dead.token(), "late")).await.unwrap_err();
    assert!(late.to_string().starts_with("too late: the fencing token of attempt 1"), "{late}");
    claim.finish("fine").await.unwrap();
}

#[tokio::test]
async fn a_board_survives_a_restart_and_puts_back_what_the_server_has_lost() {
    let Some(mut server) = PrivateServer::start(&[]) else { return };
    let board = open(&server).await;
    for subject in ["one", "two"] {
        board.blocking(move |board| board.create(task(subject))).await.unwrap();
    }
    server.restart().unwrap();
    board.blocking(|board| board.create(task("three"))).await.unwrap();
    server.command::<String>(&["FLUSHALL"]);
    let four = board.blocking(|board| board.create(task("four"))).await.unwrap();
    assert_eq!(four.id, 4);
    let other = open(&server).await;
    let subjects = other
        .blocking(|board| {
            board.look(|tasks| tasks.all().map(|task| task.subject.clone()).collect::<Vec<_>>())
        })
        .await
        .unwrap();
    assert_eq!(subjects, ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn many_changes_are_compacted_and_readers_go_on() {
    let Some(server) = PrivateServer::start(&["--appendfsync", "no"]) else { return };
    let board = open(&server).await;
    static CHANGES: AtomicU64 = AtomicU64::new(0);
    board
        .blocking(|board| {
            board.create(task("x")).unwrap();
            for _ in 0..1100 {
                let priority = CHANGES.fetch_add(1, Relaxed) as i64;
                board.update(1, |task| task.priority = priority).unwrap();
            }
        })
        .await;
    let compacted = open(&server).await;
    let length: u64 = server.command(&["XLEN", "rungs:{blue}:board"]);
    assert_eq!(length, 1);
    for board in [board, compacted] {
        let (task, _) =
            board.blocking(|board| board.update(1, |task| task.priority += 1)).await.unwrap();
        assert!(task.priority > 1099, "{task}");
    }
}
