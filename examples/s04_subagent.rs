//! # s04: a new conversation for each side job
//!
//! Whatever an agent reads stays in its conversation and is sent again with every request that
//! follows. Most of it was needed once: a thousand lines of a log, for the one that mattered. So a
//! side job goes to a subagent: the same loop and the same tools on an empty chat. It reads as much
//! as it needs, and only its last message comes back.
//!
//! ```text
//! main:   prompt -> task [job a, job b] ........................ two reports -> answer
//!                        |                                          ^
//!                        +-> main/a: empty chat -> agent_loop ------+
//!                        +-> main/b: empty chat -> agent_loop ------+
//!                                                   |
//!                          every subagent and every step of theirs is taken from one budget
//! ```
//!
//! New here: the tool `task`, which runs [`agent_loop`] inside a call of the loop; several jobs of
//! one call run concurrently. A program that calls itself needs bounds, and here they hold for the
//! whole tree of subagents that one prompt leads to: how deep it is, how many agents, how many
//! steps. The [`Budget`] is a *value of the turn*: `Bounds` sets it when a prompt begins, and
//! since values do not reach children by themselves, [`subagents`] hands it on.
//!
//! Terms: **subagent**, **delegation**, **context isolation** (what a subagent reads stays out of
//! the parent's context window), **fan-out** and **fan-in**, **budget**.
//!
//! Run it: `cargo run --example s04_subagent`
//!
//! You will see three subagents read three long logs at the same time, their three reports, and how
//! many tokens that kept out of the main conversation.
//!
//! Try, and predict first:
//! 1. Set [`MAX_DEPTH`] to 0 and play the first suggestion. What does the model read now?
//! 2. Set [`MAX_STEPS`] to 4. Each of the three subagents needs three steps. How many finish?
//! 3. In `call`, pass `&["task"]` to [`subagents`] instead of `&[]`, so that subagents cannot
//!    delegate. `cargo test --lib s04` fails: what do subagents no longer share with their parent?
//!
//! Pitfalls: a subagent knows nothing of the conversation, so a job must say everything; bounds for
//! each agent alone multiply with every level; a subagent that outlives the call that asked for it
//! would change files while nobody waits for it.
//!
//! A product also offers subagents with roles (another system text, fewer tools, a cheaper model),
//! shows their progress and lets a person look into their conversations.
//!
//! Builds on s01. Motto: *Break big tasks down; each subtask gets a clean context.*

use futures_util::future::join_all;
use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Chat, Context, Effect, Error, Layer, Message, NextAsk, NextTurn, Reply, Result, Tool,
    ToolError, ToolOutput, ToolSpec,
};
use rungs_files::truncate_to_budget;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// How many levels of subagents there may be below the agent that the person talks to.
pub const MAX_DEPTH: usize = 2;
/// How many subagents one prompt may lead to, those of subagents included.
pub const MAX_SUBAGENTS: usize = 20;
/// How many steps they may take, all together.
pub const MAX_STEPS: usize = 200;

/// How much of a report comes back, in bytes. Times [`MAX_SUBAGENTS`], it bounds what one prompt
/// can bring into the conversation.
const MAX_REPORT_BYTES: usize = 10_000;

/// The first thing that a subagent reads.
const BRIEF: &str = "You work for another agent, which sees only your last message: report what it \
                     asks for, briefly.";

/// What the subagents of one prompt have left, all together. It is a value of the turn.
#[derive(Debug, Clone)]
pub struct Budget {
    left: Arc<Left>,
    /// How many agents stand above this one.
    depth: usize,
}

#[derive(Debug)]
struct Left {
    subagents: AtomicUsize,
    steps: AtomicUsize,
}

impl Default for Budget {
    /// The whole budget of a prompt.
    fn default() -> Self {
        let left = Left { subagents: MAX_SUBAGENTS.into(), steps: MAX_STEPS.into() };
        Budget { left: Arc::new(left), depth: 0 }
    }
}

/// Takes all that is wanted, or nothing. Subagents run concurrently, so looking and taking is one
/// operation.
fn take(left: &AtomicUsize, wanted: usize) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(wanted)).is_ok()
}

/// Gives one or several independent jobs to subagents, which run concurrently. Each has your tools
/// and an empty conversation; only its final report comes back. Use it for work that reads much and
/// reports little.
#[derive(Deserialize, JsonSchema)]
struct TaskInput {
    tasks: Vec<Job>,
}

#[derive(Deserialize, JsonSchema)]
struct Job {
    /// Three to five words for the person who watches.
    description: String,
    /// The job. The subagent knows nothing else: say what is wanted, where to look, what to report.
    prompt: String,
}

