//! # s07: tasks that wait for each other
//!
//! The plan of s03 lives in one conversation and is gone with it. Work that takes days needs a board that outlives it:
//! tasks on disk, which wait for each other, which several agents (and, from s11 on, several processes) take from, and
//! which no crash may lose.
//!
//! New here: state on disk. The board is a journal, a file to which each change is appended, flushed and only then
//! believed. Whoever changes something holds the lock, first reads what others have written, decides, and appends; so two
//! processes never decide on old news. The crate `durable` does the writing; this file decides what is written.
//!
//! Run it: `cargo run --example s07_task_system`
//!
//! You will see a goal broken into four tasks, one of them refused because it would wait for itself, and the board
//! saying at each step what can be done next.
//!
//! Try: run it with `--keep`, and look at `.rungs/s07_task_system/tasks.jsonl` in the folder that stays.
//!
//! Builds on s01. Motto: *Break big goals into small tasks, order them, persist them.*

use durable::{Journal, Update};
use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Context, Error, Output, Result, Tool, ToolError, ToolSpec, tools::args};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
};

pub use rungs_tasks::{Refused, Status, Task, Tasks, list};

/// Why the board did not do what it was asked.
#[derive(Debug)]
pub enum Trouble {
    /// It makes no sense.
    Refused(Refused),
    /// The file can't be read or written.
    Disk(durable::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused(refused) => write!(f, "{refused}"),
            Trouble::Disk(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Trouble::Refused(refused)
    }
}

impl From<durable::Error> for Trouble {
    fn from(error: durable::Error) -> Self {
        Trouble::Disk(error)
    }
}

/// The board: the same one for whoever opens the same file, in whichever process.
#[derive(Clone)]
pub struct Board(Arc<Mutex<(Journal<Task>, Tasks)>>);

impl Board {
    /// Opens the board in this file, or begins it; with a word about what was found damaged and set aside.
    pub fn open(file: &Path) -> Result<(Board, Option<String>), Trouble> {
        let opened = match Journal::open(file) {
            // What stands before the damage goes on; the damaged file itself is kept.
            Err(durable::Error::Damaged { .. }) => Journal::salvage(file),
            other => other,
        };
        let (journal, news) = opened?;
        let (mut tasks, read) = (Tasks::default(), news.records.len());
        let word = take_in(&mut tasks, news);
        let lean = read <= 1000 + 2 * tasks.all().len();
        let board = Board(Arc::new(Mutex::new((journal, tasks))));
        if !lean {
            // Most of its lines tell what has changed again since.
            board.compact()?;
        }
        Ok((board, word))
    }

    /// Looks at the board as it is now. Blocks, as everything here does: call it from a blocking thread.
    pub fn look<T>(&self, look: impl FnOnce(&Tasks) -> T) -> Result<T, Trouble> {
        let (journal, tasks) = &mut *self.0.lock().unwrap();
        let news = journal.read_new()?;
        take_in(tasks, news);
        Ok(look(tasks))
    }

    /// Changes the board: `decide` sees it as it is, with all others kept out, and says which tasks change. `Ok` means
    /// that the change is on the disk.
    pub fn change<T>(
        &self,
        decide: impl FnOnce(&Tasks) -> Result<(Vec<Task>, T), Trouble>,
    ) -> Result<T, Trouble> {
        let (journal, tasks) = &mut *self.0.lock().unwrap();
        let (mut held, news) = journal.lock()?;
        take_in(tasks, news);
        let (changed, told) = decide(tasks)?;
        held.append_all(&changed)?;
        changed.into_iter().for_each(|task| tasks.set(task));
        Ok(told)
    }

    /// Writes the file anew with each task once; others notice by themselves.
    pub fn compact(&self) -> Result<(), Trouble> {
        let (journal, tasks) = &mut *self.0.lock().unwrap();
        let (mut held, news) = journal.lock()?;
        take_in(tasks, news);
        Ok(held.compact(tasks.all())?)
    }

    /// Adds a task.
    pub fn create(&self, task: Task) -> Result<Task, Trouble> {
        self.change(|tasks| {
            let task = tasks.created(task)?;
            Ok((vec![task.clone()], task))
        })
    }

    /// Takes the most urgent task that can begin, for `owner`: nobody else gets it.
    pub fn take_next(&self, owner: &str) -> Result<Option<Task>, Trouble> {
        self.change(|tasks| {
            let taken = tasks.taken(owner);
            Ok((taken.iter().cloned().collect(), taken))
        })
    }

    /// Changes one task; gives it, and the tasks that can begin because of it.
    pub fn update(
        &self,
        id: u64,
        edit: impl FnOnce(&mut Task),
    ) -> Result<(Task, Vec<u64>), Trouble> {
        self.change(|tasks| {
            let (task, freed) = tasks.updated(id, edit)?;
            Ok((vec![task.clone()], (task, freed)))
        })
    }
}

/// Takes in what others have written; gives a word about what was set aside.
fn take_in(tasks: &mut Tasks, news: Update<Task>) -> Option<String> {
    if news.reset {
        *tasks = Tasks::default();
    }
    news.records.into_iter().for_each(|task| tasks.set(task));
    news.quarantined.map(|aside| aside.to_string())
}

/// A verb of the board, as a tool: what the model is told, and what is done.
struct Verb {
    spec: ToolSpec,
    run: fn(&Board, Value, &str) -> Result<String, ToolError>,
    board: Board,
}

impl Tool for Verb {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        let (run, board, who) = (self.run, self.board.clone(), cx.name().to_string());
        Ok(tokio::task::spawn_blocking(move || run(&board, input, &who)).await??.into())
    }
}

