//! # s22: mail and tasks on a server
//!
//! The mailboxes of s09 are files, so a team lives on one machine, and in one process: a file tells
//! nobody that it has changed, and a name has its reader in the process that holds the lock. Here
//! both the mail and the board are on a Redis server, and a teammate is wherever its process is.
//!
//! ```text
//! machine A                     Redis                                  machine B
//! lead ── send ──> stream mail:ann ── group `readers`: pending ──> receive ── ann, a process
//!                     │                 │ acknowledged: over           │  that has joined
//!                     │                 │ not acknowledged, its reader │
//!                     │                 v died: the next reader        │
//!                     └── pub/sub "ann": look! ────────────────────────┘
//! lead ── create ──> stream board: appended only by whoever knows the newest entry <── claim ── ann
//! ```
//!
//! New here: a [`Transport`](rungs_mailbox::Transport) and a board that processes on several machines share. Nothing in s09
//! and s11 changes for it but where a member is looked for.
//!
//! - A mailbox is a **stream**, which a **consumer group** reads. The group knows what is delivered
//!   and not acknowledged, and how often; the decision what to deliver again, and what is a dead
//!   letter, is that of s09.
//! - A **name is a lease**: a key that vanishes unless its process renews it. So a mailbox has one
//!   reader; when that dies, the next one of its name takes over, with the letters in flight. A
//!   reader that was only slow finds that it has lost the name, and can acknowledge nothing.
//! - **Every change is one script**, which the server runs whole or not at all, and recognises when
//!   it is sent again. Whoever loses the connection does not know whether a letter was stored; it
//!   sends again, and the letter is there once.
//! - The board needs no lock: a change is appended only if nobody has written since it was decided,
//!   else it is decided again. The **fencing tokens** of s11 work as before, so the clocks of the
//!   machines may differ.
//! - Messages (**pub/sub**) only wake who waits: a lost one loses nothing, and nobody polls.
//!
//! Without a server the team is that of s11, in files; it says so. The crate `rungs-redis` has the
//! streams, behind the same two traits as the files.
//!
//! Terms: **stream**, **consumer group**, **pending entries list**, **name lease**,
//! **idempotent send**, **optimistic concurrency control**, **publish/subscribe**.
//!
//! Run it: `cargo run --example s22_production_mailbox`
//!
//! You will see a lead put tasks on a board, and two more processes of this program join its team
//! and do them; without a Redis server, two teammates in one process.
//!
//! Try, and predict first:
//! 1. Start `redis-server`, and this lesson in one terminal with `-- --join blue`, in two others
//!    with `-- --join blue --as ann` and `--as bob`. Kill one of them with `kill -9` in the middle
//!    of a task. Who does the task then, and after how long?
//! 2. `redis-cli XPENDING 'rungs:{blue}:mail:ann' readers` while ann works on a letter. What
//!    changes when its turn ends?
//! 3. Take the `SET .. NX` out of the script `SEND` in `crates/redis/src/mail.rs`. Which test fails,
//!    and what would an agent do with the second letter?
//!
//! Pitfalls: a list with `BLPOP`, or pub/sub alone, loses what its reader has taken and not handled;
//! a server that flushes once a second loses the last one in a crash; a replica that becomes the
//! primary may lack what the old one had accepted.
//!
//! A product also limits what each user of the server may do, encrypts the letters, and counts how
//! long they wait.
//!
//! Builds on s09, s11. Motto: *Redis carries the mail.*

use lessons::{
    Flag, Stage,
    s01_loop::agent_loop,
    s07_task_system::{self, Board},
    s09_agent_teams::{self, LEAD, Letter, LetterFilter, Mailboxes, Team},
    s11_autonomous_agents, s13_streaming,
};
use rungs_core::{Agent, Chat, Context, Error, Layer, NextTurn, Reply, Result};
use rungs_mailbox::{Presence, check_name};
use rungs_redis::{Cause, DEFAULT_URL, Failure, Mail, NAME_LEASE, Server, open_board};
use rungs_tasks::{Claims, LEASE};
use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// Names the server.
const REDIS_URL: &str = "REDIS_URL";
/// Where the name of a folder's own team is kept, among its state.
const TEAM_FILE: &str = "team";
/// What a member that has joined reads first.
const WELCOME: &str = "You have joined the team from a process of your own. Tell lead in one \
    sentence that you are here. Tasks and mail come by themselves.";
/// What it says of itself.
const ROLE: &str = "joined from another process";
/// How long an exit waits until the names are given back.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a lead that has to wait for its name tries again.
const NAME_INTERVAL: Duration = Duration::from_secs(1);

const FLAGS: &[Flag] = &[
    Flag { name: "join", value: Some("TEAM"), help: "the team on the Redis server of REDIS_URL" },
    Flag { name: "as", value: Some("NAME"), help: "joins it as a teammate, not as its lead" },
];

/// Lets a member that has joined write letters. Its lead is elsewhere, and so is whoever types:
/// what counts is that the lead has written.
struct LedElsewhere(Team);

impl Layer for LedElsewhere {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let team = self.0.clone();
        let allow = move |letter: Letter, _: &Context| {
            if letter.from == LEAD {
                team.allow_letters();
            }
            letter
        };
        next.run(chat, &cx.with(LetterFilter(Box::new(allow)))).await
    }
}

/// Adds the lead of a team, wherever its mail and its tasks are.
pub fn install(agent: Agent, team: &Team, board: Board) -> Agent {
    let agent = s09_agent_teams::install(s07_task_system::install(agent, &board), team);
    s11_autonomous_agents::install(agent, team, &Claims::new(board, LEASE))
}