struct Task;

impl Tool for Task {
    type Input = TaskInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<TaskInput>("task")
    }

    /// Every call of a subagent passes all layers and is judged there.
    fn effect(&self, _: &TaskInput) -> Effect {
        Effect::Delegates
    }

    fn summary(&self, input: &TaskInput) -> Option<String> {
        let jobs: Vec<&str> = input.tasks.iter().map(|job| job.description.as_str()).collect();
        Some(format!("task {}", jobs.join("; ")))
    }

    async fn call(&self, input: TaskInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let TaskInput { tasks } = input;
        if tasks.is_empty() {
            return Err(ToolError("`tasks` is empty; give at least one".into()));
        }
        let names: Vec<String> = tasks.iter().map(|job| child_name(&job.description)).collect();
        // No tool is left out: with the same tools, parent and subagents share the prompt cache.
        let children = subagents(cx, &names, &[])?;
        let running = children.into_iter().zip(&tasks).map(|(child, job)| run(child, &job.prompt));
        let reports = join_all(running).await;

        let sections = tasks.iter().zip(&reports);
        let sections: Vec<String> = sections
            .map(|(job, report)| format!("# {}\n{}", job.description, report.text))
            .collect();
        let text = sections.join("\n\n");
        let jobs: usize = tasks.iter().map(|job| job.description.len() + job.prompt.len()).sum();
        let there = reports.iter().map(|report| report.chat_bytes).sum();
        cx.notice(savings(there, jobs + text.len()));
        if reports.iter().all(|report| report.failed) {
            return Err(ToolError(text));
        }
        Ok(text.into())
    }
}

/// Children with these names and without these tools, each for one job of this turn. The budget of
/// the turn has room for all of them, or there is none.
///
/// # Errors
/// Says to the model which bound is reached.
pub fn subagents(
    cx: &Context,
    names: &[String],
    without: &[&str],
) -> Result<Vec<Agent>, ToolError> {
    // Without a budget there would be no bounds, so there are no subagents either.
    let Some(budget) = cx.value::<Budget>() else {
        return Err(ToolError("this turn has no budget for subagents; do this yourself".into()));
    };
    if budget.depth >= MAX_DEPTH {
        return Err(ToolError(format!(
            "subagents may be {MAX_DEPTH} levels deep at most; do this yourself"
        )));
    }
    if !take(&budget.left.subagents, names.len()) {
        let left = budget.left.subagents.load(Relaxed);
        return Err(ToolError(format!(
            "{} subagents are too many: {left} of {MAX_SUBAGENTS} are left",
            names.len()
        )));
    }
    let child = |name: &String| {
        let shared = Budget { left: budget.left.clone(), depth: budget.depth + 1 };
        cx.agent.child(name, without).with(shared)
    };
    Ok(names.iter().map(child).collect())
}

/// What came of a job.
#[derive(Debug)]
pub struct Report {
    /// The subagent's last message, without its middle if it is long, or why there is none.
    pub text: String,
    /// Whether it failed.
    pub failed: bool,
    /// How large its conversation was.
    chat_bytes: usize,
}

/// Lets a subagent do a job, in an empty chat. It ends with its report, and whatever it has started
/// ends with it.
pub async fn run(child: Agent, job: &str) -> Report {
    let mut chat = child.new_chat();
    // The job stands for what a person types; the brief is inserted, and survives compaction.
    chat.push(Message::kept("brief", BRIEF));
    let (text, failed) = match child.run(&mut chat, job, agent_loop).await {
        Ok(reply) => (reply.text(), false),
        Err(error) => (format!("This subagent failed: {error}"), true),
    };
    let text = truncate_to_budget(vec![text], MAX_REPORT_BYTES, 0).concat();
    Report { text, failed, chat_bytes: chat.size() }
}

/// A name that can stand in a line, made of the description.
fn child_name(description: &str) -> String {
    let letters =
        description.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let letters: String = letters.collect();
    let words: Vec<&str> = letters.split_whitespace().take(4).collect();
    let name: String = words.join("-").chars().take(30).collect();
    if name.is_empty() { "subagent".into() } else { name }
}

/// What stayed with the subagents, against what the jobs and the reports take here. Both are bytes;
/// a token is about four.
fn savings(there: usize, here: usize) -> String {
    let percent = 100.0 * (1.0 - here as f64 / there.max(1) as f64);
    format!(
        "({} tokens stayed with the subagents, {} came here: {percent:.1} % saved)",
        there / 4,
        here.div_ceil(4)
    )
}

/// Gives each prompt a budget for its subagents, and stops those that have used it up.
struct Bounds;

