//! What a student does: one exercise at a time.
use crate::{
    catalog::{self, Exercise, read, shown},
    hints,
    progress::Progress,
    report::{self, Verdict},
    screen::{good, print_text, say, strong, width, wrap},
    task,
};
use similar::{ChangeTag, TextDiff};
use std::{fs, io, path::PathBuf};

/// How the runner is called.
pub(crate) const RUN: &str = "cargo run -p rungs-exercises --";

/// What went wrong with a file, and its name.
pub(crate) fn at(path: &std::path::Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {error}", shown(path))
}

/// Puts the task into the student's folder, unless a file is there.
pub(crate) fn begin(exercise: &Exercise) -> Result<(), String> {
    begin_file(&exercise.work(), &exercise.task).map(|_| ())
}

/// Makes a file of the student's; false if it is there, since nobody's work is written over.
pub(crate) fn begin_file(file: &std::path::Path, content: &str) -> Result<bool, String> {
    if fs::symlink_metadata(file).is_ok() {
        return Ok(false);
    }
    let folder = catalog::work();
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    // Fails if a file has come meanwhile.
    let mut new = fs::File::create_new(file).map_err(at(file))?;
    io::Write::write_all(&mut new, content.as_bytes()).map_err(at(file))?;
    say(&format!("Your copy: {}", shown(file)));
    Ok(true)
}

/// The first exercise after this one that is not solved; after the last one it begins at the front.
pub(crate) fn next<'a>(
    all: &'a [Exercise],
    progress: &Progress,
    after: Option<&Exercise>,
) -> Option<&'a Exercise> {
    let place = after.and_then(|after| all.iter().position(|other| other.name == after.name));
    let (before, later) = all.split_at(place.map_or(0, |place| place + 1));
    later.iter().chain(before).find(|exercise| !progress.solved(&exercise.name))
}

/// Says what is left when nothing is.
pub(crate) fn say_all_solved() {
    say("All exercises are solved. What is left is a mechanism of your own, the capstone:");
    say(&format!("{RUN} capstone"));
}

/// Shows the next exercise, and how to go on.
pub(crate) fn show_next() -> Result<(), String> {
    let (all, progress) = (catalog::all()?, Progress::load()?);
    let Some(exercise) = next(&all, &progress, None) else {
        say_all_solved();
        return Ok(());
    };
    begin(exercise)?;
    show(exercise);
    let name = &exercise.name;
    outln!("");
    say(&format!("Edit {}, then:", shown(&exercise.work())));
    say(&format!("{RUN} COMMAND"));
    say("where COMMAND is");
    for (command, what) in [
        (format!("run {name}"), "build it and run its tests"),
        ("watch".into(), "the same, after each save"),
        (format!("hint {name}"), "one step more each time"),
        ("list".into(), "all exercises"),
    ] {
        outln!("  {}\n    {what}", strong(&command));
    }
    Ok(())
}

/// Shows the task.
pub(crate) fn show(exercise: &Exercise) {
    let head = &exercise.head;
    outln!("{}", strong(&wrap(&format!("{}: {}", exercise.name, head.title), width())));
    let (kind, level, minutes) = (head.kind.name(), head.level, head.minutes);
    say(&format!("{kind}, level {level}, {minutes} minutes"));
    say(&format!("Read: {}", head.read.join(", ")));
    outln!("");
    print_text(head.text.iter().map(String::as_str));
}

/// Builds an exercise and runs its tests; whether it is solved.
pub(crate) fn run(exercise: &Exercise) -> Result<bool, String> {
    begin(exercise)?;
    let own = read(&exercise.work())?;
    let verdict = report::judge(exercise, &exercise.work())?;
    report::print(exercise, &verdict);
    let mut progress = Progress::load()?;
    let Verdict::Ran(outcome) = verdict else { return Ok(false) };
    if !outcome.passed(&exercise.tests()) {
        return Ok(false);
    }
    if task::split(&own).1 != task::split(&exercise.task).1 {
        let name = &exercise.name;
        say("All tests pass, but they are not the given ones, so this does not count.");
        say(&format!("`reset {name} --tests` puts those back, and keeps your code."));
        return Ok(false);
    }
    progress.set_solved(&exercise.name, true)?;
    outln!("{}", good("Solved."));
    say(&format!("`solution {}` shows the given one, to compare.", exercise.name));
    Ok(true)
}

/// Runs the exercise that is named, and says which is next.
pub(crate) fn run_named(named: &str) -> Result<bool, String> {
    let all = catalog::all()?;
    let exercise = catalog::find(&all, named)?;
    let solved = run(exercise)?;
    if !solved {
        say(&format!("`hint {}` helps, one step more each time.", exercise.name));
        return Ok(false);
    }
    match next(&all, &Progress::load()?, Some(exercise)) {
        Some(next) => say(&format!("Next: {RUN} run {}", next.name)),
        None => say_all_solved(),
    }
    Ok(true)
}

