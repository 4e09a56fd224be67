use super::*;
use crate::Status;
use std::{
    fs::File,
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};
use tokio::time::timeout;

/// Long enough that only a wait that never ends takes it.
const FOREVER: Duration = Duration::from_secs(60);
const LASTING: Duration = Duration::from_secs(600);
/// Renewed every ten milliseconds. Nobody else claims in these tests unless it is the point, so
/// that it never matters whether a busy machine renews it in time.
const SHORT: Duration = Duration::from_millis(30);

fn open(dir: &tempfile::TempDir) -> Board {
    Board::open(&durable::Folder::open(dir.path(), "board").unwrap(), "tasks.jsonl").unwrap()
}

fn claims(lease: Duration) -> (tempfile::TempDir, Claims) {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    board.create(Task { subject: "a".into(), ..Task::default() }).unwrap();
    (dir, Claims::new(board, lease))
}

fn task(claims: &Claims) -> Task {
    claims.board().look(|tasks| tasks.get(1).cloned()).unwrap().unwrap()
}

/// The task as a claim left it that was given back.
fn given_back(attempt: u32) -> Task {
    Task { id: 1, subject: "a".into(), attempt, ..Task::default() }
}

/// Polls a future once; it cannot have ended then.
async fn begin(mut future: Pin<&mut impl Future>) {
    assert!(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await);
}

/// Sets the end of the lease, as if time had passed.
fn set_lease_end(board: &Board, lease_end: u64) {
    let set = |tasks: &crate::Tasks| {
        Ok((vec![Task { lease_end: Some(lease_end), ..tasks.get(1)?.clone() }], ()))
    };
    board.change(set).unwrap();
}

#[tokio::test]
async fn a_claim_is_answered_once() {
    let (_dir, claims) = claims(LASTING);
    let claim = claims.claim("ann").await.unwrap().unwrap();
    let seconds = LASTING.as_secs();
    let shown = format!("#1 a: attempt 1 (fencing token), lease {seconds} s");
    assert_eq!(claim.to_string(), shown);
    assert!(claim.is_open());
    assert_eq!(claims.claim("bob").await.unwrap().map(|claim| claim.task().id), None);
    assert_eq!(claim.finish("fine").await.unwrap(), Vec::<u64>::new());
    assert!(!claim.is_open());
    let done = task(&claims);
    assert_eq!((done.status, done.result.as_deref()), (Status::Done, Some("fine")));
    let stale = "too late: the fencing token of attempt 1 is stale; now #1 [done] a, owner ann";
    assert_eq!(claim.finish("again").await.unwrap_err().to_string(), stale);
    assert_eq!(claim.fail("no").await.unwrap_err().to_string(), stale);
    assert_eq!(claim.release().await.unwrap_err().to_string(), stale);
    drop(claim);
    timeout(FOREVER, claims.board().drain()).await.unwrap();
    assert_eq!(task(&claims), done);
}

#[tokio::test]
async fn an_answer_that_is_refused_for_another_reason_leaves_the_claim_open() {
    let (_dir, claims) = claims(LASTING);
    let board = claims.board();
    let new = Task { subject: "b".into(), after: [1].into(), ..Task::default() };
    board.create(new).unwrap();
    claims.claim("ann").await.unwrap().unwrap().finish("fine").await.unwrap();
    let claim = claims.claim("ann").await.unwrap().unwrap();
    board.update(1, |task| task.status = Status::Pending).unwrap();
    assert_eq!(claim.finish("early").await.unwrap_err().to_string(), "#2 waits for #1");
    assert!(claim.is_open());
    claim.fail("must wait").await.unwrap();
    let failures = board.look(|tasks| tasks.get(2).map(|task| task.failures.clone()));
    assert_eq!(failures.unwrap().unwrap(), ["attempt 1 by ann: must wait"]);
}

