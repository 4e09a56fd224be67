//! The exercises that there are, where their files lie, and how a person names one.
use crate::task::{self, Head};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder `exercises/` of the repository.
pub(crate) const HOME: &str = env!("CARGO_MANIFEST_DIR");

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(HOME).parent().unwrap_or(Path::new(HOME))
}

/// A path as it is shown: from the root of the repository.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// With fewer letters nobody can say what was meant.
const MIN_TYPED: usize = 3;
/// Of so many letters one may be wrong.
const LETTERS_A_FAULT: usize = 4;
/// How many names are proposed.
const MAX_LIKE: usize = 3;

/// One exercise.
#[derive(Debug)]
pub(crate) struct Exercise {
    /// Such as `s01_the_loop`.
    pub(crate) name: String,
    pub(crate) head: Head,
    /// The whole file of the task.
    pub(crate) task: String,
}

impl Exercise {
    /// Reads the task of this name.
    pub(crate) fn read(name: &str) -> Result<Exercise, String> {
        let path = task_file(name);
        let task = read(&path)?;
        let head = Head::read(name, &task).map_err(|why| format!("{}: {why}", shown(&path)))?;
        Ok(Exercise { name: name.into(), head, task })
    }

    /// `s01`.
    pub(crate) fn lesson(&self) -> &str {
        lesson(&self.name)
    }

    /// `the_loop` of `s01_the_loop`.
    fn short(&self) -> &str {
        self.name.split_once('_').map_or("", |(_, short)| short)
    }

    /// The student's own copy.
    pub(crate) fn work(&self) -> PathBuf {
        work().join(format!("{}.rs", self.name))
    }

    pub(crate) fn solution_file(&self) -> PathBuf {
        Path::new(HOME).join("solutions").join(format!("{}.rs", self.name))
    }

    pub(crate) fn hints_file(&self) -> PathBuf {
        Path::new(HOME).join("hints").join(format!("{}.md", self.name))
    }

    /// The tests of the task in their order: the names of their functions.
    pub(crate) fn tests(&self) -> Vec<String> {
        task::test_names(&self.task)
    }
}

/// The folder of the student's copies; `RUNGS_WORK` names another one.
pub(crate) fn work() -> PathBuf {
    match std::env::var_os("RUNGS_WORK") {
        Some(folder) => std::path::absolute(&folder).unwrap_or(folder.into()),
        None => Path::new(HOME).join("work"),
    }
}

pub(crate) fn task_file(name: &str) -> PathBuf {
    Path::new(HOME).join("tasks").join(format!("{name}.rs"))
}

/// `s01` of `s01_the_loop`.
pub(crate) fn lesson(name: &str) -> &str {
    name.split('_').next().unwrap_or(name)
}

/// The text of a file; the error names it.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", shown(path)))
}

/// The names of the files of a folder below `exercises/` that end like this, in order.
pub(crate) fn names(folder: &str, extension: &str) -> Result<Vec<String>, String> {
    let path = Path::new(HOME).join(folder);
    let fault = |error: std::io::Error| format!("{}: {error}", shown(&path));
    let mut names = vec![];
    for entry in fs::read_dir(&path).map_err(fault)? {
        let file = entry.map_err(fault)?.file_name();
        names.extend(file.to_string_lossy().strip_suffix(extension).map(String::from));
    }
    names.sort();
    Ok(names)
}

/// All exercises, in the order in which they are shown: by lesson, and within it from easy to hard.
pub(crate) fn all() -> Result<Vec<Exercise>, String> {
    let mut all = vec![];
    for name in names("tasks", ".rs")? {
        all.push(Exercise::read(&name)?);
    }
    all.sort_by_cached_key(|exercise| {
        let Head { level, minutes, .. } = exercise.head;
        (exercise.lesson().to_string(), level, minutes, exercise.name.clone())
    });
    Ok(all)
}

