//! In which folders the parts of a text run.
use std::path::{Path, PathBuf};

/// In how many directories a command may run before that counts as "anywhere".
const MAX_DIRS: usize = 8;

/// The directories in which a part may run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Dirs {
    /// Where it runs if all went well.
    pub(crate) likely: Vec<PathBuf>,
    /// Where it runs if a `cd` before it failed.
    pub(crate) possible: Vec<PathBuf>,
    /// Whether it may run anywhere.
    pub(crate) unknown: bool,
}

impl Dirs {
    /// What holds after `cd`, `pushd` or `popd`.
    pub(super) fn change(&mut self, words: &[String], home: Option<&Path>) {
        let target = match words {
            [cd] if cd == "cd" => home.map(|home| home.display().to_string()),
            [cd, to] if cd == "cd" && !to.starts_with('-') && !to.contains('$') => Some(to.clone()),
            // `cd -P DIR`, `pushd DIR`: most likely there.
            [cd, options @ .., to]
                if cd != "popd"
                    && !to.starts_with(['-', '+'])
                    && options.iter().all(|word| word.starts_with('-')) =>
            {
                self.unknown = true;
                Some(to.clone())
            }
            _ => None,
        };
        let before = std::mem::take(&mut self.likely);
        match target {
            None => self.unknown = true,
            Some(to) => self.likely = before.iter().map(|dir| below(dir, &to, home)).collect(),
        }
        self.possible.extend(before);
        if self.possible.len() > MAX_DIRS {
            self.possible.truncate(MAX_DIRS);
            self.unknown = true;
        }
    }
}

/// A directory seen from another one.
fn below(dir: &Path, to: &str, home: Option<&Path>) -> PathBuf {
    let path = match (to.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => dir.join(to),
    };
    crate::paths::lexical(&path)
}