#[tokio::test]
async fn a_dropped_claim_is_given_back_before_anybody_here_looks() {
    let (_dir, claims) = claims(LASTING);
    for attempt in 1..=20 {
        let claim = claims.claim("ann").await.unwrap().unwrap();
        let clone = claim.clone();
        drop(claim);
        assert_eq!(task(&claims).status, Status::InProgress);
        drop(clone);
        assert_eq!(task(&claims), given_back(attempt));
    }
}

#[tokio::test]
async fn a_dropped_claim_is_given_back_for_other_processes_though_nobody_here_looks() {
    let (dir, claims) = claims(LASTING);
    let other = open(&dir);
    drop(claims.claim("ann").await.unwrap().unwrap());
    timeout(FOREVER, claims.board().drain()).await.unwrap();
    assert_eq!(other.look(|tasks| tasks.get(1).cloned()).unwrap().unwrap(), given_back(1));
}

#[test]
fn without_a_runtime_a_dropped_claim_is_given_back_by_whoever_looks_next() {
    let (dir, claims) = claims(LASTING);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let claim = runtime.block_on(claims.claim("ann")).unwrap().unwrap();
    drop(runtime);
    drop(claim);
    let other = open(&dir);
    let status = |board: &Board| board.look(|tasks| tasks.get(1).unwrap().status).unwrap();
    assert_eq!(status(&other), Status::InProgress);
    assert_eq!((status(claims.board()), status(&other)), (Status::Pending, Status::Pending));
}

#[tokio::test]
async fn what_cannot_be_given_back_now_is_given_back_later_and_hinders_no_look() {
    let (dir, claims) = claims(LASTING);
    let (lock, aside) = (dir.path().join("board/tasks.jsonl.lock"), dir.path().join("aside"));
    let claim = claims.claim("ann").await.unwrap().unwrap();
    // No lock, no write.
    std::fs::rename(&lock, &aside).unwrap();
    std::fs::create_dir(&lock).unwrap();
    drop(claim);
    timeout(FOREVER, claims.board().drain()).await.unwrap();
    assert_eq!(task(&claims).status, Status::InProgress);
    std::fs::remove_dir(&lock).unwrap();
    std::fs::rename(&aside, &lock).unwrap();
    assert_eq!(task(&claims), given_back(1));
}

#[tokio::test]
async fn a_claim_or_an_answer_whose_future_is_dropped_leaves_nothing_half_done() {
    let (dir, claims) = claims(LASTING);
    let lock = File::open(dir.path().join("board/tasks.jsonl.lock")).unwrap();
    // It has begun and cannot end, when it is dropped.
    lock.lock().unwrap();
    let mut claim = Box::pin(claims.claim("ann"));
    begin(claim.as_mut()).await;
    drop(claim);
    lock.unlock().unwrap();
    timeout(FOREVER, claims.board().drain()).await.unwrap();
    assert_eq!(task(&claims), given_back(1));

    let claim = claims.claim("ann").await.unwrap().unwrap();
    lock.lock().unwrap();
    let mut finish = Box::pin(claim.finish("fine"));
    begin(finish.as_mut()).await;
    drop(finish);
    drop(claim);
    lock.unlock().unwrap();
    timeout(FOREVER, claims.board().drain()).await.unwrap();
    assert_eq!((task(&claims).status, task(&claims).attempt), (Status::Done, 2));
}

#[tokio::test]
async fn drain_waits_for_claims_that_are_held() {
    let (_dir, claims) = claims(LASTING);
    let claim = claims.claim("ann").await.unwrap().unwrap();
    let mut drained = pin!(claims.board().drain());
    assert!(timeout(Duration::from_millis(50), &mut drained).await.is_err());
    drop(claim);
    timeout(FOREVER, drained).await.unwrap();
    assert_eq!(task(&claims), given_back(1));
}

