//! The command line of every lesson, and the options that a lesson adds to it.
use crate::stage::ROOT;
use lexopt::{
    Arg::{Long, Short, Value},
    ValueExt,
};
use rungs_core::{Error, Result};
use rungs_files::read_config;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// An option that one lesson adds to the command line.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// What `--help` calls its value; `None` for an option without one.
    pub value: Option<&'static str>,
    /// What it does, in a few words.
    pub help: &'static str,
}

/// What was asked for on the command line.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) prompt: Vec<String>,
    pub(crate) keep: bool,
    pub(crate) sandbox: bool,
    /// The folder to work in, instead of the current one or a new one.
    pub(crate) folder: Option<PathBuf>,
    /// The file that becomes the recording of the run.
    pub(crate) record: Option<PathBuf>,
    pub(crate) help: bool,
    /// The values of the lesson's own options that were given; empty for one without a value.
    pub(crate) flags: BTreeMap<&'static str, String>,
}

impl Args {
    /// Reads the program's command line.
    ///
    /// # Errors
    /// Names the argument that is unknown or lacks its value.
    pub(crate) fn read(flags: &[Flag]) -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_env();
        let mut args = Args::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("keep") => args.keep = true,
                Long("sandbox") => args.sandbox = true,
                Long("folder") => args.folder = Some(parser.value()?.into()),
                Long("record") => args.record = Some(parser.value()?.into()),
                Long("help") | Short('h') => args.help = true,
                Value(word) => args.prompt.push(word.string()?),
                Long(name) => {
                    let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
                        return Err(arg.unexpected());
                    };
                    let value = match flag.value {
                        Some(_) => parser.value()?.string()?,
                        None => String::new(),
                    };
                    args.flags.insert(flag.name, value);
                }
                other => return Err(other.unexpected()),
            }
        }
        if args.sandbox && args.folder.is_some() {
            return Err("--sandbox makes a folder, --folder names one; give one of them".into());
        }
        Ok(args)
    }
}

/// How the program of this lesson is called.
pub(crate) fn usage(lesson: &str, flags: &[Flag]) -> String {
    let own: String = flags.iter().map(line).collect();
    USAGE.replace("LESSON", lesson).replace("FLAGS", &own)
}

fn line(flag: &Flag) -> String {
    let mut option = format!("--{}", flag.name);
    if let Some(value) = flag.value {
        option += &format!(" {value}");
    }
    format!("\n  {option:<42} {}", flag.help)
}

const USAGE: &str = "\
Usage
  cargo run --example LESSON                 a prompt
  cargo run --example LESSON -- \"question\"   one answer, on standard output
  echo question | cargo run --example LESSON each line is a prompt
  --keep                                     keeps the folder in which a rehearsal plays
  --sandbox                                  a live model works in such a folder, too
  --folder FOLDER                            works in this folder, such as one that was kept
  --record FILE                              records the run in a new file, for the playerFLAGS

At the prompt";

/// The folder that `--folder` names, as an absolute path.
pub(crate) fn existing(named: &Path) -> Result<PathBuf> {
    let wrong = |why: &str| Error::setting("--folder", format!("{}: {why}", named.display()));
    let folder = named.canonicalize().map_err(|error| wrong(&error.to_string()))?;
    if folder.is_dir() { Ok(folder) } else { Err(wrong("it is no folder")) }
}

/// The head of a lesson, the `//!` lines that its file begins with: what `--help` and `:help`
/// print.
pub(crate) fn head(file: &Path) -> Result<String> {
    let source = read_config(file).map_err(Error::config)?;
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: String =
        lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    // On a terminal there are no links.
    Ok(head.replace("[`", "`").replace("`]", "`"))
}

/// Where the lines typed in this lesson are kept.
pub(crate) fn history(lesson: &str) -> PathBuf {
    Path::new(ROOT).join(".rungs").join(lesson).join("history.txt")
}
