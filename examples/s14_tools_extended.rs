//! # s14: every change of a file can be undone
//!
//! A model that edits files makes wrong edits, and finds out later, or never. Git helps with what
//! was committed; the hour of work before the wrong edit was not. And an edit of five files that
//! fails at the third leaves a program that nobody wanted.
//!
//! ```text
//! call ──> effect? ── Writes(paths) ──> keep what is there ──> fsync ──> run ──> record ──> diff
//!            │             ▲                 │
//!            │             │            .rungs/s14_tools_extended/
//!            │         revert is a        objects/9f/86d081...  contents, named by SHA-256
//!            │         call, too          steps.jsonl           who, when, files before and after
//!            └─ anything else ──> run
//! ```
//!
//! New here: a layer in `act` that asks what a call will write (`Effect::Writes`), keeps what is
//! there, content and mode or the fact that there is no file, and only then lets the call run: a
//! **write-ahead** snapshot. So no list of tools is kept, and a tool that comes later is covered
//! too. Each such call is a **step**, and each prompt that wrote something a **turn**; `revert`
//! undoes a file, a step, or all back to a turn. A revert is a call that writes, so what it
//! replaces is kept as well: it can be reverted, and work that somebody did by hand meanwhile is
//! not lost. `multi_edit` changes several places in several files or none; `notebook_edit` changes
//! the cells of a Jupyter notebook. The person sees of every change a **unified diff**.
//!
//! Terms: **write-ahead**, **content-addressed storage**, **undo log**, **all or none**
//! (atomicity), **unified diff**, **optimistic concurrency control**.
//!
//! Run it: `cargo run --example s14_tools_extended`
//!
//! You will see a wrong edit and its diff, the revert that undoes it, an edit of two files of which
//! one does not fit, so that neither is changed, and a notebook whose cell loses its old outputs.
//!
//! Try, and predict first:
//! 1. Type `:snapshots`, then `:revert turn 1`, then `:revert`. What do the files hold after each?
//! 2. Run it with `-- --keep`, leave it, and start the program again in the folder that stays, with
//!    a live model, or with `ANTHROPIC_API_KEY=none`: `:revert turn 1` asks no model. What does the
//!    new process know?
//! 3. Ask for a change that is made with `sed -i`. What can `:revert` do about it, and what git?
//!
//! Pitfalls: what commands change passes no snapshot, and no list of commands would be complete;
//! `list_snapshots` says so, and what git knows. A file of more than 50 MB is not kept, so a call
//! that would write it is refused. Snapshots hold whatever the files hold, secrets too: the folder
//! is closed to other users and to the tools.
//!
//! A product also takes a snapshot of the whole tree before a command (in a shadow repository, or
//! with a file system that has snapshots), and rewinds conversation and files together.
//!
//! Builds on s13. Motto: *More hands, but every touch is reversible.*

use lessons::{Stage, s01_loop::agent_loop, s13_streaming};
use rungs_core::{
    Agent, Block, Chat, Context, Effect, Error, Layer, Message, NextAct, NextTurn, Reply, Result,
    Tool, ToolCall, ToolError, ToolOutput, ToolResult, ToolSpec, paths,
};
use rungs_files::{
    CellEdit, Changed, FileEdit, ReadTracker, edit_files, edit_notebook, unified_diff,
};
use rungs_snapshots::{Author, Begun, Contents, Limits, Reverted, Selection, Store, uncommitted};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};

/// How many steps one listing shows, and how many characters of a prompt.
const MAX_LISTED_STEPS: usize = 30;
const MAX_PROMPT_CHARS: usize = 60;

/// The layer: a snapshot before each call that writes.
pub struct Snapshots {
    store: Store,
    /// One call at a time, children's too: or a step would record what another call did.
    writing: tokio::sync::Mutex<()>,
    turn: Mutex<Turn>,
}

/// What the person asked for last. Its number is given when something is written.
#[derive(Clone, Default)]
struct Turn {
    prompt: String,
    id: Option<u64>,
}

