//! Paths as rules see them: by their text, and by where they really lead.
use globset::{Glob, GlobBuilder, GlobMatcher};
use std::{
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

/// How many links are followed for one path, as in Linux.
const MAX_LINKS: usize = 40;

/// A path that a call reads or changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// As it was written.
    pub(crate) text: String,
    /// Absolute, without `.` and `..`, by its text.
    pub(crate) lexical: PathBuf,
    /// Where it really leads; `None` for a loop of links.
    pub(crate) real: Option<PathBuf>,
    /// The working directory of the call, by its text and where it really is.
    pub(crate) cwd: [PathBuf; 2],
    pub(crate) home: Option<PathBuf>,
}

impl Place {
    /// A path seen from a directory. `~` is the home folder.
    pub(crate) fn new(text: &str, cwd: &Path, root: &Path, home: Option<&Path>) -> Place {
        let path = expand_home(text, cwd, home);
        let real_root = resolve(root).unwrap_or_else(|| root.to_path_buf());
        Place {
            text: text.into(),
            real: resolve(&path),
            lexical: lexical(&path),
            cwd: [lexical(root), real_root],
            home: home.map(Path::to_path_buf),
        }
    }

    /// As [`Place::new`], without a look at the file system.
    pub(crate) fn unresolved(text: &str, cwd: &Path, root: &Path, home: Option<&Path>) -> Place {
        let path = expand_home(text, cwd, home);
        Place {
            text: text.into(),
            real: None,
            lexical: lexical(&path),
            cwd: [lexical(root), root.to_path_buf()],
            home: home.map(Path::to_path_buf),
        }
    }

    /// Whether it is below the working directory, by its text and in truth.
    pub(crate) fn is_inside(&self) -> bool {
        let real = self.real.as_ref().is_some_and(|real| real.starts_with(&self.cwd[1]));
        real && self.cwd.iter().any(|cwd| self.lexical.starts_with(cwd))
    }
}

fn expand_home(text: &str, cwd: &Path, home: Option<&Path>) -> PathBuf {
    match (text.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_path_buf(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(&rest[1..]),
        _ => cwd.join(text),
    }
}

/// Without `.`, and with `..` taken as "one up" whatever the links.
pub(crate) fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Where a path leads: every link followed, also a last one whose target does not exist. `None` for
/// a loop.
pub(crate) fn resolve(path: &Path) -> Option<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut todo: Vec<OsString> = components(path);
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            real.pop();
            continue;
        }
        real.push(&name);
        let Ok(target) = fs::read_link(&real) else { continue };
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        real.pop();
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        todo.extend(components(&target));
    }
    Some(real)
}

/// The names of a path, last first.
fn components(path: &Path) -> Vec<OsString> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<OsString> = named.collect();
    names.reverse();
    names
}

/// A pattern for paths as git's ignore files have it: `//etc/**` is absolute, `~/x` below the home
/// folder, `/x` and `./x` below the working directory; one without a slash in it fits at any depth.
/// What it covers, it covers with all that is in it.
#[derive(Debug)]
pub(crate) struct PathPattern {
    base: Base,
    whole: Glob,
    inside: Glob,
    /// Compiled when a path is judged first: all rules together take longer to compile than the
    /// program to start.
    matchers: OnceLock<[GlobMatcher; 2]>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Base {
    Root,
    Home,
    Cwd,
    /// Below the working directory where it allows; anywhere where it forbids.
    Anywhere,
}

impl PathPattern {
    pub(crate) fn new(text: &str) -> Result<PathPattern, String> {
        let (base, rest) = if let Some(rest) = text.strip_prefix("//") {
            (Base::Root, rest)
        } else if let Some(rest) = text.strip_prefix("~/") {
            (Base::Home, rest)
        } else if let Some(rest) = text.strip_prefix("./").or_else(|| text.strip_prefix('/')) {
            (Base::Cwd, rest)
        } else if text.starts_with("**/") || !text.trim_end_matches('/').contains('/') {
            (Base::Anywhere, text.strip_prefix("**/").unwrap_or(text))
        } else {
            (Base::Cwd, text)
        };
        // `x/**` covers the folder `x` too: who may not read what is in it may not search it.
        let rest = rest.trim_end_matches('/');
        let rest = rest.strip_suffix("/**").filter(|rest| !rest.ends_with("**")).unwrap_or(rest);
        let rest = if base == Base::Anywhere { format!("**/{rest}") } else { rest.to_string() };
        let glob = |text: &str| {
            // A file system without case must not open another door than the one that is named.
            let mut builder = GlobBuilder::new(text);
            builder.literal_separator(true).case_insensitive(false);
            builder.build().map_err(|error| error.to_string())
        };
        let inside = if rest.is_empty() { "**".into() } else { format!("{rest}/**") };
        let (whole, inside) = (glob(&rest)?, glob(&inside)?);
        Ok(PathPattern { base, whole, inside, matchers: OnceLock::new() })
    }

    /// Where it is seen from, and its patterns.
    pub(crate) fn globs(&self) -> (&Base, [&Glob; 2]) {
        (&self.base, [&self.whole, &self.inside])
    }

    /// Whether it covers a path. To allow, the text of the path and where it leads must both be
    /// covered; to forbid, one of them is enough.
    pub(crate) fn covers(&self, place: &Place, is_allow: bool) -> bool {
        let compile = || [&self.whole, &self.inside].map(Glob::compile_matcher);
        let [whole, inside] = self.matchers.get_or_init(compile);
        let covers = |path: &Path| {
            self.relative(path, place, is_allow).into_iter().any(|path| {
                let matches = |path: &Path| whole.is_match(path) || inside.is_match(path);
                matches(&path) || (!is_allow && matches(Path::new(&lower(&path))))
            })
        };
        let real = place.real.as_deref();
        match is_allow {
            true => covers(&place.lexical) && real.is_some_and(covers),
            false => covers(&place.lexical) || real.is_some_and(covers),
        }
    }

    /// The path as seen from the pattern's base.
    fn relative(&self, path: &Path, place: &Place, is_allow: bool) -> Vec<PathBuf> {
        let bases: Vec<&Path> = match self.base {
            Base::Root => vec![Path::new("/")],
            Base::Anywhere if !is_allow => vec![Path::new("/")],
            Base::Home => place.home.iter().map(PathBuf::as_path).collect(),
            Base::Cwd | Base::Anywhere => place.cwd.iter().map(PathBuf::as_path).collect(),
        };
        let below = bases.into_iter().filter_map(|base| path.strip_prefix(base).ok());
        below.map(Path::to_path_buf).collect()
    }
}

fn lower(path: &Path) -> String {
    path.to_string_lossy().to_lowercase()
}
