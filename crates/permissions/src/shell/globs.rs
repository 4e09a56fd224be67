//! What wildcards stand for now.
use globset::{GlobBuilder, GlobMatcher};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many names are looked at for one word.
const MAX_NAMES: usize = 50_000;

/// Names that a wildcard after a dot may stand for, whether they exist or not.
const HIDDEN: [&str; 13] = [
    ".aws",
    ".bash_history",
    ".docker",
    ".env",
    ".env.local",
    ".env.production",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".ssh",
];

/// The paths that a word with wildcards stands for, and hidden names that it would match; `None`
/// when there are too many, or it is no pattern that is understood.
pub(crate) fn expand(text: &str, dir: &Path) -> Option<Vec<String>> {
    let (mut found, start) = match text.strip_prefix('/') {
        Some(_) => (vec![PathBuf::from("/")], Path::new("/")),
        None => (vec![PathBuf::new()], dir),
    };
    let mut looked_at = 0;
    for part in text.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let glob = matcher(part)?;
        let mut next = vec![];
        for path in &found {
            let is_hidden = part.starts_with('.');
            if is_hidden {
                let hidden = HIDDEN.iter().filter(|name| glob.is_match(name));
                next.extend(hidden.map(|name| path.join(name)));
            }
            let Ok(entries) = fs::read_dir(start.join(path)) else { continue };
            for entry in entries.flatten() {
                looked_at += 1;
                if looked_at > MAX_NAMES {
                    return None;
                }
                let name = entry.file_name();
                let hides = name.to_string_lossy().starts_with('.');
                if glob.is_match(&name) && (is_hidden || !hides) {
                    next.push(path.join(name));
                }
            }
        }
        found = next;
    }
    Some(found.into_iter().map(|path| path.to_string_lossy().into_owned()).collect())
}

pub(super) fn matcher(part: &str) -> Option<GlobMatcher> {
    // Braces are no wildcard here.
    let text = part.replace('{', "[{]").replace('}', "[}]").replace("[^", "[!");
    let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(false).build();
    glob.ok().map(|glob| glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_what_is_there_and_for_hidden_names() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.rs", "b.rs", ".hidden.rs", "-x.rs"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/c.rs"), "").unwrap();
        let expanded = |text: &str| {
            let mut names = expand(text, folder.path()).unwrap();
            names.sort();
            names.join(" ")
        };
        assert_eq!(expanded("*.rs"), "-x.rs a.rs b.rs");
        assert_eq!(expanded("*/?.rs"), "d/c.rs");
        assert_eq!(expanded("[^a-]*.rs"), "b.rs");
        assert_eq!(expanded(".e[n]v"), ".env");
        assert_eq!(expanded(".h*"), ".hidden.rs");
        assert_eq!(expanded("x/*"), "");
    }
}