/// The step that a call belongs to: a value of that call.
struct StepId(u64);

impl Snapshots {
    fn new_turn(&self, prompt: &str) {
        let prompt = prompt.lines().next().unwrap_or_default();
        let prompt = prompt.chars().take(MAX_PROMPT_CHARS).collect();
        *self.turn.lock().unwrap() = Turn { prompt, id: None };
    }

    async fn begin(
        &self,
        call: &ToolCall,
        files: Vec<PathBuf>,
        cx: &Context,
    ) -> Result<Begun, ToolError> {
        let Turn { prompt, id } = self.turn.lock().unwrap().clone();
        let author = Author { agent: cx.name().into(), tool: call.name.clone(), prompt };
        let store = self.store.clone();
        let begun =
            blocking(cx, move |cx| Ok(store.begin(&paths::root(cx)?, id, &author, &files)?))
                .await?;
        self.turn.lock().unwrap().id = Some(begun.turn);
        Ok(begun)
    }

    /// What the call has changed, as the person sees it.
    async fn end(&self, begun: Begun, cx: &Context) -> Result<String, ToolError> {
        let store = self.store.clone();
        blocking(cx, move |cx| {
            let root = paths::root(cx)?;
            let changed = store.end(&root, begun)?;
            Ok(changed.iter().map(|changed| diff(root.path(), changed)).collect())
        })
        .await
    }
}

fn diff(root: &Path, Contents { path, before, after }: &Contents) -> String {
    let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    unified_diff(&name, before.as_deref(), after.as_deref())
}

impl Layer for Snapshots {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        // What a child writes belongs to the turn of whoever it works for.
        if cx.is_child() {
            return next.run(chat, cx).await;
        }
        self.new_turn(next.prompt().typed().next().unwrap_or_default());
        let end = next.run(chat, cx).await;
        let written = self.turn.lock().unwrap().id;
        if let (Err(_), Some(turn)) = (&end, written) {
            cx.notice(format!("what was written stays; `:revert turn {turn}` undoes it"));
        }
        end
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if !matches!(cx.effect(&call), Effect::Writes(_)) {
            return next.run(call, cx).await;
        }
        let _alone = self.writing.lock().await;
        // Only now it is certain what a revert will write.
        let Effect::Writes(files) = cx.effect(&call) else { return next.run(call, cx).await };
        let begun = match self.begin(&call, files, cx).await {
            Ok(begun) => begun,
            Err(error) => {
                return call.refuse(format!("not run, since no snapshot is kept: {}", error.0));
            }
        };
        let step = begun.id;
        let result = next.run(call, &cx.with(StepId(step))).await;
        match self.end(begun, cx).await {
            Ok(diff) if !diff.is_empty() => cx.show_result(diff),
            Ok(_) => {}
            Err(error) => {
                cx.notice(format!("what step {step} has left is not recorded: {}", error.0));
            }
        }
        result
    }
}

/// Work that waits for the disk. It is not stopped when the call is dropped.
async fn blocking<T: Send + 'static>(
    cx: &Context,
    work: impl FnOnce(&Context) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let cx = cx.clone();
    tokio::task::spawn_blocking(move || work(&cx)).await?
}

/// The tool `revert`. It writes, so what it replaces passes the layer, too.
struct Revert(Store);

const REVERT: &str = "Puts files back to what they were before `write`, `edit`, `multi_edit`, \
    `notebook_edit` or an earlier `revert` changed them. Without arguments it undoes the newest \
    step; with `file_path` alone, the newest step of that file. What is there now is kept first, \
    so a revert can be reverted. What commands (bash) change is not covered. Read a file again \
    before you go on.";

impl Tool for Revert {
    type Input = Selection;

    fn spec(&self) -> ToolSpec {
        ToolSpec { description: REVERT.into(), ..ToolSpec::of::<Selection>("revert") }
    }

