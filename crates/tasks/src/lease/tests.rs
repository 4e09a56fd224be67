use super::*;
use crate::Status;
use std::sync::{Barrier, Mutex};

/// A lease that lasts, and one that has ended at once.
const LASTING: Duration = Duration::from_secs(600);
const OVER: Duration = Duration::ZERO;

fn open(dir: &tempfile::TempDir) -> Board {
    Board::open(&durable::Folder::open(dir.path(), "").unwrap(), "tasks.jsonl").unwrap()
}

fn board(subjects: &[(&str, i64, &[u64])]) -> (tempfile::TempDir, Board) {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    for (subject, priority, after) in subjects {
        let (subject, after) = (subject.to_string(), after.iter().copied().collect());
        board.create(Task { subject, priority: *priority, after, ..Task::default() }).unwrap();
    }
    (dir, board)
}

fn task(board: &Board, id: u64) -> Task {
    board.look(|tasks| tasks.get(id).cloned()).unwrap().unwrap()
}

fn all(board: &Board) -> Vec<String> {
    board.look(|tasks| tasks.all().map(|task| task.to_string()).collect()).unwrap()
}

/// With what each answer by this token is refused.
fn refused(board: &Board, token: FencingToken) -> [String; 4] {
    let answers = [
        board.renew(token, LASTING),
        board.finish(token, "late").map(drop),
        board.fail(token, "late"),
        board.release(token),
    ];
    answers.map(|answer| answer.unwrap_err().to_string())
}

#[test]
fn the_greatest_priority_that_can_begin_is_claimed_and_what_waits_for_it_comes_after() {
    let (_dir, board) = board(&[("a", 0, &[]), ("b", 9, &[1]), ("c", 5, &[])]);
    let mut order = vec![];
    while let Some(claim) = board.claim("alice", LASTING).unwrap() {
        assert_eq!(task(&board, claim.id), claim);
        order.push((claim.subject.clone(), board.finish(claim.token(), "fine").unwrap()));
    }
    assert_eq!(
        order,
        [("c", vec![]), ("a", vec![2]), ("b", vec![])]
            .map(|(name, freed)| (name.to_string(), freed))
    );
    let done = Task {
        id: 2,
        subject: "b".into(),
        priority: 9,
        after: [1].into(),
        status: Status::Done,
        owner: Some("alice".into()),
        result: Some("fine".into()),
        attempt: 1,
        ..Task::default()
    };
    assert_eq!(task(&board, 2), done);
}

#[test]
fn a_task_is_taken_over_when_its_lease_has_run_out_and_not_when_it_was_renewed() {
    let (_dir, board) = board(&[("a", 0, &[]), ("b", 9, &[])]);
    let [b, a] = ["alice", "carol"].map(|owner| board.claim(owner, LASTING).unwrap().unwrap());
    assert_eq!([a.id, b.id], [1, 2]);
    assert_eq!((board.claimable().unwrap(), board.claim("bob", LASTING).unwrap()), (false, None));
    board.renew(b.token(), OVER).unwrap();
    assert!(board.claimable().unwrap());
    board.renew(b.token(), LASTING).unwrap();
    assert_eq!((board.claimable().unwrap(), board.claim("bob", LASTING).unwrap()), (false, None));
    board.renew(b.token(), OVER).unwrap();
    let taken = board.claim("bob", LASTING).unwrap().unwrap();
    assert_eq!(taken.failures, ["attempt 1 by alice: its lease ran out"]);
    let expected =
        ["#1 [in_progress] a, owner carol", "#2 [in_progress] b, priority 9, owner bob, attempt 2"];
    assert_eq!(all(&board), expected);
}

#[test]
fn every_answer_that_comes_too_late_is_refused_and_changes_nothing() {
    let (_dir, board) = board(&[("a", 0, &[])]);
    let late = board.claim("alice", OVER).unwrap().unwrap();
    let newer = board.claim("bob", LASTING).unwrap().unwrap();
    let too_late = |now: &str| {
        [(); 4].map(|()| format!("too late: the fencing token of attempt 1 is stale; now {now}"))
    };
    let before = task(&board, 1);
    assert_eq!(refused(&board, late.token()), too_late("#1 [in_progress] a, owner bob, attempt 2"));
    assert_eq!(task(&board, 1), before);
    board.finish(newer.token(), "fine").unwrap();
    assert_eq!(refused(&board, late.token()), too_late("#1 [done] a, owner bob, attempt 2"));
    // Also the answer that was accepted is accepted once.
    assert_eq!(
        refused(&board, newer.token())[1],
        "too late: the fencing token of attempt 2 is stale; now #1 [done] a, owner bob, attempt 2"
    );
}

#[test]
fn an_answer_after_the_lease_counts_while_nobody_has_taken_over() {
    let (_dir, board) = board(&[("a", 0, &[])]);
    let late = board.claim("alice", OVER).unwrap().unwrap();
    board.finish(late.token(), "fine").unwrap();
    assert_eq!(all(&board), ["#1 [done] a, owner alice"]);
}

