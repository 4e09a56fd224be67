//! # full: all mechanisms in one agent
//!
//! Every lesson works alone. Twenty of them on one agent touch the same calls and the same
//! conversation: a hook rewrites a call that the permissions have judged already, mail joins the
//! conversation after it was saved, a summary is made of what nobody has counted. Nothing fails
//! loudly; the agent is just wrong now and then.
//!
//! ```text
//!  config/ + command line ──> Config ──> install: one line per mechanism, in any order
//!                                           |
//!                                           v
//!                          arrange(ORDER): one table says where each layer stands, and why
//!                                           |
//!        turn   sessions > loop detection > budget > interrupts > hooks > .. > cut replies
//!        ask    .. > mail > jobs' ends > reminder > skills > compaction > the journal
//!        act    .. > hooks > plans > claims > parallel > permissions > snapshots > the journal
//! ```
//!
//! New here: nothing but the order. A layer stands at one place for all its seams, so the order of
//! twenty layers follows from pairs: *A stands outside of B, because*. [`ORDER`] is such an order
//! with the reason for each place. Each pair that matters has a test that plays a scenario in this
//! order, where it holds, and with the two changed, where it does not. A mechanism that [`ORDER`]
//! does not know is an error at the start, so that no layer stands anywhere by accident.
//!
//! Terms: **composition**, **middleware** (layers around a call), **partial order** (some pairs
//! have an order, the others are free), **topological order** (a line that keeps every pair).
//!
//! Run it: `cargo run --example full`
//!
//! You will see a real job: a Rust program with a failing test is planned, read, corrected with a
//! diff, tested and committed on a branch. Then two tasks of a board are done side by side in git
//! worktrees, and two teammates claim their reviews, ask for approval of their plans, and run the
//! tests on the branches before these are merged.
//!
//! Try, and predict first:
//! 1. Type `:mode default` and ask for the correction once more. What are you asked, and how often?
//! 2. Kill the program with `kill -9` in the middle of the second play, and start it in the same
//!    folder with `-- --folder FOLDER --continue`. What does the model know of the call that ran?
//! 3. Let `Snapshots` and `Permissions` change places in [`ORDER`]. Which test fails, and what has
//!    a denied call done by then?
//!
//! Pitfalls: an order that nobody wrote down changes with the next line of `install`; a layer that
//! is right alone can be wrong in the sum, where another one runs `next` twice; a mechanism for the
//! person (mail, interrupts) must not follow into subagents, one that restricts must.
//!
//! A product also switches mechanisms on and off by configuration, and lets plugins add layers at
//! places that it names.
//!
//! Builds on s01 to s24. Motto: *All of it, in the order that is right.*

use durable::Folder;
use lessons::{
    Flag, Stage,
    s01_loop::agent_loop,
    s03_todo_write, s04_subagent,
    s05_skill_loading::{self, Skills},
    s06_context_compact,
    s07_task_system::{self, Board},
    s08_background_tasks,
    s09_agent_teams::{self, Mailboxes, Team},
    s10_team_protocols::{self, REPLY_TIMEOUT},
    s11_autonomous_agents, s12_worktree_task_isolation, s13_streaming, s14_tools_extended,
    s15_permissions::{self, Permissions},
    s16_event_bus::{self, EventHooks},
    s17_session_management::{self, SessionLog},
    s18_parallel_tools,
    s20_cache_optimization::{self, PromptCache},
    s23_worktree_advanced, s24_loop_detection,
};
use rungs_core::{Agent, Error, Result};
use rungs_snapshots::{Limits, Store};
use rungs_tasks::{Claims, LEASE};
use std::{process::ExitCode, sync::Arc};

/// The layers, the outermost first, and why each stands outside of those that follow. A name whose
/// mechanism is not installed does no harm.
pub const ORDER: [(&str, &str); 19] = [
    ("SessionTurns", "saves what a turn leaves once all others are done with it"),
    ("LoopDetector", "what others refuse is a result too, and repeats itself as well"),
    ("Bounds", "one budget for a prompt, however often others run the turn again"),
    ("Interrupts", "what it stops is all that is further in, hooks too"),
    (
        "EventHooks",
        "what they rewrite is judged, copied and run; what they block is not even begun",
    ),
    ("Protocol", "about what is refused for want of a plan, nobody is asked"),
    ("Autonomy", "a claim spans several rounds of mail, each acknowledged by itself"),
    ("Background", "about a server in the foreground, which is refused, nobody is asked"),
    ("Parallel", "a call is judged, and its files copied, when its turn has come"),
    ("Permissions", "what is denied is not even read"),
    ("Snapshots", "holds what the tool finds"),
    ("Inbox", "what joins is counted by compaction, and saved before it is sent"),
    ("Integration", "tasks from one line begin when all others have let the prompt pass"),
    ("PromptCache", "sums up all requests of a turn, those for what was cut off too"),
    ("Continuation", "whoever is further out sees whole answers"),
    ("Reminder", "what joins is counted by compaction, and saved before it is sent"),
    ("FindLoaded", "finds the skills that compaction has left"),
    ("Compaction", "the journal sees what is sent, not what was there before"),
    ("SessionSteps", "the last before the wire and the tool: what it saves is what happens"),
];

