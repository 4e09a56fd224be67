//! Many exercises in one program: it is built once, and run once for each.
use crate::{
    catalog::Exercise,
    isolation::Isolation,
    report::Verdict,
    run::{self, BuildError, Diagnostic},
};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use tempfile::TempDir;

/// One file to judge: the exercise, and its whole source.
pub(crate) type Entry<'a> = (&'a Exercise, String);

/// Judges these files, each for itself, whatever is wrong with the others.
///
/// # Errors
/// When the course itself does not build, or a program cannot be started.
pub(crate) fn judge(
    entries: &[Entry<'_>],
    isolation: &Isolation,
    limit: Duration,
) -> Result<Vec<Verdict>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    for (exercise, source) in entries {
        let file = folder.path().join(format!("{}.rs", exercise.name));
        fs::write(&file, source).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let mut together: Vec<&str> = entries.iter().map(|(e, _)| e.name.as_str()).collect();
    let mut verdicts = BTreeMap::new();
    // The compiler does not show the errors of all its stages at once.
    while !together.is_empty() {
        let refused = match build(&folder, &together, isolation)? {
            Ok(program) => {
                for name in &together {
                    let module = format!("{name}::tests::");
                    let outcome = run::run(isolation.command(&program), &module, limit)?;
                    verdicts.insert(name.to_string(), Verdict::Ran(outcome));
                }
                break;
            }
            Err(errors) => errors,
        };
        let before = together.len();
        together.retain(|name| !refused.iter().any(|error| is_in(error, name)));
        if together.len() == before {
            // An error that no file is named for, such as one of the linker.
            break;
        }
    }
    // A file that refers to its own crate, or clashes with another one, is well alone.
    for (exercise, _) in entries {
        if verdicts.contains_key(&exercise.name) {
            continue;
        }
        let file = folder.path().join(format!("{}.rs", exercise.name));
        let verdict = match refusal(run::build(&file, isolation.offline()))? {
            Ok(program) => {
                let outcome = run::run(isolation.command(&program), "tests::", limit)?;
                Verdict::Ran(outcome)
            }
            Err(errors) => Verdict::Refused(errors),
        };
        verdicts.insert(exercise.name.clone(), verdict);
    }
    let place = format!("{}/", folder.path().display());
    let verdicts = entries.iter().filter_map(|(exercise, _)| verdicts.remove(&exercise.name));
    Ok(verdicts.map(|verdict| without(verdict, &place)).collect())
}

/// The verdict without the path of the temporary folder, which tells nobody anything.
fn without(mut verdict: Verdict, place: &str) -> Verdict {
    match &mut verdict {
        Verdict::Refused(errors) => {
            errors.iter_mut().for_each(|error| error.text = error.text.replace(place, ""));
        }
        Verdict::Ran(outcome) => {
            outcome.tests.iter_mut().for_each(|test| test.said = test.said.replace(place, ""));
        }
    }
    verdict
}

type Built = Result<std::path::PathBuf, Vec<Diagnostic>>;

fn build(folder: &TempDir, names: &[&str], isolation: &Isolation) -> Result<Built, String> {
    let module = |name: &&str| {
        let file = folder.path().join(format!("{name}.rs"));
        format!("#[path = {file:?}]\nmod {name};\n")
    };
    let index = folder.path().join("index.rs");
    let modules: String = names.iter().map(module).collect();
    fs::write(&index, modules).map_err(|error| format!("{}: {error}", index.display()))?;
    refusal(run::build(&index, isolation.offline()))
}

fn refusal(built: Result<std::path::PathBuf, BuildError>) -> Result<Built, String> {
    match built {
        Ok(program) => Ok(Ok(program)),
        Err(BuildError::Refused(errors)) => Ok(Err(errors)),
        Err(BuildError::Course(why)) => Err(format!("the course does not build here:\n{why}")),
    }
}

fn is_in(error: &Diagnostic, name: &str) -> bool {
    Path::new(&error.file).file_stem().is_some_and(|stem| stem == name)
}
