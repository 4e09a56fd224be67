use crate::{Fault, Root};
use globset::{GlobBuilder, GlobMatcher};
use std::path::{Component, Path};

/// Which names are in question.
pub struct Names {
    glob: Option<GlobMatcher>,
    negated: bool,
}

impl Names {
    pub fn all() -> Names {
        Names { glob: None, negated: false }
    }

    /// As in `.gitignore`: without a slash at any depth, else from where the search begins; `!` before it turns it around.
    pub fn matching(root: &Root, glob: &str) -> Result<Names, Fault> {
        let (negated, bare) = match glob.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, glob),
        };
        let bare = bare.strip_prefix(root.path().to_str().unwrap_or_default()).unwrap_or(bare);
        if Path::new(bare).components().any(|name| name == Component::ParentDir) {
            return Err(Fault::Pattern(format!(
                "{glob}: it may not hold `..`; `path` says where to search"
            )));
        }
        let pattern = match bare.trim_start_matches("./") {
            rooted if rooted.starts_with('/') => rooted.trim_start_matches('/').to_owned(),
            nested if nested.contains('/') || bare.starts_with("./") => nested.to_owned(),
            name => format!("**/{name}"),
        };
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
        let glob = glob.map_err(|error| Fault::Pattern(error.to_string()))?;
        Ok(Names { glob: Some(glob.compile_matcher()), negated })
    }

    pub fn hold(&self, path: &Path) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.is_match(path) != self.negated)
    }
}
