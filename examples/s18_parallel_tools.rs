//! # s18: calls that cannot disturb each other run together
//!
//! A model often asks for several things at once: read these eight files, watch those three logs.
//! One after another, eight waits of a second are eight seconds, and most of the time nobody works.
//! But two edits of one file, or a command and the read that looks at its result, must keep their
//! order, or the result is another one.
//!
//! ```text
//! batch:  read a | read b | write c | write d | write c | bash
//!           \        /         |         |         |       |
//!          [reads together]   [c and d together]   |       |
//!                                             [c again]    |
//!                                                      [alone, after all]
//! act:    hooks may rewrite a call -> judge its effect again -> wait, if it conflicts now -> tool
//! ```
//!
//! New here: the seam `batch`, and an answer to the question which calls commute. Each tool has
//! said since s02 what a call does to the world, its [`Effect`]; two calls run together only if
//! their effects prove that their order does not matter. The results come back in the order of the
//! calls, whatever the order in which they end.
//!
//! An effect is judged twice. In `batch` it decides when a call starts. In `act`, inside all layers
//! that may rewrite a call, it is judged again, since the call that runs may be another one by
//! then. The second judgement is what excludes; the first one only saves time. The gate belongs to
//! one reply of one agent. A gate for a whole family would deadlock: a call of `task` holds it
//! while the subagent, which is what the call waits for, waits for it.
//!
//! Terms: **concurrency control**, **readers-writer lock**, **commutativity** (two calls whose
//! order cannot be seen), **conflict** (two that do not commute), **bounded concurrency**,
//! **head-of-line blocking**.
//!
//! Run it: `cargo run --example s18_parallel_tools`
//!
//! You will see eight logs watched for a second each, which takes one second; then three
//! files written and one of them edited in one reply, where the edit finds what was written; then
//! twelve calls that read, ten at a time.
//!
//! Try, and predict first:
//! 1. `cargo run --example s18_parallel_tools -- --parallel 1`. How long do the eight logs take?
//! 2. Type "Write one file under two names." `twin.txt` is a link to `one.txt`. Do the two writes
//!    run together, and who finds out?
//! 3. Take the method `act` out of `Parallel`. Which tests fail, and what did a hook do there?
//!
//! Pitfalls: an effect that says less than the tool does makes results depend on chance; two paths
//! may be one file (a link, another case), so only paths that are proven apart are apart; a limit
//! counted with a semaphore can deadlock, when all permits are held by calls that wait for one that
//! has none; a question of one call must not stop the others from being asked first.
//!
//! A product also starts a call while the reply still streams, stops the rest of a batch when one
//! call fails that the others needed, and lets shell commands that only read run together.
//!
//! Builds on s13. Motto: *Independent calls run together.*

use futures_util::{StreamExt, stream::FuturesUnordered};
use lessons::{Flag, s01_loop::agent_loop, s13_streaming};
use rungs_core::{
    Agent, Context, Effect, Error, Layer, NextAct, NextBatch, Result, Tool, ToolCall, ToolError,
    ToolOutput, ToolResult, ToolSpec, paths,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::spawn_blocking};

/// How many calls of one reply run at once, unless `--parallel` says otherwise.
pub const MAX_PARALLEL_CALLS: usize = 10;
/// From which saving on the person is told how much time was saved.
const MIN_SHOWN_SAVING: Duration = Duration::from_millis(100);

/// What a call may touch, as far as its effect proves it.
#[derive(Debug, Clone, PartialEq)]
enum Access {
    /// Whatever it is, it stays as it is.
    Reads,
    /// Subagents. They may touch anything, but the model wanted them at once, and each call of
    /// theirs is judged by itself.
    Delegates,
    /// These files and nothing else: free of links, in lower case.
    Writes(Vec<PathBuf>),
    /// Anything; also the harness's own state, whose tools need not name it.
    Anything,
}

impl Access {
    async fn of(call: &ToolCall, cx: &Context) -> Access {
        match cx.effect(call) {
            Effect::Reads => Access::Reads,
            Effect::Delegates => Access::Delegates,
            Effect::Internal | Effect::Anything => Access::Anything,
            Effect::Writes(paths) => {
                let cx = cx.clone();
                // Links are resolved on the disk.
                let places = spawn_blocking(move || paths.iter().map(|p| place(p, &cx)).collect());
                match places.await {
                    Ok(Some(places)) => Access::Writes(places),
                    _ => Access::Anything,
                }
            }
        }
    }

