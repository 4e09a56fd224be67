//! # s08: slow work in the background
//!
//! A build takes minutes, a development server never ends; an agent that waits for them does nothing else, and one that
//! starts a server in the foreground hangs until its time limit. So commands can run in the background: the agent goes on,
//! looks at their output when it wants to, and hears of their end without asking.
//!
//! New here: something that happens while nobody asks. A job's end is told in the next request, as the last words of the
//! message that is about to be sent; and if the prompt is idle, `wake` begins a turn for it. Each end is told once, and
//! none is lost. Whatever an agent has started dies with it: the whole tree of processes, on every way out.
//!
//! Run it: `cargo run --example s08_background_tasks`
//!
//! You will see a build that goes on while the agent answers something else, and the agent speaking up by itself when the
//! build has ended; then a server that it first starts the wrong way.
//!
//! Try: `:jobs` while something runs, and then Ctrl+C: nothing is left behind. (Only `kill -9` of this program itself
//! leaves its jobs alone; nothing but a process-number name space of their own would end them then.)
//!
//! Builds on s01. Motto: *Slow work runs in the background; the agent goes on thinking.*

use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, CancellationToken, Chat, Context, Error, Layer, Message, NextAct, NextAsk, Outcome,
    Reply, Result, ToolCall, ToolError, ToolSpec, tools::Log,
};
use rungs_process::jobs::{Job, Jobs};
use serde::Deserialize;
use serde_json::json;
use std::{path::Path, process::ExitCode, sync::OnceLock, time::Duration};

/// How many jobs run at once.
const MOST: usize = 100;
/// How many of its last lines the end of a job tells.
const LAST: usize = 20;
/// How long jobs may take to end when the program does.
const CLOSING: Duration = Duration::from_secs(4);
/// Commands that mostly don't end by themselves.
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

/// What the model is told of a job that has ended.
fn told(job: &Job) -> String {
    let (lines, count) = job.log.newest(LAST);
    let (end, lines) = (job.end.as_deref().unwrap_or_default(), lines.join("\n"));
    format!(
        "<job id=\"{}\">\n`{}` ended ({end}), {count} lines. The last ones:\n{lines}\n</job>",
        job.id, job.command
    )
}

/// What it reads when it looks at one.
fn logs(job: &Job, lines: usize) -> String {
    let (lines, count) = job.log.newest(lines.min(Log::MAX_LINES));
    let end = job.end.as_deref().unwrap_or("running");
    let fault = job.log.fault().map(|why| format!(" (not whole: {why})")).unwrap_or_default();
    format!(
        "{end}, {count} lines, all of them in {}{fault}; the last {}:\n{}",
        job.log.path().display(),
        lines.len(),
        lines.join("\n")
    )
}

/// A line for each job of this agent.
fn list(jobs: &Jobs, me: &str) -> String {
    let lines: Vec<String> = jobs.list(me).iter().map(Job::to_string).collect();
    if lines.is_empty() { "There are no jobs.".into() } else { lines.join("\n") }
}

/// The four tools, as the model calls them.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    BashBackground { command: String },
    BgList {},
    BgLogs { id: u64, lines: Option<usize> },
    BgKill { id: u64 },
}

/// Fires when the agent is cancelled, and when it is dropped.
#[derive(Default)]
struct Lifetime(OnceLock<CancellationToken>);

impl Drop for Lifetime {
    fn drop(&mut self) {
        if let Some(token) = self.0.get() {
            token.cancel();
        }
    }
}

/// What each of them does, for the agent that calls it.
async fn run(jobs: &Jobs, verb: Verb, cx: &Context) -> Result<String, ToolError> {
    let me = cx.name();
    let known = |job: Option<Job>, id| {
        job.ok_or_else(|| ToolError(format!("there is no job {id}; bg_list shows them")))
    };
    Ok(match verb {
        Verb::BashBackground { command } if command.trim().is_empty() => {
            return Err(ToolError("missing field `command`".into()));
        }
        Verb::BashBackground { command } => {
            // What stops the agent stops its jobs; so does the agent's own end, or that of its conversation.
            let lifetime = cx.local::<Lifetime>();
            let token = lifetime.0.get_or_init(|| cx.cancel().child_token());
            let job = jobs.start(me, &command, cx.cwd(), token).await?;
            format!("job {} is running; you will be told when it ends", job.id)
        }
        Verb::BgList {} => list(jobs, me),
        Verb::BgLogs { id, lines } => logs(&known(jobs.find(me, id), id)?, lines.unwrap_or(50)),
        Verb::BgKill { id } => match known(jobs.kill(me, id), id)?.end {
            Some(end) => format!("it had ended already ({end})"),
            None => "it is asked to end, and killed in two seconds if it does not".into(),
        },
    })
}