impl Layer for Bounds {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        if cx.value::<Budget>().is_some() {
            // A subagent, which shares the budget of its parent.
            return next.run(chat, cx).await;
        }
        next.run(chat, &cx.with(Budget::default())).await
    }

    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        if let Some(budget) = cx.value::<Budget>()
            && budget.depth > 0
            && !take(&budget.left.steps, 1)
        {
            return Err(Error::Limit("steps of all subagents together", MAX_STEPS));
        }
        next.run(chat, cx).await
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
    use lessons::{
        s03_todo_write,
        testing::{Play, play, results},
    };
    use rehearsal::{Scene, Turn, call, calls, say, say_results, scene};
    use rungs_core::{CancellationToken, Role, tools};
    use serde_json::{Value, json};
    use std::{sync::Mutex, time::Duration};
    use tokio::sync::Barrier;

    fn jobs(prompts: &[&str]) -> Value {
        let job = |prompt: &&str| json!({"description": prompt, "prompt": prompt});
        json!({"tasks": prompts.iter().map(job).collect::<Vec<_>>()})
    }

    fn task(prompts: &[&str]) -> Turn {
        call("task", jobs(prompts))
    }

    /// What begins with the prompt "go": jobs for subagents, whose reports are the answer.
    fn delegate(prompts: &[&str]) -> Scene {
        scene("^go$", [task(prompts), say_results()])
    }

    async fn parent(scenes: impl IntoIterator<Item = Scene>) -> Play {
        play(scenes, |agent, _| install(agent.tool(tools::Bash))).await
    }

    /// The texts of the first message of a request.
    fn first_texts(body: &Value) -> Vec<&str> {
        let content = body["messages"][0]["content"].as_array().unwrap();
        content.iter().map(|block| block["text"].as_str().unwrap()).collect()
    }

    /// What the tools below look at, and the layer that records it.
    #[derive(Clone)]
    struct Observed {
        turns: Arc<Mutex<Vec<BegunTurn>>>,
        meeting: Arc<Barrier>,
    }

    /// What a turn began with.
    struct BegunTurn {
        token: CancellationToken,
        first: Arc<Message>,
    }

    /// Something that was granted to one agent.
    struct Grant;

    impl Layer for Observed {
        async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
            let (token, first) = (cx.cancel().clone(), chat.messages()[0].clone());
            self.turns.lock().unwrap().push(BegunTurn { token, first });
            next.run(chat, cx).await
        }
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Probe {
        /// Waits until two agents are here.
        Meet {},
        /// Says whether something was granted to this agent.
        Granted {},
        /// Stops the turn of the main agent.
        StopMain {},
    }

    async fn probe(observed: &Observed, call: Probe, cx: &Context) -> Result<String, ToolError> {
        match call {
            Probe::Meet {} => {
                observed.meeting.wait().await;
            }
            Probe::Granted {} => return Ok(cx.value::<Grant>().is_some().to_string()),
            Probe::StopMain {} => observed.turns.lock().unwrap()[0].token.cancel(),
        }
        Ok("done".into())
    }

    async fn observed(scenes: impl IntoIterator<Item = Scene>) -> (Play, Observed) {
        let observed = Observed { turns: Arc::default(), meeting: Arc::new(Barrier::new(2)) };
        let play = play(scenes, |agent, _| {
            let agent = agent.tools(observed.clone(), |_: &Probe| Effect::Internal, probe);
            install(agent).wrap(observed.clone()).with(Grant)
        });
        (play.await, observed)
    }

    #[tokio::test]
    async fn each_job_has_an_empty_chat_and_only_its_report_comes_back() {
        let count = [
            call("bash", json!({"command": "seq {{ m[1] }}000"})),
            say("{{ results[0].text | lines | length }} lines"),
        ];
        let scenes = [delegate(&["count 3", "count 4"]), scene("^count (.)", count)];
        let play = parent(scenes).await;
        let (answer, chat) = play.ask("go").await;
        assert_eq!(answer, "# count 3\n3000 lines\n\n# count 4\n4000 lines");
        assert_eq!(chat.messages().len(), 4);
        let bodies = play.bodies();
        let firsts: Vec<&Value> =
            bodies.iter().filter(|body| body["messages"].as_array().unwrap().len() == 1).collect();
        let mut prompts: Vec<&[&str]> = vec![];
        let texts: Vec<Vec<&str>> = firsts.iter().map(|body| first_texts(body)).collect();
        for texts in &texts {
            assert!(texts[0].starts_with("<environment>"), "{texts:?}");
            prompts.push(&texts[1..]);
        }
        prompts.sort();
        assert_eq!(prompts, [&[BRIEF, "count 3"][..], &[BRIEF, "count 4"], &["go"]]);
        // The prefix is the same, so the prompt cache of the parent serves the subagents too.
        for first in firsts {
            assert_eq!(
                [&first["tools"], &first["system"]],
                [&bodies[0]["tools"], &bodies[0]["system"]]
            );
        }
        assert!(play.ui.take().contains(&"main/count-3: reply 3000 lines".to_string()));
    }

    #[tokio::test]
    async fn what_was_saved_is_said() {
        let read = [call("bash", json!({"command": "seq 10000"})), say("read")];
        let play = parent([delegate(&["read"]), scene("^read$", read)]).await;
        play.ask("go").await;
        let shown = play.ui.take();
        let notices: Vec<&String> = shown.iter().filter(|line| line.contains("notice")).collect();
        let [notice] = notices[..] else { panic!("{shown:?}") };
        // Eight bytes of a job and eleven of a report.
        assert!(notice.starts_with("main: notice (") && notice.contains(", 5 came here: 99."));
        let said = "(25 tokens stayed with the subagents, 6 came here: 79.0 % saved)";
        assert_eq!(savings(100, 21), said);
    }

    #[tokio::test]
    async fn the_brief_is_inserted_and_kept_and_the_job_counts_as_typed() {
        let (play, observed) = observed([delegate(&["x"]), scene("^x$", [say("y")])]).await;
        play.ask("go").await;
        let BegunTurn { first, .. } = observed.turns.lock().unwrap().pop().unwrap();
        let [_, brief, job] = &first.content[..] else { panic!("{first:?}") };
        assert_eq!(brief, &rungs_core::Block::kept("brief", BRIEF));
        assert_eq!((first.role, job), (Role::User, &rungs_core::Block::text("x")));
    }

    #[tokio::test]
    async fn the_jobs_of_one_call_run_concurrently() {
        let meet = [call("meet", json!({})), say_results()];
        let scenes = [delegate(&["meet 1", "meet 2"]), scene("^meet", meet)];
        let (play, _) = observed(scenes).await;
        // One after the other, each would wait for the other for ever.
        let asked = tokio::time::timeout(Duration::from_secs(60), play.ask("go")).await;
        assert_eq!(asked.unwrap().0, "# meet 1\ndone\n\n# meet 2\ndone");
    }

    #[tokio::test]
    async fn a_long_report_comes_back_without_its_middle() {
        let long = format!("begin {} end", "x".repeat(3_000_000));
        let scenes = [delegate(&["first", "second"]), scene("^first$", [say(&long)])];
        let play = parent(scenes.into_iter().chain([scene("^second$", [say("short")])])).await;
        let (_, chat) = play.ask("go").await;
        let report = &results(&chat.messages()[2])[0];
        assert!(report.starts_with("# first\nbegin xxx"), "{report}");
        let cut = format!("\n[{} bytes cut here to save room]\nxxx", long.len() - MAX_REPORT_BYTES);
        assert!(report.contains(&cut), "{report}");
        assert!(report.ends_with("xxx end\n\n# second\nshort"), "{report}");
        assert!(report.len() < MAX_REPORT_BYTES + 100);
    }

    #[tokio::test]
    async fn depth_is_bounded() {
        let deeper = scene("^deeper$", [task(&["deeper"]), say_results()]);
        let (answer, _) = parent([delegate(&["deeper"]), deeper]).await.ask("go").await;
        let refused = "subagents may be 2 levels deep at most; do this yourself";
        assert_eq!(answer, format!("# deeper\n# deeper\n{refused}"));
    }

    #[tokio::test]
    async fn too_many_jobs_are_refused_all_together() {
        let play = parent([delegate(&["x"; MAX_SUBAGENTS + 1])]).await;
        let (answer, _) = play.ask("go").await;
        assert_eq!(answer, "21 subagents are too many: 20 of 20 are left");
        assert_eq!(play.bodies().len(), 2);
    }

    #[tokio::test]
    async fn several_calls_of_one_prompt_share_its_budget_and_the_next_prompt_has_its_own() {
        let nine = || ("task", jobs(&["x"; 9]));
        let go = [calls([nine(), nine(), nine()]), say("{{ results[2].text }}")];
        let play = parent([scene("^go$", go), scene("^x$", [say("y")])]).await;
        let mut chat = Chat::default();
        for prompt in 1..=2 {
            let reply = play.run(&mut chat, "go").await.unwrap();
            assert_eq!(reply.text(), "9 subagents are too many: 2 of 20 are left");
            assert_eq!(play.bodies().len(), prompt * (2 + 18));
        }
    }

    #[tokio::test]
    async fn steps_are_bounded_for_the_whole_tree() {
        let endless = [call("nope", json!({})).repeat(300)];
        let deeper = [task(&["run 3"]), say("ended: {{ results[0].text }}")];
        let scenes = [
            delegate(&["run 1", "run 2", "deeper"]),
            scene("^run", endless),
            scene("^deeper$", deeper),
        ];
        let play = parent(scenes).await;
        let (answer, _) = play.ask("go").await;
        let failed = "This subagent failed: stopped after 200 steps of all subagents together";
        let expected = ["run 1", "run 2", "deeper"].map(|job| format!("# {job}\n{failed}"));
        assert_eq!(answer, expected.join("\n\n"));
        assert_eq!(play.bodies().len(), 2 + MAX_STEPS);
    }

    #[tokio::test]
    async fn without_a_budget_there_are_no_subagents() {
        let play = play([delegate(&["x"])], |agent, _| agent.tool(Task)).await;
        let (answer, _) = play.ask("go").await;
        assert_eq!(answer, "this turn has no budget for subagents; do this yourself");
    }

    fn failing() -> Scene {
        scene("^bad", [say("x").fault(json!({"status": 400, "message": "no"}))])
    }

    /// Whether the newest result in this chat is an error.
    fn is_error(chat: &Chat) -> bool {
        let content = json!(chat.messages()[2].content);
        content[0]["is_error"] == true
    }

    #[tokio::test]
    async fn one_that_fails_leaves_the_others() {
        let scenes = [delegate(&["good", "bad"]), scene("^good$", [say("fine")]), failing()];
        let (answer, chat) = parent(scenes).await.ask("go").await;
        let (start, end) = answer.split_once("127.0.0.1:").unwrap();
        assert_eq!(start, "# good\nfine\n\n# bad\nThis subagent failed: ");
        assert!(end.contains(" answered 400 (invalid_request_error): no"), "{end}");
        assert!(!is_error(&chat));
    }

    #[tokio::test]
    async fn when_all_fail_the_result_is_an_error() {
        let scenes = [delegate(&["bad 1", "bad 2"]), failing()];
        let (answer, chat) = parent(scenes).await.ask("go").await;
        assert_eq!(answer.matches("This subagent failed: ").count(), 2);
        assert!(is_error(&chat));
    }

    #[tokio::test]
    async fn a_subagent_has_a_plan_of_its_own() {
        let write = |what: &str| ("todo_write", json!({"todos": [{"content": what}]}));
        let read = || ("todo_read", json!({}));
        let go = [calls([write("mine")]), task(&["x"]), calls([read()]), say_results()];
        let x = [calls([read(), write("theirs")]), say_results()];
        let play = play([scene("^go$", go), scene("^x$", x)], |agent, _| {
            install(s03_todo_write::install(agent))
        })
        .await;
        let (answer, chat) = play.ask("go").await;
        let report = "# x\nThere is no plan yet. | [ ] 1. theirs";
        assert_eq!(results(&chat.messages()[4]), [report]);
        assert_eq!(answer, "[ ] 1. mine");
    }

    #[tokio::test]
    async fn what_was_granted_to_the_parent_is_not_granted_to_a_subagent() {
        let granted = || ("granted", json!({}));
        let go = [calls([granted(), ("task", jobs(&["x"]))]), say_results()];
        let x = [calls([granted()]), say_results()];
        let (play, _) = observed([scene("^go$", go), scene("^x$", x)]).await;
        assert_eq!(play.ask("go").await.0, "true | # x\nfalse");
    }

    #[tokio::test]
    async fn a_subagent_stops_with_the_turn() {
        let stop = [call("stop_main", json!({})), say("never")];
        let (play, observed) = observed([delegate(&["x"]), scene("^x$", stop)]).await;
        let mut chat = Chat::default();
        let end = play.run(&mut chat, "go").await;
        assert!(matches!(end, Err(Error::Cancelled)), "{end:?}");
        assert_eq!(results(&chat.messages()[2]), ["# x\nThis subagent failed: interrupted"]);
        // One request of each, and none after the stop.
        assert_eq!(play.bodies().len(), 2);
        let turns = observed.turns.lock().unwrap();
        let stopped: Vec<bool> = turns.iter().map(|turn| turn.token.is_cancelled()).collect();
        assert_eq!(stopped, [true, true]);
    }

    #[test]
    fn a_name_is_made_of_the_description() {
        let names = ["Read the auth log, please", " ?! ", "../../etc"].map(child_name);
        assert_eq!(names, ["read-the-auth-log", "subagent", "etc"]);
    }
}
