//! # s06: making room in a full context
//!
//! Every request carries the whole conversation, and a model's window is finite. An agent that
//! works long enough would stop with an error, and before that it pays for every old file with
//! every new question. So it makes room, in an order that loses least.
//!
//! ```text
//! ask: chat -- over 70 % of the window? --no--> model -- "too long"? --> make room, ask again
//!                     | yes
//!                     v
//!      micro: results of older steps go to files; stubs name the files
//!                     | does that save less than a tenth?
//!                     v
//!      auto:  older turns become [kept blocks] [the person's own words] [a summary by the model]
//!
//!      disk:  before the chat changes: its transcript, the results, the summary
//! ```
//!
//! New here: a layer that rewrites history, and the rules for it.
//! - A call is never parted from its result, or the server refuses the conversation for ever.
//! - [`Chat::compact`] strips signed thinking, whose signature is bound to all that stood before,
//!   and resets the states of the text: a file counts as unread once its text is gone.
//! - What survives word for word is found by origin, never by how a text begins: blocks with `keep`
//!   (the environment, loaded skills), and what the person typed. Each has a budget, and what does
//!   not fit into it is reported.
//! - A summary that fails changes nothing, and is not asked for again at once.
//! - No state may exist in which every later prompt fails. When the newest step alone is too large,
//!   its largest results go to disk too; when there can be no summary, older turns go without one;
//!   a prompt that is too large by itself is withdrawn.
//!
//! Terms: **context window**, **compaction** (micro: results; auto: a summary), **transcript**,
//! **token budget**, **provenance** (who a text is from).
//!
//! Run it: `cargo run --example s06_context_compact`
//!
//! You will see an agent read six long chapters with a window of 20,000 tokens: old results are
//! cleared on the way, older turns are summarised on `:compact`, and at the end it still knows what
//! you asked for first.
//!
//! Try, and predict first:
//! 1. Type `:compact` once more at the end. What does it say, and why?
//! 2. Run it with `--keep < /dev/null` and look into `.rungs/s06_context_compact` of the kept
//!    folder. Which files are there, and which of them does the model know of?
//! 3. Set `FULL_SHARE` to 0.4. After which chapter is room made for the first time?
//!
//! Pitfalls: bytes are not tokens, so the server's count goes before any estimate; a rewritten
//! prefix is paid for in full once, so room is made rarely, and then much of it; a summary that is
//! asked for again at every step costs more than it saves.
//!
//! A product also puts the newest files back after a summary, keeps the plan in view, and lets
//! hooks add to what survives (s16).
//!
//! Builds on s01. Motto: *Context will fill up; make room.*

use durable::Folder;
use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Block, Chat, Context, Error, Layer, Message, NextAsk, Reply, Result, State, StopReason,
};
use rungs_files::{remove_largest, shorten};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, process::ExitCode, sync::Arc};

/// Above which share of the window room is made.
const FULL_SHARE: f64 = 0.7;
/// The share that the newest steps keep, and the share that the very newest one may take.
const NEWEST_SHARE: f64 = 0.2;
const MAX_STEP_SHARE: f64 = 0.5;
/// The budgets of what survives a summary, as shares: kept blocks, and the person's own words,
/// which may take more of a window that is smaller than it is believed to be.
const MAX_KEPT_SHARE: f64 = 0.15;
const MAX_TYPED_SHARE: f64 = 0.05;
const MAX_TYPED_SMALL_SHARE: f64 = 0.55;
/// How much of a summary is taken when room must be made, as a share.
const MAX_SUMMARY_SHARE: f64 = 0.1;
/// From which share on a refusal in unknown words is taken for one of size.
const NEAR_SHARE: f64 = 0.5;
/// Results below this size, in bytes, are not worth a stub.
const MIN_CLEARED_BYTES: usize = 400;
/// An estimate, for text that the server has not counted yet.
const BYTES_PER_TOKEN: usize = 4;

const SUMMARISE: &str = "Summarise the conversation so far for yourself, since it will be removed: \
    what was asked, what was decided and why, which files were read or changed and what matters of \
    them, what is still open, what failed. Facts, names and numbers; no tool calls.";

/// What the server last counted, and the size that the conversation had then. Compaction does not
/// reset it: the part that is gone since then is subtracted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct TokenCount {
    tokens: u64,
    bytes: usize,
    /// The size of the system text and the tools, which were counted too and are never removed.
    fixed: usize,
}

impl State for TokenCount {
    const NAME: &'static str = "token_count";
}

/// Above which share of the window room is made again, after an attempt that failed on this text.
#[derive(Clone, Default, Serialize, Deserialize)]
struct NextAttempt(f64);

impl State for NextAttempt {
    const NAME: &'static str = "next_compaction_attempt";
    const OF_TEXT: bool = true;
}

/// The outer error ends the turn (interrupted, or the disk). The inner one, why no room was made,
/// need not; the conversation is as it was.
type Attempt = Result<Result<(), String>>;

fn failed(why: impl std::fmt::Display) -> Attempt {
    Ok(Err(format!("no room was made: {why}")))
}

/// What goes to disk: names below the folder, and texts.
type Files = Vec<(String, String)>;

/// The name of the file that keeps the newest summary, and the most bytes of it that are read.
const MEMORY: &str = "memory.md";
const MAX_MEMORY_BYTES: u64 = 1 << 20;

/// Makes room in the conversations of an agent and its children.
#[derive(Clone)]
struct Compaction {
    /// The model's window, in tokens.
    window: u64,
    /// Where removed results, transcripts and the memory are kept.
    folder: Folder,
    /// The size in bytes of a conversation that the server refused: its window is smaller.
    refused: usize,
    /// Whether room must be made at any price but the newest prompt, since nothing can be asked.
    must: bool,
}

