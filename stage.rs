//! What stands around every lesson: the command line, the choice of the model, and the folder in
//! which it plays.
use crate::{
    command_line::{self, Args, Flag},
    inspect,
    models::{Models, UNKNOWN_CONTEXT},
    settings::{Choice, Settings},
};
use durable::Folder;
use rehearsal::{Script, Server, Workspace};
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
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// With this variable commands can start the program itself once more.
const PROGRAM: &str = "RUNGS_PROGRAM";

/// The exit code for wrong use of the command line.
const USAGE_ERROR: u8 = 2;
/// How long each reply of a rehearsal takes before a person, who wants to follow it.
const THINK_TIME: Duration = Duration::from_millis(500);
/// How long such a reply takes from one piece, of about two words, to the next.
const PACE: Duration = Duration::from_millis(30);
/// How long the end of the program waits for work on blocking threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// The lesson's own options, as given on the command line; empty for one without a value.
    pub flags: BTreeMap<&'static str, String>,
    /// The conversation that the prompt begins with: a new one, unless a lesson puts another here.
    pub chat: Mutex<Chat>,
    /// Where the person is; attached before any lesson is, so that what a lesson has to say at its
    /// start is seen.
    pub screen: Screen,
    pub(crate) settings: Settings,
}

impl Stage {
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
    let runtime = match tokio::runtime::Runtime::new() {
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
    let (endpoint, play) = Play::begin(lesson, settings.choose()?, &args, screen).await?;
    let (endpoint, window) = known(endpoint, screen)?;
    let folder = match (folder, play.workspace.path()) {
        (Some(named), _) => named,
        (None, Some(fresh)) => fresh.to_path_buf(),
        (None, None) => std::env::current_dir().map_err(Error::at("the current folder"))?,
    };
    screen.say(&play.first_line(&endpoint, &folder));
    if let Some(names) = environment.withheld() {
        screen.say(&format!(
            "commands do not get {names}; RUNGS_COMMAND_ENV names those that they may have"
        ));
    }
    let cleaning = clean_up(screen.clone());
    let client = Client::new(endpoint)?;
    let (flags, chat) = (args.flags, Mutex::default());
    let screen_of = screen.clone();
    let stage =
        Stage { lesson, client, folder, system, window, flags, chat, settings, screen: screen_of };
    let agent = tokio::select! {
        agent = build(&stage) => agent?.command_environment(environment),
        code = signals.next() => return Ok(code),
    };
    let agent = inspect::install(agent, stage.client);
    let prompt = Prompt {
        name: lesson.split('_').next().unwrap_or(lesson).into(),
        help,
        last_line: play.last_line(lesson),
        suggestions: play.suggestions,
        // With a live model, an empty pipe is a mistake, and no order for five requests.
        plays_alone: play.server.is_some(),
        question: (!args.prompt.is_empty()).then_some(question),
        history: Some(history(lesson)),
        chat: stage.chat.into_inner().unwrap_or_default(),
    };
    let code = prompt.run(agent, screen.clone(), signals, agent_loop).await;
    let _ = tokio::time::timeout(CLEANING_TIMEOUT, cleaning).await;
    if args.keep {
        match play.workspace.keep() {
            Some(folder) => screen.say(&format!("kept: {}", folder.display())),
            None => screen.say("--keep had nothing to keep: the folder was not made for this run"),
        }
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
    let window = UNKNOWN_CONTEXT;
    let (flags, chat) = (BTreeMap::new(), Mutex::default());
    let screen = screen.clone();
    let stage = Stage { lesson, client, folder, system, window, flags, chat, settings, screen };
    let agent = inspect::install(build(&stage).await?, stage.client);
    Ok(format!("{help}\n{usage}\n{}\n", command_list(&agent)))
}

/// The folder that `--folder` names, as an absolute path.
fn existing(named: &Path) -> Result<PathBuf> {
    let wrong = |why: &str| Error::setting("--folder", format!("{}: {why}", named.display()));
    let folder = named.canonicalize().map_err(|error| wrong(&error.to_string()))?;
    if folder.is_dir() { Ok(folder) } else { Err(wrong("it is no folder")) }
}

/// Deletes and ends, in the background, what programs that were killed have left.
fn clean_up(screen: Screen) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        // Where nothing can be deleted now, it can the next time.
        let _ = Outputs::sweep();
        let _ = Workspace::sweep();
        let ended = end_orphans();
        if !ended.is_empty() {
            let (count, lines) = (ended.len(), ended.join(", "));
            screen.say(&format!("ended {count} processes that a killed run had left: {lines}"));
        }
    })
}

/// What is played: the script of the lesson suggests what to type, and answers unless a live model
/// does.
struct Play {
    file: PathBuf,
    suggestions: Vec<String>,
    workspace: Workspace,
    /// Plays the model in a rehearsal.
    server: Option<Server>,
}

