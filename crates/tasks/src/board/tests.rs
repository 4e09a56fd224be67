use super::*;
use crate::Status;
use serde_json::json;
use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::Poll,
};

fn task(subject: &str, priority: i64, after: &[u64]) -> Task {
    serde_json::from_value(
        json!({"id": 0, "subject": subject, "priority": priority, "after": after}),
    )
    .unwrap()
}

fn open(dir: &tempfile::TempDir) -> Board {
    Board::open(&Folder::open(dir.path(), "board").unwrap(), "tasks.jsonl").unwrap()
}

fn done(task: &mut Task) {
    task.status = Status::Done;
}

#[test]
fn the_order_follows_from_priorities_and_dependencies() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    for (subject, priority, after) in
        [("a", 0, &[][..]), ("b", 9, &[1]), ("c", 5, &[]), ("d", 0, &[2, 3])]
    {
        board.create(task(subject, priority, after)).unwrap();
    }
    let mut order = vec![];
    while let Some(task) = board.take_next("me").unwrap() {
        assert_eq!((task.status, task.owner.as_deref()), (Status::InProgress, Some("me")));
        let (task, freed) = board.update(task.id, done).unwrap();
        order.push((task.subject, freed));
    }
    let expected = [("c", vec![]), ("a", vec![2]), ("b", vec![4]), ("d", vec![])];
    assert_eq!(order, expected.map(|(subject, freed)| (subject.to_string(), freed)));
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    for after in [&[][..], &[1], &[2]] {
        board.create(task("x", 0, after)).unwrap();
    }
    let before: Vec<Task> = board.look(|state| state.all().cloned().collect()).unwrap();
    let refused = [
        board.create(task("y", 0, &[9])).unwrap_err(),
        board.update(7, done).unwrap_err(),
        board.update(1, |task| task.after = [3].into()).unwrap_err(),
        board.update(2, |task| task.after = [2].into()).unwrap_err(),
        board.update(3, done).unwrap_err(),
        board.create(task("two\n#9 [done] lines", 0, &[])).unwrap_err(),
    ];
    let cycle = "that would be a cycle, and nothing in it could ever begin: ";
    assert_eq!(
        refused.map(|refused| refused.to_string()),
        [
            "there is no task #9".to_string(),
            "there is no task #7".into(),
            format!("{cycle}#1 waits for #3 waits for #2 waits for #1"),
            format!("{cycle}#2 waits for #2"),
            "#3 waits for #2".into(),
            "a subject is one line, and not empty".into(),
        ]
    );
    assert_eq!(board.look(|state| state.all().cloned().collect::<Vec<_>>()).unwrap(), before);
    board.update(1, |task| task.status = Status::Failed).unwrap();
    assert_eq!(board.take_next("me").unwrap(), None);
}

#[test]
fn two_openers_share_one_board_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let boards = [open(&dir), open(&dir), open(&dir)];
    std::thread::scope(|scope| {
        for (n, board) in boards.iter().enumerate() {
            scope.spawn(move || {
                for i in 0..40 {
                    board.create(task("x", 0, &[])).unwrap();
                    let taken = board.take_next(&n.to_string()).unwrap().unwrap();
                    board.update(taken.id, done).unwrap();
                    if i % 10 == 0 {
                        board.compact().unwrap();
                    }
                }
            });
        }
    });
    for board in [&boards[0], &boards[1], &boards[2], &open(&dir)] {
        let all: Vec<Task> = board.look(|state| state.all().cloned().collect()).unwrap();
        assert_eq!(
            all.iter().map(|task| task.id).collect::<Vec<_>>(),
            (1..=120).collect::<Vec<_>>()
        );
        assert!(all.iter().all(|task| task.status == Status::Done && task.owner.is_some()));
    }
}

#[test]
fn a_task_whose_dependency_was_opened_again_can_still_be_edited() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    board.create(task("a", 0, &[])).unwrap();
    board.create(task("b", 0, &[1])).unwrap();
    board.update(1, done).unwrap();
    board.take_next("me").unwrap();
    board.update(1, |task| task.status = Status::Pending).unwrap();
    let (changed, _) = board.update(2, |task| task.result = Some("half".into())).unwrap();
    assert_eq!((changed.result.as_deref(), changed.owner.as_deref()), (Some("half"), Some("me")));
    assert_eq!(board.update(2, done).unwrap_err().to_string(), "#2 waits for #1");
}

