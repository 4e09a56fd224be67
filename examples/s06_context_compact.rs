//! # s06: making room in a full context
//!
//! Every request carries the whole conversation, and a model's window is finite: an agent that works long enough stops
//! with an error, and before that it pays for every old file with every new question. So it forgets, in an order that
//! hurts least. **Micro**: old tool results become a line that says where their text lies. **Auto**: the model itself
//! writes down what older turns came to, and that takes their place. **Disk**: what was removed is kept, and the summary
//! is offered to the next run.
//!
//! New here: a layer that rewrites history, and the rules for it. A call is never parted from its result, or the server
//! refuses the conversation for ever. Thinking is stripped, once, since its signature is bound to all that stood before.
//! What the person said survives word for word; skills stay loaded. A summary that fails changes nothing, and one that
//! gains nothing stops the turn instead of being asked for again and again.
//!
//! Run it: `cargo run --example s06_context_compact`
//!
//! You will see an agent read six long chapters with a window of 20,000 tokens: old results are cleared on the way, older
//! turns are summarised on `:compact`, and at the end it still knows what you asked for first.
//!
//! Try: `:compact what the chapters say about doors`, then `:memory`, as the next run in the same folder would offer it.
//!
//! Builds on s01. Motto: *Context will fill up; make room.*

use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Block, Chat, Context, Error, Layer, Message, NextAsk, Reply, Result, Role, Stop,
};
use rungs_files::truncate_to_budget;
use std::{
    collections::HashSet,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
};

/// From which share of the window on room is made, and how much of it the newest turns may keep.
const FULL: f64 = 0.7;
const KEEP: f64 = 0.2;
/// Results shorter than this, in bytes, are not worth a stub.
const SHORT: usize = 400;
/// How many bytes of the person's words, and of loaded skills, survive.
const WORDS: usize = 20_000;
const SKILLS: usize = 100_000;

/// The tool whose results are kept: a skill that was loaded stays loaded.
const SKILL: &str = "load_skill";

/// How a stub begins that stands for a cleared result.
const CLEARED: &str = "[cleared to save room:";

/// How texts begin that stand in the person's messages, but are not the person's.
const OURS: [&str; 9] = [
    "<environment>",
    "<summary>",
    "<skill>",
    "<words>",
    "<memory>",
    "<system-reminder>",
    "<job id=",
    "<mail id=",
    "<task",
];

const SUMMARISE: &str = "Summarise the conversation so far for yourself, since it will be removed: what was asked, what was \
    decided and why, which files were read or changed and what matters of them, what is still open, what failed. Facts, \
    names and numbers; no tool calls.";

/// Makes room in the conversations of an agent and its children.
pub struct Compact {
    /// The model's window, in tokens.
    pub window: u64,
    /// Where removed results, transcripts and the memory are kept.
    pub folder: PathBuf,
}

/// What the server last counted, in tokens, and the size in bytes that the conversation had then.
#[derive(Default)]
struct Measured(Mutex<(u64, usize)>);

/// From how many tokens on a summary is worth another try.
#[derive(Default)]
struct Tried(Mutex<u64>);

/// Why no room was made; the conversation is as it was.
#[derive(Debug)]
struct Stuck(String);

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stuck {}

fn stuck(why: impl Into<String>) -> Result<()> {
    Err(Error::other(Stuck(why.into())))
}

impl Compact {
    /// Tokens that a chat takes: what the server counted, and four bytes a token for what came since.
    fn tokens(&self, chat: &Chat, cx: &Context) -> u64 {
        let (size, (tokens, then)) = (chat.size(), *cx.local::<Measured>().0.lock().unwrap());
        tokens.saturating_add_signed((size as i64 - then as i64) / 4).max(size as u64 / 4)
    }

    /// Makes room if it is needed: results first, since that costs nothing, and a summary if they were not enough.
    async fn make_room(&self, chat: &mut Chat, cx: &Context) -> Result<()> {
        let before = self.tokens(chat, cx);
        let full = (self.window as f64 * FULL) as u64;
        if before <= full {
            return Ok(());
        }
        let (smaller, cleared) = self.cleared(chat);
        let after = self.tokens(&smaller, cx);
        if !cleared.is_empty() && after <= full {
            self.replace(chat, smaller, &cleared)?;
            cx.notice(format!(
                "({} old results cleared: about {before} tokens became {after})",
                cleared.len()
            ));
            return Ok(());
        }
        let tried = cx.local::<Tried>();
        if before < *tried.0.lock().unwrap() {
            return Ok(());
        }
        match self.summarise(chat, cx, "", self.share(KEEP)).await {
            // There is still some room. It is tried again when the conversation has grown, not before each request.
            Err(Error::Other(stuck)) if stuck.is::<Stuck>() && before < self.window => {
                *tried.0.lock().unwrap() = before + self.window / 20;
                cx.notice(stuck.to_string());
                if cleared.is_empty() { Ok(()) } else { self.replace(chat, smaller, &cleared) }
            }
            // Whatever else stops it, the disk or the person, stops the turn too.
            done => done,
        }
    }

