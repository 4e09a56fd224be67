//! # s04: a fresh conversation for each side job
//!
//! Whatever an agent reads stays in its conversation, and is paid for again with every request that follows. Most of it
//! was needed once: the thousand lines of a log, for the one that mattered. So a side job goes to a subagent: the same
//! loop, the same tools, an empty chat. It reads all it wants, and only its last words come back.
//!
//! New here: the tool `task`, which calls [`agent_loop`] from inside the loop; one call may carry several jobs, which
//! run side by side. What calls itself needs bounds, and they hold for the whole tree of subagents together: how deep,
//! how many, how many turns. And an agent that makes the same call over and over, with the same result, is stopped.
//!
//! Run it: `cargo run --example s04_subagent`
//!
//! You will see three subagents read three long logs at once, and what that saves the conversation that asked.
//!
//! Try: set [`DEPTH`] to 0. The model reads that there is nobody to do its work.
//!
//! Builds on s01. Motto: *Break big tasks down; each subtask gets a clean context.*

use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Chat, Context, Error, Layer, Message, NextAct, NextAsk, Outcome, Output, Reply, Result,
    Tool, ToolCall, ToolError, ToolSpec, prompt, tools::args,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// How many levels of subagents stand below the agent that the person talks to.
pub const DEPTH: usize = 2;
/// How many subagents one prompt may lead to, theirs included.
pub const AGENTS: usize = 20;
/// How many turns they may take, all together.
pub const TURNS: usize = 200;
/// Replies in a row whose calls bring nothing new: after how many a known call is refused, and the agent is stopped.
const IDLE: (usize, usize) = (3, 6);
/// How many calls are remembered, so that going in circles is noticed too.
const MEMORY: usize = 50;

/// What is left for the subagents of one prompt.
struct Budget {
    agents: AtomicUsize,
    turns: AtomicUsize,
}

/// Takes some, if enough is left.
fn take(left: &AtomicUsize, wanted: usize) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(wanted)).is_ok()
}

/// Where an agent stands: what its prompt has left, and how deep it is. One that is nobody's subagent has a whole budget
/// with each prompt.
#[derive(Default)]
struct Place(Mutex<Option<(Arc<Budget>, usize)>>);

impl Place {
    fn of(cx: &Context) -> (Arc<Budget>, usize) {
        let whole = || Budget { agents: AtomicUsize::new(AGENTS), turns: AtomicUsize::new(TURNS) };
        cx.local::<Place>().0.lock().unwrap().get_or_insert_with(|| (Arc::new(whole()), 0)).clone()
    }
}

#[derive(Deserialize)]
struct Args {
    tasks: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    description: String,
    prompt: String,
}

/// Gives jobs to subagents.
pub struct Task;

