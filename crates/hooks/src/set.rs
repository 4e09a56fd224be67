//! All hooks of a session, those of an untrusted repository last.
use crate::{
    Decision, Fingerprint, Hook, HookEvent, Hooks, Repository, Verdict, hook_input, run,
    shapes::updated_input,
};
use durable::Folder;
use futures_util::future::BoxFuture;
use rungs_process::Environment;
use serde_json::{Value, json};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{self, Arc},
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// The file with the fingerprints that are trusted for good, and its largest size in bytes.
const TRUSTED: &str = "trusted_hooks";
const MAX_TRUSTED_BYTES: u64 = 1 << 20;
/// How long a session that ends waits for the hooks of its start.
const START_GRACE: Duration = Duration::from_secs(1);

/// Whether a person trusts what they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It does not run.
    No,
    /// It runs in this session.
    Session,
    /// It runs whenever it is the same.
    Always,
}

/// Shows a person a text, and asks whether what it describes may run.
pub type Ask<'a> = &'a (dyn Fn(String) -> BoxFuture<'a, Trust> + Send + Sync);

/// Nobody is there to be asked.
pub const NOBODY: Ask<'static> = &|_| Box::pin(std::future::ready(Trust::No));

/// The hooks of a session.
#[derive(Debug, Default)]
pub struct HookSet {
    hooks: Vec<Hook>,
    /// The hooks of the repository, if a person has trusted them, and what they were then.
    trusted: Option<(Repository, Mutex<Fingerprint>)>,
    project: PathBuf,
    /// What [`begin`](HookSet::begin) has started: the input, and the task that gives the verdict.
    begun: sync::Mutex<Option<(Value, AbortOnDropHandle<Option<Verdict>>)>>,
    /// Lines about what was left out and why, for the person.
    pub left_out: Vec<String>,
}

impl HookSet {
    /// The person's own hooks, and those of the repository `project` if the person trusts them.
    /// What is trusted for good stands in `store`, which must be no part of the repository: it
    /// could bring the file along. Nothing of the repository is run before `ask` is answered.
    pub async fn open(own: Hooks, project: &Path, store: &Folder, ask: Ask<'_>) -> Self {
        let (hooks, project) = (own.hooks, project.to_path_buf());
        let left_out = own.left_out;
        let mut set = HookSet { hooks, project, left_out, ..HookSet::default() };
        if let Err(why) = set.trust_repository(store, ask).await {
            set.left_out.push(format!("the repository's hooks do not run: {why}"));
        }
        set
    }

    async fn trust_repository(&mut self, store: &Folder, ask: Ask<'_>) -> Result<(), String> {
        // Few small files, at the start: another thread would take longer.
        let repository = Repository::find(&self.project)?;
        self.left_out.extend(repository.left_out.clone());
        if repository.hooks.is_empty() {
            return Ok(());
        }
        let fingerprint = fingerprint(&repository).await?;
        let (folder, line) = (store.clone(), format!("{}\n", fingerprint.hash));
        let read = blocking(move || folder.read_text(TRUSTED, MAX_TRUSTED_BYTES)).await?;
        // Where there is no such file, nothing is trusted yet.
        let mut known = read.unwrap_or_default();
        if !known.lines().any(|hash| hash == fingerprint.hash) {
            match ask(repository.question(&fingerprint)).await {
                Trust::No => return Err("you have not agreed to them".into()),
                Trust::Session => {}
                Trust::Always => {
                    known += &line;
                    let folder = store.clone();
                    let written = blocking(move || folder.write(TRUSTED, known.as_bytes())).await?;
                    written.map_err(|error| error.to_string())?;
                }
            }
        }
        self.trusted = Some((repository, Mutex::new(fingerprint)));
        Ok(())
    }

    /// All hooks, in the order in which they count.
    pub fn hooks(&self) -> impl Iterator<Item = &Hook> {
        let theirs = self.trusted.iter().flat_map(|(repository, _)| &repository.hooks);
        self.hooks.iter().chain(theirs)
    }

    /// Starts the hooks for this input. The next [`run`](HookSet::run) of this event in this
    /// session waits for their verdict; they are killed when it is dropped. Nobody is asked about
    /// hooks that have changed.
    pub fn begin(self: &Arc<Self>, input: Value, environment: &Environment) {
        let (this, same, environment) = (self.clone(), input.clone(), environment.clone());
        let running = async move { this.run_now(&same, "", &environment, NOBODY).await };
        let running = AbortOnDropHandle::new(tokio::spawn(running));
        *self.begun.lock().unwrap() = Some((input, running));
    }

    /// Runs the hooks that are for this input, in the folder of the project: there is what was
    /// trusted, whichever folder an agent works in. `None` when there are none. `tool` is the name
    /// of the tool as this program writes it. Hooks of the repository that have changed since they
    /// were trusted run only after `ask`; without that, a guard among them blocks.
    pub async fn run(
        &self,
        input: &Value,
        tool: &str,
        environment: &Environment,
        ask: Ask<'_>,
    ) -> Option<Verdict> {
        let is_same = |begun: &Value, key: &str| begun[key] == input[key];
        let begun = self.begun.lock().unwrap().take_if(|(begun, _)| {
            is_same(begun, "hook_event_name") && is_same(begun, "session_id")
        });
        if let Some((_, running)) = begun
            && let Ok(verdict) = running.await
        {
            return verdict;
        }
        self.run_now(input, tool, environment, ask).await
    }

    async fn run_now(
        &self,
        input: &Value,
        tool: &str,
        environment: &Environment,
        ask: Ask<'_>,
    ) -> Option<Verdict> {
        let mut hooks = wanted(&self.hooks, input, tool).await;
        let mut left_out = None;
        if let Some((repository, known)) = &self.trusted {
            let theirs = wanted(&repository.hooks, input, tool).await;
            if !theirs.is_empty() {
                match unchanged(repository, known, ask).await {
                    Ok(()) => hooks.extend(theirs),
                    Err(why) if theirs.iter().any(|hook| hook.event.guards()) => {
                        let decision = Some((Decision::Deny, why.clone()));
                        let messages = vec![why];
                        return Some(Verdict { decision, messages, ..Verdict::default() });
                    }
                    Err(why) => left_out = Some(why),
                }
            }
        }
        if hooks.is_empty() && left_out.is_none() {
            return None;
        }
        let mut verdict = run(&hooks, input, &self.project, environment).await;
        verdict.messages.extend(left_out);
        verdict.updated_input = verdict.updated_input.map(|input| updated_input(tool, input));
        Some(verdict)
    }
}

impl HookSet {
    /// Runs the hooks of SessionEnd for this session, if one has begun, without asking anybody.
    /// Those of its start may take a second more, and are killed then. Returns lines for the
    /// person.
    pub async fn end(&self, session: &str, reason: &str, environment: &Environment) -> Vec<String> {
        if session.is_empty() {
            return vec![];
        }
        let begun = self.begun.lock().unwrap().take();
        let mut messages = vec![];
        if let Some((_, running)) = begun
            && let Ok(Ok(Some(verdict))) = timeout(START_GRACE, running).await
        {
            messages = verdict.messages;
        }
        let fields = json!({"reason": reason});
        let input = hook_input(HookEvent::SessionEnd, session, &self.project, None, fields);
        let ended = self.run_now(&input, "", environment, NOBODY).await;
        messages.extend(ended.unwrap_or_default().messages);
        messages
    }
}

impl fmt::Display for HookSet {
    /// A line a hook.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hooks().try_for_each(|hook| writeln!(f, "{}: {}", hook.file.display(), hook.name()))
    }
}

