//! # s08: slow work in the background
//!
//! A build takes minutes, a development server never ends. An agent that waits for them does
//! nothing else, and one that starts a server in the foreground hangs until its time limit. So
//! commands can run in the background: the agent continues, looks at their output when it wants to,
//! and is told of their end without asking.
//!
//! ```text
//! bash_background ──> job ── output ──> log (bg_logs reads it)
//!                      │
//!                     end ──> a turn runs?  the notice joins the next request
//!                         └─> idle prompt?  wake begins a turn, and the notice is its content
//! ```
//!
//! New here: something that happens while nobody asks. `wake` waits while the agent is idle. The
//! `ask` layer appends a notice for each job that has ended, as the last block of the message that
//! is about to be sent. Which ends were reported is a state of the conversation: if the prompt is
//! withdrawn, its notices were never read, and they come again. The jobs are a resource of the
//! agent: they do not roll back, and they stop when the agent does, with their whole process tree.
//!
//! Terms: **background job**, **process group** and **session** (a job's children cannot escape the
//! kill), **SIGTERM, then SIGKILL**, **rolling log** (the newest lines in memory, all of them on
//! disk).
//!
//! Run it: `cargo run --example s08_background_tasks`
//!
//! You will see a build that runs while the agent answers something else, and a turn that begins by
//! itself when the build has ended; then a server that the model first starts the wrong way.
//!
//! Try, and predict first:
//! 1. Type `:jobs` while the server runs, then press Ctrl+C. Which processes are left? (`ps`
//!    tells.)
//! 2. Start `sleep 5` in the background and ask nothing more. What appears after five seconds?
//! 3. Let `effect` return [`Effect::Reads`] for every call. Which later lesson would go wrong?
//!
//! Pitfalls: only `kill -9` of this program leaves its jobs running, since nothing runs then that
//! could stop them: the next start of a lesson ends them and says so, and a PID namespace of their
//! own would end them at once. A command that ends with `&` is done when its shell is, so it is no
//! background job. A log on disk keeps its newest 8 MiB, and its first line says what is gone.
//!
//! A product also keeps jobs over a restart, and shows their output beside the conversation.
//!
//! Builds on s01. Motto: *Slow work runs in the background; the agent goes on thinking.*

use durable::Folder;
use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Chat, Context, Effect, Error, Layer, Message, NextAct, NextAsk, Reply, Result, State,
    ToolCall, ToolError, ToolResult,
};
use rungs_process::{
    Log,
    jobs::{Job, Jobs},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::Path, process::ExitCode, time::Duration};

/// How many jobs run at once.
const MAX_RUNNING_JOBS: usize = 100;
/// How many of its last lines the notice of a job's end holds.
const NOTICE_LINES: usize = 20;
/// How many lines `bg_logs` shows unless the model says otherwise.
const DEFAULT_LOG_LINES: usize = 50;
/// How long jobs may take to end when the program does.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Commands that mostly do not end by themselves.
const SERVERS: [&str; 20] = [
    "npm run dev",
    "npm run serve",
    "npm start",
    "npm run start",
    "yarn dev",
    "yarn start",
    "pnpm dev",
    "pnpm run dev",
    "npx vite",
    "vite",
    "next dev",
    "nodemon",
    "uvicorn",
    "gunicorn",
    "flask run",
    "python -m http.server",
    "python3 -m http.server",
    "python manage.py runserver",
    "rails server",
    "tail -f",
];

/// The jobs whose ends this conversation has been told of.
#[derive(Clone, Default, Serialize, Deserialize)]
struct ReportedEnds(BTreeSet<u64>);

impl State for ReportedEnds {
    const NAME: &'static str = "reported_ends";
}