#[tokio::test]
async fn a_claim_is_renewed_while_it_is_held_also_after_a_renewal_that_the_disk_refused() {
    let (dir, claims) = claims(SHORT);
    let claim = claims.claim("ann").await.unwrap().unwrap();
    let renewed = async || {
        set_lease_end(claims.board(), 1);
        let is_renewed = |tasks: &crate::Tasks| tasks.get(1).unwrap().lease_end > Some(1);
        claims.board().wait_for(is_renewed).await.unwrap();
    };
    let work = async {
        renewed().await;
        renewed().await;
        let (board, aside) = (dir.path().join("board"), dir.path().join("aside"));
        std::fs::rename(&board, &aside).unwrap();
        tokio::time::sleep(SHORT * 3).await;
        std::fs::rename(&aside, &board).unwrap();
        renewed().await;
        claim.finish("fine").await.unwrap();
        // After the answer it holds no more, and ends nothing.
        tokio::time::sleep(SHORT * 3).await;
    };
    tokio::select! {
        done = timeout(FOREVER, work) => done.unwrap(),
        () = claim.hold() => panic!("nobody has taken it over"),
    }
    assert_eq!((task(&claims).status, task(&claims).lease_end), (Status::Done, None));
}

#[tokio::test]
async fn a_claim_that_was_taken_over_is_lost_and_gives_nothing_back() {
    let (_dir, claims) = claims(SHORT);
    let old = claims.claim("ann").await.unwrap().unwrap();
    // Its process slept past its lease.
    set_lease_end(claims.board(), 1);
    let new = Claims::new(claims.board().clone(), LASTING).claim("bob").await.unwrap().unwrap();
    assert_eq!(new.task().failures, ["attempt 1 by ann: its lease ran out"]);
    let before = task(&claims);
    timeout(FOREVER, old.hold()).await.unwrap();
    assert!(!old.is_open());
    // Asked again it says so at once.
    timeout(FOREVER, old.hold()).await.unwrap();
    let stale = "too late: the fencing token of attempt 1 is stale; now #1 [in_progress] a, owner \
                 bob, attempt 2";
    assert_eq!(old.finish("late").await.unwrap_err().to_string(), stale);
    drop(old);
    assert_eq!(task(&claims), before);
    new.finish("fine").await.unwrap();
}

#[tokio::test]
async fn a_claim_that_does_not_know_that_it_was_taken_over_gives_nothing_back() {
    let (_dir, claims) = claims(LASTING);
    let old = claims.claim("ann").await.unwrap().unwrap();
    set_lease_end(claims.board(), 1);
    let _new = claims.claim("bob").await.unwrap().unwrap();
    let before = task(&claims);
    assert!(old.is_open());
    drop(old);
    assert_eq!(task(&claims), before);
}

#[tokio::test]
async fn a_late_answer_is_refused_and_does_not_end_the_turn_in_which_it_was_given() {
    let (_dir, claims) = claims(SHORT);
    let claim = claims.claim("ann").await.unwrap().unwrap();
    claims.board().update(1, |task| task.status = Status::Pending).unwrap();
    let stale = "too late: the fencing token of attempt 1 is stale; now #1 [pending] a";
    assert_eq!(claim.finish("late").await.unwrap_err().to_string(), stale);
    assert!(!claim.is_open());
    assert!(timeout(SHORT * 3, claim.hold()).await.is_err());
}

#[tokio::test]
async fn an_idle_worker_is_woken_by_a_new_task_and_by_the_end_of_a_lease() {
    let (_dir, claims) = claims(LASTING);
    timeout(FOREVER, claims.wait()).await.unwrap().unwrap();
    let _claim = claims.claim("ann").await.unwrap().unwrap();
    let mut wait = pin!(claims.wait());
    assert!(timeout(Duration::from_millis(50), &mut wait).await.is_err());
    set_lease_end(claims.board(), now() + 100);
    timeout(FOREVER, wait).await.unwrap().unwrap();
    assert_eq!(claims.claim("bob").await.unwrap().unwrap().task().attempt, 2);
}
