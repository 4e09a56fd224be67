//! What a lesson plays: its script, the model that answers, and the folder.
use crate::{command_line::Args, settings::Choice, stage::ROOT};
use rehearsal::{Script, Server, Workspace};
use rungs_core::{
    Client, Error, Result,
    client::{Endpoint, Format},
};
use rungs_terminal::Screen;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long each reply of a rehearsal takes before a person, who wants to follow it.
const THINK_TIME: Duration = Duration::from_millis(500);
/// How long such a reply takes from one piece, of about two words, to the next.
const PACE: Duration = Duration::from_millis(30);

/// What is played: the script of the lesson suggests what to type, and answers unless a live model
/// does.
pub(crate) struct Play {
    file: PathBuf,
    pub(crate) suggestions: Vec<String>,
    pub(crate) workspace: Workspace,
    /// Plays the model in a rehearsal.
    pub(crate) server: Option<Server>,
}

impl Play {
    /// With `--sandbox`, a live model works in the script's own folder too; with `--folder`, nobody
    /// does.
    pub(crate) async fn begin(
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
    pub(crate) fn first_line(&self, endpoint: &Endpoint, folder: &Path) -> String {
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
    pub(crate) fn last_line(&self, lesson: &str) -> String {
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
