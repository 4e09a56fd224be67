//! The guard: which paths a tool may touch.
//!
//! Those below the agent's directory, judged by where they really lead, and opened so that no
//! link swapped meanwhile leads out (see [`rungs_files`]); and, for reading, the long outputs that
//! its commands have left.
use crate::{Context, ToolError, tools::Outputs};
use rungs_files::Root;
use std::{fs::File, path::PathBuf};

/// Folders whose insides are nobody's business: git's, whose files can run programs, and this
/// program's own state.
const PRIVATE: &[&str] = &[".git", ".rungs"];

/// The agent's directory, to open and write files below it.
///
/// # Errors
/// When there is no such folder.
pub fn root(cx: &Context) -> Result<Root, ToolError> {
    let root =
        Root::open(cx.cwd()).map_err(|e| ToolError(format!("{}: {e}", cx.cwd().display())))?;
    Ok(root.deny(PRIVATE))
}

/// The directory that this path may be read below: mostly the agent's directory.
///
/// # Errors
/// When there is no such folder.
pub fn root_to_read(cx: &Context, path: &str) -> Result<Root, ToolError> {
    match cx.resource::<Outputs>().folder_of(path) {
        Some(outputs) => Ok(Root::open(&outputs)?),
        None => root(cx),
    }
}

/// Opens a regular file for reading.
///
/// # Errors
/// Names the path as the model wrote it, and why it is refused or what is wrong with it.
pub fn open(cx: &Context, path: &str) -> Result<File, ToolError> {
    Ok(root_to_read(cx, path)?.open_file(path)?)
}

/// The file that a path really names, whether it exists or not: absolute and free of links.
///
/// # Errors
/// When a tool may not touch it.
pub fn locate(cx: &Context, path: &str) -> Result<PathBuf, ToolError> {
    let root = root(cx)?;
    Ok(root.path().join(root.resolve(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Agent;

    #[test]
    fn the_directory_is_the_agents_and_its_private_folders_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a/.git", ".rungs", "b"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("a/f"), "text").unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        let said = |path: &str| {
            open(&cx, path).map_err(|e| e.0).map(|file| std::io::read_to_string(file).unwrap())
        };
        assert_eq!(said("a/f").as_deref(), Ok("text"));
        for (path, error) in [
            ("/etc/passwd", "/etc/passwd: it is outside the working directory"),
            ("a/.git/config", "a/.git/config: this folder is closed to tools"),
            (".rungs/x", ".rungs/x: this folder is closed to tools"),
            ("nothing", "nothing: no such file"),
        ] {
            assert_eq!(said(path).unwrap_err(), error);
        }
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(locate(&cx, "b/../new").unwrap(), real.join("new"));
        assert!(locate(&cx, "../new").is_err());
        let below = cx.agent.clone().in_dir(dir.path().join("b")).context();
        assert_eq!(locate(&below, "new").unwrap(), real.join("b/new"));
        assert!(open(&below, "../a/f").is_err());
        let gone = cx.agent.clone().in_dir("/nonexistent").context();
        assert!(open(&gone, "f").unwrap_err().0.starts_with("/nonexistent: No such file"));
    }

    #[test]
    fn long_outputs_are_readable_but_by_their_own_conversation() {
        let dir = tempfile::tempdir().unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        let file = cx.resource::<Outputs>().create().unwrap().1;
        std::fs::write(&file, "text").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(std::io::read_to_string(open(&cx, path).unwrap()).unwrap(), "text");
        assert!(open(&cx, &format!("{path}/../../../etc/passwd")).is_err());
        assert!(locate(&cx, path).is_err());
        assert!(open(&cx.agent.child("explorer", &[]).context(), path).is_err());
    }
}