/// Adds the mechanism: the five verbs of this board.
pub fn install(agent: Agent, board: &Board) -> Agent {
    let word = |what: &str| json!({"type": "string", "description": what});
    let number = |what: &str| json!({"type": "integer", "description": what});
    let ids = json!({"type": "array", "items": {"type": "integer"}, "description": "Tasks that must be done before."});
    let status = json!({"type": "string", "enum": ["pending", "in_progress", "done", "failed"]});
    let listed = board.clone();
    let verb = |name, description, fields: Value, required: &[&str], run| {
        let schema = json!({"type": "object", "properties": fields, "required": required});
        Verb { spec: ToolSpec::new(name, description, schema), run, board: board.clone() }
    };
    agent
        .tool(verb(
            "task_create",
            "Adds a task to the board.",
            json!({"subject": word("What is to be done, in a line."), "description": word("All that whoever does it must know."),
                "priority": number("The greater, the sooner; 0 unless given."), "after": ids}),
            &["subject"],
            create,
        ))
        .tool(verb("task_list", "Lists the tasks, or those of one status.", json!({"status": status}), &[], show))
        .tool(verb("task_get", "Shows one task with everything.", json!({"id": number("Its number.")}), &["id"], get))
        .tool(verb(
            "task_update",
            "Changes a task. Set it to done or failed, with a result, when it is over.",
            json!({"id": number("Its number."), "status": status, "result": word("What came of it."), "owner": word("Who works on it."),
                "priority": number("The greater, the sooner."), "after": ids}),
            &["id"],
            update,
        ))
        .tool(verb("task_next", "Takes the most urgent task that can be begun, and begins it.", json!({}), &[], next))
        .command("tasks", "lists the board", async move |_, _, cx| {
            let board = listed.clone();
            let shown = tokio::task::spawn_blocking(move || show(&board, json!({}), "")).await.map_err(Error::other)?;
            cx.notice(shown.unwrap_or_else(|error| error.0));
            Ok::<(), Error>(())
        })
}

#[derive(Deserialize)]
struct Create {
    subject: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    after: BTreeSet<u64>,
}

fn create(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    let Create { subject, description, priority, after } = args(input)?;
    let task = Task { subject, description, priority, after, ..Task::default() };
    Ok(format!("created {}", board.create(task)?))
}

fn show(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct List {
        status: Option<Status>,
    }
    let List { status } = args(input)?;
    let lines: Vec<String> = board.look(|state| {
        let wanted = |task: &&Task| status.is_none_or(|status| task.status == status);
        state.all().filter(wanted).take(MOST + 1).map(|task| task.to_string()).collect()
    })?;
    Ok(match lines.len() {
        0 => "There are none.".into(),
        n if n > MOST => format!("{}\n... more follow", lines[..MOST].join("\n")),
        _ => lines.join("\n"),
    })
}

/// How many tasks one listing shows.
const MOST: usize = 200;

fn get(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct Get {
        id: u64,
    }
    let Get { id } = args(input)?;
    let (task, open) =
        board.look(|state| state.get(id).map(|task| (task.clone(), state.open(task))))??;
    let mut text = format!("{task}\n{}", task.description);
    if !open.is_empty() {
        text.push_str(&format!("\nwaits for {}", list(&open)));
    }
    task.result.iter().for_each(|result| text.push_str(&format!("\nresult: {result}")));
    Ok(text)
}

fn update(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct Update {
        id: u64,
        status: Option<Status>,
        result: Option<String>,
        owner: Option<String>,
        priority: Option<i64>,
        after: Option<BTreeSet<u64>>,
    }
    let asked: Update = args(input)?;
    let (task, freed) = board.update(asked.id, |task| {
        task.status = asked.status.unwrap_or(task.status);
        task.priority = asked.priority.unwrap_or(task.priority);
        task.after = asked.after.unwrap_or_else(|| std::mem::take(&mut task.after));
        task.result = asked.result.or(task.result.take());
        task.owner = asked.owner.or(task.owner.take());
    })?;
    Ok(match freed.is_empty() {
        true => task.to_string(),
        false => format!("{task}\nnow {} can begin", list(&freed)),
    })
}

fn next(board: &Board, input: Value, who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct Next {}
    let Next {} = args(input)?;
    Ok(match board.take_next(who)? {
        Some(task) => format!("{task}\n{}", task.description),
        None => {
            match board.look(|state| {
                (state.all().len(), state.all().filter(|t| t.status != Status::Done).count())
            })? {
                (0, _) => "The board is empty.".into(),
                (_, 0) => "Everything is done.".into(),
                (_, left) => format!(
                    "Nothing can be begun; in progress, failed or waiting for others: {left}."
                ),
            }
        }
    })
}