    /// Micro: the conversation with stubs for the results of all but the newest turns, and the files that those name.
    fn cleared(&self, chat: &Chat) -> (Chat, Vec<(PathBuf, Vec<u8>)>) {
        let (keep, skills) = (tail(chat, self.share(KEEP)), skills(chat));
        let (mut messages, mut files) = (vec![], vec![]);
        for (i, message) in chat.messages().iter().enumerate() {
            let mut message = message.without_thinking();
            for block in message.content.iter_mut().filter(|_| i < keep) {
                let size = block.size();
                let Block::ToolResult { tool_use_id, content, .. } = block else { continue };
                let stub = content
                    .first()
                    .and_then(Block::as_text)
                    .is_some_and(|text| text.starts_with(CLEARED));
                if size < SHORT || stub || skills.contains(tool_use_id) {
                    continue;
                }
                let file = self.result_file(chat, tool_use_id);
                let bytes = match content.iter().map(Block::as_text).collect::<Option<Vec<_>>>() {
                    Some(texts) => texts.concat().into_bytes(),
                    // A picture, say: as it stood in the conversation.
                    None => serde_json::to_vec(content).expect("blocks are JSON"),
                };
                let stub = format!(
                    "{CLEARED} {size} bytes, now in {} (bash can read it)]",
                    file.display()
                );
                *content = vec![Block::text(stub)];
                files.push((file, bytes));
            }
            messages.push(message);
        }
        let mut smaller = chat.clone();
        smaller.rewrite(messages);
        (smaller, files)
    }

    /// Disk: puts a smaller conversation in place, once all that it no longer holds is kept: the old one, each time in a
    /// file of its own, and these files.
    fn replace(&self, chat: &mut Chat, smaller: Chat, files: &[(PathBuf, Vec<u8>)]) -> Result<()> {
        let transcript =
            |n: u32| self.folder.join("transcripts").join(format!("{}-{n:04}.json", chat.id()));
        let free =
            (1..).map(transcript).find(|file| !file.exists()).unwrap_or_else(|| transcript(0));
        let whole = (free, serde_json::to_vec(chat).expect("a chat is JSON"));
        let mut all = std::iter::once(&whole).chain(files);
        all.try_for_each(|(file, bytes)| durable::write(file, bytes)).map_err(Error::other)?;
        *chat = smaller;
        Ok(())
    }

    /// Auto: everything before the newest turns gives way to what the model says it came to.
    async fn summarise(
        &self,
        chat: &mut Chat,
        cx: &Context,
        focus: &str,
        room: usize,
    ) -> Result<()> {
        let before = self.tokens(chat, cx);
        let (old, new) = chat.messages().split_at(tail(chat, room));
        if old.len() < 2 || !chat.open_calls().is_empty() {
            return stuck("nothing is older than the newest turn, so no room can be made");
        }
        let mut asked = Chat::default();
        asked.rewrite(old.iter().cloned());
        let focus = if focus.is_empty() { String::new() } else { format!(" Above all: {focus}.") };
        asked.push(Message::user(format!("{SUMMARISE}{focus}")));
        cx.notice("(making room: older turns are being summarised)");
        let no_summary =
            |why: &str| stuck(format!("no room was made, the conversation is as it was: {why}"));
        let summary = match cx.side(cx.request(&asked)).await {
            Ok(reply) if reply.stop != Stop::EndTurn => {
                return no_summary("its summary was not finished");
            }
            Ok(reply) if reply.text().trim().is_empty() => {
                return no_summary("its summary is empty");
            }
            Ok(reply) => reply.text().trim().to_string(),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => return no_summary(&format!("there is no summary: {error}")),
        };
        let head = Message { role: Role::User, content: remains(old, &skills(chat), &summary) };
        let mut smaller = chat.clone();
        smaller.rewrite(
            std::iter::once(head).chain(new.iter().map(|message| message.without_thinking())),
        );
        let after = self.tokens(&smaller, cx);
        if after * 10 > before * 9 {
            return stuck(format!(
                "no room can be made: about {after} of {before} tokens would remain, your own words and the newest turn; \
                 begin a new conversation, or ask for less at once"
            ));
        }
        // A child's memory would take the place of the person's.
        let memory = (!cx.is_child()).then(|| (self.memory(), summary.into_bytes()));
        self.replace(chat, smaller, memory.as_slice())?;
        cx.notice(format!("(older turns summarised: about {before} tokens became {after})"));
        Ok(())
    }