/// The hooks that are for this input.
async fn wanted(hooks: &[Hook], input: &Value, tool: &str) -> Vec<Hook> {
    let is_wanted = |hook: &&Hook| hook.is_for(input, tool);
    let mut wanted: Vec<Hook> = hooks.iter().filter(is_wanted).cloned().collect();
    if wanted.iter().all(|hook| hook.condition.is_none()) {
        return wanted;
    }
    let (all, input, tool) = (wanted.clone(), input.clone(), tool.to_string());
    // Commands are parsed, and links followed.
    let judged = blocking(move || {
        wanted.retain(|hook| match &hook.condition {
            Some(condition) => condition.holds(&input, &tool),
            None => true,
        });
        wanted
    });
    judged.await.unwrap_or(all)
}

/// Checks that hooks of a repository are still what was trusted, or are trusted again.
async fn unchanged(
    repository: &Repository,
    known: &Mutex<Fingerprint>,
    ask: Ask<'_>,
) -> Result<(), String> {
    // One question at a time, and one for all that wait here.
    let mut known = known.lock().await;
    let why = "the repository's hooks have changed since they were trusted";
    let now = fingerprint(repository).await.map_err(|error| format!("{why}: {error}"))?;
    if *known == now {
        return Ok(());
    }
    match ask(format!("They have changed. {}", repository.question(&now))).await {
        Trust::No => Err(why.into()),
        Trust::Session | Trust::Always => {
            *known = now;
            Ok(())
        }
    }
}

