//! Files of hooks: that of the configuration, and one that the command line names.
use crate::{Flag, Stage};
use rungs_core::{Error, Result};
use rungs_hooks::{Form, Hooks};
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
