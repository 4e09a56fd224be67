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
//! lead ── create ──> stream board: appended by whoever knows the newest entry <── claim ── ann
//! ```
//!
//! New here: a [`Transport`](rungs_mailbox::Transport) and a board that processes on several
//! machines share. Nothing in s09 and s11 changes for it but where a member is looked for.
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
//! 3. Take the `SET .. NX` out of the script `SEND` in `crates/redis/src/mail.rs`. Which test
//!    fails, and what would an agent do with the second letter?
//!
//! Pitfalls: a list with `BLPOP`, or pub/sub alone, loses what its reader has taken and not
//! handled; a server that flushes once a second loses the last one in a crash; a replica that
//! becomes the primary may lack what the old one had accepted.
//!
//! A product also limits what each user of the server may do, encrypts the letters, and counts how
//! long they wait.
//!
//! Builds on s09, s11, s13. Motto: *Redis carries the mail.*

use durable::{Folder, Lock};
use lessons::{
    Flag, Stage,
    s01_loop::agent_loop,
    s07_task_system::{self, Board},
    s09_agent_teams::{self, LEAD, Mailboxes, Team},
    s11_autonomous_agents, s13_streaming,
};
use rungs_core::{Agent, Context, Error, Result};
use rungs_mailbox::{Presence, check_name};
use rungs_redis::{Cause, DEFAULT_URL, Failure, Mail, NAME_LEASE, Names, Server, open_board};
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
const TEAM_LOCK: &str = "team.lock";
const MAX_TEAM_BYTES: u64 = 100;
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// What a member that has joined reads first.
const WELCOME: &str = "You have joined the team from a process of your own. Tell lead in one \
    sentence that you are here. Tasks and mail come by themselves.";
/// What it says of itself.
const ROLE: &str = "joined from another process";
/// How long an exit waits until the names are given back.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a lead that has to wait for its name tries again.
const NAME_INTERVAL: Duration = Duration::from_secs(1);

/// The options of the command line.
pub const FLAGS: &[Flag] = &[
    Flag { name: "join", value: Some("TEAM"), help: "the team on the Redis server of REDIS_URL" },
    Flag { name: "as", value: Some("NAME"), help: "joins it as a teammate, not as its lead" },
];

/// The team that this process is of, wherever its mail and its tasks are.
pub struct Membership {
    /// Its members.
    pub team: Team,
    /// Its tasks.
    pub board: Board,
    /// The names on the server, where the team is on one.
    pub names: Option<Names>,
    /// As whom this process has joined a team whose lead is another one.
    pub member: Option<String>,
}

impl Membership {
    /// The lead of a team in files.
    ///
    /// # Errors
    /// When they cannot be opened, and names them.
    pub async fn in_files(state: &Folder) -> Result<Self> {
        let (board, mail) =
            tokio::join!(Board::open_async(state, "tasks.jsonl"), Mailboxes::open(state));
        let (board, mail) = (board.map_err(Error::other)?, mail.map_err(Error::other)?);
        Ok(Membership { team: Team::new(mail), board, names: None, member: None })
    }
}