impl Layer for Compaction {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let (mut this, mut refusal) = (self.clone(), None);
        let reply = loop {
            let used = tokens(chat) as f64 / this.window as f64;
            this.must = chat.size() >= this.refused || used >= 1.0;
            if this.must || used > chat.state::<NextAttempt>().0.max(FULL_SHARE) {
                let Err(why) = this.make_room(chat, cx).await? else { continue };
                if this.must {
                    // Both errors withdraw the prompt, so that the next one finds a usable
                    // conversation.
                    let why = format!("this is more than {} tokens, and {why}", this.window);
                    let full = Error::Unfinished { stop: StopReason::WindowFull, why };
                    return Err(refusal.unwrap_or(full));
                }
                // Not at every step, since an attempt may cost a request.
                cx.notice(why);
                chat.update(|next: &mut NextAttempt| next.0 = (used + 1.0) / 2.0);
            }
            match next.run(chat, cx).await {
                Err(error) if error.is_too_large(used > NEAR_SHARE) => {
                    this.refused = chat.size();
                    refusal = Some(error);
                }
                other => break other?,
            }
        };
        let tokens = reply.usage.prompt_tokens() + reply.usage.output_tokens;
        let (bytes, sent) = (chat.size() + reply.message.size(), cx.request(chat));
        let fixed = rungs_json::size(&(&sent.system, &sent.tools));
        chat.update(|count: &mut TokenCount| *count = TokenCount { tokens, bytes, fixed });
        Ok(reply)
    }
}

impl Compaction {
    /// Makes the conversation smaller by a tenth or more: by clearing results, which costs nothing,
    /// or by a summary of what is older than the newest steps.
    async fn make_room(&self, chat: &mut Chat, cx: &Context) -> Attempt {
        // What is older must fit into a request for a summary.
        let tail = chat.size().saturating_sub(self.bytes(FULL_SHARE)).max(self.bytes(NEWEST_SHARE));
        let (smaller, files) = self.without_results(chat, tail);
        let (count, before, after) = (files.len(), tokens(chat), tokens(&smaller));
        if count == 0 || after * 10 > before * 9 {
            return self.summarise(chat, cx, "", tail).await;
        }
        self.replace(chat, smaller, files).await?;
        cx.notice(format!("({count} results cleared: about {before} tokens became {after})"));
        Ok(Ok(()))
    }

    /// Micro: the conversation with stubs for all results but those of the newest steps, of `tail`
    /// bytes, and the files that the stubs name. If the newest step is too large, its largest
    /// results go too.
    fn without_results(&self, chat: &Chat, tail: usize) -> (Chat, Files) {
        let max_step = self.bytes(if self.must { FULL_SHARE } else { MAX_STEP_SHARE }).max(tail);
        let mut files = vec![];
        let mut messages: Vec<Message> = chat.messages().iter().map(|m| (**m).clone()).collect();
        let (old, new) = messages.split_at_mut(chat.newest_steps(tail));
        for block in old.iter_mut().flat_map(|message| &mut message.content) {
            files.extend(self.clear(chat, block));
        }
        let mut size: usize = new.iter().map(Message::size).sum();
        let mut blocks: Vec<_> = new.iter_mut().flat_map(|message| &mut message.content).collect();
        blocks.sort_by_key(|block| Reverse(block.size()));
        for block in blocks {
            if size > max_step {
                size -= block.size();
                files.extend(self.clear(chat, block));
                size += block.size();
            }
        }
        (chat.compacted(messages), files)
    }

    /// Puts a stub in place of a result that is worth it; what must survive stays. Returns the file
    /// that the stub names.
    fn clear(&self, chat: &Chat, block: &mut Block) -> Option<(String, String)> {
        let Block::ToolResult { content, .. } = block else { return None };
        // An earlier stub stays too, or it would count as a result.
        let stays = |block: &Block| block.origin().is_some_and(|o| o.keep || o.name == "cleared");
        let size: usize = content.iter().filter(|block| !stays(block)).map(Block::size).sum();
        if size < MIN_CLEARED_BYTES {
            return None;
        }
        // Ids may repeat, and hold anything, so they name no file.
        let name = format!("results/{}/{:016x}.txt", chat.id(), fastrand::u64(..));
        let cleared = content.extract_if(.., |block| !stays(block)).map(|block| match block {
            Block::Text { text, .. } => text,
            // A picture, say: as it stood in the conversation.
            other => serde_json::json!(other).to_string(),
        });
        let text = cleared.collect();
        let file = self.folder.path().join(&name);
        let stub = format!("[cleared: {size} bytes, in {}; bash can read parts]", file.display());
        content.push(Block::inserted("cleared", stub));
        Some((name, text))
    }

    /// Auto: the model's summary takes the place of everything before the newest steps.
    async fn summarise(&self, chat: &mut Chat, cx: &Context, focus: &str, tail: usize) -> Attempt {
        let (before, mut old) = (tokens(chat), chat.messages().to_vec());
        let mut new = old.split_off(chat.newest_steps(tail));
        let prompt = new.last_mut().and_then(|last| Arc::make_mut(last).split_off_prompt());
        let size = |messages: &[Arc<Message>]| messages.iter().map(|m| m.size()).sum::<usize>();
        if self.must && size(&new) > size(&old) {
            // It is the newest step that is too large.
            old.append(&mut new);
        }
        if (old.len() < 2 && !self.must) || size(&old) * 10 < chat.size() {
            return failed("nothing is older than the newest step");
        }
        new.extend(prompt.map(Arc::new));
        // It begins as the last request did, so the prompt cache knows most of it.
        let mut asked = Chat::restore("", old.iter().cloned(), Default::default());
        let focus = if focus.is_empty() { "what is still open" } else { focus };
        asked.push(Message::inserted("summarise", format!("{SUMMARISE} Above all: {focus}.")));
        cx.notice("(making room: older turns are being summarised)");
        let summary = match cx.side_request(cx.request(&asked)).await {
            _ if cx.cancel().is_cancelled() => return Err(Error::Cancelled),
            Err(error) if error.is_too_large(self.must) => {
                cx.notice(format!("(there is no summary: {error})"));
                format!("(nothing, since there is no summary: {error})")
            }
            Err(error) => return failed(format!("there is no summary: {error}")),
            Ok(reply) if self.must => reply.text(),
            Ok(reply) if reply.stop != StopReason::EndTurn => return failed("the summary was cut"),
            Ok(reply) if reply.text().trim().is_empty() => return failed("the summary is empty"),
            Ok(reply) => reply.text(),
        };
        let max = if self.must { self.bytes(MAX_SUMMARY_SHARE) } else { usize::MAX };
        let summary = shorten(summary.trim(), max);
        let (head, left_out) = self.head(&old, &summary);
        let smaller = chat.compacted(std::iter::once(Arc::new(head)).chain(new));
        let after = tokens(&smaller);
        if after * 10 > before * 9 {
            let why = format!("about {after} of {before} tokens would remain");
            return failed(why + "; ask for less at once, or begin a new conversation");
        }
        // A child's memory would take the place of the person's.
        let memory = (!cx.is_child()).then(|| (MEMORY.to_string(), summary));
        self.replace(chat, smaller, memory.into_iter().collect()).await?;
        cx.notice(format!("(summarised: about {before} tokens became {after}{left_out})"));
        Ok(Ok(()))
    }