    fn effect(&self, input: &Selection) -> Effect {
        if let Some(file) = &input.file_path {
            return Effect::Writes(vec![file.into()]);
        }
        let plan = input.range().and_then(|range| self.0.plan(range, None, None));
        // Without a plan the call fails, and nothing is written.
        Effect::Writes(plan.map(|plan| plan.paths()).unwrap_or_default())
    }

    async fn call(&self, input: Selection, cx: &Context) -> Result<ToolOutput, ToolError> {
        let own = cx.value::<StepId>().map(|own| own.0);
        let store = self.0.clone();
        blocking(cx, move |cx| revert(&store, &input, own, cx).map(ToolOutput::from)).await
    }
}

fn revert(
    store: &Store,
    input: &Selection,
    own: Option<u64>,
    cx: &Context,
) -> Result<String, ToolError> {
    let file = input.file_path.as_deref().map(|path| paths::locate(cx, path)).transpose()?;
    let plan = store.plan(input.range()?, file.as_deref(), own)?;
    let reverted = store.revert(&paths::root(cx)?, &plan)?;
    for file in reverted.iter().filter(|file| file.is_done() && file.is_changed_since) {
        cx.notice(file.to_string());
    }
    let mut lines: Vec<String> = reverted.iter().map(Reverted::to_string).collect();
    if !reverted.iter().any(Reverted::is_done) {
        lines.push("nothing had to be undone".into());
    } else if let Some(own) = own {
        lines.push(format!("step {own} keeps what was there: reverting it undoes this"));
    }
    Ok(lines.join("\n"))
}

/// The other tools.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Lists the changes that can be undone, by turn and step, the newest first, and what git knows
    /// of other changes.
    ListSnapshots {
        /// Only those of this file.
        file_path: Option<String>,
    },
    /// Makes several edits in one file or in several, in their order: all of them or, if one does
    /// not fit, none. Each is as `edit` makes it, in the text that the edits before it have left.
    MultiEdit {
        /// At least one.
        edits: Vec<FileEdit>,
    },
    /// Changes one cell of a Jupyter notebook (.ipynb) that was read, and clears its outputs. Cells
    /// are counted from 1, as `read` shows them.
    NotebookEdit(CellEdit),
}

fn effect(call: &Call) -> Effect {
    match call {
        Call::ListSnapshots { .. } => Effect::Reads,
        Call::MultiEdit { edits } => {
            Effect::Writes(edits.iter().map(|edit| (&edit.file_path).into()).collect())
        }
        Call::NotebookEdit(edit) => Effect::Writes(vec![(&edit.file_path).into()]),
    }
}

async fn run(store: &Store, call: Call, cx: &Context) -> Result<String, ToolError> {
    let store = store.clone();
    blocking(cx, move |cx| work(&store, call, cx)).await
}

fn work(store: &Store, call: Call, cx: &Context) -> Result<String, ToolError> {
    let read = cx.state::<ReadTracker>();
    let changed = match call {
        Call::ListSnapshots { file_path } => return listing(store, file_path.as_deref(), cx),
        Call::MultiEdit { edits } if edits.is_empty() => {
            return Err(ToolError("`edits` is empty".into()));
        }
        Call::MultiEdit { edits } => edit_files(&paths::root(cx)?, &read, &edits)?,
        Call::NotebookEdit(edit) => vec![edit_notebook(&paths::root(cx)?, &read, &edit)?],
    };
    Ok(changed.into_iter().map(|changed| note(cx, changed)).collect::<Vec<_>>().join("\n"))
}

/// The model knows the file that it has changed itself.
fn note(cx: &Context, changed: Changed) -> String {
    if let Some(stamp) = changed.stamp {
        cx.update(|read: &mut ReadTracker| read.note(changed.path, stamp));
    }
    changed.message
}