/// The four tools, as the model calls them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Starts a command in the background: a server, a long build. It runs while you do something
    /// else, and you are told when it ends.
    BashBackground {
        /// The command.
        command: String,
    },
    /// Lists your background jobs.
    BgList {},
    /// Shows the newest output of a job.
    BgLogs {
        /// The number of the job.
        id: u64,
        /// How many of the newest lines; 50 unless given, 500 at most.
        lines: Option<usize>,
    },
    /// Ends a job and all that it has started.
    BgKill {
        /// The number of the job.
        id: u64,
    },
}

fn effect(call: &Call) -> Effect {
    match call {
        Call::BashBackground { .. } => Effect::Anything,
        Call::BgList {} | Call::BgLogs { .. } => Effect::Reads,
        Call::BgKill { .. } => Effect::Internal,
    }
}

async fn run(jobs: &Jobs, call: Call, cx: &Context) -> Result<String, ToolError> {
    let me = cx.name();
    let missing = |id: u64| ToolError(format!("there is no job {id}; bg_list shows them"));
    match call {
        Call::BashBackground { command } if command.trim().is_empty() => {
            Err(ToolError("`command` is empty".into()))
        }
        Call::BashBackground { command } => {
            // A job outlives the turn, and ends with the agent.
            let job =
                jobs.start(me, &command, cx.cwd(), cx.command_environment(), cx.shutdown()).await?;
            Ok(format!("job {} is running; you will be told when it ends", job.id))
        }
        Call::BgList {} => Ok(list(jobs, me)),
        Call::BgLogs { id, lines } => {
            let job = jobs.find(me, id).ok_or_else(|| missing(id))?;
            Ok(logs(&job, lines.unwrap_or(DEFAULT_LOG_LINES), cx.cwd()))
        }
        Call::BgKill { id } => match jobs.kill(me, id).ok_or_else(|| missing(id))?.end {
            Some(end) => Ok(format!("it had ended already ({end})")),
            None => Ok("it is asked to end, and killed in two seconds if it does not".into()),
        },
    }
}

/// A line for each job of this agent.
fn list(jobs: &Jobs, me: &str) -> String {
    let lines: Vec<String> = jobs.list(me).iter().map(Job::to_string).collect();
    if lines.is_empty() { "There are no jobs.".into() } else { lines.join("\n") }
}

/// The newest output of a job, and where all of it is.
fn logs(job: &Job, lines: usize, cwd: &Path) -> String {
    let path = job.log.path().strip_prefix(cwd).unwrap_or(job.log.path());
    let (lines, _) = job.log.newest(lines.min(Log::MAX_LINES));
    let end = job.end.as_deref().unwrap_or("running");
    let incomplete = match job.log.fault() {
        Some(why) => format!(" (incomplete: {why})"),
        None => String::new(),
    };
    format!(
        "{end}, {}, all of it in {}{incomplete}; the last {}:\n{}",
        job.lines(),
        path.display(),
        lines.len(),
        lines.join("\n")
    )
}

/// What the model is told of a job that has ended.
fn notice(job: &Job) -> String {
    let (lines, _) = job.log.newest(NOTICE_LINES);
    let (id, command, count) = (job.id, &job.command, job.lines());
    let (end, lines) = (job.end.as_deref().unwrap_or_default(), lines.join("\n"));
    format!(
        "<job id=\"{id}\">\n`{command}` ended ({end}), {count}. The last ones:\n{lines}\n</job>"
    )
}

/// Reports the ends of jobs, and keeps the model from waiting for a server.
struct Background(Jobs);

impl Layer for Background {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        for job in self.0.ended(cx.name(), &chat.state::<ReportedEnds>().0) {
            cx.notice(format!("job {job}"));
            chat.push(Message::inserted("job", notice(&job)));
            chat.update(|reported: &mut ReportedEnds| reported.0.insert(job.id));
        }
        next.run(chat, cx).await
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if call.name == "bash"
            && call.input["timeout"].is_null()
            && let Some(server) = call.input["command"].as_str().and_then(server)
        {
            return call.refuse(format!(
                "not run: `{server}` looks like a server, which would not end. Start it with \
                 bash_background; or give a `timeout`, if it is to run in the foreground for so \
                 long."
            ));
        }
        next.run(call, cx).await
    }
}