/// Tells the model of ends, and keeps it from waiting for a server.
struct Background(Jobs);

impl Layer for Background {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        for job in self.0.take_ended(cx.name()) {
            let end = told(&job);
            cx.notice(end.lines().nth(1).unwrap_or_default());
            chat.push(Message::user(end));
        }
        next.run(chat, cx).await
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> Outcome {
        let command = call.input["command"]
            .as_str()
            .filter(|_| call.name == "bash" && call.input["timeout"].is_null());
        match command.and_then(server) {
            Some(server) => call.refuse(format!(
                "not run: `{server}` looks like a server, which would not end. Start it with bash_background; or give a \
                 `timeout`, if it is to run in the foreground for so long."
            )),
            None => next.run(call, cx).await,
        }
    }
}

/// The part of a command that starts a server and waits for it.
fn server(command: &str) -> Option<&str> {
    if command.trim_end().ends_with('&') {
        return None;
    }
    let parts = command.split(['\n', ';', '|', '&']).map(str::trim);
    let mut plain = parts.filter(|part| !part.starts_with("timeout "));
    plain.find(|part| {
        SERVERS.iter().any(|server| {
            part.strip_prefix(server)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
        })
    })
}

/// Adds the mechanism; logs go into this folder.
pub fn install(agent: Agent, folder: &Path) -> Agent {
    let jobs = Jobs::new(folder, MOST);
    let command = json!({"type": "string", "description": "The command."});
    let id = json!({"type": "integer", "description": "The number of the job."});
    let lines = json!({"type": "integer", "description": "How many of the newest lines; 50 unless given, 500 at most."});
    let tool = |name, description, fields| ToolSpec::with_fields(name, description, &fields);
    let fields =
        json!({"type": "object", "properties": {"id": id, "lines": lines}, "required": ["id"]});
    let logs = ToolSpec::new("bg_logs", "Shows the newest output of a job.", fields);
    let (woken, listed, closed) = (jobs.clone(), jobs.clone(), jobs.clone());
    let specs = [
        tool(
            "bash_background",
            "Starts a command in the background: a server, a long build. It goes on while you do something else.",
            json!({"command": command}),
        ),
        tool("bg_list", "Lists your background jobs.", json!({})),
        logs,
        tool("bg_kill", "Ends a job and all that it has started.", json!({"id": id})),
    ];
    let worked = jobs.clone();
    agent
        .verbs(specs, move |verb, cx| {
            let jobs = worked.clone();
            async move { run(&jobs, verb, &cx).await }
        })
        .wrap(Background(jobs))
        .command("jobs", "lists the background jobs", async move |_, _, cx| {
            cx.notice(list(&listed, cx.name()));
            Ok::<(), Error>(())
        })
        .wake(move |cx| {
            let jobs = woken.clone();
            async move { jobs.wait(cx.name()).await }
        })
        .on_exit(move || async move { closed.close(CLOSING).await })
}

