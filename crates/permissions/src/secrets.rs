//! Files below a folder that a rule wants asked or denied: a search of the folder would show them.
use crate::{
    paths::{Base, Place},
    rule::{Rule, What},
};
use globset::{Glob, GlobSet, GlobSetBuilder};
use ignore::{WalkBuilder, overrides::OverrideBuilder, types::TypesBuilder};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How many files are looked at.
const MAX_FILES: usize = 100_000;
/// Templates without secrets, which most repositories have.
const TEMPLATES: [&str; 4] = [".env.example", ".env.sample", ".env.template", ".env.dist"];

/// The patterns of rules for reading that do not allow, together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets {
    anywhere: GlobSet,
    below_cwd: GlobSet,
    below_home: GlobSet,
}

/// What a search of a folder looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Search {
    /// Hidden files too.
    pub(crate) hidden: bool,
    /// Also what git ignores.
    pub(crate) ignored: bool,
    /// It follows links.
    pub(crate) links: bool,
    /// Patterns of files to search, which may bring back what is hidden or ignored.
    pub(crate) globs: Vec<String>,
    /// Kinds of files to search, of which the same holds.
    pub(crate) types: Vec<String>,
    /// Nothing but what these patterns and kinds name is searched, for certain.
    pub(crate) narrows: bool,
}

impl Secrets {
    /// The patterns, each with the folder that it is seen from.
    fn new<'a>(patterns: impl Iterator<Item = (&'a Base, [&'a Glob; 2])>) -> Secrets {
        let mut sets = [const { None }; 3].map(|_: Option<()>| GlobSetBuilder::new());
        for (base, globs) in patterns {
            let index = match base {
                Base::Root | Base::Anywhere => 0,
                Base::Cwd => 1,
                Base::Home => 2,
            };
            for glob in globs {
                sets[index].add(glob.clone());
            }
        }
        // Each glob was compiled alone before; were they too large together, nothing would be found
        // and everything asked.
        let [anywhere, below_cwd, below_home] = sets.map(|set| set.build().unwrap_or_default());
        Secrets { anywhere, below_cwd, below_home }
    }

    /// The paths of these rules.
    pub(crate) fn of_rules<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Secrets {
        Secrets::new(rules.filter_map(|rule| match &rule.what {
            What::Path(pattern) => Some(pattern.globs()),
            _ => None,
        }))
    }

    /// Whether one of the patterns may cover a path: quicker than to try each of them.
    pub(crate) fn may_cover(&self, place: &Place) -> bool {
        let lower = place.lexical.to_string_lossy().to_lowercase();
        let real = place.real.as_deref().filter(|real| *real != place.lexical);
        let real_lower = real.map(|real| real.to_string_lossy().to_lowercase());
        let lowered = [Some(lower), real_lower].into_iter().flatten().map(PathBuf::from);
        let lowered: Vec<PathBuf> = lowered.filter(|path| *path != place.lexical).collect();
        let paths = [Some(place.lexical.as_path()), real].into_iter().flatten();
        paths.chain(lowered.iter().map(PathBuf::as_path)).any(|path| {
            let is_below = |base: &Path, set: &GlobSet| {
                !set.is_empty() && path.strip_prefix(base).is_ok_and(|path| set.is_match(path))
            };
            is_below(Path::new("/"), &self.anywhere)
                || place.cwd.iter().any(|cwd| is_below(cwd, &self.below_cwd))
                || place.home.as_ref().is_some_and(|home| is_below(home, &self.below_home))
        })
    }

    /// The first file below a folder that is covered; `Err` when there are too many to look at.
    pub(crate) fn below(
        &self,
        folder: &Path,
        search: &Search,
        cwd: &Path,
        home: Option<&Path>,
    ) -> Result<Option<String>, String> {
        if self.anywhere.is_empty() && self.below_cwd.is_empty() && self.below_home.is_empty() {
            return Ok(None);
        }
        let is_whole = search.globs.is_empty() && search.types.is_empty();
        if is_whole || !search.narrows {
            let plain = self.walk(&walk_of(folder, search), search.links, cwd, home)?;
            if plain.is_some() || is_whole {
                return Ok(plain);
            }
        }
        // With the patterns too: they may bring back more, and what they leave out may be no option
        // but a value.
        let wrong = |error: ignore::Error| error.to_string();
        let mut globs = OverrideBuilder::new(if search.narrows { folder } else { cwd });
        for glob in &search.globs {
            globs.add(glob).map_err(wrong)?;
        }
        let mut types = TypesBuilder::new();
        types.add_defaults();
        for name in &search.types {
            types.select(name);
        }
        let mut walk = walk_of(folder, search);
        walk.overrides(globs.build().map_err(wrong)?);
        if !search.types.is_empty() {
            walk.types(types.build().map_err(wrong)?);
        }
        self.walk(&walk, search.links, cwd, home)
    }

    fn walk(
        &self,
        walk: &WalkBuilder,
        links: bool,
        cwd: &Path,
        home: Option<&Path>,
    ) -> Result<Option<String>, String> {
        let mut files = 0;
        for entry in walk.build().flatten() {
            files += 1;
            if files > MAX_FILES {
                return Err(format!("there are more than {MAX_FILES} files to search"));
            }
            let path = entry.path();
            let is_template = |name: &str| TEMPLATES.contains(&name);
            // A folder alone shows nothing; what covers it covers its files.
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            if is_folder
                || entry.depth() == 0
                || entry.file_name().to_str().is_some_and(is_template)
            {
                continue;
            }
            let is_below = |base: &Path, set: &GlobSet| {
                !set.is_empty() && path.strip_prefix(base).is_ok_and(|path| set.is_match(path))
            };
            if links && entry.path_is_symlink() {
                // What is behind it is outside of what is looked at here.
                return Ok(Some(path.display().to_string()));
            }
            let from_root = path.strip_prefix("/").unwrap_or(path);
            if self.anywhere.is_match(from_root)
                || is_below(cwd, &self.below_cwd)
                || home.is_some_and(|home| is_below(home, &self.below_home))
            {
                return Ok(Some(path.strip_prefix(cwd).unwrap_or(path).display().to_string()));
            }
        }
        Ok(None)
    }
}

/// The walk that `rg` would do, without its patterns.
fn walk_of(folder: &Path, search: &Search) -> WalkBuilder {
    let mut walk = WalkBuilder::new(folder);
    walk.standard_filters(!search.ignored).hidden(!search.hidden).follow_links(false);
    if !search.ignored {
        walk.add_custom_ignore_filename(".rgignore");
    }
    walk
}