/// The agent of lesson one, with a board.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = stage.agent();
        let (board, word) =
            Board::open(&stage.state().join("tasks.jsonl")).map_err(Error::other)?;
        word.into_iter().for_each(|word| agent.context().notice(word));
        Ok(install(agent, &board))
    };
    lessons::run("s07_task_system", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::Chat;

    fn task(subject: &str, priority: i64, after: &[u64]) -> Task {
        serde_json::from_value(
            json!({"id": 0, "subject": subject, "priority": priority, "after": after}),
        )
        .unwrap()
    }

    fn open(dir: &tempfile::TempDir) -> Board {
        Board::open(&dir.path().join("board/tasks.jsonl")).unwrap().0
    }

    fn done(task: &mut Task) {
        task.status = Status::Done;
    }

    #[test]
    fn order_follows_from_priority_and_from_what_waits() {
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
    fn what_makes_no_sense_is_refused_and_changes_nothing() {
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
        let circle = "that would be a circle, and nothing in it could ever begin: ";
        assert_eq!(
            refused.map(|refused| refused.to_string()),
            [
                "there is no task #9".to_string(),
                "there is no task #7".into(),
                format!("{circle}#1 waits for #3 waits for #2 waits for #1"),
                format!("{circle}#2 waits for #2"),
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
    fn a_task_whose_dependency_was_taken_up_again_can_still_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let board = open(&dir);
        board.create(task("a", 0, &[])).unwrap();
        board.create(task("b", 0, &[1])).unwrap();
        board.update(1, done).unwrap();
        board.take_next("me").unwrap();
        board.update(1, |task| task.status = Status::Pending).unwrap();
        let (changed, _) = board.update(2, |task| task.result = Some("half".into())).unwrap();
        assert_eq!(
            (changed.result.as_deref(), changed.owner.as_deref()),
            (Some("half"), Some("me"))
        );
        assert_eq!(board.update(2, done).unwrap_err().to_string(), "#2 waits for #1");
    }

    #[test]
    fn a_file_of_many_changes_is_written_anew_when_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let board = open(&dir);
        board.create(task("a", 0, &[])).unwrap();
        let many = (0..1100).map(|n| Task { id: 1, priority: n, ..task("a", 0, &[]) }).collect();
        board.change(|_| Ok((many, ()))).unwrap();
        let lines = || {
            std::fs::read_to_string(dir.path().join("board/tasks.jsonl")).unwrap().lines().count()
        };
        assert_eq!(lines(), 1101);
        let priority = |board: &Board| board.look(|state| state.get(1).unwrap().priority).unwrap();
        assert_eq!((priority(&open(&dir)), lines(), priority(&board)), (1099, 1, 1099));
    }

    #[test]
    fn damage_is_set_aside_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let board = open(&dir);
        for subject in ["a", "b", "c"] {
            board.create(task(subject, 0, &[])).unwrap();
        }
        drop(board);
        let file = dir.path().join("board/tasks.jsonl");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("\"b\"", "\"x\"", 1)).unwrap();
        let (board, word) = Board::open(&file).unwrap();
        let word = word.unwrap();
        assert!(
            word.contains("tasks.jsonl:2: wrong checksum") && word.contains("quarantined in"),
            "{word}"
        );
        assert_eq!(board.look(|state| state.all().len()).unwrap(), 1);
        let mut kept =
            std::fs::read_dir(dir.path().join("board")).unwrap().map(|e| e.unwrap().path());
        let kept = kept.find(|path| path.to_string_lossy().contains("damaged")).unwrap();
        assert!(std::fs::read_to_string(kept).unwrap().contains("\"x\""));
    }

    #[tokio::test]
    async fn the_model_works_the_board() {
        let dir = tempfile::tempdir().unwrap();
        let (client, _server) = lessons::rehearse(
            "scenes: [{when: ^go$, turns: [
                {call: [{task_create: {subject: a}}, {task_create: {subject: b, after: [1]}}, {task_next: {}}, {task_next: {}},
                        {task_update: {id: 1, status: done, result: fine}}, {task_get: {id: 1}}, {task_list: {status: pending}},
                        {task_update: {id: 1, state: done}}]},
                {say: \"{{ results | map(attribute='text') | join(' | ') }}\"}]}]",
        )
        .await
        .unwrap();
        let agent = install(Agent::new(client, dir.path()), &open(&dir));
        let text = agent_loop(&agent, &mut Chat::new("go")).await.unwrap().text();
        assert_eq!(
            text.split(" | ").collect::<Vec<_>>(),
            [
                "created #1 [pending] a",
                "created #2 [pending] b, after #1",
                "#1 [in_progress] a, owner main\n",
                "Nothing can be begun; in progress, failed or waiting for others: 2.",
                "#1 [done] a, owner main\nnow #2 can begin",
                "#1 [done] a, owner main\n\nresult: fine",
                "#2 [pending] b, after #1",
                "there is no field `state`",
            ]
        );
    }
}
