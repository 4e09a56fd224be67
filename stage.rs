//! What stands around every lesson: the command line, the choice of the model, and the folder in
//! which it plays.
use crate::{
    command_line::{self, Args, Flag, existing, head, history},
    inspect,
    models::{Models, UNKNOWN_CONTEXT},
    play::Play,
    recording::{Recorder, Run},
    settings::Settings,
};
use durable::Folder;
use futures_util::future::BoxFuture;
use rehearsal::Workspace;
use rungs_core::{
    Agent, Answer, Chat, Client, Error, Loop, Question, Result, Ui,
    client::{Endpoint, Format},
    tools,
};
use rungs_files::read_config;
use rungs_process::{Environment, Outputs, end_orphans, end_own, protect};
use rungs_terminal::{Prompt, Screen, Signals, TerminalModes, command_list};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::Duration,
};

/// Where config, skills and lessons are found, wherever the program is started.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// With this variable commands can start the program itself once more.
const PROGRAM: &str = "RUNGS_PROGRAM";

/// The exit code for wrong use of the command line.
const USAGE_ERROR: u8 = 2;
/// How long the end of the program waits for work on blocking threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long after the start the program looks for what killed runs have left.
const CLEANING_DELAY: Duration = Duration::from_millis(50);
/// How long the end of the program waits for the end of what a killed run has left.
const CLEANING_TIMEOUT: Duration = Duration::from_secs(3);

/// What a lesson builds its agent from.
pub struct Stage {
    /// The lesson's name, such as `s01_loop`.
    pub lesson: &'static str,
    /// The model: a live one, or the rehearsal.
    pub client: Client,
    /// Where the agent works: the current folder, or a fresh one that the rehearsal has filled.
    pub folder: PathBuf,
    /// The system text, `config/system.md`.
    pub system: String,
    /// The model's window, in tokens.
    pub window: u32,
    /// What is known of each model: `config/models.yaml`.
    pub models: Models,
    /// The lesson's own options, as given on the command line; empty for one without a value.
    pub flags: BTreeMap<&'static str, String>,
    /// The conversation that the prompt begins with: a new one, unless a lesson puts another here.
    pub chat: Mutex<Chat>,
    /// Set by a lesson whose program works for others: nothing is suggested to type, and an empty
    /// pipe is no mistake.
    pub serves: Mutex<bool>,
    /// What commands get of the program's environment; `None` where nothing is to be started, since
    /// the agent is only described (`--help`).
    pub environment: Option<Environment>,
    /// Where the person is; attached before any lesson is, so that what a lesson has to say at its
    /// start is seen.
    pub screen: Screen,
    /// Set by a lesson that keeps something elsewhere for this folder: removes that, at the end of
    /// a rehearsal whose folder is removed too.
    pub removal: Mutex<Option<BoxFuture<'static, ()>>>,
    pub(crate) settings: Settings,
}

impl Stage {
    fn new(
        lesson: &'static str,
        client: Client,
        folder: PathBuf,
        system: String,
        models: Models,
        settings: Settings,
        screen: &Screen,
    ) -> Self {
        let (flags, chat, serves, removal) = Default::default();
        let (environment, screen) = (None, screen.clone());
        let known = models.get(&client.endpoint().model);
        let window = known.map_or(UNKNOWN_CONTEXT, |info| info.context);
        Stage {
            lesson,
            client,
            folder,
            system,
            window,
            models,
            settings,
            flags,
            chat,
            serves,
            environment,
            screen,
            removal,
        }
    }

    /// What most lessons start from: the model, the folder, the system text and the tools of core.
    pub fn agent(&self) -> Agent {
        let agent = Agent::new(self.client.clone(), &self.folder).system(self.system.as_str());
        tools::all(agent.ui(self.screen.clone()))
    }

    /// Where this lesson keeps its state: `.rungs/LESSON` in the folder, hidden from git. Below the
    /// handle no link is followed.
    ///
    /// # Errors
    /// When there is something of this name that is not ours, and names it.
    pub fn state_folder(&self) -> Result<Folder> {
        let rungs = Folder::open(&self.folder, ".rungs").map_err(Error::other)?;
        rungs.hide_from_git();
        rungs.folder(self.lesson).map_err(Error::other)
    }

    /// [`state_folder`](Stage::state_folder), once a person who is there has agreed to go on
    /// without the records that are damaged in it. Where nobody is there, whoever opens the file
    /// says what was lost and where the damaged file is kept.
    ///
    /// # Errors
    /// Those of [`state_folder`](Stage::state_folder), and the damage when the person says no.
    pub async fn state(&self) -> Result<Folder> {
        let state = self.state_folder()?;
        for damage in durable::damaged_journals(&state).map_err(Error::other)? {
            let question = Question::new(damage.to_string())
                .choice("keep the damaged file under another name, and go on with what is intact");
            if self.screen.attended()
                && self.screen.choose(question, &self.agent().context()).await != Answer::Choice(0)
            {
                return Err(Error::other(damage));
            }
        }
        Ok(state)
    }
}