/// The part of a command that starts a server and waits for it.
fn server(command: &str) -> Option<&str> {
    if command.trim_end().ends_with('&') {
        return None;
    }
    let is_server = |part: &&str| {
        SERVERS.iter().any(|server| match part.strip_prefix(server) {
            Some(rest) => !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'),
            None => false,
        })
    };
    // `timeout 5 npm start` ends, and begins with none of them.
    command.split(['\n', ';', '|', '&']).map(str::trim).find(is_server)
}

/// Adds the mechanism; logs go into this folder.
pub fn install(agent: Agent, folder: Folder) -> Agent {
    let jobs = Jobs::new(folder, MAX_RUNNING_JOBS);
    let (woken, listed, closed) = (jobs.clone(), jobs.clone(), jobs.clone());
    agent
        .tools(jobs.clone(), effect, run)
        .wrap(Background(jobs))
        .command("jobs", "lists the background jobs", async move |_, _, cx| {
            cx.notice(list(&listed, cx.name()));
            Ok::<(), Error>(())
        })
        .wake(move |cx| {
            let jobs = woken.clone();
            async move { jobs.wait(cx.name(), &cx.state::<ReportedEnds>().0).await }
        })
        .on_exit("stopping the background jobs", CLOSE_TIMEOUT, async move || {
            closed.close(CLOSE_TIMEOUT).await;
        })
}