/// What the mechanisms need.
pub struct Config {
    /// Where they keep what must last.
    pub state: Folder,
    /// Where the trees of tasks are (s12, s23): not among the state, which no mode lets an agent
    /// change unasked, while whoever does a task changes its tree.
    pub trees: Folder,
    /// The model's window, in tokens (s06).
    pub window: u64,
    /// What can be loaded (s05).
    pub skills: Skills,
    /// The one board of tasks (s07, s11, s12, s23).
    pub board: Board,
    /// The one team (s09, s10, s11).
    pub team: Team,
    /// What files were before they were changed (s14).
    pub snapshots: Store,
    /// By what calls are judged (s15).
    pub permissions: Permissions,
    /// What looks on, and what may object (s16).
    pub hooks: EventHooks,
    /// What shows a line once the agent has ended (s16).
    pub screen: Box<dyn Fn(&str) + Send>,
    /// The saved conversations (s17).
    pub log: Arc<SessionLog>,
    /// How many calls of one reply run at once (s18).
    pub max_calls: usize,
    /// The prompt cache (s20).
    pub cache: Arc<PromptCache>,
}

impl Config {
    /// What the command line, the files in `config` and the folder say.
    ///
    /// # Errors
    /// Names the option or the file that is wrong.
    pub async fn of(stage: &Stage, agent: &Agent) -> Result<Self> {
        let (state, screen) = (stage.state().await?, stage.screen.clone());
        let trees = Folder::open(&stage.folder, ".worktrees").map_err(Error::other)?;
        trees.hide_from_git();
        let keys = stage.keys().iter().map(|key| key.expose().to_string()).collect();
        Ok(Config {
            window: stage.window.into(),
            skills: Skills::find(&s05_skill_loading::places(&stage.folder)),
            board: Board::open_async(&state, "tasks.jsonl").await.map_err(Error::other)?,
            team: Team::new(Mailboxes::open(&state).await.map_err(Error::other)?),
            snapshots: Store::open(&state, Limits::default()).map_err(Error::other)?,
            permissions: s15_permissions::permissions(stage)?,
            hooks: s16_event_bus::event_hooks(stage, agent).await?,
            screen: Box::new(move |line| screen.say(line)),
            log: SessionLog::open(&state, keys)?,
            max_calls: s18_parallel_tools::max_calls(stage)?,
            cache: s20_cache_optimization::prompt_cache(stage)?,
            state,
            trees,
        })
    }
}

/// One line per mechanism. s01 is the loop, s02 the tools of the agent that comes in.
fn install(agent: Agent, config: Config) -> Agent {
    let Config { state, trees, board, team, .. } = config;
    let agent = s03_todo_write::install(agent);
    let agent = s04_subagent::install(agent);
    let agent = s05_skill_loading::install(agent, config.skills);
    let agent = s06_context_compact::install(agent, config.window, state.clone());
    let agent = s07_task_system::install(agent, &board);
    let agent = s08_background_tasks::install(agent, state.clone());
    let agent = s09_agent_teams::install(agent, &team);
    let agent = s10_team_protocols::install(agent, &team, REPLY_TIMEOUT);
    let agent = s11_autonomous_agents::install(agent, &team, &Claims::new(board.clone(), LEASE));
    let agent = s12_worktree_task_isolation::install(agent, &board, trees.path());
    let agent = s13_streaming::install(agent);
    let agent = s14_tools_extended::install(agent, config.snapshots);
    let agent = s15_permissions::install(agent, config.permissions);
    let agent = s16_event_bus::install(agent, config.hooks, config.screen);
    let agent = s17_session_management::install(agent, &config.log);
    let agent = s18_parallel_tools::install(agent, config.max_calls);
    let agent = s20_cache_optimization::install(agent, config.cache);
    let agent = s23_worktree_advanced::install(agent, &board, trees.path());
    s24_loop_detection::install(agent)
}

/// The agent with every mechanism.
///
/// # Errors
/// Names the layers that have no place in [`ORDER`].
pub fn full(agent: Agent, config: Config) -> Result<Agent> {
    install(agent, config).arrange(ORDER.map(|(name, _)| name)).map_err(Error::other)
}

/// The options of the lessons that have some.
const FLAGS: &[Flag] = &[
    s15_permissions::FLAGS[0],
    s16_event_bus::FLAGS[0],
    s17_session_management::FLAGS[0],
    s17_session_management::FLAGS[1],
    s17_session_management::FLAGS[2],
    s18_parallel_tools::FLAGS[0],
    s20_cache_optimization::FLAGS[0],
];

async fn build(stage: &Stage) -> Result<Agent> {
    let agent = stage.agent();
    let config = Config::of(stage, &agent).await?;
    let log = config.log.clone();
    let agent = full(agent, config)?;
    s17_session_management::begin_with(stage, &log, &agent.context()).await?;
    Ok(agent)
}

/// The agent of lesson one, with all that the others add.
pub fn main() -> ExitCode {
    lessons::run_with(FLAGS, "full", build, agent_loop)
}
