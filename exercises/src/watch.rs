//! Runs an exercise after each save, and goes on to the next when it is solved.
use crate::{
    catalog::{self, Exercise, shown},
    commands::{self, at},
    progress::Progress,
    screen::{say, warn},
};
use notify::{RecursiveMode, Watcher};
use std::{
    fs,
    io::{BufRead, IsTerminal},
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
        None => commands::next(&all, &Progress::load()?, None),
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
        let input = std::io::stdin();
        read_keys(input.lock(), input.is_terminal(), &sender);
    });
    while let Some(exercise) = current {
        commands::begin(exercise)?;
        commands::show(exercise);
        outln!("");
        if !solve(exercise, &receiver)? {
            return Ok(());
        }
        current = commands::next(&all, &Progress::load()?, Some(exercise));
        if current.is_some_and(|next| next.name == exercise.name) {
            say("No other exercise is left.");
        }
    }
    commands::say_all_solved();
    Ok(())
}

/// Hands over each line that is typed. The end of what is typed at a terminal, Ctrl+D, means `q`;
/// elsewhere it means that there are no keys.
fn read_keys(input: impl BufRead, is_terminal: bool, sender: &mpsc::Sender<Happened>) {
    // Nobody listens any more only when the program ends.
    for line in input.split(b'\n').map_while(Result::ok) {
        let _ = sender.send(Happened::Line(String::from_utf8_lossy(&line).into_owned()));
    }
    if is_terminal {
        let _ = sender.send(Happened::Line("q".into()));
    }
}

/// Runs one exercise until it is solved or skipped; false when the person wants to leave.
fn solve(exercise: &Exercise, happened: &mpsc::Receiver<Happened>) -> Result<bool, String> {
    let mut before = None;
    loop {
        let content = fs::read(exercise.work()).ok();
        if content.is_some() && content != before {
            before = content;
            outln!("{}", "-".repeat(crate::screen::width()));
            match commands::run(exercise) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => warn(&error),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_keys_quits_at_a_terminal_only() {
        let keys = |is_terminal: bool| {
            let (sender, receiver) = mpsc::channel();
            read_keys(&b"h\n\xff\nn\n"[..], is_terminal, &sender);
            let line = |happened| match happened {
                Happened::Line(line) => line,
                Happened::Change => panic!("nothing was written"),
            };
            receiver.try_iter().map(line).collect::<Vec<String>>()
        };
        assert_eq!(keys(true), ["h", "\u{fffd}", "n", "q"]);
        assert_eq!(keys(false), ["h", "\u{fffd}", "n"]);
    }
}