#[test]
fn a_file_of_many_changes_is_compacted_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    board.create(task("a", 0, &[])).unwrap();
    let many: Vec<Task> =
        (0..1100).map(|n| Task { id: 1, priority: n, ..task("a", 0, &[]) }).collect();
    board.change(|_| Ok((many.clone(), ()))).unwrap();
    let lines =
        || std::fs::read_to_string(dir.path().join("board/tasks.jsonl")).unwrap().lines().count();
    assert_eq!(lines(), 1102);
    let priority = |board: &Board| board.look(|state| state.get(1).unwrap().priority).unwrap();
    assert_eq!((priority(&open(&dir)), lines(), priority(&board)), (1099, 2, 1099));
}

#[test]
fn damage_is_set_aside_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    for subject in ["a", "b", "c"] {
        board.create(task(subject, 0, &[])).unwrap();
    }
    drop(board);
    let file = dir.path().join("board/tasks.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"b\"", "\"x\"", 1)).unwrap();
    let board = open(&dir);
    let notices = board.take_notices();
    let aside = file.with_extension("jsonl.damaged-1");
    let expected = format!(
        "{}:3: wrong checksum; 2 records kept, 1 lost; what was found is in {}",
        file.display(),
        aside.display()
    );
    assert_eq!((notices, board.take_notices()), (vec![expected], vec![]));
    let left = board.look(|state| state.all().map(|task| task.id).collect::<Vec<_>>()).unwrap();
    assert_eq!(left, [1, 3]);
    let mut kept = std::fs::read_dir(dir.path().join("board")).unwrap().map(|e| e.unwrap().path());
    let kept = kept.find(|path| path.to_string_lossy().contains("damaged")).unwrap();
    assert!(std::fs::read_to_string(kept).unwrap().contains("\"x\""));
}

/// Long enough that only a wait that never ends takes it.
const FOREVER: Duration = Duration::from_secs(60);

fn all_done(tasks: &Tasks) -> bool {
    tasks.all().all(|task| task.status == Status::Done)
}

#[tokio::test]
async fn a_wait_ends_by_a_change_here_and_by_one_of_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    // Another opening of the file sends no signal, as another process sends none.
    for changed_by in [board.clone(), open(&dir)] {
        let id = board.create(task("a", 0, &[])).unwrap().id;
        let mut wait = pin!(board.wait_for(all_done));
        assert!(timeout(Duration::from_millis(50), &mut wait).await.is_err(), "it ended early");
        changed_by.blocking(move |board| board.update(id, done)).await.unwrap();
        timeout(FOREVER, wait).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_change_in_this_process_wakes_whoever_waits_without_a_poll() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    board.create(task("a", 0, &[])).unwrap();
    let (changed_by, first) = (board.clone(), AtomicBool::new(true));
    // The change comes as early as it can: while the first look holds the board.
    let wait = board.wait_polling(FOREVER * 60, move |tasks| {
        if first.swap(false, Relaxed) {
            let board = changed_by.clone();
            std::thread::spawn(move || board.update(1, done).unwrap());
        }
        all_done(tasks)
    });
    timeout(FOREVER, wait).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_board_that_cannot_be_read_ends_the_wait_with_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let board = open(&dir);
    std::fs::rename(dir.path().join("board"), dir.path().join("aside")).unwrap();
    let error = timeout(FOREVER, board.wait_for(|_| false)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("/board was moved or replaced"), "{error}");
}

#[tokio::test]
async fn what_was_begun_on_a_blocking_thread_runs_to_its_end_and_drain_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = Folder::open(dir.path(), "").unwrap();
    let board = Board::open_async(&state, "tasks.jsonl").await.unwrap();
    let (begin, may_begin) = std::sync::mpsc::channel();
    let mut create = Box::pin(board.blocking(move |board| {
        may_begin.recv().unwrap();
        board.create(task("a", 0, &[])).unwrap()
    }));
    assert!(poll_fn(|cx| Poll::Ready(create.as_mut().poll(cx).is_pending())).await);
    drop(create);
    begin.send(()).unwrap();
    timeout(FOREVER, board.drain()).await.unwrap();
    assert_eq!(board.look(|tasks| tasks.all().len()).unwrap(), 1);
}

