//! # s17: sessions
//!
//! The terminal is closed, the machine loses its power, the program is killed in the middle of a
//! call: the conversation is gone, and nobody knows what the last command did. So every
//! conversation is saved while it is held, step by step, and can be resumed, forked and rewound.
//!
//! ```text
//!          flushed meanwhile           flush                flushed meanwhile
//! prompt ──────> model ── reply ── call ──┴──> tool ── result ──────> model ...
//!
//! 1 begin ── 2 turn ── 3 prompt ── 4 reply ── 5 turn ── 6 prompt ── 7 reply   head
//!                                     └─ 8 turn ── 9 prompt ...               after a rewind
//!                                     └─ 5' begin of a fork, in its own file
//! ```
//!
//! New here: the conversation is a **path in a tree**. Each record has a parent, and nothing is
//! ever rewritten: a rewind, a compaction and a withdrawn prompt are new branches, a fork is
//! another file that names a record of this one. What is written is the difference between the
//! chat and the path, so the journal follows whatever a layer does to the chat. States are records
//! too, and so they follow the path.
//!
//! It takes two layers. The outermost sees what a turn leaves; the innermost sees what is sent, and
//! each call just before it runs: its intent is on the disk before the tool is.
//!
//! Terms: **write-ahead journal**, **fsync** (a flush), **torn write**, **advisory lock**,
//! **parent pointer**, **copy on write**.
//!
//! Run it: `cargo run --example s17_session_management`
//!
//! You will see a program that is killed in the middle of a call, and what its conversation knows
//! when it is resumed; then a fork, a rewind, and a transcript to hand in.
//!
//! Try, and predict first:
//! 1. Start with `-- --folder .` in two terminals, and `:resume` in the second what the first one
//!    holds. Kill the first with `kill -9`, and try again at once.
//! 2. Cut the last line of a `session.jsonl` in half, then change a letter in the middle of the
//!    file. What does `-- --folder . --continue` say?
//! 3. Let `SessionSteps::ask` not save the reply. What does a resumed conversation know of the call
//!    that ran when the program was killed?
//!
//! Pitfalls: a session is what was said, not what was done: a rewind leaves files as they are. A
//! result that was never saved does not mean that the call did not run, so the model is told that
//! it may have. Keys of this program, and whatever looks like a key, do not reach the disk; what
//! else is secret does, and the files are readable for you only.
//!
//! A product also removes old sessions, names them by itself, and takes files back with the words.
//!
//! Builds on s13. Motto: *Every conversation is saved.*

use lessons::restored::{ENDED, RUNNING, Unknown, restored};
use lessons::{Flag, Stage, s01_loop::agent_loop, s13_streaming};
use rungs_core::{
    Agent, Chat, Context, Error, Event, Layer, Message, NextAct, NextAsk, NextTurn, Reply, Result,
    SavedState, ToolCall, ToolResult,
};
use rungs_sessions::{Begin, Conversation, Current, Now, Redactor, Session, Sessions, Tree};
use std::sync::{Arc, Mutex};
use std::{collections::BTreeMap, process::ExitCode};

/// A conversation, as its file tells it.
type Log = Conversation<Message, SavedState>;
/// The one that an agent holds: a resource, since each has its own, which is closed with it.
type CurrentLog = Current<Message, SavedState>;

/// The sessions of a folder.
pub struct SessionLog {
    sessions: Sessions,
    /// The one that the main agent holds. Its children write beside it.
    root: Mutex<Option<String>>,
}

impl SessionLog {
    /// The sessions in the folder `sessions` of this one. `keys` do not reach the disk.
    ///
    /// # Errors
    /// When there is something of this name that is no folder of ours.
    pub fn open(state: &durable::Folder, keys: Vec<String>) -> Result<Arc<Self>> {
        let folder = state.folder("sessions").map_err(Error::other)?;
        let sessions = Sessions::new(folder, Redactor::new(keys));
        Ok(Arc::new(SessionLog { sessions, root: Mutex::default() }))
    }