/// Adds one member of a team whose lead is in another process. It begins when the prompt does, and
/// ends when it is dismissed.
///
/// # Errors
/// When the name is not valid or taken, when the server fails.
pub async fn install_member(agent: Agent, mail: &Mail, board: Board, name: &str) -> Result<Agent> {
    Presence::join(mail.names(), name, ROLE).await.map_err(Error::other)?;
    let team = Team::new(mail.clone());
    team.allow_letters();
    let agent =
        s09_agent_teams::install_led_elsewhere(s07_task_system::install(agent, &board), &team);
    let agent = s11_autonomous_agents::install(agent, &team, &Claims::new(board, LEASE));
    let (names, name, begun) = (mail.names().clone(), name.to_string(), AtomicBool::new(false));
    let own = agent.name().to_string();
    let agent = agent.wrap(LedElsewhere(team.clone())).wake(move |cx| {
        let is_own = cx.name() == own;
        // In a task of its own: whoever waits here may be dropped.
        if is_own && !begun.swap(true, Relaxed) {
            tokio::spawn(begin(team.clone(), name.clone(), cx.clone()));
        }
        let (names, name) = (names.clone(), name.clone());
        async move {
            // Not for the member itself: its mail and its tasks wake it.
            if is_own {
                names.lost(&name).await;
                cx.notice(format!("{name} is no member of the team any more"));
            }
            false
        }
    });
    Ok(leave_on_exit(agent, mail))
}

async fn begin(team: Team, name: String, cx: Context) {
    let welcome = Letter::new(&name, WELCOME);
    if let Err(error) = team.spawn(&name, ROLE.into(), welcome, &cx).await {
        cx.notice(format!("{name} cannot begin: {}", error.0));
    }
}

fn leave_on_exit(agent: Agent, mail: &Mail) -> Agent {
    let names = mail.names().clone();
    agent.on_exit("leaving the team", CLOSE_TIMEOUT, async move || names.leave_all().await)
}

/// The team of this folder, for whoever names none: the same one after a restart.
async fn own_team(stage: &Stage) -> Result<String> {
    let state = stage.state().await?;
    let read = move || -> std::result::Result<String, Box<dyn std::error::Error + Send + Sync>> {
        if let Ok(team) = std::fs::read_to_string(state.path().join(TEAM_FILE)) {
            return Ok(team.trim().into());
        }
        let team = format!("team-{:08x}", getrandom::u32()?);
        state.write(TEAM_FILE, format!("{team}\n").as_bytes())?;
        Ok(team)
    };
    spawn_blocking(read).await.map_err(Error::other)?.map_err(Error::other)
}

/// Takes the name of the lead. One that died has it a little longer.
async fn lead(mail: &Mail, stage: &Stage) -> Result<()> {
    let end = Instant::now() + NAME_LEASE;
    loop {
        match Presence::join(mail.names(), LEAD, LEAD).await {
            Err(error) if Instant::now() < end => {
                stage.screen.say(&format!("{error}; waiting for it"));
                sleep(NAME_INTERVAL).await;
            }
            joined => return joined.map_err(Error::other),
        }
    }
}

/// The server, if there is one. Only a team that was named needs it.
async fn server(stage: &Stage) -> Result<Option<Server>> {
    let named = stage.flags.get("join");
    let team = match named {
        Some(team) => team.clone(),
        None => own_team(stage).await?,
    };
    check_name(&team).map_err(Error::other)?;
    let variable = stage.setting(REDIS_URL);
    let url = variable.as_deref().unwrap_or(DEFAULT_URL);
    match Server::connect(url, &team).await {
        Ok(server) => {
            stage.screen.say(&format!(
                "mail and tasks: team {team} on Redis at {}; others join with --join {team} --as \
                 NAME",
                server.host()
            ));
            if let Some(limit) = server.durability().await.map_err(Error::other)? {
                stage.screen.say(&format!("Redis at {}: {limit}", server.host()));
            }
            Ok(Some(server))
        }
        // A server that is there, and was named, is to be used.
        Err(failure) if named.is_none() && (variable.is_none() || is_absent(&failure)) => {
            stage.screen.say(&format!(
                "{failure}. Mail and tasks are files in this folder, for this process alone"
            ));
            Ok(None)
        }
        Err(failure) => Err(Error::other(failure)),
    }
}

fn is_absent(failure: &Failure) -> bool {
    failure.cause == Cause::Unreachable
}

async fn build(stage: &Stage) -> Result<Agent> {
    let agent = s13_streaming::install(stage.agent());
    let Some(server) = server(stage).await? else {
        let state = stage.state().await?;
        let board = Board::open_async(&state, "tasks.jsonl").await.map_err(Error::other)?;
        let team = Team::new(Mailboxes::open(&state).await.map_err(Error::other)?);
        return Ok(install(agent, &team, board));
    };
    let board = open_board(&server).await.map_err(Error::other)?;
    let mail = Mail::new(&server).map_err(Error::other)?;
    match stage.flags.get("as") {
        Some(name) if name != LEAD => {
            stage.serves.store(true, Relaxed);
            install_member(agent, &mail, board, name).await
        }
        _ => {
            lead(&mail, stage).await?;
            let team = Team::new(mail.clone());
            Ok(leave_on_exit(install(agent, &team, board), &mail))
        }
    }
}

/// The agent of lesson eleven, with its mail and its tasks on a server.
pub fn main() -> ExitCode {
    lessons::run_with(FLAGS, "s22_production_mailbox", build, agent_loop)
}