#[test]
fn a_task_that_fails_three_times_is_set_aside_with_the_reasons_until_it_is_pending_again() {
    let (_dir, board) = board(&[("a", 0, &[]), ("b", 0, &[1])]);
    let first = board.claim("alice", LASTING).unwrap().unwrap();
    board.fail(first.token(), "no disk").unwrap();
    board.claim("bob", OVER).unwrap().unwrap();
    let third = board.claim("carol", OVER).unwrap().unwrap();
    let reasons = ["attempt 1 by alice: no disk", "attempt 2 by bob: its lease ran out"];
    assert_eq!(third.failures, reasons);
    // Nobody answers for the third one. Its lease ends, and the next claim sets the task aside.
    assert!(board.claimable().unwrap());
    assert_eq!(board.claim("dave", LASTING).unwrap(), None);
    let aside = task(&board, 1);
    let why = format!(
        "set aside, as it failed 3 times: {}; attempt 3 by carol: its lease ran out",
        reasons.join("; ")
    );
    assert_eq!((aside.status, aside.result.as_deref()), (Status::Failed, Some(why.as_str())));
    assert!(!board.claimable().unwrap());
    assert_eq!(all(&board)[1], "#2 [pending] b, after #1");

    board.update(1, |task| task.status = Status::Pending).unwrap();
    assert!(
        refused(&board, third.token())[1].starts_with("too late: the fencing token of attempt 3 ")
    );
    for attempt in 4..=6 {
        let again = board.claim("erin", LASTING).unwrap().unwrap();
        assert_eq!((again.attempt, again.failures.len()), (attempt, attempt as usize - 4));
        board.fail(again.token(), "no disk").unwrap();
    }
    assert_eq!(task(&board, 1).status, Status::Failed);
}

#[test]
fn a_released_task_has_not_failed_and_its_next_claim_has_a_new_token() {
    let (_dir, board) = board(&[("a", 0, &[])]);
    for attempt in 1..=5 {
        let claim = board.claim("alice", LASTING).unwrap().unwrap();
        board.release(claim.token()).unwrap();
        let expected = Task { id: 1, subject: "a".into(), attempt, ..Task::default() };
        assert_eq!(task(&board, 1), expected);
        assert!(refused(&board, claim.token())[1].contains(" is stale; now "));
    }
}

#[test]
fn a_change_by_hand_ends_the_claim_and_a_task_taken_without_a_lease_stays_with_its_owner() {
    let edits: [fn(&mut Task); 3] = [
        |task| task.status = Status::Done,
        |task| task.status = Status::Pending,
        |task| task.owner = Some("lead".into()),
    ];
    for edit in edits {
        let (_dir, board) = board(&[("a", 0, &[])]);
        let claim = board.claim("alice", LASTING).unwrap().unwrap();
        // An edit of other fields does not end it.
        board.update(1, |task| task.priority = 7).unwrap();
        board.renew(claim.token(), LASTING).unwrap();
        board.update(1, edit).unwrap();
        let before = task(&board, 1);
        assert!(
            refused(&board, claim.token())
                .iter()
                .all(|message| message.starts_with("too late: the fencing token of attempt 1 "))
        );
        assert_eq!(task(&board, 1), before);
    }
    let (_dir, board) = board(&[("a", 0, &[])]);
    board.take_next("alice").unwrap();
    assert_eq!((board.claimable().unwrap(), board.claim("bob", OVER).unwrap()), (false, None));
}

#[test]
fn a_task_whose_dependency_was_opened_again_is_not_taken_over_before_that_is_done() {
    let (_dir, board) = board(&[("a", 0, &[]), ("b", 9, &[1])]);
    let a = board.claim("alice", LASTING).unwrap().unwrap();
    board.finish(a.token(), "fine").unwrap();
    let b = board.claim("alice", OVER).unwrap().unwrap();
    board.update(1, |task| task.status = Status::Pending).unwrap();
    assert_eq!(board.finish(b.token(), "fine").unwrap_err().to_string(), "#2 waits for #1");
    assert_eq!(board.claim("bob", LASTING).unwrap().unwrap().id, 1);
    assert_eq!(all(&board)[1], "#2 [pending] b, priority 9, after #1");
    assert_eq!(task(&board, 2).failures, ["attempt 1 by alice: its lease ran out"]);
}

#[test]
fn sixteen_threads_do_each_task_once() {
    const TASKS: u64 = 500;
    let dir = tempfile::tempdir().unwrap();
    let open = || open(&dir);
    let board = open();
    let new = |id: u64| {
        let after = id.checked_sub(20).filter(|before| *before > 0).into_iter().collect();
        Task { id, subject: format!("task {id}"), after, ..Task::default() }
    };
    board.change(|_| Ok(((1..=TASKS).map(new).collect(), ()))).unwrap();
    let (done, start) = (Mutex::new(vec![]), Barrier::new(16));
    let left = || board.look(|tasks| tasks.all().any(|task| task.status != Status::Done)).unwrap();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let (done, start, left, open) = (&done, &start, &left, &open);
            scope.spawn(move || {
                let (board, owner) = (open(), format!("worker-{n}"));
                start.wait();
                while left() {
                    let Some(claim) = board.claim(&owner, LASTING).unwrap() else {
                        std::thread::yield_now();
                        continue;
                    };
                    board.finish(claim.token(), "fine").unwrap();
                    done.lock().unwrap().push((claim.id, owner.clone()));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort();
    let on_board = board
        .look(|tasks| tasks.all().map(|t| (t.id, t.owner.clone().unwrap())).collect::<Vec<_>>());
    assert_eq!(done, on_board.unwrap());
    assert!(done.iter().map(|(id, _)| *id).eq(1..=TASKS));
}