async fn fingerprint(repository: &Repository) -> Result<Fingerprint, String> {
    let repository = repository.clone();
    let read = move || Fingerprint::of(&repository.hooks, &repository.project);
    blocking(read).await?.map_err(|error| error.to_string())
}

/// Files are read on a blocking thread.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Form;
    use std::fs;

    #[tokio::test]
    async fn where_nothing_is_guarded_changed_hooks_are_left_out_and_ones_own_run() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at(".claude")).unwrap();
        let settings = r#"{"hooks": {"Stop": [{"command": "bash x.sh"}],
            "PreToolUse": [{"command": "bash x.sh"}]}}"#;
        fs::write(at(".claude/settings.json"), settings).unwrap();
        fs::write(at("x.sh"), "echo theirs >> log").unwrap();
        let own = "hooks: {Stop: [{command: echo own >> log}]}";
        let own = Hooks::parse(Path::new("f"), own, Form::Own).unwrap();
        let store = Folder::open(elsewhere.path(), "store").unwrap();
        let yes: Ask<'_> = &|_| Box::pin(std::future::ready(Trust::Session));
        let set = HookSet::open(own, dir.path(), &store, yes).await;
        let fire = async |event: &str| {
            let input = json!({"hook_event_name": event, "tool_name": "Bash"});
            set.run(&input, "bash", &Environment::default(), NOBODY).await.unwrap()
        };
        assert_eq!(fire("PreToolUse").await, Verdict::default());
        fs::write(at("x.sh"), "echo other >> log").unwrap();
        let why = "the repository's hooks have changed since they were trusted".to_string();
        let said = Verdict { messages: vec![why.clone()], ..Verdict::default() };
        assert_eq!(fire("Stop").await, said);
        let denied = Some((Decision::Deny, why));
        assert_eq!(fire("PreToolUse").await, Verdict { decision: denied, ..said });
        assert_eq!(fs::read_to_string(at("log")).unwrap(), "theirs\nown\n");
    }

    #[tokio::test]
    async fn a_trust_that_cannot_be_written_or_a_broken_file_runs_nothing() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(dir.path().join(".claude")).unwrap();
        let file = dir.path().join(".claude/settings.json");
        fs::write(&file, r#"{"hooks": {"Stop": [{"command": "true"}]}}"#).unwrap();
        let store = Folder::open(elsewhere.path(), "store").unwrap();
        // Something else stands in its place.
        fs::create_dir(elsewhere.path().join("store").join(TRUSTED)).unwrap();
        let always: Ask<'_> = &|_| Box::pin(std::future::ready(Trust::Always));
        let open = async || HookSet::open(Hooks::default(), dir.path(), &store, always).await;
        let set = open().await;
        assert_eq!((set.hooks().count(), set.left_out.len()), (0, 1));
        fs::write(&file, "{\"hooks\": {").unwrap();
        let begin = "the repository's hooks do not run: ";
        let left_out = open().await.left_out;
        assert!(left_out[0].starts_with(begin), "{left_out:?}");
        assert!(left_out[0].ends_with("settings.json:1: EOF while parsing an object"));
    }
}