impl Play {
    /// With `--sandbox`, a live model works in the script's own folder too; with `--folder`, nobody
    /// does.
    async fn begin(
        lesson: &str,
        choice: Choice,
        args: &Args,
        screen: &Screen,
    ) -> Result<(Endpoint, Self)> {
        let file = Path::new(ROOT).join("config/rehearsals").join(lesson).with_extension("yaml");
        let script = match choice {
            // Nobody sees what it suggests.
            Choice::Live(_) if !args.sandbox && !screen.is_terminal() => Script::default(),
            _ => Script::load(&file).map_err(|error| Error::config(error.0))?,
        };
        let suggestions = script.suggest().to_vec();
        let workspace = match choice {
            Choice::Live(_) if !args.sandbox => Workspace::Here,
            Choice::Rehearsal(_) if args.folder.is_some() => Workspace::Here,
            _ => script.workspace().map_err(Error::other)?,
        };
        let (endpoint, server) = match choice {
            Choice::Live(endpoint) => (*endpoint, None),
            Choice::Rehearsal(format) => {
                let script = match screen.is_terminal() {
                    true => script.think_time(THINK_TIME).pace(PACE),
                    false => script,
                };
                let (endpoint, server) = serve(script, format).await?;
                (endpoint, Some(server))
            }
        };
        Ok((endpoint, Play { file, suggestions, workspace, server }))
    }

    /// Who answers, and where the tools work.
    fn first_line(&self, endpoint: &Endpoint, folder: &Path) -> String {
        let folder = folder.display();
        if self.server.is_some() {
            let script = self.file.strip_prefix(ROOT).unwrap_or(&self.file).display();
            return format!(
                "A rehearsal, without a key: {script} plays the model. The tools are real, in \
                 {folder}"
            );
        }
        let (model, server) = (&endpoint.model, &endpoint.base_url);
        let hint = match self.workspace {
            Workspace::Here => " (--sandbox: in a new folder with the files of the rehearsal)",
            Workspace::Fresh(_) => "",
        };
        format!("{model} at {server} answers; commands run for real, in {folder}{hint}")
    }

    /// What is said when all that the lesson suggests has been played.
    fn last_line(&self, lesson: &str) -> String {
        if self.suggestions.is_empty() {
            return String::new();
        }
        let files = std::fs::read_dir(Path::new(ROOT).join("examples"));
        let names =
            files.into_iter().flatten().flatten().filter_map(|file| {
                Some(file.file_name().to_str()?.strip_suffix(".rs")?.to_string())
            });
        let later = names.filter(|name| name.starts_with('s') && name.as_str() > lesson).min();
        let next = match later.filter(|_| lesson != "full") {
            Some(next) => format!("; next: cargo run --example {next}"),
            None => String::new(),
        };
        format!("That was all of the play. :help says what to try yourself{next}")
    }
}

async fn serve(script: Script, format: Format) -> Result<(Endpoint, Server)> {
    let server = script.serve().await.map_err(Error::at("127.0.0.1"))?;
    let url = match format {
        Format::Anthropic => server.url().to_string(),
        Format::OpenAi => format!("{}/v1", server.url()),
    };
    Ok((Endpoint::new(format, &url, "rehearsal"), server))
}

/// A model that plays this script, for tests and examples: a [`rehearsal::script`], or YAML. It
/// plays, and records what it is sent, until the server is dropped.
///
/// # Errors
/// Names the line and the reason when YAML is no script.
pub async fn rehearse<S>(script: S) -> Result<(Client, Server)>
where
    S: TryInto<Script, Error: std::error::Error + Send + Sync + 'static>,
{
    let script = script.try_into().map_err(Error::other)?;
    let (endpoint, server) = serve(script.record(true), Format::Anthropic).await?;
    Ok((Client::new(endpoint)?, server))
}

/// Adds what `config/models.yaml` knows of the model, or says that it knows nothing; and gives the
/// model's window.
fn known(mut endpoint: Endpoint, screen: &Screen) -> Result<(Endpoint, u32)> {
    let models = Models::load(&Path::new(ROOT).join("config/models.yaml"))?;
    let Some(info) = models.get(&endpoint.model) else {
        let (model, window) = (&endpoint.model, UNKNOWN_CONTEXT);
        screen.say(&format!(
            "config/models.yaml does not know {model}: its window counts as {window} tokens"
        ));
        return Ok((endpoint, window));
    };
    endpoint.greatest_output = Some(info.output);
    let (context, priced) = (info.context, info.clone());
    screen.cost_by(move |usage| priced.cost(usage));
    Ok((endpoint, context))
}

/// The repository's `.env`, never one of the folder in which the program is started; or the file
/// that `RUNGS_ENV` names.
fn dotenv() -> PathBuf {
    std::env::var_os("RUNGS_ENV").map_or_else(|| Path::new(ROOT).join(".env"), PathBuf::from)
}

/// The head of a lesson, the `//!` lines that its file begins with: what `--help` and `:help`
/// print.
fn head(file: &Path) -> Result<String> {
    let source = read_config(file).map_err(Error::config)?;
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: String =
        lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    // On a terminal there are no links.
    Ok(head.replace("[`", "`").replace("`]", "`"))
}

/// Where the lines typed in this lesson are kept.
fn history(lesson: &str) -> PathBuf {
    Path::new(ROOT).join(".rungs").join(lesson).join("history.txt")
}