    /// Begins `work`, which waits for the disk, on a blocking thread. It is not undone when what
    /// this returns is dropped.
    fn on_disk<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> rungs_sessions::Result<R> + Send + 'static,
    ) -> impl Future<Output = Result<R>> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this));
        async { done.await.map_err(Error::other)?.map_err(Error::other) }
    }

    /// Runs `work` on the file of this conversation.
    async fn with<R: Send + 'static>(
        self: &Arc<Self>,
        id: &str,
        cx: &Context,
        work: impl Fn(&Sessions, &mut Log) -> rungs_sessions::Result<R> + Send + 'static,
    ) -> Result<R> {
        let (current, id, cx) = (cx.resource::<CurrentLog>(), id.to_string(), cx.clone());
        self.on_disk(move |this| {
            current.with(&id, || this.open_file(&id, &cx), |log| work(&this.sessions, log))
        })
        .await
    }

    fn open_file(&self, id: &str, cx: &Context) -> rungs_sessions::Result<(Session, Tree)> {
        let mut root = self.root.lock().unwrap();
        let opened = match &*root {
            Some(root) if cx.is_child() => self.sessions.child(root, id, &begin(cx))?,
            _ => self.sessions.open_or_create(id, &begin(cx))?,
        };
        if !cx.is_child() {
            *root = Some(id.into());
        }
        opened.1.faults.iter().for_each(|fault| cx.emit(Event::Failure(fault.clone())));
        Ok(opened)
    }

    async fn sync(self: &Arc<Self>, chat: &Chat, cx: &Context) -> Result<()> {
        let now = now(chat);
        self.with(chat.id(), cx, move |_, log| log.sync(&now)).await
    }

    /// The session of this name (an id, the begin of one, or a title), to go on with; without a
    /// name the newest that no other process holds.
    ///
    /// # Errors
    /// When there is none, or another process holds it.
    pub async fn resume(self: &Arc<Self>, name: &str, cx: &Context) -> Result<Chat> {
        let name = name.to_string();
        let id = self.on_disk(move |this| this.sessions.find(&name)).await?;
        self.go_on(&id, ENDED, cx).await
    }

    /// The session of this id. `unknown` is what its open calls are told.
    async fn go_on(self: &Arc<Self>, id: &str, unknown: Unknown, cx: &Context) -> Result<Chat> {
        let chat = self.with(id, cx, move |_, log| Ok(restored(log, unknown))).await?;
        // What is known of its open calls is known now only.
        self.sync(&chat, cx).await?;
        let (id, count) = (chat.id(), chat.messages().len());
        cx.notice(format!("session {id} goes on, {count} messages so far; files are as they are"));
        Ok(chat)
    }

    /// A new session that shares the past of the one of this name.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn fork(self: &Arc<Self>, name: &str, cx: &Context) -> Result<Chat> {
        let (name, fork, begin) = (name.to_string(), Chat::default(), begin(cx));
        let id = fork.id().to_string();
        let forked = self.on_disk(move |this| {
            let of = this.sessions.find(&name)?;
            let unknown = if this.sessions.is_in_use(&of)? { RUNNING } else { ENDED };
            let at = this.sessions.read(&of)?.head();
            this.sessions.fork(&of, at, &id, begin)?;
            Ok(unknown)
        });
        self.go_on(fork.id(), forked.await?, cx).await
    }

    /// Takes back so many turns, or all since a saved place; says what was taken back.
    async fn rewind(self: &Arc<Self>, chat: &mut Chat, to: &str, cx: &Context) -> Result<()> {
        self.sync(chat, cx).await?;
        let to = to.to_string();
        let work = move |sessions: &Sessions, log: &mut Log| {
            let turns = log.rewind(sessions, &to)?;
            Ok((restored(log, ENDED), turns))
        };
        let (rewound, turns) = self.with(chat.id(), cx, work).await?;
        *chat = rewound;
        let labels: String = turns.iter().map(|turn| format!("\n  {turn}")).collect();
        cx.notice(format!("taken back, but for what was done to files:{labels}"));
        Ok(())
    }

    /// Writes the transcript of a session into the agent's folder.
    async fn export(self: &Arc<Self>, chat: &Chat, name: &str, cx: &Context) -> Result<()> {
        let (request, mut about) = (cx.request(chat), vec![]);
        about.extend(request.system.iter().map(|text| ("System text".into(), text.to_string())));
        let tools = request.tools.iter();
        about.extend(tools.map(|tool| (format!("Tool {}", tool.name), tool.description.clone())));
        let (name, folder) = (name.to_string(), cx.cwd().to_path_buf());
        let written = self.on_disk(move |this| {
            let folder = durable::Folder::open(folder, "")?;
            this.sessions.export(&this.sessions.find(&name)?, about, &folder)
        });
        let [text, page] = written.await?.map(|path| path.display().to_string());
        cx.notice(format!("written: {text} and {page}; read them before you hand them in"));
        Ok(())
    }
}