/// Runs a lesson: reads the command line, chooses the model, lets `build` make the agent and holds
/// the conversation with `agent_loop`. Returns the exit code: 0, 1 when a turn failed, 2 for wrong
/// use, 128 + a signal's number.
pub fn run(
    lesson: &'static str,
    build: impl AsyncFnOnce(&Stage) -> Result<Agent>,
    agent_loop: impl for<'a> Loop<'a> + Copy,
) -> ExitCode {
    run_with(&[], lesson, build, agent_loop)
}

/// As [`run`], with options of the lesson's own, which `build` finds in [`Stage::flags`].
pub fn run_with(
    flags: &'static [Flag],
    lesson: &'static str,
    build: impl AsyncFnOnce(&Stage) -> Result<Agent>,
    agent_loop: impl for<'a> Loop<'a> + Copy,
) -> ExitCode {
    // First of all, while there is one thread: what holds a secret is read, and then erased.
    let mut variables: Vec<_> = std::env::vars_os().collect();
    if let Ok(program) = std::env::current_exe() {
        variables.push((PROGRAM.into(), program.into()));
    }
    let settings = Settings::load(&dotenv());
    let protected = protect();
    let modes = TerminalModes::save();
    let screen = Screen::stdio();
    let args = match Args::read(flags) {
        Ok(args) => args,
        Err(error) => {
            screen.say(&format!("error: {error}; --help says what there is"));
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let fail = |error: &dyn std::fmt::Display| {
        screen.say(&format!("error: {error}"));
        ExitCode::FAILURE
    };
    // One thread: an agent mostly waits, and each word that passes from thread to thread wakes one.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    if let Err(error) = protected {
        screen.say(&format!("commands can read this program's environment, keys too: {error}"));
    }
    let start = Start { lesson, flags, args, settings, variables, modes };
    let ended = runtime.block_on(play(start, &screen, build, agent_loop));
    // Temporary folders are deleted on blocking threads, which are waited for. Whatever else blocks
    // a thread, such as a name that is being looked up, must not hold up the end for long.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            fail(&error);
            let wrong_use = matches!(error, Error::Config { .. } | Error::Setting { .. });
            ExitCode::from(if wrong_use { USAGE_ERROR } else { 1 })
        }
    }
}

/// What a lesson starts with.
struct Start {
    lesson: &'static str,
    flags: &'static [Flag],
    args: Args,
    settings: Result<Settings>,
    /// The environment of the program, as it was.
    variables: Vec<(OsString, OsString)>,
    modes: TerminalModes,
}