    /// What takes the place of older messages: what must survive word for word, the person's own
    /// words, the summary. And what did not fit into its budget.
    fn head(&self, old: &[Arc<Message>], summary: &str) -> (Message, String) {
        let (mut kept, mut typed, mut left_out) = (vec![], vec![], String::new());
        let max_typed = (self.window as f64 * MAX_TYPED_SHARE) as usize * BYTES_PER_TOKEN;
        let max_typed = max_typed.min(self.bytes(MAX_TYPED_SMALL_SHARE));
        for message in old {
            kept.extend(message.blocks().filter(|b| b.origin().is_some_and(|o| o.keep)).cloned());
            // A long paste keeps its beginning and its end.
            typed.extend(message.typed().map(|text| Block::text(shorten(text, max_typed / 4))));
        }
        // The largest go first, since one must not push out many; of equal ones the oldest.
        let max_kept = self.bytes(MAX_KEPT_SHARE);
        for (blocks, max) in [(&mut kept, max_kept), (&mut typed, max_typed)] {
            for block in remove_largest(blocks, max, Block::size) {
                let name = block.origin().map_or("a prompt", |origin| &origin.name);
                left_out.push_str(&format!("; left out: {name}, {} bytes", block.size()));
            }
        }
        let text = format!(
            "<summary>\nWhat came before was removed to make room{left_out}. What stands above, \
             as the person's own words, was kept. You wrote of the rest:\n{summary}\n</summary>"
        );
        let summary = Block::inserted("summary", text);
        let content = kept.into_iter().chain(typed).chain([summary]).collect();
        (Message { content, ..Message::empty() }, left_out)
    }

    /// Disk: puts the new conversation in place, once these files and the whole old conversation,
    /// each time under another name, are written.
    async fn replace(&self, chat: &mut Chat, new: Chat, files: Files) -> Result<()> {
        let (transcript, folder) = (format!("transcripts/{}", chat.id()), self.folder.clone());
        let whole = serde_json::to_vec(chat).map_err(Error::other)?;
        let write = move || {
            folder.write_numbered(transcript, ".json", &whole)?;
            files.iter().try_for_each(|(name, text)| folder.write(name, text.as_bytes()))
        };
        // It waits for the disk, which no thread of the runtime may do.
        tokio::task::spawn_blocking(write).await.map_err(Error::other)?.map_err(Error::other)?;
        *chat = new;
        Ok(())
    }

    /// A share of the window, in bytes.
    fn bytes(&self, share: f64) -> usize {
        let window = (self.window as usize).saturating_mul(BYTES_PER_TOKEN);
        (window.min(self.refused) as f64 * share) as usize
    }
}

/// Tokens that a conversation takes: what the server counted, less what was removed since, and an
/// estimate of what was added.
fn tokens(chat: &Chat) -> u64 {
    let (bytes, count) = (chat.size(), chat.state::<TokenCount>());
    let added = (bytes.saturating_sub(count.bytes) / BYTES_PER_TOKEN) as u64;
    let (left, counted) = (bytes.min(count.bytes) + count.fixed, count.bytes + count.fixed);
    let kept = (count.tokens as f64 * (left as f64 / counted.max(1) as f64)) as u64;
    kept.saturating_add(added).max((bytes / BYTES_PER_TOKEN) as u64)
}

/// Adds the mechanism, for a model with a window of so many tokens, with its files in `folder`.
pub fn install(agent: Agent, window: u64, folder: Folder) -> Agent {
    let memory = folder.clone();
    let layer = Arc::new(Compaction { window, folder, refused: usize::MAX, must: false });
    if memory.read_text(MEMORY, MAX_MEMORY_BYTES).is_ok() {
        agent.context().notice("`:memory` adds what an earlier conversation came to.");
    }
    let agent = agent.wrap_shared(layer.clone()).command(
        "compact",
        "summarises all but the newest step; `:compact FOCUS` says what matters",
        async move |chat, focus, cx| {
            layer.summarise(chat, cx, focus, 0).await?.map_err(Error::other)
        },
    );
    agent.command(
        "memory",
        "adds the memory of the last conversation that was summarised",
        async move |chat, _, cx| {
            let text = memory.read_text(MEMORY, MAX_MEMORY_BYTES).map_err(Error::other)?;
            let text = format!("<memory>\nOf an earlier conversation:\n{}\n</memory>", text.trim());
            chat.push(Message::inserted("memory", text));
            cx.notice("(it will be sent with your next prompt)");
            Ok(())
        },
    )
}