fn now(chat: &Chat) -> Now<Message, SavedState> {
    Now { messages: chat.messages().to_vec(), states: chat.saved_states() }
}

fn begin(cx: &Context) -> Begin {
    Begin::new(cx.name(), cx.cwd().display().to_string())
}

/// Outermost, since a turn is over when all layers say so: where it began, and what it left.
struct SessionTurns(Arc<SessionLog>);

impl Layer for SessionTurns {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let (prompt, before) = (next.prompt().text(), now(chat));
        self.0.with(chat.id(), cx, move |_, log| log.begin_turn(&prompt, &before)).await?;
        let end = next.run(chat, cx).await;
        let (withdrawn, after) = (end.as_ref().is_err_and(Error::withdraws), now(chat));
        let finish = move |all: &Sessions, log: &mut Log| log.end_turn(all, withdrawn, &after);
        let saved = self.0.with(chat.id(), cx, finish).await;
        if let (Err(error), Err(_)) = (&saved, &end) {
            cx.emit(Event::Failure(error.to_string()));
            return end;
        }
        saved.and(end)
    }
}

/// Innermost, since this is what is sent and what runs. The reply is on the disk before its calls
/// run, and so is the beginning of each.
struct SessionSteps(Arc<SessionLog>);

impl Layer for SessionSteps {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        // What is sent is brought to the disk while the model is asked, and the reply counts when
        // both are done. If it cannot be saved, the model is not waited for.
        let (id, current) = (chat.id().to_string(), cx.resource::<CurrentLog>());
        current.set_next(&id, now(chat));
        let save = self.0.with(&id, cx, |_, log| log.flush());
        let ((), reply) = tokio::try_join!(save, async { Ok(next.run(chat, cx).await) })?;
        let reply = reply?;
        let mut after = now(chat);
        after.messages.push(reply.message.clone());
        current.set_next(&id, after);
        // The first call that begins waits for this and flushes it too, or the end of the turn.
        let cx = cx.clone();
        drop(self.0.on_disk(move |log| current.write_next(|id| log.open_file(id, &cx))));
        Ok(reply)
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let session = cx.resource::<CurrentLog>().id();
        if session.is_empty() {
            // Nobody asked a model: there is no conversation.
            return next.run(call, cx).await;
        }
        let id = call.id.clone();
        let begin = move |_: &Sessions, log: &mut Log| {
            log.begin_call(&id)?;
            Ok(log.messages().last().is_some_and(|message| message.calls().len() > 1))
        };
        let has_siblings = match self.0.with(&session, cx, begin).await {
            Ok(has_siblings) => has_siblings,
            Err(why) => return call.refuse(format!("not run, since it could not be saved: {why}")),
        };
        let result = next.run(call, cx).await;
        // The result of a single call is in the next message, as soon.
        if has_siblings {
            let block = result.clone().into_block();
            let saved = self.0.with(&session, cx, move |_, log| log.end_call(&block));
            if let Err(error) = saved.await {
                cx.emit(Event::Failure(error.to_string()));
            }
        }
        result
    }
}