#[test]
fn what_the_board_knows_is_put_back_when_the_file_is_gone_or_older() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board/tasks.jsonl");
    let board = open(&dir);
    board.create(task("a", 0, &[])).unwrap();
    let older = std::fs::read(&file).unwrap();
    board.create(task("b", 0, &[1])).unwrap();
    let all = || board.look(|tasks| tasks.all().cloned().collect::<Vec<_>>()).unwrap();
    let before = all();
    let changes: [(&str, &dyn Fn()); 4] = [
        ("the file was removed", &|| std::fs::remove_file(&file).unwrap()),
        ("the file was cut off", &|| std::fs::write(&file, &older).unwrap()),
        ("the file was replaced", &|| {
            std::fs::write(file.with_extension("new"), &older).unwrap();
            std::fs::rename(file.with_extension("new"), &file).unwrap();
        }),
        ("the file was removed", &|| std::fs::remove_dir_all(dir.path().join("board")).unwrap()),
    ];
    for (what, change) in changes {
        change();
        assert_eq!(all(), before, "{what}");
        let notices = board.take_notices();
        assert!(notices.len() == 1 && notices[0].contains(what), "{what}: {notices:?}");
        let again = open(&dir).look(|tasks| tasks.all().cloned().collect::<Vec<_>>()).unwrap();
        assert_eq!(again, before, "{what}");
    }
}

#[test]
fn tasks_can_be_viewed_while_the_file_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board/tasks.jsonl");
    let board = open(&dir);
    board.create(task("a", 0, &[])).unwrap();
    std::fs::rename(&file, file.with_extension("aside")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    let (count, error) = board.view(|tasks| tasks.all().len());
    let expected = "tasks.jsonl is a symbolic link, which is not followed; nothing was read or \
                    written there";
    assert_eq!((count, error.unwrap().to_string().ends_with(expected)), (1, true));
    assert!(board.create(task("b", 0, &[])).is_err() && board.look(|_| ()).is_err());
    std::fs::remove_file(&file).unwrap();
    board.create(task("b", 0, &[])).unwrap();
    assert_eq!(open(&dir).look(|tasks| tasks.all().len()).unwrap(), 2);
}

#[test]
fn of_what_others_have_made_of_an_older_file_new_tasks_are_kept_and_changes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board/tasks.jsonl");
    let board = open(&dir);
    board.create(task("a", 0, &[])).unwrap();
    let older = std::fs::read(&file).unwrap();
    board.update(1, done).unwrap();
    std::fs::write(&file, older).unwrap();
    let other = open(&dir);
    other.take_next("bob").unwrap();
    other.create(task("b", 0, &[])).unwrap();
    let now = board.look(|tasks| tasks.all().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(now.unwrap(), ["#1 [done] a", "#2 [pending] b"]);
    let notices = board.take_notices();
    assert_eq!(
        notices[1],
        "what others had made of #1 in the version that was set aside is not used"
    );
}

#[test]
fn a_board_without_a_task_that_others_wait_for_stays_usable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board/tasks.jsonl");
    let board = open(&dir);
    for (subject, after) in [("a", &[][..]), ("lost", &[]), ("c", &[2])] {
        board.create(task(subject, 0, after)).unwrap();
    }
    drop(board);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("lost", "tsol", 1)).unwrap();
    let board = open(&dir);
    let waits_for = |tasks: &Tasks| tasks.blockers(tasks.get(3).unwrap());
    assert_eq!(board.look(waits_for).unwrap(), [2]);
    assert_eq!(board.update(2, done).unwrap_err().to_string(), "there is no task #2");
    board.update(3, |task| task.after.clear()).unwrap();
    assert_eq!(board.take_next("me").unwrap().unwrap().id, 1);
    assert_eq!(board.take_next("me").unwrap().unwrap().id, 3);
}