/// The agent of lesson one, with room.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        Ok(install(stage.agent(), stage.window.into(), stage.state_folder()?))
    };
    lessons::run("s06_context_compact", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s05_skill_loading as s05,
        testing::{Play, inserted, play, results},
    };
    use rehearsal::{Scene, Turn, call, calls, say, say_results, scene};
    use rungs_core::{NextSend, Request, ToolOutput, ToolResult, tools};
    use serde_json::json;
    use std::path::{Path, PathBuf};

    fn state(dir: &Path) -> Folder {
        Folder::open(dir, "state").unwrap()
    }

    /// An agent with a window of so many tokens.
    async fn stage(window: u64, scenes: impl IntoIterator<Item = Scene>) -> Play {
        play(scenes, |agent, dir| install(agent.tool(tools::Bash), window, state(dir))).await
    }

    fn seq(command: &str) -> (&'static str, serde_json::Value) {
        ("bash", json!({ "command": format!("seq {command}") }))
    }

    /// The conversations before compaction, in their order.
    fn transcripts(play: &Play) -> Vec<Chat> {
        let mut files = files(&play.dir.path().join("state/transcripts"));
        files.sort();
        files
            .iter()
            .map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
            .collect()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
    }

    /// The file that a stub names.
    fn stubbed(stub: &str) -> String {
        let (_, file) = stub.split_once(" bytes, in ").unwrap();
        std::fs::read_to_string(file.strip_suffix("; bash can read parts]").unwrap()).unwrap()
    }

    fn json(chat: &Chat) -> String {
        serde_json::to_string(chat).unwrap()
    }

    fn texts(message: &Message) -> Vec<&str> {
        message.content.iter().filter_map(Block::as_text).collect()
    }

    #[tokio::test]
    async fn old_results_give_way_first_and_their_text_is_kept() {
        let read = calls([seq("100000 101000 # {{ n }}")]).think("hm").say("look").repeat(12);
        let play = stage(15_000, [scene("^go$", [read, say("end")])]).await;
        // The server is strict: it refuses a parted call, and thinking after a changed prefix.
        let (_, chat) = play.ask("go").await;
        let notices = play.ui.take();
        let cleared =
            notices.iter().filter(|line| line.contains(" results cleared: about ")).count();
        assert!(cleared > 1, "{notices:?}");
        let transcripts = transcripts(&play);
        assert_eq!(transcripts.len(), cleared, "one for each time that history was rewritten");
        assert!(transcripts.iter().all(|chat| json(chat).contains("100500")));
        // A stub is never taken for a result, nor put in the place of the text that it names.
        let whole: String = (100_000..=101_000).map(|n| format!("{n}\n")).collect();
        let results: Vec<String> =
            chat.messages().iter().flat_map(|message| results(message)).collect();
        let (stubs, rest): (Vec<String>, Vec<String>) =
            results.into_iter().partition(|result| result.starts_with("[cleared: 7007 bytes, in "));
        assert_eq!(stubs, inserted(&chat, "cleared"));
        assert!(stubs.iter().all(|stub| stubbed(stub) == whole));
        assert!(!rest.is_empty() && rest.iter().all(|result| *result == whole));
        assert_eq!(stubs.len() + rest.len(), 12);
        let kept = files(&play.dir.path().join("state/results").join(chat.id()));
        assert_eq!(kept.len(), stubs.len());
    }

    #[tokio::test]
    async fn when_one_step_is_larger_than_the_window_its_largest_results_go_to_disk() {
        let all = [seq("1000 1500"), seq("100000 103500"), seq("200000 201000")];
        let turns = [calls(all), say("{{ results[1].text }}")];
        let play = stage(6_000, [scene("^go$", turns), scene("^again", [say("fine")])]).await;
        let (answer, mut chat) = play.ask("go").await;
        let results = results(&chat.messages()[2]);
        let sizes: Vec<usize> = results.iter().map(String::len).collect();
        assert_eq!((sizes[0], sizes[2]), (2505, 7007));
        assert_eq!(answer, results[1]);
        assert_eq!(stubbed(&results[1]).lines().last(), Some("103500"));
        let sizes: Vec<usize> = play.server.requests().iter().map(|seen| seen.bytes).collect();
        assert!(sizes.iter().all(|size| *size < 4 * 6_000), "{sizes:?}");
        assert_eq!(play.run(&mut chat, "again").await.unwrap().text(), "fine");
    }

    #[tokio::test]
    async fn a_prompt_larger_than_the_window_is_withdrawn_and_the_next_one_works() {
        let scenes = [scene("^Summarise", [say("short")]), scene("^(small|large)", [say("fine")])];
        let play = stage(2_000, scenes).await;
        let large = format!("large {}", "x".repeat(9_000));
        let mut chat = Chat::default();
        let error = play.run(&mut chat, &large).await.unwrap_err().to_string();
        let expected = "this is more than 2000 tokens, and no room was made: nothing is older than \
                        the newest step";
        assert_eq!(error, expected);
        assert_eq!((chat.messages().len(), play.server.request_count()), (0, 0));
        assert_eq!(play.run(&mut chat, "small").await.unwrap().text(), "fine");
        let before = json(&chat);
        let error = play.run(&mut chat, &large).await.unwrap_err().to_string();
        assert_eq!(error, expected);
        assert_eq!(json(&chat), before);
        assert_eq!(play.run(&mut chat, "small").await.unwrap().text(), "fine");
    }

    fn words(count: usize) -> String {
        "word ".repeat(count)
    }

    /// Scenes of four prompts; what the model says to the first two is long.
    fn four_prompts(summary: Turn) -> [Scene; 5] {
        [
            scene("^Summarise", [summary]),
            scene("^first", [call("load_skill", json!({"name": "one"})), say(words(1300))]),
            scene("^<task>second", [say(words(1300))]),
            scene("^third", [say("three")]),
            scene("^fourth", [say("four")]),
        ]
    }

    fn skill(dir: &Path, name: &str, body: &str) {
        let folder = dir.join("skills").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("---\nname: {name}\ndescription: x\n---\n{body}");
        std::fs::write(folder.join("SKILL.md"), text).unwrap();
    }

    #[tokio::test]
    async fn a_summary_takes_the_place_of_older_turns_and_words_and_skills_survive() {
        let play = play(four_prompts(say("it was about numbers")), |agent, dir| {
            skill(dir, "one", "know how");
            let agent = install(agent.tool(tools::Bash), 4_000, state(dir));
            s05::install(agent, s05::Skills::find(&[dir.into()]))
        })
        .await;
        let mut chat = Chat::default();
        for prompt in ["first words", "<task>second words", "third words", "fourth words"] {
            play.run(&mut chat, prompt).await.unwrap();
        }
        let head = texts(&chat.messages()[0]);
        assert!(head[0].starts_with("<environment>\n") && head[1].starts_with("know how\n\n"));
        let summary = "<summary>\nWhat came before was removed to make room. What stands above, \
                       as the person's own words, was kept. You wrote of the rest:\nit was about \
                       numbers\n</summary>";
        let words = ["first words", "<task>second words", summary, "third words"];
        assert_eq!(head[2..], words);
        let rest: Vec<String> = chat.messages()[1..].iter().map(|message| message.text()).collect();
        assert_eq!(rest, ["three", "fourth words", "four"]);
        let memory = play.dir.path().join("state/memory.md");
        assert_eq!(std::fs::read_to_string(memory).unwrap(), "it was about numbers");
        assert!(play.server.requests().iter().all(|seen| seen.status == 200));
        let whole: Vec<String> =
            transcripts(&play)[0].messages().iter().map(|message| message.text()).collect();
        assert_eq!(whole[3], self::words(1300));
    }

    #[test]
    fn of_a_result_only_what_must_survive_is_left_beside_the_stub() {
        let compaction = compaction(10_000);
        let call = json!({"type": "tool_use", "id": "1", "name": "t", "input": {}});
        let skill = Block::kept("skill:one", "know how ".repeat(100));
        let (text, image) = (Block::text("x".repeat(500)), Block::image("image/png", "iVBO"));
        let output = ToolOutput(vec![text, skill.clone(), image.clone()]);
        let mut chat = Chat::default();
        chat.push(Message::user("go"));
        chat.push(Message::assistant(vec![Block::from_value(&call)]));
        chat.push(Message::results([ToolResult { id: "1".into(), output, is_error: false }]));
        chat.push(Message::assistant(vec![Block::text("done")]));
        let (smaller, files) = compaction.without_results(&chat, 0);
        let [(name, content)] = &files[..] else { panic!("{files:?}") };
        let picture = serde_json::to_value(&image).unwrap();
        assert_eq!(*content, format!("{}{picture}", "x".repeat(500)));
        let size = 500 + image.size();
        let file = compaction.folder.path().join(name);
        let stub = format!("[cleared: {size} bytes, in {}; bash can read parts]", file.display());
        let left: Vec<&Block> = smaller.messages()[2].blocks().collect();
        assert_eq!(left, [&skill, &Block::inserted("cleared", stub)]);
        assert!(name.starts_with(&format!("results/{}/", chat.id())), "{name}");
        // There is nothing more to clear.
        assert_eq!(compaction.without_results(&smaller, 0).1, []);
    }

    fn compaction(window: u64) -> Compaction {
        let dir = tempfile::tempdir().unwrap();
        Compaction { window, folder: state(dir.path()), refused: usize::MAX, must: false }
    }

    fn head(old: Vec<Message>) -> (Message, String) {
        let compaction = compaction(100_000);
        let old: Vec<Arc<Message>> = old.into_iter().map(Arc::new).collect();
        compaction.head(&old, "short")
    }

    #[test]
    fn what_the_person_typed_survives_whatever_it_looks_like_and_a_long_paste_is_cut() {
        let paste = format!("<log>{}</log>", "x".repeat(40_000));
        let typed = [
            "never push to main",
            "<config>port 5432</config>",
            "<task id=7> is what I saw",
            "<mail from=\"lead\"> too",
            paste.as_str(),
            "and then?",
        ];
        let mut old: Vec<Message> = typed.iter().map(|text| Message::user(*text)).collect();
        old.insert(2, Message::inserted("task", "<task id=7>not the person's</task>"));
        old.insert(4, Message::assistant(vec![Block::text("said by the model")]));
        let (head, left_out) = head(old);
        let texts = texts(&head);
        assert_eq!((&texts[..4], texts[5], left_out.as_str()), (&typed[..4], typed[5], ""));
        let paste = texts[4];
        assert!(paste.starts_with("<log>xx") && paste.ends_with("xx</log>"), "{paste}");
        assert!(paste.contains("[37511 bytes cut here to save room]"), "{paste}");
        assert!(texts[6].starts_with("<summary>\n") && texts.len() == 7);
        // The next summary changes none of them.
        assert_eq!(self::head(vec![head.clone()]), (head.clone(), String::new()));
    }

    #[test]
    fn what_does_not_fit_into_its_budget_is_left_out_and_named() {
        let mut old = vec![Message::kept("environment", "here")];
        for (name, size) in [("skill:a", 30_000), ("skill:b", 40_000), ("skill:c", 20_000)] {
            let content = vec![Block::kept(name, "x".repeat(size)), Block::text("not kept")];
            let output = ToolOutput(content);
            old.push(Message::results([ToolResult { id: name.into(), output, is_error: false }]));
        }
        old.push(Message::user("be brief"));
        old.extend(["a", "b", "c", "d", "e"].map(|text| Message::user(text.repeat(4_500))));
        let (head, left_out) = head(old);
        assert_eq!(left_out, "; left out: skill:b, 40000 bytes; left out: a prompt, 4500 bytes");
        let sizes: Vec<(char, usize)> =
            texts(&head).iter().map(|text| (text.chars().next().unwrap(), text.len())).collect();
        let typed = [('b', 8), ('b', 4500), ('c', 4500), ('d', 4500), ('e', 4500)];
        assert_eq!(sizes[..3], [('h', 4), ('x', 30_000), ('x', 20_000)]);
        assert_eq!((&sizes[3..8], sizes.len()), (&typed[..], 9));
        assert!(texts(&head)[8].contains(&left_out));
    }

    #[tokio::test]
    async fn a_skill_that_was_left_out_loads_again_and_one_that_was_kept_does_not() {
        let load = |name: &str| ("load_skill", json!({ "name": name }));
        let both = || calls([load("small"), load("large")]);
        let scenes = [
            scene("^Summarise", [say("short")]),
            scene("^first", [both(), say("done")]),
            scene("^again", [both(), say("{{ results[0].text[:24] }} {{ results[1].text[:6] }}")]),
        ];
        for outermost in [true, false] {
            let play = play(scenes.clone(), |agent, dir| {
                skill(dir, "small", "know how");
                skill(dir, "large", &"much ".repeat(1000));
                let skills = s05::Skills::find(&[dir.into()]);
                let compact = |agent| install(agent, 4_000, state(dir));
                match outermost {
                    true => compact(s05::install(agent, skills)),
                    false => s05::install(compact(agent), skills),
                }
            })
            .await;
            let (_, mut chat) = play.ask("first").await;
            play.agent.run_command("compact", "", &mut chat).await.unwrap().unwrap();
            let notices = play.ui.take().join("\n");
            assert!(notices.contains("; left out: skill:large, 5"), "{notices}");
            let answer = play.run(&mut chat, "again").await.unwrap().text();
            assert_eq!(answer, "`small` is loaded alread much m");
        }
    }

    #[tokio::test]
    async fn a_file_whose_text_was_removed_counts_as_unread() {
        let write = call("write", json!({"file_path": "f.txt", "content": "new"}));
        let scenes = [
            scene("^Summarise", [say("short")]),
            scene("^read", [call("read", json!({"file_path": "f.txt"})), say("done")]),
            scene("^write", [write, say_results()]),
        ];
        let play = play(scenes, |agent, dir| {
            std::fs::write(dir.join("f.txt"), "a line\n".repeat(1000)).unwrap();
            install(agent.tool(tools::Read).tool(tools::Write), 100_000, state(dir))
        })
        .await;
        let (_, mut chat) = play.ask("read").await;
        let mut fork = chat.fork();
        play.agent.run_command("compact", "", &mut chat).await.unwrap().unwrap();
        let refused = "f.txt: it exists, and it has not been read; read it first";
        assert_eq!(play.run(&mut chat, "write").await.unwrap().text(), refused);
        // The fork has the text, and so it may write.
        let written = play.run(&mut fork, "write").await.unwrap().text();
        assert_eq!(written, "replaced f.txt: 1 line");
    }

    /// A conversation of two turns, the first with a long answer.
    async fn two_turns(play: &Play) -> Chat {
        let (_, mut chat) = play.ask("<task>second words").await;
        play.run(&mut chat, "third words").await.unwrap();
        chat
    }

    #[tokio::test]
    async fn after_a_summary_the_system_text_still_counts() {
        let mut play = stage(1_000_000, four_prompts(say("short"))).await;
        play.agent = play.agent.system(words(2_000));
        let mut chat = two_turns(&play).await;
        play.agent.run_command("compact", "", &mut chat).await.unwrap().unwrap();
        let estimate = tokens(&chat);
        play.run(&mut chat, "fourth words").await.unwrap();
        let counted = chat.state::<TokenCount>().tokens;
        assert!(counted.abs_diff(estimate) < counted / 10, "{estimate}, then {counted}");
    }

    #[tokio::test]
    async fn a_summary_that_fails_or_gains_nothing_leaves_the_conversation_as_it_was() {
        let refused = json!({"status": 400, "times": "always"});
        for (summary, expected) in [
            (Turn::default(), "no room was made: the summary is empty"),
            (say("x").stop("max_tokens"), "no room was made: the summary was cut"),
            (say("x").fault(refused), "no room was made: there is no summary: 127.0.0.1:"),
            (say(words(2500)), "no room was made: about "),
        ] {
            let play = stage(1_000_000, four_prompts(summary)).await;
            let mut chat = two_turns(&play).await;
            let before = json(&chat);
            let failed = play.agent.run_command("compact", "", &mut chat).await.unwrap();
            let failed = failed.unwrap_err().to_string();
            assert!(failed.starts_with(expected), "{failed}");
            assert_eq!(json(&chat), before);
            assert_eq!(state(play.dir.path()).list().unwrap(), [""; 0]);
        }
    }

    #[tokio::test]
    async fn a_full_conversation_goes_on_whatever_becomes_of_the_summary() {
        let refused = || json!({"status": 400, "times": "always"});
        for (summary, stands) in [
            (say(words(2500)), "bytes cut here to save room]"),
            (say("half a").stop("max_tokens"), "You wrote of the rest:\nhalf a\n"),
            (Turn::default(), "You wrote of the rest:\n\n"),
            (say("x").fault(refused()), "(nothing, since there is no summary: 127.0.0.1:"),
        ] {
            let play = stage(1_500, four_prompts(summary)).await;
            let (_, mut chat) = play.ask("<task>second words").await;
            let asked = play.server.request_count();
            assert_eq!(play.run(&mut chat, "third words").await.unwrap().text(), "three");
            assert_eq!(play.server.request_count(), asked + 2, "one summary, and the answer");
            let summary = &inserted(&chat, "summary")[0];
            assert!(summary.contains(stands), "{summary}");
            assert_eq!(chat.messages()[0].typed().last(), Some("third words"));
            assert_eq!(transcripts(&play).len(), 1);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_down_costs_nothing_of_the_conversation() {
        let down = json!({"status": 401, "times": 1});
        let play = stage(1_500, four_prompts(say("short").fault(down))).await;
        let (_, mut chat) = play.ask("<task>second words").await;
        let before = json(&chat);
        let error = play.run(&mut chat, "third words").await.unwrap_err().to_string();
        assert!(error.contains(" and no room was made: there is no summary: "), "{error}");
        assert_eq!(json(&chat), before);
        assert_eq!(play.run(&mut chat, "third words").await.unwrap().text(), "three");
        assert_eq!(inserted(&chat, "summary").len(), 1);
    }

    #[tokio::test]
    async fn an_interrupted_summary_ends_the_turn_and_leaves_the_conversation_as_it_was() {
        let play = stage(2_500, four_prompts(say("late").delay_ms(60_000))).await;
        let (_, mut chat) = play.ask("<task>second words").await;
        let mut expected = chat.clone();
        expected.push(Message::user("third words"));
        let asked = play.server.request_count();
        let stop = play.agent.context().cancel().clone();
        let (end, ()) = tokio::join!(play.run(&mut chat, "third words"), async {
            while play.server.request_count() == asked {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            stop.cancel();
        });
        assert!(matches!(end, Err(Error::Cancelled)), "{end:?}");
        assert_eq!(json(&chat), json(&expected));
    }

    #[tokio::test]
    async fn nothing_is_removed_that_cannot_be_written_to_disk() {
        let play = stage(2_500, four_prompts(say("short"))).await;
        let state = play.dir.path().join("state");
        std::fs::remove_dir(&state).unwrap();
        std::fs::write(&state, "a file, where a folder is needed").unwrap();
        let (_, mut chat) = play.ask("<task>second words").await;
        let mut expected = chat.clone();
        expected.push(Message::user("third words"));
        let error = play.run(&mut chat, "third words").await.unwrap_err().to_string();
        let folder = play.dir.path().display();
        assert!(error.starts_with(&format!("{folder}/state is a file, not a folder")), "{error}");
        assert_eq!(json(&chat), json(&expected));
    }

    #[tokio::test]
    async fn a_failed_summary_is_tried_again_only_after_half_of_the_rest_was_used() {
        let used = |tokens: u64| json!({"input_tokens": tokens, "output_tokens": 0});
        let scenes = [
            scene("^Summarise", [say(words(1000))]),
            scene("^one", [say(words(170)).usage(used(750))]),
            scene("^two", [say("2").usage(used(800))]),
            scene("^three", [say("3").usage(used(900))]),
            scene("^four", [say("4").usage(used(900))]),
        ];
        let play = stage(1_000, scenes).await;
        let mut chat = Chat::default();
        let mut summaries = vec![];
        for prompt in ["one", "two", "three", "four"] {
            play.run(&mut chat, prompt).await.unwrap();
            let bodies = play.bodies();
            let asked = bodies.iter().filter(|body| body.to_string().contains("Summarise"));
            summaries.push(asked.count());
        }
        // 75 %, 80 % and 90 % were used before `two`, `three` and `four`; the half is at 87.5 %.
        assert_eq!(summaries, [0, 1, 1, 2]);
    }

    /// A server whose window is smaller than it is believed to be. It says so, or gives a status
    /// and odd words.
    struct SmallServer {
        max_bytes: usize,
        status: Option<u16>,
    }

    impl Layer for SmallServer {
        async fn send(&self, request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
            let size: usize = request.messages.iter().map(|message| message.size()).sum();
            if size <= self.max_bytes {
                return next.run(request, cx).await;
            }
            let why = format!("{size} bytes are too many");
            let Some(status) = self.status else {
                return Err(Error::Unfinished { stop: StopReason::WindowFull, why });
            };
            let (host, kind, message) = ("here".into(), "odd".into(), "pas possible".into());
            let (request_id, retry_after) = (None, None);
            Err(Error::Api { host, status, kind, message, request_id, retry_after })
        }
    }

    #[tokio::test]
    async fn a_conversation_that_the_server_calls_too_long_is_made_smaller_until_it_fits() {
        let prompts = ["a", "b", "c", "d"].map(|name| format!("{name} {}", "x".repeat(2000)));
        for (max_bytes, summaries) in [(30_000, 1), (14_500, 2)] {
            let long = ["^a ", "^b ", "^c ", "^d "].map(|when| scene(when, [say(words(1300))]));
            let end = [scene("^Summarise", [say("short")]), scene("^end$", [say("fine")])];
            let play = stage(1_000_000, long.into_iter().chain(end)).await;
            let mut chat = Chat::default();
            for prompt in &prompts {
                play.run(&mut chat, prompt).await.unwrap();
            }
            let agent = play.agent.clone().wrap(SmallServer { max_bytes, status: None });
            let reply = agent.run(&mut chat, "end", agent_loop).await.unwrap();
            assert_eq!(reply.text(), "fine");
            assert_eq!(transcripts(&play).len(), summaries);
            let typed: Vec<&str> = chat.messages().iter().flat_map(|m| m.typed()).collect();
            assert_eq!(
                (&typed[..4], &typed[4..]),
                (&prompts.each_ref().map(|p| p.as_str())[..], &["end"][..])
            );
        }
    }

    #[tokio::test]
    async fn what_the_server_refuses_also_when_it_is_smaller_is_withdrawn() {
        let mut scenes = four_prompts(say("short")).to_vec();
        scenes[3] = scene("^third", [say("x").fault(json!({"status": 413, "times": "always"}))]);
        let play = stage(1_000_000, scenes).await;
        let (_, mut chat) = play.ask("<task>second words").await;
        let before = json(&chat);
        let error = play.run(&mut chat, "third words").await.unwrap_err().to_string();
        assert!(error.contains(" answered 413 "), "{error}");
        assert_eq!(json(&chat), before);
        let seen = play.server.requests();
        assert!(seen.len() < 10 && seen[3].bytes < seen[1].bytes / 2, "{}", seen.len());
        assert_eq!(play.run(&mut chat, "fourth words").await.unwrap().text(), "four");
    }

    #[tokio::test]
    async fn a_refusal_in_unknown_words_makes_room_only_near_the_window() {
        for (window, answered) in [(3_000, true), (1_000_000, false)] {
            let play = stage(window, four_prompts(say("short"))).await;
            let (_, mut chat) = play.ask("<task>second words").await;
            play.run(&mut chat, "fourth words").await.unwrap();
            let server = SmallServer { max_bytes: 6_000, status: Some(400) };
            let agent = play.agent.clone().wrap(server);
            let end = agent.run(&mut chat, "third words", agent_loop).await;
            assert_eq!(end.is_ok_and(|reply| reply.text() == "three"), answered);
            assert_eq!(inserted(&chat, "summary").len(), usize::from(answered));
        }
    }

    #[tokio::test]
    async fn five_results_larger_than_the_window_and_then_a_question_and_a_summary() {
        let read = ("bash", json!({"command": "head -c 27000 /dev/zero | tr '\\0' x"}));
        let scenes = [
            scene("^Summarise", [say("five files of x")]),
            scene("^go$", [calls(vec![read; 5]), say("read")]),
            scene("^small$", [say("fine")]),
        ];
        let play = stage(15_000, scenes).await;
        let (answer, mut chat) = play.ask("go").await;
        assert_eq!(answer, "read");
        assert_eq!(play.run(&mut chat, "small").await.unwrap().text(), "fine");
        play.agent.run_command("compact", "", &mut chat).await.unwrap().unwrap();
        assert_eq!(play.run(&mut chat, "small").await.unwrap().text(), "fine");
        assert!(play.server.requests().iter().all(|seen| seen.bytes < 60_000));
    }

    /// The loop of lesson one, with a lower limit: a script begins again when its prompt is asked
    /// again after everything else was removed.
    async fn ten_steps(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
        for _ in 0..10 {
            let reply = agent.ask(chat).await?;
            chat.push(reply.message.clone());
            if reply.calls().is_empty() {
                return Ok(reply);
            }
            chat.push(agent.act(reply.calls()).await);
        }
        Err(Error::Limit("steps", 10))
    }

    /// Random prompts, results and replies before a server with a window of its own, smaller or
    /// larger than it is believed to be: after each, a small question is answered.
    #[tokio::test]
    async fn a_small_question_is_answered_whatever_came_before() {
        let seed: u64 =
            std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
        println!("SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for round in 0..if std::env::var_os("LONG").is_some() { 300 } else { 6 } {
            let max_bytes = rng.usize(6_000..60_000);
            let believed = (max_bytes as f64 / 4.0 * (0.3 + 4.0 * rng.f64().powi(2))) as u64;
            let size = |rng: &mut fastrand::Rng| match rng.u8(..4) {
                0 => rng.usize(..max_bytes * 3),
                _ => rng.usize(..max_bytes / 3),
            };
            let mut scenes = vec![
                scene("^small$", [say("fine")]),
                scene("^Summarise", [say("s".repeat(size(&mut rng)))]),
            ];
            let mut prompts = vec![];
            for n in 0..6 {
                let mut turns = vec![];
                for _ in 0..rng.usize(..3) {
                    let results = (0..rng.usize(1..6)).map(|_| {
                        // An argument that is long, and a result that is.
                        let (result, argument) = (size(&mut rng), rng.usize(..2_000));
                        let argument = "#".repeat(argument * rng.usize(..2));
                        let command = format!("head -c {result} /dev/zero | tr '\\0' x {argument}");
                        ("bash", json!({ "command": command }))
                    });
                    turns.push(
                        calls(results.collect::<Vec<_>>()).say("t".repeat(rng.usize(..2_000))),
                    );
                }
                turns.push(say("r".repeat(size(&mut rng).max(1))));
                prompts.push(format!("p{n} {}", "p".repeat(size(&mut rng))));
                scenes.push(scene(&format!("^p{n} "), turns));
            }
            let play = stage(believed, scenes).await;
            let agent = play.agent.clone().wrap(SmallServer { max_bytes, status: None });
            let mut chat = Chat::default();
            for (n, prompt) in prompts.iter().enumerate() {
                let what = format!("SEED={seed} round {round} prompt {n}: {max_bytes} bytes");
                let end = agent.run(&mut chat, prompt.as_str(), ten_steps).await;
                if let Err(error) = &end {
                    let expected = error.withdraws() || matches!(error, Error::Limit(..));
                    assert!(expected, "{what}: {error}");
                }
                let small = agent.run(&mut chat, "small", agent_loop).await;
                let sizes = || {
                    chat.messages()
                        .iter()
                        .map(|m| {
                            (
                                m.role,
                                m.content
                                    .iter()
                                    .map(|b| (b.size(), b.origin().map(|o| o.name.clone())))
                                    .collect::<Vec<_>>(),
                            )
                        })
                        .collect::<Vec<_>>()
                };
                let small = small.unwrap_or_else(|error| {
                    panic!(
                        "{what}, {believed}: {error} {:?} {:?} {:?}",
                        sizes(),
                        chat.state::<TokenCount>(),
                        play.ui.take()
                    )
                });
                assert_eq!(small.text(), "fine", "{what}");
                // It may have nothing to gain.
                let _ = agent.run_command("compact", "", &mut chat).await.unwrap();
                let small = agent.run(&mut chat, "small", agent_loop).await;
                assert_eq!(small.unwrap().text(), "fine", "{what}");
            }
        }
    }

    #[tokio::test]
    async fn a_large_prompt_that_was_never_answered_does_not_stand_in_the_way() {
        let play =
            stage(2_000, [scene("^Summarise", [say("s")]), scene("^small$", [say("fine")])]).await;
        let mut chat = play.agent.new_chat();
        chat.push(Message::user("x".repeat(20_000)));
        assert_eq!(play.run(&mut chat, "small").await.unwrap().text(), "fine");
        assert_eq!(play.run(&mut chat, "small").await.unwrap().text(), "fine");
    }

    #[tokio::test]
    async fn figures_belong_to_one_conversation() {
        let play = stage(1_000_000, four_prompts(say("short"))).await;
        let chat = two_turns(&play).await;
        let counted = chat.state::<TokenCount>();
        assert!(counted.tokens > 1_600 && counted.bytes == chat.size(), "{counted:?}");
        let file: Chat = serde_json::from_str(&json(&chat)).unwrap();
        assert_eq!(file.state::<TokenCount>(), counted);
        assert_eq!(*Chat::default().state::<TokenCount>(), TokenCount::default());
        let (_, other) = play.ask("third words").await;
        assert_eq!(other.state::<TokenCount>().bytes, other.size());
    }

    #[tokio::test]
    async fn a_subagent_makes_room_for_itself_and_leaves_no_memory() {
        let play = stage(3_000, four_prompts(say("short"))).await;
        let child = play.agent.child("helper", &[]);
        let mut chat = Chat::default();
        for prompt in ["<task>second words", "<task>second words", "third words"] {
            child.run(&mut chat, prompt, agent_loop).await.unwrap();
        }
        assert_eq!(inserted(&chat, "summary").len(), 1);
        assert!(!play.dir.path().join("state/memory.md").exists());
    }

    #[tokio::test]
    async fn the_memory_of_an_earlier_conversation_is_offered_and_added() {
        let scenes = four_prompts(say("it was about numbers"));
        let play = stage(1_000_000, scenes).await;
        assert_eq!(play.ui.take(), [""; 0]);
        let mut chat = two_turns(&play).await;
        play.agent.run_command("compact", "the key", &mut chat).await.unwrap().unwrap();
        assert!(play.bodies()[2].to_string().contains("no tool calls. Above all: the key."));
        play.ui.take();
        // The next run in the same folder.
        let agent = install(play.agent.clone(), 1_000_000, state(play.dir.path()));
        let offer = "main: notice `:memory` adds what an earlier conversation came to.";
        assert_eq!(play.ui.take(), [offer]);
        let mut chat = Chat::default();
        agent.run_command("memory", "", &mut chat).await.unwrap().unwrap();
        agent.run(&mut chat, "fourth words", agent_loop).await.unwrap();
        let first = texts(&chat.messages()[0]);
        let memory = "<memory>\nOf an earlier conversation:\nit was about numbers\n</memory>";
        assert!(first[0].starts_with("<environment>\n"));
        assert_eq!(first[1..], [memory, "fourth words"]);
    }
}
