//! Which file names a search is about.
use crate::{Root, SearchError, look_alike::Skeleton};
use globset::{Glob, GlobBuilder, GlobMatcher};
use ignore::types::{Types, TypesBuilder};
use std::path::{Component, Path};

/// How long a glob may be, in bytes, and how deep its braces may be nested.
const MAX_GLOB_BYTES: usize = 4096;
const MAX_NESTING: usize = 16;
/// Added to the rank of a name that matches exactly.
const EXACT: usize = MAX_GLOB_BYTES;

/// A glob as in `.gitignore`, and a file type as ripgrep has them.
#[derive(Default)]
pub(crate) struct NameFilter {
    /// `None` for all names.
    glob: Option<NameGlob>,
    /// `None` for all types.
    types: Option<Types>,
}

/// Folders may be called `[slug]`, as in Next.js. So `[..]`, `{..}` and backslashes match
/// themselves too, and names that contain them come before names that match them as patterns.
struct NameGlob {
    matcher: GlobMatcher,
    /// The same, for names that only look the same.
    look_alike: GlobMatcher,
    is_ascii: bool,
    negated: bool,
    /// All `[..]`, `{..}` and characters after a backslash, as they are written.
    groups: Vec<String>,
    /// What is wrong with the glob, unless its brackets are all meant literally.
    error: Option<globset::Error>,
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
        if bare.len() > MAX_GLOB_BYTES {
            return Err(SearchError::GlobTooComplex("is longer than 4096 bytes"));
        }
        // As in a path, `a//b` and `a/./b` are `a/b`.
        let names = bare.split('/').filter(|name| !matches!(*name, "" | "."));
        let names = names.collect::<Vec<_>>().join("/");
        let pattern = if bare.contains('/') { names } else { format!("**/{names}") };
        let mut groups = vec![];
        let too_deep = || SearchError::GlobTooComplex("has braces nested more than 16 deep");
        let lenient = literal_or_pattern(&pattern, &mut groups, 0).ok_or_else(too_deep)?;
        let skeleton = Skeleton::new(&pattern).text;
        let look_alike = literal_or_pattern(&skeleton, &mut vec![], 0).ok_or_else(too_deep)?;
        let glob = NameGlob {
            matcher: compile(&lenient)?,
            look_alike: compile(&look_alike)?,
            is_ascii: lenient.is_ascii(),
            negated,
            groups,
            error: compile(&pattern).err(),
        };
        Ok(NameFilter { glob: Some(glob), ..self })
    }

    /// A type as `rg --type-list` lists them.
    pub(crate) fn with_type(self, name: &str) -> Result<NameFilter, SearchError> {
        match TypesBuilder::new().add_defaults().select(name).build() {
            Ok(types) => Ok(NameFilter { types: Some(types), ..self }),
            Err(_) => Err(SearchError::UnknownType(name.into())),
        }
    }

    /// Whether a path, relative to where the search begins, matches: if so, how well. Of all that
    /// match, those of the highest rank are meant.
    pub(crate) fn rank(&self, path: &Path) -> Option<usize> {
        if self.types.as_ref().is_some_and(|types| types.matched(path, false).is_ignore()) {
            return None;
        }
        let Some(glob) = &self.glob else { return Some(0) };
        let rank = glob.rank(path);
        match glob.negated {
            true => rank.is_none().then_some(0),
            false => rank,
        }
    }

    /// Fails if the glob is wrong. To be called when no name has matched: then its brackets are not
    /// meant literally.
    pub(crate) fn check(self) -> Result<(), SearchError> {
        match self.glob.and_then(|glob| glob.error) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

impl NameGlob {
    fn rank(&self, path: &Path) -> Option<usize> {
        let literal = || {
            let path = path.to_string_lossy();
            self.groups.iter().filter(|group| path.contains(group.as_str())).count()
        };
        if self.matcher.is_match(path) {
            return Some(EXACT + literal());
        }
        let text = path.to_str().filter(|path| !self.is_ascii || !path.is_ascii())?;
        self.look_alike.is_match(Skeleton::new(text).text).then(literal)
    }
}

fn compile(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).empty_alternates(true).build()?;
    Ok(glob.compile_matcher())
}

/// A glob in which each `[..]`, each `{..}` and each backslash also matches itself, and one that
/// has no end or no meaning only itself. Notes them in `groups`. `None` when they are nested too
/// deep.
fn literal_or_pattern(pattern: &str, groups: &mut Vec<String>, depth: usize) -> Option<String> {
    if depth > MAX_NESTING {
        return None;
    }
    let mut result = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' => class_length(rest),
            '{' => braces_length(rest),
            c => c.len_utf8(),
        };
        let (group, after) = rest.split_at(length);
        rest = after;
        let meaning = match c {
            '\\' if length > 1 => Some(group.to_owned()),
            '[' if length > 1 && Glob::new(group).is_ok() => Some(group.to_owned()),
            '{' if length > 1 => {
                let inner = literal_or_pattern(&group[1..length - 1], groups, depth + 1)?;
                Some(format!("{{{inner}}}"))
            }
            '[' | '{' | '}' | '\\' => None,
            _ => {
                result.push_str(group);
                continue;
            }
        };
        groups.push(group.to_owned());
        match meaning {
            Some(meaning) => result.push_str(&format!("{{{meaning},{}}}", escape(group))),
            None => result.push_str(&escape(group)),
        }
    }
    Some(result)
}

/// How long the character class is that a text begins with; 1 if it has no end.
fn class_length(text: &str) -> usize {
    let start = 1 + text[1..].chars().take_while(|c| matches!(c, '!' | '^')).take(1).count();
    // A bracket at its beginning belongs to it.
    let first = usize::from(text[start..].starts_with(']'));
    text[start + first..].find(']').map_or(1, |end| start + first + end + 1)
}

/// How long the alternatives in braces are that a text begins with; 1 if they have no end.
fn braces_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        at += match c {
            '\\' => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '[' => class_length(&text[at..]),
            c => c.len_utf8(),
        };
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    1
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if "[]{}*?,!\\".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