async fn play(
    start: Start,
    screen: &Screen,
    build: impl AsyncFnOnce(&Stage) -> Result<Agent>,
    agent_loop: impl for<'a> Loop<'a> + Copy,
) -> Result<u8> {
    let Start { lesson, flags, args, settings, variables, modes } = start;
    let root = Path::new(ROOT);
    let last = move || {
        modes.restore();
        end_own();
    };
    let mut signals = Signals::new(last).map_err(Error::other)?;
    let help = head(&root.join("examples").join(lesson).with_extension("rs"))?;
    let system = read_config(&root.join("config/system.md")).map_err(Error::config)?;
    if args.help {
        let own = command_line::usage(lesson, flags);
        let settings = settings.unwrap_or_default();
        screen.print(&usage((lesson, settings), &help, &own, system, screen, build).await?);
        return Ok(0);
    }
    let question = args.prompt.join(" ");
    if question.trim().is_empty() && !args.prompt.is_empty() {
        screen
            .say("error: the prompt is empty; write what to do, or nothing at all to get a prompt");
        return Ok(USAGE_ERROR);
    }
    let dotenv = dotenv();
    if std::env::var_os("RUNGS_ENV").is_some_and(|named| !named.is_empty()) && !dotenv.exists() {
        screen.say(&format!("RUNGS_ENV: there is no {}", dotenv.display()));
    }
    let settings = settings?;
    let environment = Environment::new(variables, &settings.passed_variables());
    let folder = args.folder.as_deref().map(existing).transpose()?;
    let models = models()?;
    let keys = settings.keys();
    let recorder = args.record.as_deref().map(|file| Recorder::create(file, &keys, models.clone()));
    let recorder = recorder.transpose()?;
    let (endpoint, play) = Play::begin(lesson, settings.choose()?, &args, screen).await?;
    let endpoint = known(endpoint, &models, screen);
    let is_scratch = folder.is_none() && play.workspace.path().is_some();
    let folder = match (folder, play.workspace.path()) {
        (Some(named), _) => named,
        (None, Some(fresh)) => fresh.to_path_buf(),
        (None, None) => std::env::current_dir().map_err(Error::at("the current folder"))?,
    };
    if let Some(recorder) = &recorder {
        let title = help.lines().next().unwrap_or_default().trim_start_matches("# ");
        let (is_live, folder) = (play.server.is_none(), folder.as_path());
        let endpoint = &endpoint;
        recorder.begin(&Run { lesson, title, endpoint, is_live, folder }, screen);
    }
    screen.say(&play.first_line(&endpoint, &folder));
    if let Some(names) = environment.withheld() {
        screen.say(&format!(
            "commands do not get {names}; RUNGS_COMMAND_ENV names those that they may have"
        ));
    }
    let cleaning = tokio::spawn(clean_up(screen.clone()));
    let client = Client::new(endpoint)?;
    let mut stage = Stage::new(lesson, client, folder, system, models, settings, screen);
    (stage.flags, stage.environment) = (args.flags, Some(environment.clone()));
    let agent = tokio::select! {
        agent = build(&stage) => agent?.command_environment(environment),
        code = signals.next() => return Ok(code),
    };
    let mut agent = inspect::install(agent, stage.client);
    if let Some(recorder) = &recorder {
        agent = recorder.install(agent);
    }
    let serves = stage.serves.into_inner().unwrap_or_default();
    let prompt = Prompt {
        name: lesson.split('_').next().unwrap_or(lesson).into(),
        help,
        last_line: play.last_line(lesson),
        suggestions: if serves { vec![] } else { play.suggestions },
        // With a live model, an empty pipe is a mistake, and no order for five requests.
        plays_alone: play.server.is_some() || serves,
        question: (!args.prompt.is_empty()).then_some(question),
        history: Some(history(lesson)),
        chat: stage.chat.into_inner().unwrap_or_default(),
    };
    let code = prompt.run(agent, screen.clone(), signals, agent_loop).await;
    let removal = stage.removal.into_inner().unwrap_or_default();
    if let Some(removal) = removal.filter(|_| is_scratch && !args.keep) {
        let _ = tokio::time::timeout(CLEANING_TIMEOUT, removal).await;
    }
    let _ = tokio::time::timeout(CLEANING_TIMEOUT, cleaning).await;
    if args.keep {
        match play.workspace.keep() {
            Some(folder) => screen.say(&format!("kept: {}", folder.display())),
            None => screen.say("--keep had nothing to keep: the folder was not made for this run"),
        }
    }
    if let Some(recorder) = recorder {
        screen.say(&recorder.end(code));
    }
    Ok(code)
}

/// What `--help` prints. Nobody is asked for it, so nobody need be there.
async fn usage(
    (lesson, settings): (&'static str, Settings),
    help: &str,
    usage: &str,
    system: String,
    screen: &Screen,
    build: impl AsyncFnOnce(&Stage) -> Result<Agent>,
) -> Result<String> {
    let nowhere = tempfile::tempdir().map_err(Error::other)?;
    let nobody = Endpoint::new(Format::Anthropic, "http://127.0.0.1:0", "nobody");
    let (client, folder) = (Client::new(nobody)?, nowhere.path().into());
    let stage = Stage::new(lesson, client, folder, system, models()?, settings, screen);
    let agent = inspect::install(build(&stage).await?, stage.client);
    Ok(format!("{help}\n{usage}\n{}\n", command_list(&agent)))
}

/// Deletes and ends, in the background, what programs that were killed have left: a little later,
/// since the start needs the processors.
async fn clean_up(screen: Screen) {
    tokio::time::sleep(CLEANING_DELAY).await;
    let cleaned = tokio::task::spawn_blocking(move || {
        // Where nothing can be deleted now, it can the next time.
        let _ = Outputs::sweep();
        let _ = Workspace::sweep();
        let ended = end_orphans();
        if !ended.is_empty() {
            let (count, lines) = (ended.len(), ended.join(", "));
            screen.say(&format!("ended {count} processes that a killed run had left: {lines}"));
        }
    });
    // Where it fails, the next program does it.
    let _ = cleaned.await;
}

fn models() -> Result<Models> {
    Models::load(&Path::new(ROOT).join("config/models.yaml"))
}

/// Adds what `config/models.yaml` knows of the model, or says that it knows nothing.
fn known(mut endpoint: Endpoint, models: &Models, screen: &Screen) -> Endpoint {
    let Some(info) = models.get(&endpoint.model) else {
        let (model, window) = (&endpoint.model, UNKNOWN_CONTEXT);
        screen.say(&format!(
            "config/models.yaml does not know {model}: its window counts as {window} tokens"
        ));
        return endpoint;
    };
    endpoint.greatest_output = Some(info.output);
    let priced = info.clone();
    screen.cost_by(move |usage| priced.cost(usage));
    endpoint
}

/// The repository's `.env`, never one of the folder in which the program is started; or the file
/// that `RUNGS_ENV` names.
fn dotenv() -> PathBuf {
    std::env::var_os("RUNGS_ENV").map_or_else(|| Path::new(ROOT).join(".env"), PathBuf::from)
}