    /// Where a result goes: ids repeat from conversation to conversation, and may hold anything.
    fn result_file(&self, chat: &Chat, id: &str) -> PathBuf {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:x}", u32::from(c)) }
        };
        let name: String = id.chars().map(plain).collect();
        self.folder.join("results").join(chat.id()).join(name).with_extension("txt")
    }

    fn memory(&self) -> PathBuf {
        self.folder.join("memory.md")
    }

    /// A share of the window, in bytes.
    fn share(&self, share: f64) -> usize {
        (self.window as f64 * share * 4.0) as usize
    }
}

/// Where the newest turns begin: as many as fit into `room` bytes, at least one, and never between a call and its
/// result.
fn tail(chat: &Chat, room: usize) -> usize {
    let (mut begin, mut size) = (chat.messages().len(), 0);
    for exchange in chat.messages().chunk_by(|_, next| next.has_results()).rev() {
        size += exchange.iter().map(|message| message.size()).sum::<usize>();
        if size > room && begin < chat.messages().len() {
            break;
        }
        begin -= exchange.len();
    }
    begin
}

/// The calls whose results are kept.
fn skills(chat: &Chat) -> HashSet<String> {
    let calls = chat.messages().iter().flat_map(|message| message.calls());
    calls.filter(|call| call.name == SKILL).map(|call| call.id).collect()
}

/// What takes the place of older turns: where the agent is, the summary, the person's own words, the loaded skills.
fn remains(old: &[Arc<Message>], skills: &HashSet<String>, summary: &str) -> Vec<Block> {
    let (mut remains, mut loaded, mut words) = (vec![], vec![], vec![]);
    for block in
        old.iter().filter(|message| message.role == Role::User).flat_map(|message| &message.content)
    {
        match block {
            Block::ToolResult { tool_use_id, content, .. } if skills.contains(tool_use_id) => {
                let text: String = content.iter().filter_map(Block::as_text).collect();
                loaded.push(format!("<skill>\n{text}\n</skill>"));
            }
            Block::Text { text, .. } if text.starts_with("<skill>") => loaded.push(text.clone()),
            Block::Text { text, .. } if text.starts_with("<environment>") => {
                remains.push(text.clone())
            }
            Block::Text { text, .. } if !OURS.iter().any(|tag| text.starts_with(tag)) => {
                words.push(text.clone())
            }
            _ => {}
        }
    }
    remains
        .push(format!("<summary>\nWhat came before was removed to make room. You wrote of it:\n{summary}\n</summary>"));
    remains.extend(truncate_to_budget(loaded, SKILLS, SHORT));
    remains.push(
        "<words>The person's own words from that part, which the summary covers, follow.</words>"
            .into(),
    );
    remains.extend(truncate_to_budget(words, WORDS, SHORT));
    remains.into_iter().map(Block::text).collect()
}

impl Layer for Compact {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        self.make_room(chat, cx).await?;
        let reply = match next.run(chat, cx).await {
            // The server knows better than our count.
            Err(
                Error::Unfinished { stop: Stop::WindowFull, .. } | Error::Api { status: 413, .. },
            ) => {
                self.summarise(chat, cx, "", self.share(KEEP).min(chat.size() / 4)).await?;
                next.run(chat, cx).await?
            }
            other => other?,
        };
        if reply.usage.prompt_tokens() > 0 {
            let tokens = reply.usage.prompt_tokens() + reply.usage.output_tokens;
            *cx.local::<Measured>().0.lock().unwrap() =
                (tokens, chat.size() + reply.message.size());
        }
        Ok(reply)
    }
}