impl Tool for Task {
    fn spec(&self) -> ToolSpec {
        let word = |what: &str| json!({"type": "string", "description": what});
        let job = json!({
            "type": "object",
            "properties": {
                "description": word("Three to five words for the person who watches."),
                "prompt": word("The job. The subagent knows nothing else: say what is wanted, where to look, what to report."),
            },
            "required": ["description", "prompt"],
        });
        ToolSpec::new(
            "task",
            "Gives one or several independent jobs to subagents, which run side by side. Each has your tools and an \
             empty conversation; only its final report comes back. Use it for work that reads much and reports little.",
            json!({"type": "object", "properties": {"tasks": {"type": "array", "items": job}}, "required": ["tasks"]}),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        let asked = input.to_string().len();
        let Args { tasks } = args(input)?;
        if tasks.is_empty() {
            return Err(ToolError("`tasks` is empty; give at least one".into()));
        }
        let names: Vec<String> = tasks.iter().map(|job| name(&job.description)).collect();
        // Every layer that restricts comes along: a subagent can do nothing that its parent could not.
        let children = subagents(cx, &names, &[])?;
        let reports = children.into_iter().zip(&tasks).map(|(child, job)| run(child, &job.prompt));
        let reports = futures_util::future::join_all(reports).await;
        let text: Vec<String> = tasks
            .iter()
            .zip(&reports)
            .map(|(job, report)| format!("# {}\n{}", job.description, report.text))
            .collect();
        let text = text.join("\n\n");
        cx.notice(saving(reports.iter().map(|report| report.read).sum(), asked + text.len()));
        match reports.iter().all(|report| report.failed) {
            true => Err(ToolError(text)),
            false => Ok(text.into()),
        }
    }

    // The subagents' own calls are judged one by one, so the task itself may run beside others.
    fn read_only(&self) -> bool {
        true
    }
}

const BRIEF: &str = "You work for another agent, which sees only your last message: report what it asks for, briefly.";

/// Children of these names for side jobs of this prompt, without these tools, within what its budget has left.
pub fn subagents(
    cx: &Context,
    names: &[String],
    without: &[&str],
) -> Result<Vec<Agent>, ToolError> {
    let (budget, depth) = Place::of(cx);
    if depth >= DEPTH {
        return Err(ToolError(format!(
            "subagents stand {DEPTH} levels deep at most; do this yourself"
        )));
    }
    if !take(&budget.agents, names.len()) {
        let left = budget.agents.load(Relaxed);
        return Err(ToolError(format!(
            "{} subagents are too many: {left} of {AGENTS} are left",
            names.len()
        )));
    }
    let child = |name: &String| {
        let child = cx.agent.child(name, without);
        *child.context().local::<Place>().0.lock().unwrap() = Some((budget.clone(), depth + 1));
        child
    };
    Ok(names.iter().map(child).collect())
}

/// What came of a job, and how many bytes of conversation it took.
pub struct Report {
    /// The subagent's last words, or why there are none.
    pub text: String,
    /// Whether it failed.
    pub failed: bool,
    read: usize,
}

/// Lets a subagent do a job, in an empty chat. It goes with its last word, and what it has started goes with it.
pub async fn run(child: Agent, job: &str) -> Report {
    let mut chat = Chat::default();
    chat.push(prompt::first_message(&child.context(), BRIEF));
    chat.push(Message::user(job));
    let (text, failed) = match agent_loop(&child, &mut chat).await {
        Ok(reply) => (reply.text(), false),
        Err(error) => (format!("This subagent failed: {error}"), true),
    };
    Report { text, failed, read: chat.size() }
}

/// A name that can stand in a line, made of the description.
fn name(description: &str) -> String {
    let letters =
        description.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let words: String = letters.collect();
    let name: String =
        words.split_whitespace().take(4).collect::<Vec<_>>().join("-").chars().take(30).collect();
    if name.is_empty() { "subagent".into() } else { name }
}

/// What stayed with the subagents, against what the call and its result take here. A token is about four bytes.
fn saving(there: usize, here: usize) -> String {
    let percent = 100.0 * (1.0 - here as f64 / there.max(1) as f64);
    format!(
        "({} tokens stayed with the subagents, {} came here: {percent:.1} % saved)",
        there / 4,
        here.div_ceil(4)
    )
}

/// Counts the turns of the whole tree, and stops whoever goes in circles.
struct Bounds;

/// What an agent has seen lately: calls with their results, as hashes.
#[derive(Default)]
struct Lately {
    seen: VecDeque<(u64, u64)>,
    /// Replies in a row whose calls brought nothing new.
    idle: usize,
    /// Whether the newest reply had calls, and one that brought something new.
    called: bool,
    fresh: bool,
    /// How large the conversation was.
    size: usize,
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl Layer for Bounds {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let answers = chat.messages().last().is_some_and(|message| message.has_results());
        let (budget, depth) = Place::of(cx);
        if depth > 0 && !take(&budget.turns, 1) {
            return Err(Error::Limit("turns of all subagents together", TURNS));
        }
        if depth == 0 && !answers {
            // A new prompt, and a new budget.
            *cx.local::<Place>().0.lock().unwrap() = None;
        }
        let idle = {
            let lately = cx.local::<Mutex<Lately>>();
            let mut lately = lately.lock().unwrap();
            if !answers || chat.size() < lately.size {
                // Somebody asked for something, or room was made: what was seen before may well be looked at again.
                *lately = Lately::default();
            }
            if std::mem::take(&mut lately.called) {
                lately.idle = if std::mem::take(&mut lately.fresh) { 0 } else { lately.idle + 1 };
            }
            lately.size = chat.size();
            lately.idle
        };
        if idle >= IDLE.1 {
            return Err(Error::Limit("replies in a row that brought nothing new", idle));
        }
        next.run(chat, cx).await
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> Outcome {
        let lately = cx.local::<Mutex<Lately>>();
        let key = hash((&call.name, call.input.to_string()));
        {
            let mut lately = lately.lock().unwrap();
            lately.called = true;
            if lately.idle >= IDLE.0 && lately.seen.iter().any(|(seen, _)| *seen == key) {
                return call.refuse(
                    "not run: this call has been made before, and the last replies brought nothing new. Do something \
                     else, or report what you have; to wait for something, wait longer within one call.",
                );
            }
        }
        let outcome = next.run(call, cx).await;
        let pair = (key, hash((&outcome.output.text, outcome.is_error)));
        let mut lately = lately.lock().unwrap();
        if !lately.seen.contains(&pair) {
            lately.fresh = true;
            lately.seen.push_back(pair);
            if lately.seen.len() > MEMORY {
                lately.seen.pop_front();
            }
        }
        outcome
    }
}

/// Adds the mechanism.
pub fn install(agent: Agent) -> Agent {
    agent.tool(Task).wrap(Bounds)
}

/// The agent of lesson one, with subagents.
pub fn main() -> ExitCode {
    lessons::run("s04_subagent", async |stage| Ok(install(stage.agent())), agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::{
        Client, Recorder,
        client::{Endpoint, Format},
        tools,
    };

    async fn play(scenes: &str) -> (Result<Reply>, Chat, Vec<String>, Vec<Value>) {
        let script = rehearsal::Script::parse("test", &format!("scenes: [{scenes}]")).unwrap();
        let server = script.record(true).serve().await.unwrap();
        let endpoint = Endpoint::new(Format::Anthropic, server.url(), "rehearsal");
        let (dir, ui) = (tempfile::tempdir().unwrap(), Arc::new(Recorder::default()));
        let agent =
            Agent::new(Client::new(endpoint).unwrap(), dir.path()).tool(tools::Bash).ui(ui.clone());
        let mut chat = Chat::new("go");
        let end = agent_loop(&install(agent), &mut chat).await;
        (end, chat, ui.take(), server.seen().into_iter().map(|seen| seen.body).collect())
    }

    const TOLD: &str = "{say: \"{{ results | map(attribute='text') | join(' | ') }}\"}";

    fn job(prompt: &str) -> String {
        format!("{{description: '{prompt}', prompt: '{prompt}'}}")
    }

    #[tokio::test]
    async fn each_job_has_an_empty_chat_and_only_its_report_comes_back() {
        let (end, chat, shown, bodies) = play(&format!(
            "{{when: ^go$, turns: [{{call: [{{task: {{tasks: [{}, {}]}}}}]}}, {TOLD}]}},
             {{when: '^count (.)', turns: [
                {{call: [{{bash: {{command: 'seq {{{{ m[1] }}}}000'}}}}]}},
                {{say: '{{{{ results[0].text | lines | length }}}} lines'}}]}}",
            job("count 3"),
            job("count 4")
        ))
        .await;
        assert_eq!(end.unwrap().text(), "# count 3\n3000 lines\n\n# count 4\n4000 lines");
        assert_eq!(chat.messages().len(), 4);
        let first =
            bodies.iter().find(|body| body["messages"].to_string().contains("count 3\"")).unwrap();
        assert_eq!(
            bodies.iter().filter(|b| b["messages"].as_array().unwrap().len() == 1).count(),
            3
        );
        assert!(
            first["tools"] == bodies[0]["tools"] && first["system"] == bodies[0]["system"],
            "the prefix is shared"
        );
        let saved = shown.iter().find(|line| line.contains("saved")).unwrap();
        assert!(saved.starts_with("main: notice (") && saved.contains("came here: 9"), "{saved}");
        assert!(shown.contains(&"main/count-3: reply 3000 lines".to_string()), "{shown:?}");
    }

    #[tokio::test]
    async fn depth_and_number_are_bounded_for_the_whole_tree() {
        let deeper = format!(
            "{{when: '^deeper', turns: [{{call: [{{task: {{tasks: [{}]}}}}]}}, {TOLD}]}}",
            job("deeper")
        );
        let start = format!(
            "{{when: ^go$, turns: [{{call: [{{task: {{tasks: [{}]}}}}]}}, {TOLD}]}}",
            job("deeper")
        );
        let (end, _, _, _) = play(&format!("{start}, {deeper}")).await;
        assert_eq!(
            end.unwrap().text(),
            "# deeper\n# deeper\nsubagents stand 2 levels deep at most; do this yourself"
        );
        let many = vec![job("x"); AGENTS + 1].join(", ");
        let (end, _, _, bodies) = play(&format!(
            "{{when: ^go$, turns: [{{call: [{{task: {{tasks: [{many}]}}}}]}}, {TOLD}]}}"
        ))
        .await;
        assert_eq!(
            (end.unwrap().text().as_str(), bodies.len()),
            ("21 subagents are too many: 20 of 20 are left", 2)
        );
    }

    #[tokio::test]
    async fn several_calls_of_one_prompt_share_the_bounds() {
        let nine = vec![job("x"); 9].join(", ");
        let calls = vec![format!("{{task: {{tasks: [{nine}]}}}}"); 3].join(", ");
        let scenes = format!(
            "{{when: ^go$, turns: [{{call: [{calls}]}}, {TOLD}]}}, {{when: ^x$, turns: [{{say: y}}]}}"
        );
        let (end, _, _, bodies) = play(&scenes).await;
        assert!(end.unwrap().text().ends_with("9 subagents are too many: 2 of 20 are left"));
        assert_eq!(bodies.len(), 2 + 18);
    }

    #[tokio::test]
    async fn turns_are_bounded_for_the_whole_tree() {
        let jobs = [job("run 1"), job("run 2"), job("run 3"), job("run 4")].join(", ");
        let (end, _, _, bodies) = play(&format!(
            "{{when: ^go$, turns: [{{call: [{{task: {{tasks: [{jobs}]}}}}]}}, {TOLD}]}},
             {{when: ^run, turns: [{{repeat: 300, call: [{{bash: {{command: 'echo {{{{ n }}}}'}}}}]}}]}}"
        ))
        .await;
        let text = end.unwrap().text();
        let failed = "This subagent failed: stopped after 200 turns of all subagents together";
        assert_eq!(text.matches(failed).count(), 4, "{text}");
        assert_eq!(bodies.len(), 2 + TURNS);
    }

    #[tokio::test]
    async fn one_that_fails_leaves_the_others() {
        let (end, chat, _, _) = play(&format!(
            "{{when: ^go$, turns: [{{call: [{{task: {{tasks: [{}, {}]}}}}]}}, {TOLD}]}},
             {{when: ^good, turns: [{{say: fine}}]}}, {{when: ^bad, turns: [{{say: x, faults: [{{status: 400, message: no}}]}}]}}",
            job("good"),
            job("bad")
        ))
        .await;
        let text = end.unwrap().text();
        assert!(
            text.starts_with("# good\nfine\n\n# bad\nThis subagent failed: 127.0.0.1:")
                && text.contains(": no"),
            "{text}"
        );
        assert!(!json!(chat.messages()[2].content).to_string().contains("\"is_error\":true"));
    }

    #[tokio::test]
    async fn who_goes_in_circles_is_stopped_also_below() {
        for calls in [
            "{bash: {command: echo same}}",
            "{bash: {command: echo one}}, {bash: {command: echo two}}",
        ] {
            let circle = format!("turns: [{{repeat: 100, call: [{calls}]}}]");
            let (end, chat, _, _) = play(&format!("{{when: ^go$, {circle}}}")).await;
            assert!(
                matches!(end, Err(Error::Limit("replies in a row that brought nothing new", 6))),
                "{end:?}"
            );
            assert!(json!(chat.messages()).to_string().contains("this call has been made before"));
            let (end, _, _, _) = play(&format!(
                "{{when: ^go$, turns: [{{call: [{{task: {{tasks: [{}]}}}}]}}, {TOLD}]}}, {{when: ^circle, {circle}}}",
                job("circle")
            ))
            .await;
            assert!(end.unwrap().text().contains("replies in a row that brought nothing new"));
        }
    }

    #[tokio::test]
    async fn who_brings_new_things_is_not_stopped() {
        let steps = "{repeat: 20, call: [{bash: {command: 'echo x >> f; cat f | wc -l'}}, {bash: {command: 'true'}}]}";
        let (end, _, _, _) = play(&format!("{{when: ^go$, turns: [{steps}, {{say: end}}]}}")).await;
        assert_eq!(end.unwrap().text(), "end");
    }
}
