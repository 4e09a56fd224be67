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

/// The exercises that a person may mean: the one of that name; all of a lesson (`s01`, `1`); those
/// whose name, or its part after the lesson, begins like this.
pub(crate) fn matching<'a>(all: &'a [Exercise], named: &str) -> Vec<&'a Exercise> {
    let named = named.trim_end_matches(".rs");
    if let Some(exact) = all.iter().find(|exercise| exercise.name == named) {
        return vec![exact];
    }
    let number = named.strip_prefix('s').unwrap_or(named).parse::<u8>();
    let begins = |exercise: &&Exercise| match number {
        Ok(number) => exercise.lesson() == format!("s{number:02}"),
        Err(_) => {
            let short = exercise.name.split_once('_').map_or("", |(_, short)| short);
            exercise.name.starts_with(named) || short.starts_with(named)
        }
    };
    all.iter().filter(begins).collect()
}

/// The one exercise that a person means.
///
/// # Errors
/// Lists what it could be.
pub(crate) fn find<'a>(all: &'a [Exercise], named: &str) -> Result<&'a Exercise, String> {
    match &matching(all, named)[..] {
        [one] => Ok(one),
        [] => Err(format!("there is no exercise `{named}`; `list` shows all")),
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
        for named in ["s01_the_loop", "s01_the", "the_l", "s01_the_loop.rs"] {
            assert_eq!(found(named), Ok("s01_the_loop"), "{named}");
        }
        for named in ["s01", "1", "01"] {
            let many = matching(&all, named);
            assert!(many.len() > 2 && many.iter().all(|e| e.lesson() == "s01"), "{named}");
        }
        let several = found("s01").unwrap_err();
        assert!(several.starts_with("`s01` can be\n  s01_"), "{several}");
        assert_eq!(found("nope").unwrap_err(), "there is no exercise `nope`; `list` shows all");
        assert!(found("").is_err() && found("99").is_err() && found("../x").is_err());
    }
}