/// The agent of lesson one, with jobs.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| Ok(install(stage.agent(), stage.state_folder()?));
    lessons::run("s08_background_tasks", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::testing::{BlocksBad, Play, inserted, play, results};
    use rehearsal::{Scene, Turn, call, calls, say, scene};
    use rungs_core::tools;
    use rungs_process::testing::{alive, gone, marker, until};
    use serde_json::json;

    fn state(dir: &std::path::Path) -> Folder {
        Folder::open(dir, "state").unwrap()
    }

    async fn background(scenes: impl IntoIterator<Item = Scene>) -> Play {
        play(scenes, |agent, dir| install(agent.tool(tools::Bash), state(dir))).await
    }

    fn start(command: impl Into<String>) -> (&'static str, serde_json::Value) {
        ("bash_background", json!({"command": command.into()}))
    }

    #[tokio::test]
    async fn a_hundred_ends_are_reported_once_each_and_one_more_job_is_too_many() {
        let wait = "until [ -e all-started ]; do sleep 0.2; done";
        let jobs = (0..101).map(|n| start(format!("{wait}; echo end of {n}")));
        let end = call("bash", json!({"command": "touch all-started"}));
        let go = scene("^go$", [calls(jobs), end, say("started")]);
        let scenes = [go, scene("<job", [say("noted")])];
        let play = background(scenes).await;
        let mut chat = Chat::default();
        play.run_until_idle(&mut chat, "go").await;
        let started = results(&chat.messages()[2]);
        assert_eq!(started[100], "100 jobs are running already; kill one first");
        let mut ends: Vec<String> = inserted(&chat, "job");
        ends.sort();
        let line = |end: &String| end.lines().nth(2).unwrap().to_string();
        let mut printed: Vec<String> = ends.iter().map(line).collect();
        printed.sort();
        let mut expected: Vec<String> = (0..100).map(|n| format!("end of {n}")).collect();
        expected.sort();
        assert_eq!(printed, expected);
    }

    #[tokio::test]
    async fn an_end_joins_the_message_that_is_about_to_be_sent() {
        let turns = [calls([start("echo quick"), ("bash", json!({"command": "sleep 1"}))])];
        let play = background([scene("^go$", turns), scene("quick", [say("noted")])]).await;
        let (answer, chat) = play.ask("go").await;
        assert_eq!((answer.as_str(), chat.messages().len()), ("noted", 4));
        let end = "`echo quick` ended (exit status: 0), 1 line. The last ones:\nquick";
        assert_eq!(inserted(&chat, "job"), [format!("<job id=\"1\">\n{end}\n</job>")]);
        assert_eq!(chat.messages()[2].content.last().unwrap().origin().unwrap().name, "job");
        assert!(!play.agent.woken(&chat).await, "nothing more is expected");
    }

    #[tokio::test]
    async fn an_end_whose_turn_was_withdrawn_is_reported_again() {
        let start = [call("bash_background", json!({"command": "true"})), say("started")];
        let scenes = [scene("^go$", start), scene("<job", [say("noted")])];
        let play = play(scenes, |agent, dir| install(agent.wrap(BlocksBad), state(dir))).await;
        let mut chat = Chat::default();
        play.run(&mut chat, "go").await.unwrap();
        assert!(play.agent.woken(&chat).await);
        // The notice joins the prompt's message, and is withdrawn with it.
        play.run(&mut chat, "bad").await.unwrap_err();
        assert_eq!(inserted(&chat, "job"), [""; 0]);
        assert!(play.agent.woken(&chat).await);
        play.agent.run(&mut chat, Message::empty(), agent_loop).await.unwrap();
        assert_eq!(inserted(&chat, "job").len(), 1);
        assert!(!play.agent.woken(&chat).await);
    }

    fn endless(marker: &str) -> Turn {
        calls([start(format!("sleep {marker} & setsid sleep {marker} & sleep {marker}"))])
    }

    #[tokio::test]
    async fn a_killed_job_leaves_nothing_and_is_not_reported() {
        let marker = marker();
        let kill = call("bg_kill", json!({"id": 1}));
        let play = background([scene("^go$", [endless(&marker), kill, say("x")])]).await;
        let (_, chat) = play.ask("go").await;
        assert!(gone(&marker).await);
        assert!(!play.agent.woken(&chat).await);
    }

    #[tokio::test]
    async fn the_jobs_of_a_child_end_with_it() {
        let marker = marker();
        let play = background([scene("^go$", [endless(&marker), say("x")])]).await;
        let child = play.agent.lasting_child("helper", &[]);
        child.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
        assert!(until(|| alive(&marker)).await);
        drop(child);
        assert!(gone(&marker).await);
    }

    #[tokio::test]
    async fn jobs_outlive_the_turn_and_end_with_the_program() {
        let marker = marker();
        let play = background([scene("^go$", [endless(&marker), say("x")])]).await;
        play.ask("go").await;
        assert!(until(|| alive(&marker)).await);
        assert_eq!(play.agent.exit().await, [""; 0]);
        assert!(!alive(&marker));
    }

    #[test]
    fn servers_are_known_by_how_they_begin() {
        for command in [
            "npm run dev",
            "cd web && npm run dev -- --port 3000",
            "uvicorn main:app --reload",
            "tail -f log | grep x",
        ] {
            assert!(server(command).is_some(), "{command}");
        }
        for command in [
            "npm run dev &",
            "npm run development",
            "timeout 5 npm start",
            "vitest run",
            "grep 'npm start' README.md",
            "ls",
        ] {
            assert!(server(command).is_none(), "{command}");
        }
    }

    #[tokio::test]
    async fn what_does_not_exist_is_said() {
        let turns = [
            calls([
                ("bg_logs", json!({"id": 7})),
                ("bg_kill", json!({})),
                start(" "),
                ("bash", json!({"command": "npm start"})),
            ]),
            say("x"),
        ];
        let (_, chat) = background([scene("^go$", turns)]).await.ask("go").await;
        let results = results(&chat.messages()[2]);
        assert_eq!(
            results[..3],
            ["there is no job 7; bg_list shows them", "missing field `id`", "`command` is empty"]
        );
        assert!(results[3].starts_with("not run: `npm start` looks like a server"));
    }
}