/// Adds what a team on a server needs beside the lessons before. A member that has joined begins
/// when the prompt does, and ends when it is dismissed; at the end all names are given back.
pub fn install(mut agent: Agent, membership: &Membership) -> Agent {
    let Some(names) = membership.names.clone() else { return agent };
    if let Some(name) = membership.member.clone() {
        let (team, names) = (membership.team.clone(), names.clone());
        let (own, begun) = (agent.name().to_string(), AtomicBool::new(false));
        agent = agent.wake(move |cx| {
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
    }
    agent.on_exit("leaving the team", CLOSE_TIMEOUT, async move || names.leave_all().await)
}

async fn begin(team: Team, name: String, cx: Context) {
    if let Err(error) = team.spawn(&name, ROLE.into(), WELCOME.into(), &cx).await {
        cx.notice(format!("{name} cannot begin: {}", error.0));
    }
}

/// The name of this folder's own team, once it has been on a server: the same after a restart.
fn own_team(state: &Folder) -> Result<Option<String>, durable::Error> {
    let kept = state.read(TEAM_FILE, MAX_TEAM_BYTES)?;
    Ok(kept.map(|name| String::from_utf8_lossy(&name).trim().into()))
}

/// Keeps that name, now that it is on a server, unless another process was faster. Returns the one
/// that is kept.
fn keep_team(state: &Folder, team: String) -> Result<String, durable::Error> {
    let _lock = Lock::acquire(state, TEAM_LOCK, LOCK_TIMEOUT)?;
    if let Some(kept) = own_team(state)? {
        return Ok(kept);
    }
    state.write(TEAM_FILE, format!("{team}\n").as_bytes())?;
    Ok(team)
}

/// The folder's own team is on a server now: its name is kept. Another process that began at the
/// same time may have kept its own, which is used then.
async fn keep_own_team(
    stage: &Stage,
    state: &Folder,
    url: &str,
    (mut server, team): (Server, String),
) -> Result<(Server, String)> {
    let new = team.clone();
    let kept = blocking(state, |state| keep_team(state, new)).await?;
    if kept != team {
        server = Server::connect(url, &kept).await.map_err(Error::other)?;
    }
    let own = server.clone();
    // What it cannot remove is found again by nobody.
    let remove = async move { _ = own.remove_team().await };
    *stage.removal.lock().unwrap() = Some(Box::pin(remove));
    Ok((server, kept))
}

async fn blocking<T: Send + 'static>(
    state: &Folder,
    work: impl FnOnce(&Folder) -> Result<T, durable::Error> + Send + 'static,
) -> Result<T> {
    let state = state.clone();
    spawn_blocking(move || work(&state)).await.map_err(Error::other)?.map_err(Error::other)
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

/// The server, if there is one. Only a team that was named needs it, and whoever joins one.
async fn server(stage: &Stage, state: &Folder) -> Result<Option<Server>> {
    // Nobody is to be asked for a description of the agent.
    if stage.environment.is_none() {
        return Ok(None);
    }
    let named = stage.flags.get("join");
    let team = match named {
        Some(team) => team.clone(),
        None => match blocking(state, own_team).await? {
            Some(team) => team,
            None => format!("team-{:08x}", getrandom::u32().map_err(Error::other)?),
        },
    };
    check_name(&team).map_err(Error::other)?;
    let is_needed = named.is_some() || stage.flags.contains_key("as");
    let variable = stage.setting(REDIS_URL);
    let url = variable.as_deref().unwrap_or(DEFAULT_URL);
    match Server::connect(url, &team).await {
        Ok(server) => {
            let (server, team) = match named {
                Some(_) => (server, team),
                None => keep_own_team(stage, state, url, (server, team)).await?,
            };
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
        Err(failure) if !is_needed && (variable.is_none() || is_absent(&failure)) => {
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

/// Leads the team of this folder, or the one that the command line names, or joins that.
///
/// # Errors
/// When a server that is needed fails, when a name is taken, when a file cannot be opened.
pub async fn join(stage: &Stage, state: &Folder) -> Result<Membership> {
    let Some(server) = server(stage, state).await? else {
        return Membership::in_files(state).await;
    };
    let board = open_board(&server).await.map_err(Error::other)?;
    let mail = Mail::new(&server).map_err(Error::other)?;
    let names = Some(mail.names().clone());
    if let Some(name) = stage.flags.get("as").filter(|name| *name != LEAD) {
        *stage.serves.lock().unwrap() = true;
        Presence::join(mail.names(), name, ROLE).await.map_err(Error::other)?;
        let (team, member) = (Team::led_elsewhere(mail), Some(name.clone()));
        return Ok(Membership { team, board, names, member });
    }
    lead(&mail, stage).await?;
    Ok(Membership { team: Team::new(mail), board, names, member: None })
}

async fn build(stage: &Stage) -> Result<Agent> {
    let membership = join(stage, &stage.state().await?).await?;
    let Membership { team, board, .. } = &membership;
    let agent = s13_streaming::install(stage.agent());
    let agent = s09_agent_teams::install(s07_task_system::install(agent, board), team);
    let agent = s11_autonomous_agents::install(agent, team, &Claims::new(board.clone(), LEASE));
    Ok(install(agent, &membership))
}

/// The agent of lesson eleven, with its mail and its tasks on a server.
pub fn main() -> ExitCode {
    lessons::run_with(FLAGS, "s22_production_mailbox", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s04_subagent,
        s07_task_system::{Status, Task},
        s10_team_protocols,
        testing::{Play, play, results},
    };
    use rehearsal::{Scene, call, calls, say, say_results, scene};
    use rungs_core::{Chat, tools};
    use rungs_mailbox::{Letter, Transport};
    use rungs_redis::testing::PrivateServer;
    use serde_json::{Value, json};
    use std::{collections::BTreeSet, pin::pin};
    use tokio::{task::JoinHandle, time::timeout};

    /// How long a name and a claim last in these tests.
    const SHORT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(60);

    /// A process of a team: a connection, a board and a model of its own.
    struct Process {
        play: Play,
        mail: Mail,
        board: Board,
    }

    async fn connect(url: &str) -> (Mail, Claims) {
        let server = Server::connect(url, "blue").await.unwrap();
        let claims = Claims::new(open_board(&server).await.unwrap(), SHORT);
        (Mail::with_lease(&server, SHORT).unwrap(), claims)
    }

    async fn lead(server: &PrivateServer, scenes: impl IntoIterator<Item = Scene>) -> Process {
        let (mail, claims) = connect(&server.url()).await;
        Presence::join(mail.names(), LEAD, LEAD).await.unwrap();
        let team = Team::new(mail.clone());
        Process::new(scenes, mail, claims, team, None).await
    }

    async fn member(
        (mail, claims): (Mail, Claims),
        name: &str,
        scenes: impl IntoIterator<Item = Scene>,
    ) -> Process {
        Presence::join(mail.names(), name, ROLE).await.unwrap();
        let team = Team::led_elsewhere(mail.clone());
        // A task that is free may come with the welcome, and is what matters then.
        let welcome = scene("You have joined the team", [say("I am here.")]).yields();
        let scenes = [welcome].into_iter().chain(scenes);
        Process::new(scenes, mail, claims, team, Some(name.into())).await
    }

    impl Process {
        async fn new(
            scenes: impl IntoIterator<Item = Scene>,
            mail: Mail,
            claims: Claims,
            team: Team,
            member: Option<String>,
        ) -> Self {
            let (board, names) = (claims.board().clone(), Some(mail.names().clone()));
            let play = play(scenes, |agent, _| {
                let agent = s04_subagent::install(tools::all(agent));
                let agent = s09_agent_teams::install(agent, &team);
                let agent = s07_task_system::install(agent, &board);
                let agent = s11_autonomous_agents::install(agent, &team, &claims);
                let agent = s10_team_protocols::install(agent, &team, LONG);
                install(agent, &Membership { team, board: board.clone(), names, member })
            });
            Process { play: play.await, mail, board }
        }

        /// The prompt of a process of which nobody types: it ends when nothing is expected.
        fn serve(&self) -> JoinHandle<bool> {
            let agent = self.play.agent.clone();
            tokio::spawn(async move { agent.woken(&Chat::default()).await })
        }

        /// The results that the member was given.
        fn results(&self, name: &str) -> Vec<String> {
            let bodies = self.play.bodies_of(&format!("You are {name}, a teammate"));
            let newest = bodies.iter().filter_map(|body| body["messages"].as_array()?.last());
            let blocks = newest.filter_map(|message| message["content"].as_array()).flatten();
            blocks.filter_map(|block| block["content"][0]["text"].as_str()).map(plain).collect()
        }

        async fn task(&self, id: u64) -> Task {
            let get = move |board: &Board| board.look(|tasks| tasks.get(id).cloned());
            self.board.blocking(get).await.unwrap().unwrap()
        }

        async fn create(&self, subject: &str) {
            let task = Task { subject: subject.into(), ..Task::default() };
            self.board.blocking(move |board| board.create(task.clone())).await.unwrap();
        }
    }

    /// Without random ids.
    fn plain(text: &str) -> String {
        let words = text.split(' ').map(|word| match word.split_once('-') {
            Some((name, id)) if id.len() >= 16 => format!("{name}-ID"),
            _ => word.to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn finish(result: &str) -> rehearsal::Turn {
        call("finish_task", json!({ "result": result }))
    }

    fn bash(command: &str) -> (&'static str, Value) {
        ("bash", json!({ "command": command }))
    }

    /// Answers to whatever members write.
    fn noted() -> Scene {
        scene("from=.(ann|bob).>", [say("noted")])
    }

    #[test]
    fn of_several_processes_in_a_new_folder_one_names_its_team() {
        let here = tempfile::tempdir().unwrap();
        let kept: BTreeSet<_> = std::thread::scope(|scope| {
            let keep = |n| keep_team(&Folder::open(here.path(), "state").unwrap(), n);
            let begun: Vec<_> =
                (0..8).map(|n| scope.spawn(move || keep(format!("team-{n}")))).collect();
            begun.into_iter().map(|one| one.join().unwrap().unwrap()).collect()
        });
        let state = Folder::open(here.path(), "state").unwrap();
        assert_eq!(kept, own_team(&state).unwrap().into_iter().collect());
    }

    #[test]
    fn a_link_in_the_place_of_the_team_is_not_followed() {
        let here = tempfile::tempdir().unwrap();
        let state = Folder::open(here.path(), "state").unwrap();
        std::fs::write(here.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret", state.path().join(TEAM_FILE)).unwrap();
        let refused = own_team(&state).unwrap_err();
        assert!(matches!(refused, durable::Error::NotOurs { .. }), "{refused}");
    }

    /// The member has claimed a task and asks about it: nobody was at work when the wait began.
    #[tokio::test]
    async fn mail_wakes_a_lead_that_waits_for_a_task_of_another_process() {
        let Some(server) = PrivateServer::start(&[]) else { return };
        let (mail, claims) = connect(&server.url()).await;
        Presence::join(mail.names(), "ann", ROLE).await.unwrap();
        let lead = lead(&server, [scene("^go$", [say("ok")])]).await;
        let mut chat = Chat::default();
        lead.play.run(&mut chat, "go").await.unwrap();
        lead.create("x").await;
        claims.wait().await.unwrap();
        let claim = claims.claim("ann").await.unwrap().unwrap();
        let (waits, held) = (lead.play.agent.woken(&chat), claim.hold());
        let (mut waits, mut held) = (pin!(waits), pin!(held));
        tokio::select! {
            woken = &mut waits => panic!("woken: {woken}"),
            () = &mut held => panic!("the claim is lost"),
            () = sleep(SHORT) => {}
        }
        mail.send(LEAD, Letter::new("ann", "how?")).await.unwrap();
        let woken = tokio::select! {
            woken = timeout(LONG / 6, waits) => woken,
            () = held => panic!("the claim is lost"),
        };
        assert_eq!(woken, Ok(true));
    }

    #[tokio::test]
    async fn members_in_other_processes_do_the_tasks_of_one_board_and_the_lead_waits_for_them() {
        let Some(server) = PrivateServer::start(&[]) else { return };
        let work = || {
            let turns = [calls([bash("sleep 0.1")]), finish("fine"), say("done")];
            scene("<task id=.(\\d+)", turns)
        };
        let ann = member(connect(&server.url()).await, "ann", [work()]).await;
        let bob = member(connect(&server.url()).await, "bob", [work()]).await;
        let create = || ("task_create", json!({"subject": "x"}));
        let dismiss = |name: &str| ("dismiss", json!({ "name": name }));
        let lead = lead(
            &server,
            [
                scene("^go$", [calls((0..8).map(|_| create())), say("free")]),
                scene("^end$", [calls([dismiss("ann"), dismiss("bob")]), say_results()]),
                noted(),
            ],
        )
        .await;
        let mut chat = Chat::default();
        lead.play.run(&mut chat, "go").await.unwrap();
        // Earlier, and their first letters could join the prompt.
        let serving = [ann.serve(), bob.serve()];
        lead.play.answer_until_idle(&mut chat).await;
        let mut owners = BTreeSet::new();
        for id in 1..=8 {
            let task = lead.task(id).await;
            assert_eq!((task.status, task.attempt), (Status::Done, 1), "{task}");
            owners.extend(task.owner);
        }
        assert_eq!(owners, ["ann", "bob"].map(String::from).into());
        let reply = lead.play.run(&mut chat, "end").await.unwrap();
        let gone = "is gone; its mail waits for the next of that name";
        assert_eq!(reply.text(), format!("ann {gone} | bob {gone}"));
        for process in serving {
            assert!(!process.await.unwrap());
        }
    }

    #[tokio::test]
    async fn the_rules_of_a_team_hold_between_processes() {
        let Some(server) = PrivateServer::start(&[]) else { return };
        let touch = || bash("touch a");
        let plan = ("request", json!({"to": "lead", "kind": "plan", "text": "one"}));
        let ann = [
            scene("lead.>\\s*work", [calls([touch(), plan]), say("waiting")]),
            scene(r"\[ann-[0-9a-f]{16} approved\]", [calls([touch()]), say("done")]),
        ];
        let ann = member(connect(&server.url()).await, "ann", ann).await;
        let _serving = ann.serve();
        let write = ("send_message", json!({"to": "ann", "text": "work"}));
        let nobody = ("send_message", json!({"to": "eve", "text": "work"}));
        let respond = json!({"id": "{{ m[1] }}", "approve": true, "text": "yes"});
        let scenes = [
            scene("^go$", [calls([write, nobody, ("list_teammates", json!({}))]), say("free")]),
            scene(r"\[request (\w+-[0-9a-f]{16}), ", [call("respond", respond), say("x")]),
            noted(),
        ];
        let lead = lead(&server, scenes).await;
        let mut chat = Chat::default();
        let mut said: Vec<String> = vec![];
        // The first letter of ann may join the prompt, and is answered in its place then.
        while said.is_empty() {
            lead.play.run_until_idle(&mut chat, "go").await;
            said = chat.messages().iter().flat_map(|one| results(one)).collect();
        }
        assert_eq!(said[..2], ["sent to ann", "there is no \"eve\" to write to; there is: ann",]);
        assert!(said[2].starts_with("ann (joined from another process), at work, on "), "{said:?}");
        let of_ann = ann.results("ann");
        assert!(of_ann[0].contains("plan"), "{of_ann:?}");
        assert_eq!(of_ann.last().unwrap(), "(no output)");
        assert!(ann.play.dir.path().join("a").exists());
    }

    const URL: &str = "RUNGS_TEST_URL";

    /// A member in a process that can be killed: this test, started again with a variable that says
    /// where its server is. It never ends its task.
    #[tokio::test]
    async fn process() {
        let Ok(url) = std::env::var(URL) else { return };
        let (mail, claims) = connect(&url).await;
        let stuck = scene("<task id", [say("x").delay_ms(600_000)]);
        member((mail, claims), "ann", [stuck]).await.serve().await.unwrap();
    }

    #[tokio::test]
    async fn the_task_and_the_name_of_a_process_that_died_go_to_others() {
        let Some(server) = PrivateServer::start(&[]) else { return };
        let this = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["examples::s22_production_mailbox::tests::process", "--exact"])
            .env(URL, server.url())
            .stdout(std::process::Stdio::null())
            .spawn();
        let mut ann = this.unwrap();
        let lead = lead(&server, [scene("^go$", [say("free")]), noted()]).await;
        lead.create("x").await;
        while lead.task(1).await.status != Status::InProgress {
            sleep(Duration::from_millis(20)).await;
        }
        ann.kill().unwrap();
        ann.wait().unwrap();
        let bob = [scene("<task id=.1. attempt=.2", [finish("fine"), say("done")])];
        let bob = member(connect(&server.url()).await, "bob", bob).await;
        let _serving = bob.serve();
        lead.play.run_until_idle(&mut Chat::default(), "go").await;
        let task = lead.task(1).await;
        assert_eq!((task.result.as_deref(), task.owner.as_deref()), (Some("fine"), Some("bob")));
        let names = lead.mail.names().elsewhere().await.unwrap();
        assert_eq!(names.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["bob"]);
        Presence::join(lead.mail.names(), "ann", "").await.unwrap();
    }
}