/// The exercises that a person may mean: the one of that name, or of that file; all of a lesson
/// (`s01`, `1`); those whose name, or its part after the lesson, begins like this.
///
/// # Errors
/// When there is none: says which names are like it.
pub(crate) fn matching<'a>(all: &'a [Exercise], named: &str) -> Result<Vec<&'a Exercise>, String> {
    let given = named;
    let named = given.rsplit('/').next().unwrap_or(given).trim_end_matches(".rs");
    if let Some(exact) = all.iter().find(|exercise| exercise.name == named) {
        return Ok(vec![exact]);
    }
    let number = named.strip_prefix('s').unwrap_or(named).parse::<u8>();
    let begins = |exercise: &&Exercise| match number {
        Ok(number) => exercise.lesson() == format!("s{number:02}"),
        Err(_) => exercise.name.starts_with(named) || exercise.short().starts_with(named),
    };
    let found: Vec<&Exercise> = all.iter().filter(begins).collect();
    if !found.is_empty() && !named.is_empty() {
        return Ok(found);
    }
    let names = all.iter().flat_map(|e| [(e.name.as_str(), &*e.name), (e.short(), &e.name)]);
    let like = if number.is_ok() { String::new() } else { closest(named, names) };
    Err(format!("there is no exercise `{given}`; {like}`list` shows all"))
}

/// The question whether a person meant another name: one that holds what was typed, or else one
/// from which few letters part it, or its beginning. Of each pair the second is what is proposed.
pub(crate) fn closest<'a>(
    typed: &str,
    names: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> String {
    let length = typed.chars().count();
    if length < MIN_TYPED {
        return String::new();
    }
    let apart = |name: &str| {
        let begin: String = name.chars().take(length).collect();
        strsim::osa_distance(typed, name).min(strsim::osa_distance(typed, &begin))
    };
    let min = match names.clone().any(|(name, _)| name.contains(typed)) {
        true => None,
        false => names.clone().map(|(name, _)| apart(name)).min(),
    };
    let is_like = |name: &str| match min {
        None => name.contains(typed),
        Some(min) => min * LETTERS_A_FAULT <= length && apart(name) == min,
    };
    let mut like: Vec<&str> = names.filter(|(name, _)| is_like(name)).map(|(_, n)| n).collect();
    like.dedup();
    like.truncate(MAX_LIKE);
    match like.is_empty() {
        true => String::new(),
        false => format!("did you mean `{}`? ", like.join("` or `")),
    }
}

/// The one exercise that a person means.
///
/// # Errors
/// Lists what it could be.
pub(crate) fn find<'a>(all: &'a [Exercise], named: &str) -> Result<&'a Exercise, String> {
    match &matching(all, named)?[..] {
        [one] => Ok(one),
        many => {
            let names: Vec<&str> = many.iter().map(|exercise| exercise.name.as_str()).collect();
            Err(format!("`{named}` can be\n  {}", names.join("\n  ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_short() {
        let all = all().unwrap();
        let found = |named: &str| find(&all, named).map(|exercise| exercise.name.as_str());
        let file = "exercises/work/s01_the_loop.rs";
        for named in ["s01_the_loop", "s01_the", "the_l", "s01_the_loop.rs", file] {
            assert_eq!(found(named), Ok("s01_the_loop"), "{named}");
        }
        for named in ["s01", "1", "01"] {
            let many = matching(&all, named).unwrap();
            assert!(many.len() > 2 && many.iter().all(|e| e.lesson() == "s01"), "{named}");
        }
        let several = found("s01").unwrap_err();
        assert!(several.starts_with("`s01` can be\n  s01_"), "{several}");
        for named in ["nope", "", "99", "s25", "../x", "exercises/work/"] {
            let none = format!("there is no exercise `{named}`; `list` shows all");
            assert_eq!(found(named), Err(none));
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_one_that_is_like_it() {
        let all = all().unwrap();
        for (named, like) in [
            ("s01_teh_loop", "`s01_the_loop`"),
            ("teh_loop", "`s01_the_loop`"),
            ("exercises/work/s01_the_lop.rs", "`s01_the_loop`"),
            ("loop", "`s01_the_loop`"),
            ("no_fnce", "`s11_no_fence`"),
            ("runs", "`s02_what_runs` or `s10_what_runs`"),
        ] {
            let why = matching(&all, named).map(|_| ()).err().unwrap_or_default();
            let like =
                format!("there is no exercise `{named}`; did you mean {like}? `list` shows all");
            assert_eq!(why, like);
        }
    }
}