/// Adds the mechanism: two layers, since it has two places, and the commands. Install it before
/// all else, so that the inner layer is the innermost; or arrange the layers.
pub fn install(agent: Agent, log: &Arc<SessionLog>) -> Agent {
    let agent = agent.wrap(SessionSteps(log.clone())).wrap(SessionTurns(log.clone()));
    // Each command has a handle of its own.
    let [list, resume, fork, title, save, rewind, export] = [(); 7].map(|()| log.clone());
    agent
        .command("sessions", "all sessions of this folder", async move |chat, _, cx| {
            let sessions = list.on_disk(|this| this.sessions.list()).await?;
            let mark = |id: &str| if id == chat.id() { "*" } else { " " };
            let lines = sessions.iter().map(|session| format!("{} {session}", mark(&session.id)));
            let lines: Vec<String> = lines.collect();
            cx.notice(if lines.is_empty() { "no session yet".into() } else { lines.join("\n") });
            Ok(())
        })
        .command("resume", "goes on with session ID, or the newest", async move |chat, name, cx| {
            *chat = resume.resume(name, cx).await?;
            Ok(())
        })
        .command("fork", "a session that shares the past of ID, or of this one", {
            async move |chat, name, cx| {
                fork.sync(chat, cx).await?;
                let of = if name.is_empty() { chat.id() } else { name };
                *chat = fork.fork(of, cx).await?;
                Ok(())
            }
        })
        .command("title", "names this session", async move |chat, text, cx| {
            let text = text.to_string();
            title.with(chat.id(), cx, move |_, log| log.title(&text)).await
        })
        .command("save", "names this place, for :rewind NAME", async move |chat, name, cx| {
            save.sync(chat, cx).await?;
            let name = name.to_string();
            save.with(chat.id(), cx, move |_, log| log.save(&name)).await?;
            cx.notice("saved; :rewind with this name returns here");
            Ok(())
        })
        .command("rewind", "takes back N turns, or all since a saved NAME", {
            async move |chat, to, cx| rewind.rewind(chat, to, cx).await
        })
        .command("export", "a transcript of this session, or of ID", async move |chat, name, cx| {
            export.sync(chat, cx).await?;
            export.export(chat, if name.is_empty() { chat.id() } else { name }, cx).await
        })
}

/// The options of the command line.
pub const FLAGS: &[Flag] = &[
    Flag { name: "continue", value: None, help: "goes on with the newest session" },
    Flag { name: "resume", value: Some("ID"), help: "goes on with this session" },
    Flag { name: "fork", value: Some("ID"), help: "shares the past of this session" },
];

async fn build(stage: &Stage) -> Result<Agent> {
    let keys = stage.keys().iter().map(|key| key.expose().to_string()).collect();
    let log = SessionLog::open(&stage.state().await?, keys)?;
    let agent = install(s13_streaming::install(stage.agent()), &log);
    begin_with(stage, &log, &agent.context()).await?;
    Ok(agent)
}

/// Begins with the session that the command line names, if it names one.
///
/// # Errors
/// As for [`SessionLog::resume`]; [`Error::Setting`] when there is no name, or several ask.
pub async fn begin_with(stage: &Stage, log: &Arc<SessionLog>, cx: &Context) -> Result<()> {
    let chat = match asked(&stage.flags)? {
        None => return Ok(()),
        Some(("fork", name)) => log.fork(name, cx).await?,
        // Without a name it is the newest.
        Some((_, name)) => log.resume(name, cx).await?,
    };
    *stage.chat.lock().unwrap() = chat;
    Ok(())
}

/// The one of the [`FLAGS`] that is given, and its session.
fn asked<'a>(flags: &'a BTreeMap<&str, String>) -> Result<Option<(&'static str, &'a str)>> {
    let given = FLAGS.iter().filter_map(|flag| Some((flag, flags.get(flag.name)?.trim())));
    match *given.collect::<Vec<_>>() {
        [] => Ok(None),
        [(Flag { name, value: Some(_), .. }, "")] => Err(Error::setting(
            format!("--{name}"),
            "names no session; --continue takes the newest",
        )),
        [(flag, name)] => Ok(Some((flag.name, name))),
        _ => Err(Error::setting("--continue, --resume, --fork", "only one of them can be given")),
    }
}