/// The agent of lesson one, with jobs.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| Ok(install(stage.agent(), &stage.state()));
    lessons::run("s08_background_tasks", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::{prompt, tools};

    async fn stage(scenes: &str) -> (Agent, tempfile::TempDir, rehearsal::Server) {
        let (client, server) = lessons::rehearse(&format!("scenes: [{scenes}]")).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let agent =
            install(Agent::new(client, dir.path()).tool(tools::Bash), &dir.path().join("state"));
        (agent, dir, server)
    }

    fn alive(word: &str) -> bool {
        std::process::Command::new("pgrep").args(["-f", word]).output().unwrap().status.success()
    }

    /// Waits, for at most five seconds, until no process has this word in its command line.
    async fn gone(word: &str) -> bool {
        for _ in 0..250 {
            if !alive(word) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    async fn waits(agent: &Agent) -> bool {
        tokio::time::timeout(Duration::from_secs(30), prompt::woken(&agent.context(), true))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_hundred_ends_are_told_once_each_and_one_more_job_is_too_many() {
        let jobs = (0..101)
            .map(|n| format!("{{bash_background: {{command: 'sleep 2; echo end of {n}'}}}}"));
        let jobs = jobs.collect::<Vec<_>>().join(", ");
        let scenes = format!(
            "{{when: ^go$, turns: [{{call: [{jobs}]}}, {{say: started}}]}}, {{when: ., turns: [{{say: heard}}]}}"
        );
        let (agent, _dir, _server) = stage(&scenes).await;
        let mut chat = Chat::new("go");
        agent_loop(&agent, &mut chat).await.unwrap();
        while waits(&agent).await {
            agent_loop(&agent, &mut chat).await.unwrap();
        }
        let text = json!(chat.messages()).to_string();
        assert!(text.contains("100 jobs are running already"));
        for n in 0..100 {
            // On a line of its own, as output; the command that printed it names it too.
            assert_eq!(text.matches(&format!("\\nend of {n}\\n")).count(), 1, "{n}");
        }
    }

    #[tokio::test]
    async fn an_end_joins_the_message_that_is_about_to_be_sent() {
        let (agent, _dir, server) = stage(
            "{when: ^go$, turns: [{call: [{bash_background: {command: echo quick}}, {bash: {command: sleep 0.5}}]}, {say: done}]},
             {when: 'quick', turns: [{say: heard}]}",
        )
        .await;
        let mut chat = Chat::new("go");
        assert_eq!(agent_loop(&agent, &mut chat).await.unwrap().text(), "heard");
        assert_eq!((chat.messages().len(), chat.messages()[2].content.len()), (4, 3));
        assert!(
            chat.messages()[2]
                .text()
                .contains("`echo quick` ended (exit status: 0), 1 lines. The last ones:\nquick")
        );
        assert!(!waits(&agent).await);
        assert!(server.seen().iter().all(|seen| seen.status == 200));
    }

    #[tokio::test]
    async fn jobs_die_with_a_kill_with_their_agent_and_at_the_end() {
        let start = |mark: &str| {
            format!(
                "{{call: [{{bash_background: {{command: 'sleep {mark} & setsid sleep {mark} & sleep {mark}'}}}}]}}"
            )
        };
        // By a kill, which is not told again.
        let (agent, _dir, _server) = stage(&format!(
            "{{when: ^go$, turns: [{}, {{call: [{{bg_kill: {{id: 1}}}}]}}, {{say: x}}]}}",
            start("61.61")
        ))
        .await;
        agent_loop(&agent, &mut Chat::new("go")).await.unwrap();
        assert!(gone("sleep 61.61").await && !waits(&agent).await);
        // With a child that goes.
        let (agent, _dir, _server) =
            stage(&format!("{{when: ^go$, turns: [{}, {{say: x}}]}}", start("62.62"))).await;
        let child = agent.child("helper", &[]);
        agent_loop(&child, &mut Chat::new("go")).await.unwrap();
        assert!(alive("sleep 62.62"));
        drop(child);
        assert!(gone("sleep 62.62").await);
        // At the end of the program.
        agent_loop(&agent, &mut Chat::new("go")).await.unwrap();
        assert!(alive("sleep 62.62"));
        agent.exit().await;
        assert!(!alive("sleep 62.62"));
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
        let (agent, dir, _server) = stage("{when: ., turns: [{say: x}]}").await;
        let call = |name: &str, input| ToolCall { id: name.into(), name: name.into(), input };
        let calls = vec![
            call("bg_logs", json!({"id": 7})),
            call("bg_kill", json!({})),
            call("bash_background", json!({"command": " "})),
        ];
        let results = agent.at(dir.path()).act(calls).await;
        let text = json!(results.content).to_string();
        for said in ["there is no job 7", "missing field `id`", "missing field `command`"] {
            assert!(text.contains(said), "{text}");
        }
    }
}
