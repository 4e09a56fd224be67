//! Files of hooks: that of the configuration, one that the command line names, and those that a
//! repository brings, which a person is asked about.
use crate::{Flag, Stage};
use rungs_core::{Answer, Context, Error, Question, Result};
use rungs_hooks::{Form, Hooks, Trust};
use std::path::Path;

/// The option of the command line.
pub const SETTINGS: Flag = Flag {
    name: "settings",
    value: Some("FILE"),
    help: "runs the hooks of a settings.json of Claude Code too",
};

/// The person's own hooks.
///
/// # Errors
/// Names the file that is wrong, and the line where it is known.
pub fn read(stage: &Stage) -> Result<Hooks> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/hooks.yaml");
    let mut hooks = Hooks::read(&own, Form::Own).map_err(Error::config)?;
    if let Some(file) = stage.flags.get(SETTINGS.name).map(Path::new) {
        hooks.extend(Hooks::read(file, Form::Settings).map_err(Error::config)?);
    }
    Ok(hooks)
}

/// Asks the person whether hooks of a repository may run.
pub async fn ask_trust(text: String, cx: &Context) -> Trust {
    let question = Question::new(text).choice("in this session");
    match cx.choose(question.choice("always, while they are exactly these")).await {
        Answer::Choice(0) => Trust::Session,
        Answer::Choice(1) => Trust::Always,
        _ => Trust::No,
    }
}