/// Lists all exercises, or those that are named like this, with the student's progress.
pub(crate) fn list(named: Option<&str>) -> Result<(), String> {
    let (all, progress) = (catalog::all()?, Progress::load()?);
    let listed = match named {
        Some(named) => catalog::matching(&all, named)?,
        None => all.iter().collect(),
    };
    let mut lesson = "";
    for exercise in &listed {
        if exercise.lesson() != lesson {
            lesson = exercise.lesson();
            outln!("{}", strong(lesson));
        }
        let mark = match exercise {
            exercise if progress.solved(&exercise.name) => good("x").to_string(),
            exercise if exercise.work().exists() => "-".to_string(),
            _ => " ".to_string(),
        };
        let head = &exercise.head;
        let (kind, level, minutes) = (head.kind.name(), head.level, head.minutes);
        outln!("  [{mark}] {}", exercise.name);
        outln!("      {kind}, level {level}, {minutes} min");
    }
    let mut solved = listed.clone();
    solved.retain(|exercise| progress.solved(&exercise.name));
    let minutes = |exercises: &[&Exercise]| -> u32 {
        exercises.iter().map(|exercise| exercise.head.minutes).sum()
    };
    let (done, of) = (minutes(&solved), minutes(&listed));
    say(&format!("{} of {} solved, {done} of {of} minutes.", solved.len(), listed.len()));
    say("[x] solved, [-] begun");
    Ok(())
}

/// Shows the next hint, or the one of this number.
pub(crate) fn hint(named: &str, number: Option<usize>) -> Result<(), String> {
    let all = catalog::all()?;
    let exercise = catalog::find(&all, named)?;
    let file = exercise.hints_file();
    let hints = hints::steps(&read(&file)?);
    let mut progress = Progress::load()?;
    let seen = progress.hints(&exercise.name);
    let place = number.unwrap_or(seen + 1).min(hints.len());
    let Some(hint) = place.checked_sub(1).and_then(|i| hints.get(i)) else {
        return Err(format!("{} has {} hints, from 1 on", exercise.name, hints.len()));
    };
    outln!("{}", strong(&format!("Hint {place} of {}", hints.len())));
    print_text(hints::plain(hint, &file).lines());
    if place > seen {
        progress.set_hints(&exercise.name, place)?;
    } else if number.is_none() {
        outln!("");
        say(&format!("That is the last one. `solution {}` shows a solution.", exercise.name));
    }
    Ok(())
}

/// Shows how the student's code differs from the solution. Of an exercise that was not begun it is
/// shown only if it is wanted `anyway`.
pub(crate) fn solution(named: &str, anyway: bool) -> Result<(), String> {
    let all = catalog::all()?;
    let exercise = catalog::find(&all, named)?;
    let own = match exercise.work().exists() {
        true => read(&exercise.work())?,
        false => exercise.task.clone(),
    };
    if !anyway && task::split(&own).0 == task::split(&exercise.task).0 {
        let name = &exercise.name;
        return Err(format!(
            "You have not begun {name}. `hint {name}` helps; `solution {name} --anyway` shows the \
             solution."
        ));
    }
    let solution = read(&exercise.solution_file())?;
    // The head is no part of a solution.
    let code = task::split(&own).0.lines().skip_while(|line| line.starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let (own, solution) = (code.trim(), task::split(&solution).0.trim());
    if own == solution {
        say("Your code is the solution, word for word.");
        return Ok(());
    }
    say("From yours (-) to the solution (+). Other code can be as right.");
    let diff = TextDiff::from_lines(own, solution);
    for group in diff.grouped_ops(3) {
        outln!("@@");
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end_matches('\n');
            match change.tag() {
                ChangeTag::Delete => outln!("{}", crate::screen::bad(&format!("-{line}"))),
                ChangeTag::Insert => outln!("{}", good(&format!("+{line}"))),
                ChangeTag::Equal => outln!(" {line}"),
            }
        }
    }
    Ok(())
}

/// Begins an exercise again; the file that there was stays beside the new one. With `tests` only
/// the tests are those of the task again.
pub(crate) fn reset(named: &str, tests: bool) -> Result<(), String> {
    let all = catalog::all()?;
    let exercise = catalog::find(&all, named)?;
    let file = exercise.work();
    if !file.exists() {
        return begin(exercise);
    }
    let old = fs::read(&file).map_err(at(&file))?;
    let new = match tests {
        true => task::with_given_tests(&read(&file)?, &exercise.task),
        false => exercise.task.clone(),
    };
    if old == new.as_bytes() {
        let what = if tests { "has the given tests" } else { "is as it was given" };
        say(&format!("{} {what}: nothing was changed.", shown(&file)));
        return Ok(());
    }
    let kept = keep(&file)?;
    let result = fs::write(&file, new).map_err(at(&file));
    say(&format!("Your file is now {}", shown(&kept)));
    result?;
    let mut progress = Progress::load()?;
    progress.set_solved(&exercise.name, false)?;
    if !tests {
        progress.set_hints(&exercise.name, 0)?;
    }
    say(&format!(
        "{} is {}",
        shown(&file),
        if tests { "yours with the given tests" } else { "new" }
    ));
    Ok(())
}

/// Gives a file another name beside it.
fn keep(file: &std::path::Path) -> Result<PathBuf, String> {
    for n in 1.. {
        let kept = file.with_extension(format!("{n}.rs"));
        // A link fails if the name is taken, where renaming would write over it.
        match fs::hard_link(file, &kept) {
            Ok(()) => {
                fs::remove_file(file).map_err(at(file))?;
                return Ok(kept);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {error}", shown(&kept))),
        }
    }
    Err(format!("{}: too many copies", shown(file)))
}
