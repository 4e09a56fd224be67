//! What around a command makes it do something else than its words say.
use crate::{
    git,
    paths::resolve,
    repository,
    shell::{Dirs, words::Word},
};
use std::path::{Path, PathBuf};

/// Commands of the shell itself, which no search path leads to.
const BUILTINS: [&str; 8] = ["cd", "echo", "false", "printf", "pwd", "test", "true", "["];

/// Checks what is around a command that a rule allows.
///
/// # Errors
/// Says what makes it doubtful.
pub(crate) fn check(
    words: &[Word],
    dirs: &Dirs,
    root: &Path,
    home: Option<&Path>,
) -> Result<(), String> {
    let Some((name, rest)) = words.split_first() else { return Ok(()) };
    let name = name.text.as_str();
    for dir in dirs.likely.iter().chain(&dirs.possible) {
        if name == "git"
            && git::is_reader(rest)
            && let Some(doubt) = repository::doubt(dir, rest)
        {
            return Err(doubt);
        }
        if matches!(name, "cargo" | "rustc" | "rustup") && has_toolchain_file(dir) {
            return Err("a toolchain file decides which program that is".into());
        }
    }
    if !name.contains('/') && !BUILTINS.contains(&name) && is_shadowed(name, root, home) {
        return Err("the search path finds it in the working directory".into());
    }
    Ok(())
}

/// Whether rustup may choose another toolchain here, and fetch or run it, whatever the file says.
fn has_toolchain_file(dir: &Path) -> bool {
    let real = resolve(dir).unwrap_or_else(|| dir.into());
    real.ancestors().any(|dir| {
        let has = |name: &str| dir.join(name).symlink_metadata().is_ok();
        ["rust-toolchain", "rust-toolchain.toml"].into_iter().any(has)
    })
}

/// Whether the search path finds a program of this name in the working directory. Folders of it
/// that a person has set are the person's, though they work in the home folder.
fn is_shadowed(name: &str, root: &Path, home: Option<&Path>) -> bool {
    let real_root = resolve(root).unwrap_or_else(|| PathBuf::from(root));
    let is_all = home == Some(root) || real_root.parent().is_none();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        if !root.join(&folder).join(name).is_file() {
            continue;
        }
        if folder.is_relative() {
            return true;
        }
        return !is_all && resolve(&folder).is_none_or(|real| real.starts_with(&real_root));
    }
    false
}