/// The agent of lesson 13, with sessions.
pub fn main() -> ExitCode {
    lessons::run_with(FLAGS, "s17_session_management", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::Folder;
    use lessons::restored::{LOST, LOST_BEGIN};
    use lessons::s04_subagent;
    use lessons::s06_context_compact;
    use lessons::testing::{BlocksBad, Play, play, results};
    use rehearsal::{Scene, call, calls, say, scene};
    use rungs_core::{Block, State, tools};
    use rungs_process::testing::until;
    use serde::{Deserialize, Serialize};
    use serde_json::json;
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    #[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
    struct Count(u32);

    impl State for Count {
        const NAME: &'static str = "count";
    }

    /// Counts the replies, in a state.
    struct Counts;

    impl Layer for Counts {
        async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
            let reply = next.run(chat, cx).await?;
            chat.update(|count: &mut Count| count.0 += 1);
            Ok(reply)
        }
    }

    fn log(dir: &Path) -> Arc<SessionLog> {
        SessionLog::open(&Folder::open(dir, ".rungs").unwrap(), vec!["my-own-key".into()]).unwrap()
    }

    /// An agent with bash and sessions, as another program would make it in this folder.
    async fn program(scenes: impl IntoIterator<Item = Scene>, dir: &Path) -> Play {
        let log = log(dir);
        play(scenes, |agent, _| install(agent.in_dir(dir).tool(tools::Bash), &log).wrap(Counts))
            .await
    }

    fn scenes() -> Vec<Scene> {
        let step = |text: &str| call("bash", json!({"command": format!("echo {text}")}));
        let scenes = ["one", "two", "three"]
            .map(|word| scene(&format!("^{word}$"), [step(word).think("hm"), say(word)]));
        scenes.into()
    }

    async fn command(play: &Play, chat: &mut Chat, name: &str, args: &str) -> Vec<String> {
        play.ui.take();
        if let Err(error) = play.agent.run_command(name, args, chat).await.unwrap() {
            return vec![error.to_string()];
        }
        play.ui.take()
    }

    fn told(chat: &Chat) -> (Vec<Arc<Message>>, u32) {
        (chat.messages().to_vec(), chat.state::<Count>().0)
    }

    #[tokio::test]
    async fn another_program_goes_on_with_messages_and_states() {
        let dir = tempfile::tempdir().unwrap();
        let mut chat = Chat::default();
        let first = program(scenes(), dir.path()).await;
        first.run(&mut chat, "one").await.unwrap();
        first.run(&mut chat, "two").await.unwrap();
        assert_eq!(told(&chat).1, 4);

        // While the first one lives, it has the session alone.
        let second = program(scenes(), dir.path()).await;
        let mut other = Chat::default();
        let refused = command(&second, &mut other, "resume", chat.id()).await;
        let in_use =
            format!("session {} is in use by another process; a fork of it is free", chat.id());
        assert_eq!(refused, [in_use]);
        command(&second, &mut other, "fork", chat.id()).await;
        assert_eq!(told(&other), told(&chat));
        second.run(&mut other, "three").await.unwrap();
        let (before, _) = told(&chat);
        drop(first);

        let mut resumed = Chat::default();
        command(&second, &mut resumed, "resume", chat.id()).await;
        assert_eq!((told(&resumed), resumed.id()), (told(&chat), chat.id()));
        command(&second, &mut resumed, "rewind", "").await;
        assert_eq!(told(&resumed), (before[..4].to_vec(), 2));
        second.run(&mut resumed, "three").await.unwrap();
        let listed = command(&second, &mut resumed, "sessions", "").await;
        assert_eq!(listed[0].lines().count(), 2, "{listed:?}");
        assert!(listed[0].contains(&format!("* {}  one (3 turns", chat.id())), "{listed:?}");
    }

    #[tokio::test]
    async fn a_call_is_on_the_disk_before_it_runs_and_its_result_before_the_next_request() {
        let dir = tempfile::tempdir().unwrap();
        let look = json!({"command": "cat .rungs/sessions/*/session.jsonl"});
        let agent = program([scene("go", [call("bash", look).repeat(2), say("done")])], dir.path());
        let play = agent.await;
        let (_, chat) = play.ask("go").await;
        let seen: Vec<String> = chat.messages().iter().flat_map(|m| results(m)).collect();
        for (result, written) in seen.iter().zip([["call", "call"], ["call", "tool_result"]]) {
            for what in written {
                assert!(result.contains(what), "{what}: {result}");
            }
            assert!(result.contains("cat .rungs/sessions"), "{result}");
        }
    }

    #[tokio::test]
    async fn what_is_known_of_the_calls_of_a_killed_program_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let commands = ["echo first", "touch started; sleep 60", "echo third"];
        let three = calls(commands.map(|command| ("bash", json!({"command": command}))));
        let go_on = scene("^go on$", [say("I see")]);
        let play = program([scene("^go$", [three]), go_on.clone()], dir.path()).await;
        let mut chat = Chat::default();
        let started = async {
            while !dir.path().join("started").exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            end = play.run(&mut chat, "go") => panic!("{end:?}"),
            () = started => {}
        }
        drop(play);

        let play = program([go_on], dir.path()).await;
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", "").await;
        let known = results(resumed.messages().last().unwrap());
        assert_eq!(known, ["first\n", ENDED[0], ENDED[1]]);
        play.run(&mut resumed, "go on").await.unwrap();
        assert_eq!(resumed.id(), chat.id());
    }

    /// Changes a byte of the first line of this kind that holds `text`.
    fn damage(dir: &Path, id: &str, kind: &str, text: &str) {
        let file = dir.join(".rungs/sessions").join(id).join("session.jsonl");
        let mut lines: Vec<String> =
            fs::read_to_string(&file).unwrap().lines().map(String::from).collect();
        let kind = format!("\"kind\":\"{kind}\"");
        let line = lines.iter_mut().find(|line| line.contains(&kind) && line.contains(text));
        let line = line.unwrap();
        *line = line.replacen("\"kind\"", "\"Kind\"", 1);
        fs::write(file, lines.join("\n") + "\n").unwrap();
    }

    #[tokio::test]
    async fn a_conversation_whose_begin_is_lost_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut chat = Chat::default();
        program(scenes(), dir.path()).await.run(&mut chat, "one").await.unwrap();
        damage(dir.path(), chat.id(), "message", "one");
        let play = program(scenes(), dir.path()).await;
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", chat.id()).await;
        assert_eq!(*resumed.messages()[0], Message::inserted("lost", LOST_BEGIN));
        assert_eq!(resumed.messages().len(), chat.messages().len());
        play.run(&mut resumed, "two").await.unwrap();
    }

    #[tokio::test]
    async fn results_whose_message_is_damaged_are_known_from_their_own_records() {
        let dir = tempfile::tempdir().unwrap();
        let two = ["echo first", "echo second"].map(|text| ("bash", json!({"command": text})));
        let scenes = || {
            let lone = call("bash", json!({"command": "echo lone"}));
            [scene("^go$", [calls(two.clone()), lone, say("done")]), scene("^on$", [say("on")])]
        };
        let mut chat = Chat::default();
        program(scenes(), dir.path()).await.run(&mut chat, "go").await.unwrap();
        damage(dir.path(), chat.id(), "message", "second\\n");
        damage(dir.path(), chat.id(), "message", "lone\\n");
        let play = program(scenes(), dir.path()).await;
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", chat.id()).await;
        let known: Vec<String> = resumed.messages().iter().flat_map(|m| results(m)).collect();
        assert_eq!(known, ["first\n", "second\n", LOST[0]]);
        play.run(&mut resumed, "on").await.unwrap();
    }

    #[tokio::test]
    async fn a_fork_of_a_session_in_use_is_told_that_its_calls_still_run() {
        let dir = tempfile::tempdir().unwrap();
        let long = call("bash", json!({"command": "touch started; sleep 60"}));
        let play = program([scene("^go$", [long])], dir.path()).await;
        let other = program([], dir.path()).await;
        let mut chat = Chat::default();
        let id = chat.id().to_string();
        let fork = async {
            while !dir.path().join("started").exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let mut fork = Chat::default();
            command(&other, &mut fork, "fork", &id).await;
            fork
        };
        let fork = tokio::select! {
            end = play.run(&mut chat, "go") => panic!("{end:?}"),
            fork = fork => fork,
        };
        assert_eq!(results(fork.messages().last().unwrap()), [RUNNING[0]]);
    }

    #[test]
    fn options_that_contradict_or_name_nothing_are_wrong_use() {
        let wrong = [
            &[("resume", "")][..],
            &[("fork", " ")],
            &[("continue", ""), ("resume", "x")],
            &[("resume", "x"), ("fork", "x")],
        ];
        let of = |given: &[(&'static str, &str)]| {
            given.iter().map(|(name, of)| (*name, of.to_string())).collect()
        };
        for given in wrong {
            assert!(matches!(asked(&of(given)), Err(Error::Setting { .. })), "{given:?}");
        }
        for right in [("continue", ""), ("resume", "x"), ("fork", "x")] {
            assert_eq!(asked(&of(&[right])).unwrap(), Some(right));
        }
    }

    #[tokio::test]
    async fn a_subagent_has_a_file_of_its_own_and_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        let task = json!({"tasks": [{"description": "look", "prompt": "CHILD"}]});
        let scenes = [
            scene("^go$", [call("task", task), say("done")]),
            scene("CHILD", [call("bash", json!({"command": "echo of the child"})), say("looked")]),
        ];
        let play = play(scenes, |agent, _| {
            let agent = agent.in_dir(dir.path()).tool(tools::Bash);
            install(s04_subagent::install(agent), &log)
        })
        .await;
        let mut chat = Chat::default();
        play.run(&mut chat, "go").await.unwrap();
        let listed = log.sessions.list().unwrap();
        assert_eq!((listed.len(), listed[0].id.as_str()), (1, chat.id()));
        let children = log.sessions.children(chat.id()).unwrap();
        let agents: Vec<&str> =
            children.iter().map(|child| child.begin.as_ref().unwrap().agent.as_str()).collect();
        assert_eq!(agents.len(), 1, "{agents:?}");
        assert!(agents[0].starts_with("main/"), "{agents:?}");
        command(&play, &mut chat, "export", "").await;
        let page = dir.path().join(format!("session-{}.html", chat.id()));
        assert!(fs::read_to_string(page).unwrap().contains("of the child"));
    }

    #[tokio::test]
    async fn a_withdrawn_prompt_leaves_the_session_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        let play = play(scenes(), |agent, _| {
            install(agent.in_dir(dir.path()).tool(tools::Bash).wrap(BlocksBad), &log)
        })
        .await;
        let mut chat = Chat::default();
        play.run(&mut chat, "one").await.unwrap();
        play.run(&mut chat, "bad").await.unwrap_err();
        let tree = log.sessions.read(chat.id()).unwrap();
        assert_eq!(tree.turns(tree.head()).len(), 1);
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", chat.id()).await;
        assert_eq!(told(&resumed), told(&chat));
    }

    #[tokio::test]
    async fn a_compacted_conversation_comes_back_compacted_and_can_be_rewound() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        let mut all = scenes();
        all.push(scene("^Summarise", [say("in short")]));
        let play = play(all, |agent, _| {
            let agent = agent.in_dir(dir.path()).tool(tools::Bash);
            let state = Folder::open(dir.path(), ".rungs/s06").unwrap();
            s06_context_compact::install(install(agent, &log), 4000, state)
        })
        .await;
        let mut chat = Chat::default();
        for prompt in ["one", "two", "three"] {
            play.run(&mut chat, prompt).await.unwrap();
        }
        let before = told(&chat);
        command(&play, &mut chat, "compact", "").await;
        assert!(chat.messages().len() < before.0.len(), "it was not compacted");
        play.run(&mut chat, "one").await.unwrap();
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", chat.id()).await;
        assert_eq!(told(&resumed), told(&chat));
        // The last turn before the summary is behind it.
        command(&play, &mut resumed, "rewind", "2").await;
        assert_eq!(resumed.messages(), &before.0[..8]);
    }

    #[tokio::test]
    async fn a_conversation_whose_keys_were_replaced_is_taken_by_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let show = json!({"command": "echo my-own-key"});
        let scenes = || {
            let show = call("bash", show.clone());
            let two = scene("^two$", [say("two")]);
            [scene("^one$", [show.think("hm"), say("one").think("so")]), two]
        };
        let play = program(scenes(), dir.path()).await;
        let mut chat = Chat::default();
        play.run(&mut chat, "one").await.unwrap();
        assert_eq!(results(&chat.messages()[2]), ["my-own-key\n"]);
        drop(play);
        let play = program(scenes(), dir.path()).await;
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", "").await;
        assert_eq!(results(&resumed.messages()[2]), ["[redacted key]\n"]);
        play.run(&mut resumed, "two").await.unwrap();
        let file = dir.path().join(".rungs/sessions").join(chat.id()).join("session.jsonl");
        assert!(!fs::read_to_string(file).unwrap().contains("my-own-key"));
    }

    /// Lets no call begin before the session's file holds it.
    struct AsksForLong(PathBuf);

    impl Layer for AsksForLong {
        async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
            let session = self.0.join(cx.resource::<CurrentLog>().id()).join("session.jsonl");
            let is_saved = || fs::read_to_string(&session).unwrap().contains(&call.id);
            match until(is_saved).await {
                true => next.run(call, cx).await,
                false => call.refuse("it was never saved"),
            }
        }
    }

    #[tokio::test]
    async fn a_reply_is_saved_before_anybody_has_decided_about_its_call() {
        let dir = tempfile::tempdir().unwrap();
        let mut play = program(scenes(), dir.path()).await;
        play.agent = play.agent.wrap(AsksForLong(dir.path().join(".rungs/sessions")));
        let (_, chat) = play.ask("one").await;
        assert_eq!(results(&chat.messages()[2]), ["one\n"]);
    }

    #[tokio::test]
    async fn a_session_whose_folder_is_removed_meanwhile_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let clean = call("bash", json!({"command": "rm -r .rungs"}));
        let play = program([scene("go", [clean, say("gone")])], dir.path()).await;
        let (_, chat) = play.ask("go").await;
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", chat.id()).await;
        assert_eq!(told(&resumed), told(&chat));
    }

    /// `LONG=1 cargo test -p rungs-lessons --lib s17 -- --nocapture` prints the figures.
    #[tokio::test]
    async fn a_long_session_is_resumed_and_goes_on_at_the_same_cost() {
        let turns = if std::env::var_os("LONG").is_some() { 5000 } else { 50 };
        let dir = tempfile::tempdir().unwrap();
        let play = program([], dir.path()).await;
        let log = log(dir.path());
        let (mut chat, cx) = (Chat::default(), play.agent.context());
        let mut costs = vec![];
        for turn in 0..turns {
            let start = std::time::Instant::now();
            chat.push(Message::inserted("test", format!("{turn} {}", "word ".repeat(200))));
            chat.update(|count: &mut Count| count.0 += 1);
            let begun = now(&chat);
            log.with(chat.id(), &cx, move |_, log| log.begin_turn("turn", &begun)).await.unwrap();
            chat.push(Message::assistant(vec![Block::inserted("test", "answer ".repeat(200))]));
            let done = now(&chat);
            log.with(chat.id(), &cx, move |all, log| log.end_turn(all, false, &done))
                .await
                .unwrap();
            costs.push(start.elapsed());
        }
        drop((play, cx));
        let play = program([], dir.path()).await;
        let start = std::time::Instant::now();
        let mut resumed = Chat::default();
        command(&play, &mut resumed, "resume", "").await;
        let time = start.elapsed();
        assert!(told(&resumed) == told(&chat));
        let median = |costs: &[std::time::Duration]| {
            let mut costs = costs.to_vec();
            costs.sort();
            costs[costs.len() / 2]
        };
        println!(
            "{} messages: resumed in {time:?}; a saved turn, median of 50: first {:?}, last {:?}",
            chat.messages().len(),
            median(&costs[..50]),
            median(&costs[costs.len() - 50..])
        );
    }
}
