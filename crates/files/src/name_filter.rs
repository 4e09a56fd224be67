//! Which file names a search is about.
use crate::{Root, SearchError};
use globset::{GlobBuilder, GlobMatcher};
use ignore::types::{Types, TypesBuilder};
use std::path::{Component, Path};

/// A glob as in `.gitignore`, and a file type as ripgrep has them.
#[derive(Default)]
pub(crate) struct NameFilter {
    /// `None` for all names.
    glob: Option<GlobMatcher>,
    negated: bool,
    /// `None` for all types.
    types: Option<Types>,
}

impl NameFilter {
    /// A glob without a slash matches at any depth, one with a slash from where the search begins.
    /// `!` before it turns it around.
    pub(crate) fn with_glob(self, root: &Root, glob: &str) -> Result<NameFilter, SearchError> {
        let (negated, bare) = match glob.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, glob),
        };
        let bare = match root.path().to_str() {
            Some(root) => bare.strip_prefix(root).unwrap_or(bare),
            None => bare,
        };
        if Path::new(bare).components().any(|name| name == Component::ParentDir) {
            return Err(SearchError::ParentInGlob(glob.into()));
        }
        let pattern = match bare.trim_start_matches("./") {
            rooted if rooted.starts_with('/') => rooted.trim_start_matches('/').to_owned(),
            nested if nested.contains('/') || bare.starts_with("./") => nested.to_owned(),
            name => format!("**/{name}"),
        };
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build()?;
        Ok(NameFilter { glob: Some(glob.compile_matcher()), negated, ..self })
    }

    /// A type as `rg --type-list` lists them.
    pub(crate) fn with_type(self, name: &str) -> Result<NameFilter, SearchError> {
        match TypesBuilder::new().add_defaults().select(name).build() {
            Ok(types) => Ok(NameFilter { types: Some(types), ..self }),
            Err(_) => Err(SearchError::UnknownType(name.into())),
        }
    }

    /// `path` is relative to where the search begins.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.is_match(path) != self.negated)
            && self.types.as_ref().is_none_or(|types| !types.matched(path, false).is_ignore())
    }
}
