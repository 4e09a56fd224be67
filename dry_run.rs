//! The dry run: calls are judged and not made.
use crate::rulings::{judge, tree};
use rungs_core::{Agent, Context, Error, Model, Reply, Request, Result, ToolCall, tools};
use rungs_permissions::{Decision, Mode, Policy};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The exit code for wrong use and for a file of rules that cannot be used.
const USAGE_ERROR: u8 = 2;

/// A call that is judged and not made.
struct DryRun {
    /// The call.
    call: ToolCall,
    /// An agent that would make it: with the tools of core, and without a model.
    cx: Context,
    /// The mode, if it is not that of the configuration.
    mode: Option<Mode>,
}

/// Nobody is asked anything.
struct NoModel;

impl Model for NoModel {
    async fn reply(&self, _: &Request, _: &Context) -> Result<Reply> {
        Err(Error::NothingToAnswer)
    }
}

/// A line of `check`.
#[derive(Deserialize)]
struct Line {
    tool: String,
    input: Value,
    #[serde(default)]
    cwd: PathBuf,
    mode: Option<String>,
}

impl DryRun {
    fn read(line: &[u8], here: &Path) -> Result<Self, String> {
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mode = line.mode.map(|mode| mode.parse()).transpose()?;
        let call = ToolCall { id: String::new(), name: line.tool, input: line.input };
        Ok(DryRun { mode, ..DryRun::new(call, here.join(line.cwd)) })
    }

    /// The rules of a folder are read once.
    async fn judge(
        self,
        rules: impl Fn(&Path) -> Result<(Policy, Mode)>,
        known: &mut HashMap<PathBuf, (Policy, Mode)>,
    ) -> Result<Decision> {
        let folder = self.cx.cwd();
        if !known.contains_key(folder) {
            known.insert(folder.into(), rules(folder)?);
        }
        let (policy, mode) = known[folder].clone();
        Ok(judge(policy, self.mode.unwrap_or(mode), &self.call, &self.cx).await)
    }

    fn new(call: ToolCall, folder: PathBuf) -> Self {
        DryRun { call, cx: tools::all(Agent::new(NoModel, folder)).context(), mode: None }
    }
}

/// A call of bash.
pub fn bash(command: &str) -> ToolCall {
    ToolCall { id: String::new(), name: "bash".into(), input: json!({ "command": command }) }
}

/// The subcommands of the command line that make no call: `check` judges those of standard input,
/// a JSON line each, and `explain COMMAND` draws one, by the rules of a folder. `None` when the
/// command line is neither.
pub fn dry_run(rules: impl Fn(&Path) -> Result<(Policy, Mode)>) -> Option<ExitCode> {
    let words: Vec<_> = std::env::args_os().skip(1).map(|word| word.into_string()).collect();
    let words: Vec<&str> = words.iter().filter_map(|word| word.as_deref().ok()).collect();
    let end = async |words: &[&str]| {
        let here = std::env::current_dir().map_err(Error::at("the current folder"))?;
        match words {
            ["check"] => check(&rules, &here).await,
            ["explain", command] => explain(&rules, here, command).await,
            _ => Err(Error::setting("usage", "`-- check`, or `-- explain 'COMMAND'`")),
        }
    };
    let (Some(&"check") | Some(&"explain")) = words.first() else { return None };
    let runtime = tokio::runtime::Runtime::new().map_err(Error::other);
    Some(match runtime.and_then(|runtime| runtime.block_on(end(&words))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            let wrong_use = matches!(error, Error::Config { .. } | Error::Setting { .. });
            ExitCode::from(if wrong_use { USAGE_ERROR } else { 1 })
        }
    })
}

async fn explain(
    rules: impl Fn(&Path) -> Result<(Policy, Mode)>,
    folder: PathBuf,
    command: &str,
) -> Result<u8> {
    let known = &mut HashMap::new();
    let decision = DryRun::new(bash(command), folder).judge(&rules, known).await?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = io::stdout().is_terminal() && !plain;
    print_line(&tree(&decision, colour))?;
    Ok(0)
}

async fn check(rules: impl Fn(&Path) -> Result<(Policy, Mode)>, here: &Path) -> Result<u8> {
    // A file of rules that cannot be used is found before the first line is read.
    let mut known = HashMap::new();
    DryRun::new(bash("true"), here.into()).judge(&rules, &mut known).await?;
    let mut code = 0;
    for (line, number) in io::stdin().lock().split(b'\n').zip(1..) {
        let line = line.map_err(Error::at("standard input"))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let judged = match DryRun::read(&line, here) {
            Ok(run) => run.judge(&rules, &mut known).await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        let judged = judged.map(|decision| json!(decision)).unwrap_or_else(|why| {
            code = 1;
            json!({"error": format!("line {number}: {why}")})
        });
        print_line(&judged.to_string())?;
    }
    Ok(code)
}

fn print_line(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::at("standard output"))
}
