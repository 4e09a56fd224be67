//! Shows the exercises one by one, and checks them. `--help` says how it is called.
use lexopt::{
    Arg::{Long, Short, Value},
    ValueExt,
};
use std::process::ExitCode;

// First, since it holds a macro.
#[macro_use]
mod screen;

mod catalog;
mod commands;
mod hints;
mod progress;
mod report;
mod run;
mod task;
mod watch;

const USAGE: &str = "\
cargo run -p rungs-exercises -- COMMAND

  (none)          the next exercise
  list            all, with your progress
  run NAME        build it, run its tests
  watch [NAME]    the same after each save
  hint NAME [N]   one more step each time
  solution NAME   how yours differs
  reset NAME      begin again; your file
                  is kept beside it
    --tests       only the tests again
  next            the next exercise

NAME: the beginning of a name is enough,
with or without its lesson: s01_answer,
answer.
";

fn main() -> ExitCode {
    match command() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Does what the command line asks for; false when tests fail.
fn command() -> Result<bool, String> {
    let mut parser = lexopt::Parser::from_env();
    let (mut words, mut tests) = (vec![], false);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Short('h') | Long("help") => {
                outln!("{}", USAGE.trim_end());
                return Ok(true);
            }
            Long("tests") => tests = true,
            Value(word) => words.push(word.string().map_err(|error| error.to_string())?),
            other => return Err(format!("{}; --help shows all", other.unexpected())),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if tests && words.first() != Some(&"reset") {
        return Err("--tests belongs to `reset`".into());
    }
    match words[..] {
        [] | ["next"] => commands::show_next().map(|()| true),
        ["list"] => commands::list().map(|()| true),
        ["run", name] => commands::run_named(name),
        ["watch"] => watch::watch(None).map(|()| true),
        ["watch", name] => watch::watch(Some(name)).map(|()| true),
        ["hint", name] => commands::hint(name, None).map(|()| true),
        ["hint", name, number] => match number.parse() {
            Ok(number) => commands::hint(name, Some(number)).map(|()| true),
            Err(_) => Err(format!("`{number}` is no number of a hint")),
        },
        ["solution", name] => commands::solution(name).map(|()| true),
        ["reset", name] => commands::reset(name, tests).map(|()| true),
        [command @ ("run" | "hint" | "solution" | "reset")] => {
            Err(format!("`{command}` needs the name of an exercise; `list` shows all"))
        }
        [first, ..] => Err(format!("`{first}` is used otherwise, or unknown; --help shows all")),
    }
}