fn listing(store: &Store, file: Option<&str>, cx: &Context) -> Result<String, ToolError> {
    let file = file.map(|path| paths::locate(cx, path)).transpose()?;
    let root = paths::root(cx)?;
    let listed = store.listing(&root, file.as_deref(), MAX_LISTED_STEPS)?;
    let git = uncommitted(root.path()).unwrap_or("git keeps no history here".into());
    Ok(format!("{listed}not covered: what commands (bash) change. {git}"))
}

/// Adds the mechanism, which keeps its snapshots in this store.
pub fn install(agent: Agent, store: Store) -> Agent {
    for notice in store.take_notices() {
        agent.context().notice(notice);
    }
    let (writing, turn) = Default::default();
    let layer = Arc::new(Snapshots { store: store.clone(), writing, turn });
    let (of_command, listed) = (layer.clone(), store.clone());
    agent
        .tools(store.clone(), effect, run)
        .tool(Revert(store))
        .wrap_shared(layer)
        .command("snapshots", "the changes that can be undone", async move |_, file, cx| {
            let file_path = Some(file.trim().to_owned()).filter(|file| !file.is_empty());
            let text = run(&listed, Call::ListSnapshots { file_path }, cx).await;
            cx.notice(text.unwrap_or_else(|error| error.0));
            Ok(())
        })
        .command("revert", "[STEP | turn N] [FILE] undoes it", async move |chat, args, cx| {
            let args = args.trim();
            let selection = Selection::parse(args);
            if let Err(error) = &selection {
                cx.notice(error.to_string());
            }
            let Ok(selection) = selection else { return Ok(()) };
            of_command.new_turn(&format!(":revert {args}"));
            // Through every layer, as if the model had called it: so what is there is kept.
            let call =
                ToolCall { id: "revert".into(), name: "revert".into(), input: json!(selection) };
            let result = cx.agent.act(vec![call]).await;
            tell(chat, &result);
            Ok(())
        })
}

/// The model learns what the person has put back.
fn tell(chat: &mut Chat, results: &Message) {
    for block in &results.content {
        if let Block::ToolResult { content, is_error: false, .. } = block {
            let text: String = content.iter().filter_map(Block::as_text).collect();
            let text = format!("[the person has reverted changes]\n{text}");
            chat.push(Message::inserted("snapshots", text));
        }
    }
}