    /// Whether it makes no difference which of the two comes first, or whether they overlap.
    fn commutes(&self, other: &Access) -> bool {
        match (self, other) {
            (Access::Reads, Access::Reads) | (Access::Delegates, Access::Delegates) => true,
            (Access::Writes(these), Access::Writes(those)) => {
                // A folder and what is in it are not apart either.
                let nested = |a: &PathBuf, b: &PathBuf| a.starts_with(b) || b.starts_with(a);
                !these.iter().any(|a| those.iter().any(|b| nested(a, b)))
            }
            _ => false,
        }
    }
}

/// What two paths have in common if they may be one file; `None` if that cannot be known. Some file
/// systems ignore case, and some the several spellings of a letter beyond ASCII.
fn place(path: &std::path::Path, cx: &Context) -> Option<PathBuf> {
    let place = paths::root(cx).ok()?.resolve(path.to_str()?).ok()?;
    let place = place.to_str().filter(|place| place.is_ascii())?;
    Some(place.to_ascii_lowercase().into())
}

/// A call on its way.
struct Slot {
    access: Access,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Waiting,
    /// The layers further in have it, but not yet the tool.
    Started,
    /// The tool may have it, since then.
    Admitted(Instant),
    Done,
}

/// The calls of one reply, in their order. Whoever waits is told of every change.
struct Schedule(watch::Sender<Vec<Slot>>);

impl Schedule {
    /// The next call that may start, from now on started. The first call that is not done conflicts
    /// with none before it, and the lowest number comes first: so however many calls wait in `act`
    /// for an earlier one, that one has started, and ends.
    fn start(&self, max_calls: usize) -> Option<usize> {
        let mut next = None;
        self.0.send_if_modified(|slots| {
            let running = |slot: &&Slot| !matches!(slot.stage, Stage::Waiting | Stage::Done);
            if slots.iter().filter(running).count() < max_calls {
                let mut indices = 0..slots.len();
                next = indices.find(|i| slots[*i].stage == Stage::Waiting && is_free(slots, *i));
            }
            if let Some(index) = next {
                slots[index].stage = Stage::Started;
            }
            next.is_some()
        });
        next
    }

    /// Waits until this call, which will do this, may go to its tool. It waits for earlier calls,
    /// and for later ones that are with their tools already, which wait for nobody.
    async fn admit(&self, index: usize, access: Access) {
        let mut changes = self.0.subscribe();
        self.0.send_modify(|slots| slots[index] = Slot { access, stage: Stage::Started });
        while !self.0.send_if_modified(|slots| {
            let free = is_free(slots, index);
            if free {
                slots[index].stage = Stage::Admitted(Instant::now());
            }
            free
        }) {
            // The sender is here, so there is a change or nothing.
            let _ = changes.changed().await;
        }
    }

    /// Ends a call; how long its tool had it.
    fn end(&self, index: usize) -> Duration {
        let mut time = Duration::ZERO;
        self.0.send_modify(|slots| {
            if let Stage::Admitted(since) = slots[index].stage {
                time = since.elapsed();
            }
            slots[index].stage = Stage::Done;
        });
        time
    }
}

/// Whether a call conflicts with no earlier one that is not done, and with no later one that is
/// with its tool.
fn is_free(slots: &[Slot], index: usize) -> bool {
    let in_the_way = |slot: &Slot, earlier: bool| match slot.stage {
        Stage::Done => false,
        Stage::Admitted(_) => true,
        Stage::Waiting | Stage::Started => earlier,
    };
    let mut others = slots.iter().enumerate().filter(|(i, _)| *i != index);
    others.all(|(i, other)| {
        !in_the_way(other, i < index) || slots[index].access.commutes(&other.access)
    })
}

/// Which call this is, for `act`: a value of the call, so that no subagent has it.
struct Place {
    schedule: Arc<Schedule>,
    index: usize,
}

