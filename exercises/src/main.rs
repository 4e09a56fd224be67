//! Shows the exercises one by one, and checks them. `--help` says how it is called.
use lexopt::{
    Arg::{Long, Short, Value},
    ValueExt,
};
use std::{process::ExitCode, time::Duration};

// First, since it holds a macro.
#[macro_use]
mod screen;

mod batch;
mod capstone;
mod catalog;
mod checks;
mod commands;
mod grade;
mod hints;
mod isolation;
mod progress;
mod report;
mod run;
mod task;
mod verify;
mod watch;

const COMMANDS: [&str; 10] =
    ["next", "list", "run", "watch", "hint", "solution", "reset", "verify", "capstone", "grade"];

const USAGE: &str = "\
cargo run -p rungs-exercises -- COMMAND

  (none)        the next exercise
  list [NAME]   all, and your progress
  run NAME      build it, run its tests
  watch [NAME]  the same after each save
  hint NAME     one more step each time
  solution NAME how yours differs
    --anyway    also if not begun
  reset NAME    begin again; your file
                is kept beside it
    --tests     only its tests again
  verify        all that you have begun
    --course    tasks and solutions
  capstone      measure your capstone

NAME: the beginning of a name will do,
with its lesson or without: s01_answer,
answer; the path of its file, too.

For teachers:
  grade DIR...  a folder a student: CSV
    --json FILE - is standard output
    --csv FILE
    --only NAME,NAME
    --limit SECONDS, of one exercise
    --require   1 unless all is solved
  capstone DIR...
                points, as JSON
";

fn main() -> ExitCode {
    match command() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen::warn(&error);
            ExitCode::from(2)
        }
    }
}

/// Does what the command line asks for; false when tests fail.
fn command() -> Result<bool, String> {
    let mut parser = lexopt::Parser::from_env();
    let (mut words, mut flags) = (vec![], vec![]);
    let mut options = grade::Options::default();
    let text = |error: lexopt::Error| error.to_string();
    while let Some(arg) = parser.next().map_err(text)? {
        match arg {
            Short('h') | Long("help") => {
                outln!("{}", USAGE.trim_end());
                return Ok(true);
            }
            Long(flag @ ("tests" | "anyway" | "course" | "require")) => {
                options.require |= flag == "require";
                flags.push(flag.to_string());
            }
            Long(flag @ ("json" | "csv" | "only" | "limit")) => {
                let flag = flag.to_string();
                let value = parser.value().and_then(ValueExt::string).map_err(text)?;
                match &*flag {
                    "json" => options.json = Some(value),
                    "csv" => options.csv = Some(value),
                    "only" => options.only.extend(value.split(',').map(String::from)),
                    _ => options.limit = Some(seconds(&value)?),
                }
                flags.push(flag);
            }
            Value(word) => words.push(word.string().map_err(text)?),
            other => return Err(format!("{}; --help shows all", other.unexpected())),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = words.first().copied().unwrap_or("next");
    for flag in &flags {
        let of = match &**flag {
            "tests" => "reset",
            "anyway" => "solution",
            "course" => "verify",
            _ => "grade",
        };
        if command != of {
            return Err(format!("--{flag} belongs to `{of}`"));
        }
    }
    match words[..] {
        [] | ["next"] => commands::show_next().map(|()| true),
        ["list"] => commands::list(None).map(|()| true),
        ["list", name] => commands::list(Some(name)).map(|()| true),
        ["run", name] => commands::run_named(name),
        ["watch"] => watch::watch(None).map(|()| true),
        ["watch", name] => watch::watch(Some(name)).map(|()| true),
        ["hint", name] => commands::hint(name, None).map(|()| true),
        ["hint", name, number] => match number.parse() {
            Ok(number) => commands::hint(name, Some(number)).map(|()| true),
            Err(_) => Err(format!("`{number}` is no number of a hint")),
        },
        ["solution", name] => commands::solution(name, !flags.is_empty()).map(|()| true),
        ["reset", name] => commands::reset(name, !flags.is_empty()).map(|()| true),
        ["verify"] if flags.is_empty() => verify::work(),
        ["verify"] => verify::course(""),
        ["verify", prefix] if !flags.is_empty() => verify::course(prefix),
        ["capstone"] => capstone::own(),
        ["capstone", ref folders @ ..] => capstone::of_class(folders).map(|()| true),
        ["grade", ref folders @ ..] => {
            options.folders = folders.iter().map(|folder| folder.to_string()).collect();
            grade::grade(&options)
        }
        [command @ ("run" | "hint" | "solution" | "reset")] => {
            Err(format!("`{command}` needs the name of an exercise; `list` shows all"))
        }
        [command, ..] if COMMANDS.contains(&command) => {
            Err(format!("`{command}` does not take so many words; --help shows all"))
        }
        [first, ..] => {
            let like = catalog::closest(first, COMMANDS.into_iter().map(|name| (name, name)));
            Err(format!("`{first}` is no command; {like}--help shows all"))
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("--limit: `{text}` is no number of seconds above 0")),
    }
}