/// The agent of lesson 13, with snapshots.
pub fn main() -> ExitCode {
    let build = async |stage: &Stage| {
        let store = Store::open(&stage.state().await?, Limits::default()).map_err(Error::other)?;
        Ok(install(s13_streaming::install(stage.agent()), store))
    };
    lessons::run("s14_tools_extended", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s04_subagent,
        testing::{Play, inserted, play, results},
    };
    use rehearsal::{Scene, Turn as Reply, call, calls, say, scene};
    use rungs_core::tools;
    use serde_json::Value;
    use std::fs;

    fn open(dir: &Path) -> Store {
        let state = durable::Folder::open(dir, ".rungs/s14_tools_extended").unwrap();
        Store::open(&state, Limits::default()).unwrap()
    }

    async fn files(scenes: impl IntoIterator<Item = Scene>) -> Play {
        play(scenes, |agent, dir| {
            fs::write(dir.join("a"), "one\n").unwrap();
            fs::write(dir.join("b"), "one\n").unwrap();
            install(tools::all(agent), open(dir))
        })
        .await
    }

    fn edit(file: &str, old: &str, new: &str) -> Value {
        json!({"file_path": file, "old_string": old, "new_string": new})
    }

    fn text(play: &Play, file: &str) -> String {
        fs::read_to_string(play.dir.path().join(file)).unwrap()
    }

    async fn command(play: &Play, chat: &mut Chat, name: &str, args: &str) -> Vec<String> {
        play.ui.take();
        play.agent.run_command(name, args, chat).await.unwrap().unwrap();
        play.ui.take()
    }

    #[tokio::test]
    async fn a_wrong_edit_is_shown_and_undone_and_the_undoing_too() {
        let turns = [
            call("edit", edit("a", "one", "two")),
            call("revert", json!({})),
            call("revert", json!({"step": 2})),
            say("x"),
        ];
        let play = files([scene("^go$", turns)]).await;
        let (_, chat) = play.ask("go").await;
        assert_eq!(text(&play, "a"), "two\n");
        let there = "--- a\n+++ a\n@@ -1 +1 @@\n-one\n+two\n";
        let back = "--- a\n+++ a\n@@ -1 +1 @@\n-two\n+one\n";
        let shown: Vec<String> =
            play.ui.take().into_iter().filter(|line| line.contains("result")).collect();
        assert_eq!(shown, [there, back, there].map(|diff| format!("main: result {diff}")));
        assert_eq!(
            results(&chat.messages()[4]),
            ["a is as it was before step 1\nstep 2 keeps what was there: reverting it undoes this"]
        );
    }

    #[tokio::test]
    async fn after_a_restart_another_process_undoes_all_since_a_turn() {
        let both = calls([
            ("edit", edit("a", "one", "two")),
            ("write", json!({"file_path": "new/c", "content": "c\n"})),
        ]);
        let more = call("edit", edit("a", "two", "three"));
        let play = files([scene("^first$", [both, say("x")]), scene("^more$", [more, say("x")])]);
        let play = play.await;
        play.ask("first").await;
        play.ask("more").await;
        let Play { dir, agent, ui, server } = play;
        drop(agent);
        // Nothing is left but what is on the disk.
        let (client, _server) = lessons::rehearse(rehearsal::script([])).await.unwrap();
        let agent = Agent::new(client, dir.path()).ui(ui.clone());
        let play = Play { agent: install(tools::all(agent), open(dir.path())), dir, ui, server };
        let mut chat = Chat::default();
        let listed = command(&play, &mut chat, "snapshots", "").await;
        let expected = "main: notice turn 2: more\n  step 3: edit a, just now\nturn 1: first\n  \
                        step 2: write new/c (new), just now\n  step 1: edit a, just now\nnot \
                        covered: what commands (bash) change. git keeps no history here";
        assert_eq!(listed, [expected]);
        command(&play, &mut chat, "revert", "turn 2").await;
        assert_eq!(text(&play, "a"), "two\n");
        command(&play, &mut chat, "revert", "turn 1").await;
        assert_eq!(
            (text(&play, "a").as_str(), play.dir.path().join("new").exists()),
            ("one\n", false)
        );
        let told = inserted(&chat, "snapshots");
        assert!(
            told[1].contains("a is as it was before step 1; undone with it: steps 3, 4"),
            "{told:?}"
        );
        let failed = command(&play, &mut chat, "revert", "99").await;
        assert_eq!(failed[1], "main: result there is no step 99, or its snapshots were removed");
        assert_eq!(inserted(&chat, "snapshots").len(), 2);
    }

    #[tokio::test]
    async fn several_edits_are_made_or_none() {
        let edits = |last: &str| {
            let edits = [edit("a", "one", "two"), edit("a", "two", "2"), edit("b", last, "three")];
            json!({ "edits": edits })
        };
        let turns =
            [call("multi_edit", edits("nothing")), call("multi_edit", edits("one")), say("x")];
        let play = files([scene("^go$", turns)]).await;
        let (_, chat) = play.ask("go").await;
        let refused = &results(&chat.messages()[2])[0];
        assert!(refused.starts_with("edit 3 of 3: b: it has not been read, and"), "{refused}");
        assert!(refused.ends_with("(none of the 3 edits was made)"), "{refused}");
        assert_eq!((text(&play, "a"), text(&play, "b")), ("2\n".into(), "three\n".into()));
        // The one that was refused is no step, and uses up no number.
        let mut chat = Chat::default();
        let listed = command(&play, &mut chat, "snapshots", "").await;
        assert!(
            listed[0].contains("turn 1: go\n  step 1: multi_edit a, b, just now\nnot"),
            "{listed:?}"
        );
        command(&play, &mut chat, "revert", "b").await;
        assert_eq!((text(&play, "a"), text(&play, "b")), ("2\n".into(), "one\n".into()));
    }

    #[tokio::test]
    async fn what_a_subagent_writes_belongs_to_the_turn_and_is_undone_with_it() {
        let task = json!({"tasks": [{"description": "edit", "prompt": "edit it"}]});
        let scenes = [
            scene("^go$", [call("edit", edit("b", "one", "two")), call("task", task), say("x")]),
            scene("^edit it$", [call("edit", edit("a", "one", "two")), say("done")]),
        ];
        let play = play(scenes, |agent, dir| {
            fs::write(dir.join("a"), "one\n").unwrap();
            fs::write(dir.join("b"), "one\n").unwrap();
            s04_subagent::install(install(tools::all(agent), open(dir)))
        })
        .await;
        play.ask("go").await;
        assert_eq!((text(&play, "a"), text(&play, "b")), ("two\n".into(), "two\n".into()));
        let mut chat = Chat::default();
        let listed = command(&play, &mut chat, "snapshots", "").await.concat();
        assert!(listed.contains("turn 1: go\n  step 2: edit a, by main/"), "{listed}");
        command(&play, &mut chat, "revert", "turn 1").await;
        assert_eq!((text(&play, "a"), text(&play, "b")), ("one\n".into(), "one\n".into()));
    }

    #[tokio::test]
    async fn a_revert_that_has_nothing_to_do_says_so() {
        let turns = [call("edit", edit("a", "one", "two")), call("revert", json!({})), say("x")];
        let play = files([scene("^go$", turns)]).await;
        let (_, mut chat) = play.ask("go").await;
        let said = command(&play, &mut chat, "revert", "turn 1 a").await;
        let nothing = "main: result a was as before step 1 already\nnothing had to be undone";
        assert_eq!(said[1], nothing);
        let said = command(&play, &mut chat, "revert", "turn").await.concat();
        assert!(said.starts_with("main: notice `turn` names no step and no turn"), "{said}");
    }

    #[tokio::test]
    async fn what_cannot_be_shown_can_be_written_and_no_name_is_file_and_folder() {
        let write = json!({"file_path": "n.ipynb", "content": "{\"cells\": []}"});
        let edits = json!({"edits": [edit("q", "", "x"), edit("q/r", "", "x")]});
        let turns = [
            call("read", json!({"file_path": "n.ipynb"})),
            call("write", write),
            call("multi_edit", edits),
            say("x"),
        ];
        let play = files([scene("^go$", turns)]).await;
        fs::write(play.dir.path().join("n.ipynb"), "{\"cells\": [").unwrap();
        let (_, chat) = play.ask("go").await;
        let said: Vec<String> = [2, 4, 6].map(|i| results(&chat.messages()[i]).concat()).into();
        assert!(said[0].contains("this is no notebook"), "{said:?}");
        assert_eq!(said[1], "replaced n.ipynb: 1 line");
        let clash = "q/r: together with q it cannot be: one name would be a file and a folder";
        assert!(said[2].contains(clash), "{said:?}");
        assert!(!play.dir.path().join("q").exists());
    }

    #[tokio::test]
    async fn what_a_withdrawn_prompt_has_written_can_still_be_undone() {
        let refused = say("x").fault(json!({"status": 400, "times": "always"}));
        let turns = [call("edit", edit("a", "one", "two")), refused];
        let play = files([scene("^go$", turns)]).await;
        let mut chat = Chat::default();
        play.run(&mut chat, "go").await.unwrap_err();
        let said = play.ui.take();
        let notice = "main: notice what was written stays; `:revert turn 1` undoes it";
        assert!(said.iter().any(|line| line == notice), "{said:?}");
        command(&play, &mut chat, "revert", "turn 1").await;
        assert_eq!(text(&play, "a"), "one\n");
    }

    #[tokio::test]
    async fn what_somebody_did_by_hand_or_by_a_command_is_said_and_kept() {
        let turns = [
            call("edit", edit("a", "one", "two")),
            call("bash", json!({"command": "echo by hand > a"})),
            call("revert", json!({"file_path": "a"})),
            call("revert", json!({"file_path": "b"})),
            call("revert", json!({})),
            say("x"),
        ];
        let play = files([scene("^go$", turns)]).await;
        let (_, chat) = play.ask("go").await;
        let line =
            "a is as it was before step 1; something else had changed it since its last step";
        assert_eq!(
            results(&chat.messages()[6]),
            [format!("{line}\nstep 2 keeps what was there: reverting it undoes this")]
        );
        assert!(play.ui.take().contains(&format!("main: notice {line}")));
        let none = &results(&chat.messages()[8])[0];
        assert!(none.contains("there are no snapshots of"), "{none}");
        assert_eq!(text(&play, "a"), "by hand\n");
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_not_written() {
        let write = |path: &str| ("write", json!({"file_path": path, "content": "x"}));
        let turns = [
            calls([write("large"), write("../x"), write("b"), ("revert", json!({"step": 7}))]),
            say("x"),
        ];
        let play = files([scene("^go$", turns)]).await;
        let large = fs::File::create(play.dir.path().join("large")).unwrap();
        large.set_len(rungs_snapshots::MAX_FILE_BYTES + 1).unwrap();
        let (_, chat) = play.ask("go").await;
        let said = results(&chat.messages()[2]);
        assert!(said[0].starts_with("not run, since no snapshot is kept: "), "{said:?}");
        assert!(said[0].contains("large: it has 50000001 bytes"), "{said:?}");
        assert!(said[1].ends_with("x: it is outside the working directory"), "{said:?}");
        assert_eq!(said[2], "b: it exists, and it has not been read; read it first");
        assert_eq!(said[3], "there is no step 7, or its snapshots were removed");
        assert_eq!(
            (large.metadata().unwrap().len(), text(&play, "b").as_str()),
            (50_000_001, "one\n")
        );
        let listed = command(&play, &mut Chat::default(), "snapshots", "").await;
        assert!(listed[0].starts_with("main: notice no snapshots\n"), "{listed:?}");
    }

    #[tokio::test]
    async fn a_cell_is_changed_and_its_outputs_are_cleared() {
        let cell = json!({"cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1,
            "source": ["x"], "outputs": [{"output_type": "error", "ename": "E", "traceback": []}]});
        let notebook = json!({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5});
        let edit = |mode: &str, cell: u8| {
            let path = "n.ipynb";
            json!({"file_path": path, "edit_mode": mode, "cell": cell, "source": "y"})
        };
        let turns: Vec<Reply> = vec![
            call("notebook_edit", edit("replace", 1)),
            call("read", json!({"file_path": "n.ipynb"})),
            call("notebook_edit", edit("replace", 1)),
            call("notebook_edit", edit("insert", 1)),
            say("x"),
        ];
        let play = files([scene("^go$", turns)]).await;
        fs::write(play.dir.path().join("n.ipynb"), notebook.to_string()).unwrap();
        let (_, chat) = play.ask("go").await;
        let said: Vec<String> = [2, 6, 8].map(|i| results(&chat.messages()[i]).concat()).into();
        let unread = "n.ipynb: it has not been read; cells are counted in what `read` shows, so \
                      read it first";
        let done =
            ["n.ipynb: replaced cell 1 of 1", "n.ipynb: inserted cell 2; it has 2 cells now"];
        assert_eq!(said, [unread, done[0], done[1]]);
        let notebook: Value = serde_json::from_str(&text(&play, "n.ipynb")).unwrap();
        let first = json!({"cell_type": "code", "id": "a", "metadata": {}, "execution_count": null,
            "source": ["y"], "outputs": []});
        assert_eq!(notebook["cells"][0], first);
        assert_eq!(notebook["cells"][1]["id"].as_str().unwrap().len(), 8);
    }
}