/// Runs the calls of one reply together, as far as their effects allow it. Its place is inside the
/// layers that rewrite calls, and outside those that look at files before a call, such as
/// snapshots.
struct Parallel {
    max_calls: usize,
}

impl Layer for Parallel {
    async fn batch(
        &self,
        calls: Vec<ToolCall>,
        cx: &Context,
        next: NextBatch<'_>,
    ) -> Vec<ToolResult> {
        let mut slots = vec![];
        for call in &calls {
            slots.push(Slot { access: Access::of(call, cx).await, stage: Stage::Waiting });
        }
        let schedule = Arc::new(Schedule(watch::Sender::new(slots)));
        let mut changes = schedule.0.subscribe();
        let mut results: Vec<Vec<ToolResult>> = vec![vec![]; calls.len()];
        let (start, mut one_by_one) = (Instant::now(), Duration::ZERO);
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(index) = schedule.start(self.max_calls) {
                let cx = cx.with(Place { schedule: schedule.clone(), index });
                let call = vec![calls[index].clone()];
                running.push(async move { (index, next.run(call, &cx).await) });
            }
            tokio::select! {
                Some((index, result)) = running.next() => {
                    results[index] = result;
                    one_by_one += schedule.end(index);
                }
                // A call that was rewritten may stand in nobody's way any more.
                Ok(()) = changes.changed(), if !running.is_empty() => {}
                else => break,
            }
        }
        let time = start.elapsed();
        if one_by_one.saturating_sub(time) >= MIN_SHOWN_SAVING {
            let (count, time) = (calls.len(), time.as_secs_f32());
            let one_by_one = one_by_one.as_secs_f32();
            cx.notice(format!("({count} calls in {time:.1} s; one by one {one_by_one:.1} s)"));
        }
        results.concat()
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if let Some(place) = cx.value::<Place>() {
            place.schedule.admit(place.index, Access::of(&call, cx).await).await;
        }
        next.run(call, cx).await
    }
}

/// Watches a file for some seconds and returns what is added to it meanwhile, such as the new lines
/// of a log.
#[derive(Deserialize, JsonSchema)]
struct FollowInput {
    /// The file, relative to the working directory.
    file_path: String,
    /// How long to watch, from 1 to 60.
    seconds: u64,
}

/// How much of what was added is returned, in bytes.
const MAX_FOLLOWED_BYTES: u64 = 10_000;

/// A tool that waits, as one does that asks a server or a database.
struct Follow;

impl Tool for Follow {
    type Input = FollowInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<FollowInput>("follow")
    }

    fn effect(&self, _: &FollowInput) -> Effect {
        Effect::Reads
    }

    fn summary(&self, input: &FollowInput) -> Option<String> {
        Some(format!("follow {} for {} s", input.file_path, input.seconds))
    }

    async fn call(&self, input: FollowInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let FollowInput { file_path, seconds } = input;
        if !(1..=60).contains(&seconds) {
            return Err(ToolError(format!("`seconds` is {seconds}; it goes from 1 to 60")));
        }
        let mut file = paths::open(cx, &file_path)?;
        let end = file.seek(SeekFrom::End(0))?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = cx.cancel().cancelled() => return Err(ToolError("the turn was stopped".into())),
        }
        let (added, left_out) = spawn_blocking(move || {
            let mut added = vec![];
            (&file).take(MAX_FOLLOWED_BYTES).read_to_end(&mut added)?;
            let length = file.metadata()?.len();
            Ok::<_, std::io::Error>((added, length.saturating_sub(end + MAX_FOLLOWED_BYTES)))
        })
        .await??;
        if added.is_empty() {
            return Ok(format!("nothing was added to {file_path} in {seconds} s").into());
        }
        let mut text = String::from_utf8_lossy(&added).into_owned();
        if left_out > 0 {
            text.push_str(&format!("\n[{left_out} more bytes were added; read the file]"));
        }
        Ok(text.into())
    }
}

/// Adds the mechanism: this many calls of one reply run at once at most.
pub fn install(agent: Agent, max_calls: usize) -> Agent {
    agent.wrap(Parallel { max_calls: max_calls.max(1) })
}