/// Adds the mechanism, for a model with a window of so many tokens, with its files in `folder`.
pub fn install(agent: Agent, window: u64, folder: PathBuf) -> Agent {
    let compact = Arc::new(Compact { window, folder });
    if compact.memory().exists() {
        agent
            .context()
            .notice("An earlier conversation left a memory; `:memory` adds it to this one.");
    }
    let (by_hand, memory) = (compact.clone(), compact.clone());
    let agent = agent.command(
        "compact",
        "summarises all but the newest turn; `:compact FOCUS` says what matters",
        async move |chat, focus, cx| by_hand.summarise(chat, cx, focus, 0).await,
    );
    let agent = agent.command(
        "memory",
        "adds the memory of the last conversation that was summarised",
        async move |chat, _, cx| {
            let text =
                std::fs::read_to_string(memory.memory()).map_err(Error::at(memory.memory()))?;
            chat.push(Message::user(format!(
                "<memory>\nOf an earlier conversation:\n{}\n</memory>",
                text.trim()
            )));
            cx.notice("(it will be sent with your next prompt)");
            Ok(())
        },
    );
    agent.wrap(compact)
}

/// The agent of lesson one, with room.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let folder = stage.state();
        Ok(install(stage.agent(), stage.window.into(), folder))
    };
    lessons::run("s06_context_compact", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::{Recorder, tools};
    use serde_json::json;

    /// An agent with a window of so many tokens before this script, and its folder.
    async fn stage(
        window: u64,
        scenes: &str,
    ) -> (Agent, Arc<Recorder>, tempfile::TempDir, rehearsal::Server) {
        let (client, server) = lessons::rehearse(&format!("scenes: [{scenes}]")).await.unwrap();
        let (dir, ui) = (tempfile::tempdir().unwrap(), Arc::new(Recorder::default()));
        let agent = Agent::new(client, dir.path()).tool(tools::Bash).ui(ui.clone());
        (install(agent, window, dir.path().join("state")), ui, dir, server)
    }

    const BIG: &str = "{repeat: 6, think: hm, say: look, call: [{bash: {command: 'seq 100000 101000 # {{ n }}'}}]}";

    fn text(chat: &Chat) -> String {
        json!(chat.messages()).to_string()
    }

    #[tokio::test]
    async fn old_results_give_way_first_and_their_text_is_kept() {
        let scene = format!("{{when: ^go$, turns: [{BIG}, {{say: end}}]}}");
        let (agent, ui, dir, _server) = stage(15_000, &scene).await;
        let mut chat = Chat::new("go");
        // The server is strict: a parted call, or thinking before a changed prefix, would be refused.
        agent_loop(&agent, &mut chat).await.unwrap();
        let notices: Vec<String> =
            ui.take().into_iter().filter(|line| line.contains("cleared:")).collect();
        assert!(!notices.is_empty(), "{notices:?}");
        let stub = text(&chat)
            .split("now in ")
            .nth(1)
            .unwrap()
            .split(" (bash")
            .next()
            .unwrap()
            .to_string();
        assert_eq!(std::fs::read_to_string(stub).unwrap().lines().count(), 1001);
        let kept = std::fs::read_dir(dir.path().join("state/transcripts")).unwrap();
        let kept: Vec<Chat> = kept
            .map(|file| {
                serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap()
            })
            .collect();
        assert_eq!(kept.len(), notices.len(), "one for each time that history was rewritten");
        assert!(kept.iter().all(|chat| text(chat).contains("100500")));
        // A stub is never taken for a result, nor put in the place of the text that it names.
        let results = std::fs::read_dir(dir.path().join("state/results").join(chat.id())).unwrap();
        assert!(
            results.map(|file| file.unwrap().metadata().unwrap().len()).all(|size| size == 7007)
        );
    }

    /// Four prompts; what the model says to the first two is long.
    fn words() -> String {
        let long = "word ".repeat(1300);
        format!(
            "{{when: ^first, turns: [{{call: [{{load_skill: {{}}}}]}}, {{say: '{long}'}}]}},
             {{when: ^second, turns: [{{say: '{long}'}}]}},
             {{when: ^third, turns: [{{say: three}}]}}, {{when: ^fourth, turns: [{{say: four}}]}}"
        )
    }

    #[tokio::test]
    async fn a_summary_takes_the_place_of_older_turns_and_words_and_skills_survive() {
        let summary = "{when: ^Summarise, turns: [{say: it was about numbers}]}";
        let (agent, _ui, dir, server) = stage(4_000, &format!("{summary}, {}", words())).await;
        let agent = agent.tool(Skill);
        let mut chat = Chat::new("first words");
        for words in ["second words", "third words", "fourth words"] {
            agent_loop(&agent, &mut chat).await.unwrap();
            chat.push(Message::user(words));
        }
        agent_loop(&agent, &mut chat).await.unwrap();
        let head = chat.messages()[0].text();
        for kept in ["it was about numbers", "first words", "<skill>\nknow how\n</skill>"] {
            assert!(head.contains(kept), "{kept}: {head}");
        }
        assert!(text(&chat).contains("fourth words") && !text(&chat).contains("word word"));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("state/memory.md")).unwrap(),
            "it was about numbers"
        );
        assert!(server.seen().iter().all(|seen| seen.status == 200));
    }

    #[test]
    fn what_the_person_said_survives_also_in_angle_brackets_and_beside_a_long_paste() {
        let paste = format!("<log>{}</log>", "x".repeat(2 * WORDS));
        let said =
            ["never push to main", "<config>port 5432</config>", paste.as_str(), "and then?"];
        let old: Vec<Arc<Message>> = said.iter().map(|text| Message::user(*text).into()).collect();
        let remains = remains(&old, &HashSet::new(), "short");
        let texts: Vec<&str> = remains.iter().filter_map(Block::as_text).collect();
        assert_eq!(texts[2..4], said[..2]);
        assert_eq!(texts[5], said[3]);
        assert!(
            texts[4].starts_with("<log>xx")
                && texts[4].ends_with("xx</log>")
                && texts[4].contains("bytes cut here")
        );
    }

    struct Skill;
    impl rungs_core::Tool for Skill {
        fn spec(&self) -> rungs_core::ToolSpec {
            rungs_core::ToolSpec::new(SKILL, "", json!({"type": "object"}))
        }
        async fn call(
            &self,
            _: serde_json::Value,
            _: &Context,
        ) -> Result<rungs_core::Output, rungs_core::ToolError> {
            Ok("know how".into())
        }
    }

    #[tokio::test]
    async fn a_summary_that_fails_or_gains_nothing_leaves_the_conversation_as_it_was() {
        let long = format!("{{say: '{}'}}", "word ".repeat(2500));
        for (summary, expected) in [
            ("{}", "its summary is empty"),
            ("{say: x, stop: max_tokens}", "its summary was not finished"),
            ("{say: x, faults: [{status: 400, times: always}]}", "there is no summary: "),
            (long.as_str(), "no room can be made: about "),
        ] {
            let scenes = format!("{{when: ^Summarise, turns: [{summary}]}}, {}", words());
            let (agent, _ui, _dir, _server) = stage(1_000_000, &scenes).await;
            let mut chat = Chat::new("second words");
            agent_loop(&agent, &mut chat).await.unwrap();
            chat.push(Message::user("third words"));
            agent_loop(&agent, &mut chat).await.unwrap();
            let before = chat.clone();
            let compact = Compact { window: 1_000_000, folder: _dir.path().join("state") };
            let stuck = compact
                .summarise(&mut chat, &agent.context(), "", 0)
                .await
                .unwrap_err()
                .to_string();
            assert!(stuck.contains(expected), "{stuck}");
            assert_eq!(chat, before);
        }
    }

    #[tokio::test]
    async fn what_cannot_shrink_stops_with_a_reason() {
        let summary = format!("{{when: ^Summarise, turns: [{{say: '{}'}}]}}", "word ".repeat(2500));
        let (agent, _ui, _dir, server) = stage(1_500, &format!("{summary}, {}", words())).await;
        let mut chat = Chat::new("second words");
        agent_loop(&agent, &mut chat).await.unwrap();
        chat.push(Message::user("third words"));
        let asked = server.seen().len();
        let error = agent_loop(&agent, &mut chat).await.unwrap_err().to_string();
        assert!(error.contains("no room can be made"), "{error}");
        assert_eq!(server.seen().len(), asked + 1, "one summary, and no second try");
    }

    #[tokio::test]
    async fn a_window_that_the_server_calls_full_is_emptied_and_asked_again() {
        let scenes = format!(
            "{{when: ^Summarise, turns: [{{say: short}}]}},
             {{when: ^third, turns: [{{say: three, faults: [{{status: 413}}]}}]}}, {}",
            words()
        );
        let (agent, _ui, _dir, server) = stage(1_000_000, &scenes).await;
        let mut chat = Chat::new("second words");
        agent_loop(&agent, &mut chat).await.unwrap();
        chat.push(Message::user("third words"));
        // The script refuses each new request once, so the smaller one too; what counts is that it was made.
        agent_loop(&agent, &mut chat).await.unwrap_err();
        let seen = server.seen();
        let answers: Vec<u16> = seen[1..].iter().map(|seen| seen.status).collect();
        assert_eq!(answers, [413, 200, 413]);
        assert!(seen[3].bytes < seen[1].bytes / 2 && chat.messages()[0].text().contains("short"));
        assert_eq!(agent_loop(&agent, &mut chat).await.unwrap().text(), "three");
    }
}
