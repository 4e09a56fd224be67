//! Runs an exercise after each save, and goes on to the next when it is solved.
use crate::{
    catalog::{self, Exercise, shown},
    commands::{self, at},
    progress::Progress,
    screen::{is_terminal, say},
};
use notify::{RecursiveMode, Watcher};
use std::{
    fs,
    io::BufRead,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// An editor writes a file in several steps; it is read when nothing more has happened for so long.
const SETTLE: Duration = Duration::from_millis(50);
/// How often the file is looked at without an event: some file systems report none.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What can happen while it is waited.
enum Happened {
    /// Something in the folder has changed.
    Change,
    /// The person has typed a line.
    Line(String),
}

/// What is to be done.
enum Step {
    Run,
    Skip,
    Quit,
}

/// Watches the exercise that is named, or the next one.
pub(crate) fn watch(named: Option<&str>) -> Result<(), String> {
    let all = catalog::all()?;
    let mut current = match named {
        Some(named) => Some(catalog::find(&all, named)?),
        None => commands::next(&all, &Progress::load()?),
    };
    let folder = catalog::work();
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let (sender, receiver) = mpsc::channel();
    let changes = sender.clone();
    let mut watcher = notify::recommended_watcher(move |_| {
        // Nobody listens any more only when the program ends.
        let _ = changes.send(Happened::Change);
    });
    let watching = match &mut watcher {
        Ok(watcher) => watcher.watch(&folder, RecursiveMode::NonRecursive),
        Err(error) => Err(notify::Error::generic(&error.to_string())),
    };
    if let Err(error) = watching {
        say(&format!("No events of files here ({error}): it is looked once a second."));
    }
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(Happened::Line(line));
        }
    });
    while let Some(exercise) = current {
        commands::begin(exercise)?;
        commands::show(exercise);
        outln!("");
        if !solve(exercise, &receiver)? {
            return Ok(());
        }
        let progress = Progress::load()?;
        let place = all.iter().position(|other| other.name == exercise.name).unwrap_or(0);
        let later = all[place + 1..].iter().find(|other| !progress.solved(&other.name));
        current = later.or_else(|| commands::next(&all, &progress));
        if current.is_some_and(|next| next.name == exercise.name) {
            say("No other exercise is left.");
        }
    }
    say("All exercises are solved.");
    Ok(())
}

/// Runs one exercise until it is solved or skipped; false when the person wants to leave.
fn solve(exercise: &Exercise, happened: &mpsc::Receiver<Happened>) -> Result<bool, String> {
    let mut before = None;
    loop {
        let content = fs::read(exercise.work()).ok();
        if content.is_some() && content != before {
            before = content;
            if is_terminal() && !cfg!(test) {
                outln!("{}", "-".repeat(crate::screen::width()));
            }
            match commands::run(exercise) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => eprintln!("{error}"),
            }
            say(&format!("Waiting for {} to be saved.", shown(&exercise.work())));
            say("h and Enter: a hint; n: the next exercise; q: quit");
        }
        match wait(exercise, happened)? {
            Step::Run => {}
            Step::Skip => return Ok(true),
            Step::Quit => return Ok(false),
        }
    }
}

/// Waits until something has happened and settled.
fn wait(exercise: &Exercise, happened: &mpsc::Receiver<Happened>) -> Result<Step, String> {
    let mut limit = LOOK_INTERVAL;
    loop {
        let line = match happened.recv_timeout(limit) {
            Ok(Happened::Change) => {
                limit = SETTLE;
                continue;
            }
            Ok(Happened::Line(line)) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(Step::Run),
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(limit);
                return Ok(Step::Run);
            }
        };
        match line.trim() {
            "h" => commands::hint(&exercise.name, None)?,
            "n" => return Ok(Step::Skip),
            "q" => return Ok(Step::Quit),
            "" => {}
            other => say(&format!("`{other}` is unknown: h, n or q")),
        }
    }
}