/// The option of the command line.
pub const FLAGS: &[Flag] = &[Flag {
    name: "parallel",
    value: Some("N"),
    help: "how many calls of one reply run at once (10)",
}];

/// How many calls of one reply run at once, as the command line says.
///
/// # Errors
/// When it says something that is no number of calls.
pub fn max_calls(stage: &lessons::Stage) -> Result<usize> {
    let Some(given) = stage.flags.get("parallel") else { return Ok(MAX_PARALLEL_CALLS) };
    match given.parse::<usize>() {
        Ok(count) if count > 0 => Ok(count),
        _ => {
            let why = format!("`{given}` is no number of calls; it is 1 or more");
            Err(Error::setting("--parallel", why))
        }
    }
}

/// The agent of lesson thirteen, with a tool that waits, and calls that wait together.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = s13_streaming::install(stage.agent().tool(Follow));
        Ok(install(agent, max_calls(stage)?))
    };
    lessons::run_with(FLAGS, "s18_parallel_tools", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s04_subagent,
        testing::{Play, play, results},
    };
    use rehearsal::{Turn, calls, say, say_results, scene};
    use rungs_core::{Answer, Chat, tools};
    use serde_json::{Value, json};
    use std::{collections::BTreeMap, sync::Mutex};
    use tokio::sync::Barrier;

    /// What happened to the calls of [`Probe`], by name.
    #[derive(Default)]
    struct Log {
        /// Begins and ends, in order.
        steps: Vec<(String, bool)>,
        most_at_once: usize,
    }

    #[derive(Clone)]
    struct Probe {
        log: Arc<Mutex<Log>>,
        meeting: Arc<Barrier>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Do {
        /// Reads.
        Look { name: String },
        /// Writes the files that the name begins with, one letter each.
        Change { name: String, files: Vec<String> },
        /// May do anything.
        Any { name: String },
        /// Changes something of the harness.
        Note { name: String },
        /// Delegates.
        Hand { name: String },
        /// Panics.
        Panic {},
        /// Waits for as many calls as the meeting has.
        Meet {},
    }

    fn effect(call: &Do) -> Effect {
        match call {
            Do::Look { .. } | Do::Panic {} | Do::Meet {} => Effect::Reads,
            Do::Change { files, .. } => Effect::Writes(files.iter().map(PathBuf::from).collect()),
            Do::Any { .. } => Effect::Anything,
            Do::Note { .. } => Effect::Internal,
            Do::Hand { .. } => Effect::Delegates,
        }
    }

    async fn run(probe: &Probe, call: Do, _: &Context) -> Result<String, ToolError> {
        let name = match call {
            Do::Look { name } | Do::Any { name } | Do::Note { name } | Do::Hand { name } => name,
            Do::Change { name, .. } => name,
            Do::Panic {} => panic!("on purpose"),
            Do::Meet {} => {
                probe.meeting.wait().await;
                return Ok("met".into());
            }
        };
        let step = |begins| {
            let mut log = probe.log.lock().unwrap();
            log.steps.push((name.clone(), begins));
            let begun = log.steps.iter().filter(|(_, begins)| *begins).count();
            log.most_at_once = log.most_at_once.max(2 * begun - log.steps.len());
        };
        step(true);
        for _ in 0..fastrand::usize(..20) {
            tokio::task::yield_now().await;
        }
        step(false);
        Ok(name)
    }

    /// An agent whose calls may meet in this number.
    async fn prober(
        meeting: usize,
        max_calls: usize,
        turns: impl IntoIterator<Item = Turn>,
        outer: impl FnOnce(Agent) -> Agent,
    ) -> (Play, Probe) {
        let probe = Probe { log: Arc::default(), meeting: Arc::new(Barrier::new(meeting)) };
        let play = play([scene("^go$", turns)], |agent, _| {
            let agent = tools::all(agent).tools(probe.clone(), effect, run).tool(Follow);
            outer(install(agent, max_calls))
        });
        (play.await, probe)
    }

    /// The results of the first calls after the prompt `go`. What waits for ever fails.
    async fn go(play: &Play) -> Vec<String> {
        let asked = tokio::time::timeout(Duration::from_secs(60), play.ask("go"));
        let (_, chat) = asked.await.expect("the calls wait for each other");
        results(&chat.messages()[2])
    }

    #[test]
    fn only_what_commutes_runs_together() {
        let writes = |paths: &[&str]| Access::Writes(paths.iter().map(PathBuf::from).collect());
        let all = [
            Access::Reads,
            Access::Delegates,
            Access::Anything,
            writes(&["a"]),
            writes(&["a/b", "c"]),
            writes(&["b"]),
            writes(&["ab"]),
        ];
        let mut together = vec![];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate().skip(i) {
                assert_eq!(a.commutes(b), b.commutes(a));
                if a.commutes(b) {
                    together.push((i, j));
                }
            }
        }
        assert_eq!(together, [(0, 0), (1, 1), (3, 5), (3, 6), (4, 5), (4, 6), (5, 6)]);
    }

    #[tokio::test]
    async fn reads_overlap_and_the_results_keep_the_order_of_the_calls() {
        let all = calls((0..8).map(|_| ("meet", json!({}))));
        let (play, _) = prober(8, MAX_PARALLEL_CALLS, [all, say("end")], |agent| agent).await;
        assert_eq!(go(&play).await, ["met"; 8]);
        let looks = calls((0..30).map(|i| ("look", json!({"name": i.to_string()}))));
        let (play, probe) = prober(1, MAX_PARALLEL_CALLS, [looks, say("end")], |a| a).await;
        let names: Vec<String> = (0..30).map(|i| i.to_string()).collect();
        assert_eq!(go(&play).await, names);
        let log = probe.log.lock().unwrap();
        assert_eq!((log.most_at_once, log.steps.len()), (MAX_PARALLEL_CALLS, 60));
    }

    #[tokio::test]
    async fn a_call_that_panics_or_fails_or_does_not_exist_disturbs_no_other() {
        let read = |file: &str| ("read", json!({"file_path": file}));
        let all = [
            ("meet", json!({})),
            ("panic", json!({})),
            read("nothing"),
            ("meet", json!({})),
            ("nobody", json!({})),
            ("look", json!({"nam": "x"})),
            ("meet", json!({})),
        ];
        let (play, _) = prober(3, MAX_PARALLEL_CALLS, [calls(all), say("end")], |a| a).await;
        let results = go(&play).await;
        assert_eq!([&results[0], &results[3], &results[6]], ["met"; 3]);
        assert_eq!(results[1], "`panic` panicked: on purpose");
        assert_eq!(results[2], "nothing: no such file");
        assert!(results[4].starts_with("there is no tool `nobody`"), "{}", results[4]);
        assert!(results[5].contains("name"), "{}", results[5]);
    }

    #[tokio::test]
    async fn edits_of_one_file_all_hold_also_under_a_name_that_is_new() {
        let edit = |file: &str, old: &str, new: &str| {
            ("edit", json!({"file_path": file, "old_string": old, "new_string": new}))
        };
        // When the reply comes, nothing says yet that the two names are one file.
        let all = calls([
            ("bash", json!({"command": "ln -s f twin"})),
            ("write", json!({"file_path": "f", "content": "0 "})),
            edit("twin", "0 ", "0 1 "),
            edit("f", "1 ", "1 2 "),
            edit("twin", "2 ", "2 3 "),
            ("bash", json!({"command": "cat f"})),
        ]);
        let (play, _) = prober(1, MAX_PARALLEL_CALLS, [all, say("end")], |agent| agent).await;
        assert_eq!(go(&play).await[5], "0 1 2 3 ");
    }

    /// Puts other words for some of the calls, as a hook may.
    struct Rewrite(BTreeMap<String, (&'static str, Value)>);

    impl Layer for Rewrite {
        async fn act(&self, mut call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
            for _ in 0..fastrand::usize(..20) {
                tokio::task::yield_now().await;
            }
            let name = call.input["name"].as_str().unwrap_or_default();
            if let Some((tool, input)) = self.0.get(name) {
                (call.name, call.input) = (tool.to_string(), input.clone());
            }
            next.run(call, cx).await
        }
    }

    /// A random call of [`Probe`], and what it may touch.
    fn random_call(random: &mut fastrand::Rng, name: &str) -> (&'static str, Value, Access) {
        let simple = json!({ "name": name });
        match random.u8(..8) {
            0..3 => ("look", simple, Access::Reads),
            3 => ("any", simple, Access::Anything),
            4 => ("note", simple, Access::Anything),
            5 => ("hand", simple, Access::Delegates),
            _ => {
                let files: Vec<String> =
                    (0..random.usize(1..3)).map(|_| random.char('a'..='d').into()).collect();
                let paths = files.iter().map(PathBuf::from).collect();
                ("change", json!({"name": name, "files": files}), Access::Writes(paths))
            }
        }
    }

    /// Whatever the calls are, and whatever becomes of them on the way: those that conflict never
    /// overlap, those that were not rewritten keep their order, all end.
    #[tokio::test]
    async fn calls_that_conflict_never_overlap_even_if_they_were_rewritten() {
        let rounds = if std::env::var_os("LONG").is_some() { 3_000 } else { 40 };
        for round in 0..rounds {
            let seed = fastrand::u64(..);
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut first, mut last, mut rewritten) = (vec![], vec![], BTreeMap::new());
            for i in 0..random.usize(1..20) {
                let name = i.to_string();
                let (tool, input, mut access) = random_call(&mut random, &name);
                first.push((tool, input));
                if random.u8(..4) == 0 {
                    let (tool, input, other) = random_call(&mut random, &name);
                    rewritten.insert(name, (tool, input));
                    access = other;
                }
                last.push(access);
            }
            let is_rewritten: Vec<bool> =
                (0..last.len()).map(|i| rewritten.contains_key(&i.to_string())).collect();
            let (turns, max_calls) = ([calls(first), say("end")], random.usize(1..6));
            let hook = |agent: Agent| agent.wrap(Rewrite(rewritten));
            let (play, probe) = prober(1, max_calls, turns, hook).await;
            println!("round {round}, seed {seed}");
            let names: Vec<String> = (0..last.len()).map(|i| i.to_string()).collect();
            assert_eq!(go(&play).await, names);
            let log = probe.log.lock().unwrap();
            assert!(log.most_at_once <= max_calls);
            let at = |i: usize, begins: bool| {
                let step = (i.to_string(), begins);
                log.steps.iter().position(|other| *other == step).unwrap()
            };
            for (i, a) in last.iter().enumerate() {
                for (j, b) in last.iter().enumerate().skip(i + 1).filter(|(_, b)| !a.commutes(b)) {
                    let in_order = at(i, false) < at(j, true);
                    let in_turn = in_order || at(j, false) < at(i, true);
                    assert!(in_turn, "{i} {a:?} and {j} {b:?} overlap: {:?}", log.steps);
                    let moved = is_rewritten[i] || is_rewritten[j];
                    assert!(in_order || moved, "{j} has overtaken {i}: {:?}", log.steps);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_call_that_a_hook_made_harmless_holds_nobody_up() {
        // Both would wait for each other for ever if one waited for the other.
        let meet = ("meet", json!({}));
        let rewritten = BTreeMap::from([("harmless".to_string(), meet.clone())]);
        let all = calls([("any", json!({"name": "harmless"})), meet]);
        let hook = |agent: Agent| agent.wrap(Rewrite(rewritten));
        let (play, _) = prober(2, MAX_PARALLEL_CALLS, [all, say("end")], hook).await;
        assert_eq!(go(&play).await, ["met"; 2]);
    }

    #[tokio::test]
    async fn paths_that_may_be_one_file_are_not_apart() {
        let (play, _) = prober(1, 1, [say("end")], |agent| agent).await;
        let dir = play.dir.path();
        std::fs::create_dir(dir.join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("real/f", dir.join("file_link")).unwrap();
        let cx = play.agent.context();
        let of = async |file: &str| {
            let input = json!({"file_path": file, "content": ""});
            Access::of(&ToolCall { id: "1".into(), name: "write".into(), input }, &cx).await
        };
        let file = of("real/f").await;
        let absolute = dir.join("real/f");
        for same in ["link/f", "file_link", "REAL/F", "./x/../real/f", absolute.to_str().unwrap()] {
            assert!(!file.commutes(&of(same).await), "{same}");
        }
        for apart in ["real/g", "link/g", "f", "real/f2", "new/folder/f"] {
            assert!(file.commutes(&of(apart).await), "{apart}");
        }
        // A folder that is a file for another call; what lies outside; what has several spellings.
        for unknown in ["real", "/etc/passwd", "caf\u{e9}"] {
            assert!(!file.commutes(&of(unknown).await), "{unknown}");
        }
    }

    #[tokio::test]
    async fn several_subagents_run_at_once_and_each_has_a_gate_of_its_own() {
        let task = |prompt: &str| json!({"tasks": [{"description": "x", "prompt": prompt}]});
        // Each subagent writes the same file and then meets the two of the other, which nobody
        // could do while another agent's gate is closed.
        let own = calls([("any", json!({"name": "{{ m[1] }}"})), ("meet", json!({}))]);
        let own = [own.and_call("meet", json!({})), say_results()];
        let both = [calls([("task", task("job 1")), ("task", task("job 2"))]), say("end")];
        let probe = Probe { log: Arc::default(), meeting: Arc::new(Barrier::new(4)) };
        let play = play([scene("^go$", both), scene("^job (.)$", own)], |agent, _| {
            let agent = agent.tools(probe.clone(), effect, run);
            install(s04_subagent::install(agent), MAX_PARALLEL_CALLS)
        });
        let reports = go(&play.await).await;
        assert_eq!(reports, ["# x\n1 | met | met", "# x\n2 | met | met"]);
    }

    #[tokio::test]
    async fn a_follower_returns_what_was_added() {
        let add = "head -c 10002 /dev/zero | tr '\\0' x >> big; echo new >> log";
        let (play, _) = prober(1, 9, [say("end")], |agent| agent).await;
        std::fs::write(play.dir.path().join("log"), "old\n").unwrap();
        std::fs::write(play.dir.path().join("big"), "old\n").unwrap();
        let cx = play.agent.context();
        let input = |file: &str| FollowInput { file_path: file.into(), seconds: 1 };
        let write = async {
            let mut bash = tokio::process::Command::new("bash");
            bash.args(["-c", add]).current_dir(play.dir.path()).status().await.unwrap()
        };
        let (log, big, _) =
            tokio::join!(Follow.call(input("log"), &cx), Follow.call(input("big"), &cx), write);
        assert_eq!(log.unwrap().text(), "new\n");
        let big = big.unwrap().text();
        assert!(big.ends_with("xx\n[2 more bytes were added; read the file]"), "{big}");
    }

    #[tokio::test]
    async fn questions_of_several_calls_are_asked_and_answered_all() {
        /// Asks before each call.
        struct Asks;
        impl Layer for Asks {
            async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
                let question = rungs_core::Question::new("run it?").choice("yes");
                match cx.choose(question).await {
                    Answer::Choice(_) => next.run(call, cx).await,
                    Answer::No(why) => call.refuse(format!("refused: {why}")),
                }
            }
        }
        let looks = calls((0..3).map(|i| ("look", json!({"name": i.to_string()}))));
        let asks = |agent: Agent| {
            let yes = || Answer::Choice(0);
            let ui = rungs_core::Recorder::answering([yes(), Answer::No("no".into()), yes()]);
            agent.wrap(Asks).ui(ui)
        };
        let (play, _) = prober(1, 9, [looks, say("end")], asks).await;
        assert_eq!(go(&play).await, ["0", "refused: no", "2"]);
    }

    #[tokio::test]
    async fn a_turn_that_is_stopped_answers_every_call() {
        let all = [
            ("look", json!({"name": "0"})),
            ("any", json!({"name": "1"})),
            ("look", json!({"name": "2"})),
        ];
        /// Stops the turn at the second call.
        struct Stops;
        impl Layer for Stops {
            async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
                if call.name == "any" {
                    cx.cancel().cancel();
                }
                next.run(call, cx).await
            }
        }
        let (play, _) = prober(1, 9, [calls(all), say("end")], |agent| agent.wrap(Stops)).await;
        let mut chat = Chat::default();
        assert!(play.run(&mut chat, "go").await.is_err());
        let stopped = "not run: the turn was stopped";
        assert_eq!(results(&chat.messages()[2]), ["0", stopped, stopped]);
    }
}
