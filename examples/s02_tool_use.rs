//! # s02: adding a tool means adding one handler
//!
//! With bash alone a model can do much, and get much wrong: it guesses at flags, and it can't add. A tool is a hand made
//! for one thing: a name, a description, a schema for its arguments, and a function. This lesson writes one,
//! [`SumColumn`], and adds it to the six that core has.
//!
//! Nothing else changes, since dispatch is a look-up by name. This is all of it, from `core/src/dispatch.rs`:
//!
//! ```text
//!         match tools.iter().find(|(spec, _)| spec.name == call.name) {
//!             None => {
//!                 let names: Vec<&str> = tools.iter().map(|(spec, _)| spec.name.as_str()).collect();
//!                 call.refuse(format!("there is no tool `{}`; the tools are {}", call.name, names.join(", ")))
//!             }
//!             Some(_) if !call.input.is_object() => {
//!                 call.refuse(format!("the arguments are no JSON object (were they cut?): {}", call.input))
//!             }
//!             Some((_, tool)) => call.finish(tool.call(call.input.clone(), cx).await),
//!         }
//! ```
//!
//! Every arm ends in a result. A name that does not exist, arguments that do not fit, a file that is not there: the
//! model reads what was wrong and what would be right, and tries again. An error message is a prompt.
//!
//! Run it: `cargo run --example s02_tool_use`
//!
//! You will see the model name a column that does not exist, read which ones do, and get it right; then call a tool
//! that does not exist, and make do with bash.
//!
//! Try: give `SumColumn` a `where` argument, such as `region = north`. Only this file changes.
//!
//! Builds on s01. Motto: *Adding a tool means adding one handler.*

use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Context, Output, Result, Tool, ToolError, ToolSpec, paths, tools};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Adds up a column of a CSV file, which no language model can be trusted with.
pub struct SumColumn;

impl Tool for SumColumn {
    fn spec(&self) -> ToolSpec {
        // All that the model knows of the tool: what it does, when to use it, what each argument is.
        ToolSpec::new(
            "sum_column",
            "Adds up the numbers of one column of a CSV file and counts its rows. Use it instead of adding by yourself.",
            json!({
                "type": "object",
                "properties": {
                    "file_path": {"type": "string", "description": "The CSV file; its first line names the columns."},
                    "column": {"type": "string", "description": "The name of the column."},
                },
                "required": ["file_path", "column"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            file_path: String,
            column: String,
        }
        let Args { file_path, column } = tools::args(input)?;
        // The model names the file, so the path goes through the guard: inside the folder, or not at all.
        let text = std::io::read_to_string(paths::open(cx, &file_path)?)?;
        let sum = sum(&text, &column).map_err(|why| ToolError(format!("{file_path}: {why}")))?;
        Ok(sum.into())
    }

    /// It changes nothing, so later lessons may run it beside others, and without asking.
    fn read_only(&self) -> bool {
        true
    }
}

/// The sum of a column, in words that tell the model what it needs next. A sum that may be wrong is none: what this
/// simple reader does not understand, it refuses.
fn sum(csv: &str, column: &str) -> Result<String, String> {
    let csv = csv.trim_start_matches('\u{feff}');
    if csv.contains('"') {
        return Err("it holds quoted cells, which this tool does not read; use bash".into());
    }
    let mut rows = csv.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, head) = rows.next().ok_or("the file is empty")?;
    let names: Vec<&str> = head.split(',').map(str::trim).collect();
    let columns: Vec<usize> = (0..names.len()).filter(|i| names[*i] == column).collect();
    let [index] = columns[..] else {
        return Err(format!(
            "there are {} columns `{column}`; the columns are {}",
            columns.len(),
            names.join(", ")
        ));
    };
    let (mut total, mut count) = (0.0, 0);
    for (i, line) in rows {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != names.len() {
            return Err(format!(
                "line {} has {} cells, the first line {}",
                i + 1,
                cells.len(),
                names.len()
            ));
        }
        let number = cells[index].parse::<f64>().ok().filter(|number| number.is_finite());
        total += number.ok_or_else(|| {
            format!("line {}: `{}` in `{column}` is no number", i + 1, cells[index])
        })?;
        count += 1;
    }
    // Binary fractions leave dust: 0.1 + 0.2 is 0.30000000000000004.
    let total = (total * 1e9).round() / 1e9;
    Ok(format!("the sum of `{column}` is {total}, of {count} rows"))
}

/// Adds the mechanism: one line.
pub fn install(agent: Agent) -> Agent {
    agent.tool(SumColumn)
}

/// The agent of lesson one, with the six tools of core and the one from this file.
pub fn main() -> ExitCode {
    lessons::run("s02_tool_use", async |stage| Ok(install(stage.agent())), agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::Chat;

    #[test]
    fn sums_and_says_what_is_wrong() {
        assert_eq!(
            sum("\u{feff}a,b\n1,0.1\n3,0.2\n\n", "b").unwrap(),
            "the sum of `b` is 0.3, of 2 rows"
        );
        for (csv, wrong) in [
            ("a, b\n1,2", "there are 0 columns `c`; the columns are a, b"),
            ("c,c\n1,2", "there are 2 columns `c`; the columns are c, c"),
            ("c\n1\nx\n", "line 3: `x` in `c` is no number"),
            ("c\nNaN\n", "line 2: `NaN` in `c` is no number"),
            ("a,c\n1\n", "line 2 has 1 cells, the first line 2"),
            ("a,c\n\"x, y\",1\n", "it holds quoted cells, which this tool does not read; use bash"),
            ("", "the file is empty"),
        ] {
            assert_eq!(sum(csv, "c").unwrap_err(), wrong);
        }
    }

    #[tokio::test]
    async fn whatever_is_wrong_comes_back_as_a_result() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f.csv"), "n\n1\n2\n").unwrap();
        let (client, _server) = lessons::rehearse(
            "scenes: [{when: go, turns: [
                {call: [{sum_column: {file_path: f.csv, column: n}}, {sum_column: {file_path: f.csv, column: m}},
                        {sum_column: {file_path: ../f.csv, column: n}}, {sum_column: {column: n}}, {sum_colum: {}}]},
                {say: \"{{ results | map(attribute='text') | join(' | ') }}\"}]}]",
        )
        .await
        .unwrap();
        let agent = install(Agent::new(client, dir.path()));
        let reply = agent_loop(&agent, &mut Chat::new("go")).await.unwrap();
        let text = reply.text();
        let said: Vec<&str> = text.split(" | ").collect();
        assert_eq!(said[0], "the sum of `n` is 3, of 2 rows");
        assert_eq!(said[1], "f.csv: there are 0 columns `m`; the columns are n");
        assert!(said[2].contains("outside"), "{text}");
        assert!(said[3].contains("file_path"), "{text}");
        assert_eq!(said[4], "there is no tool `sum_colum`; the tools are sum_column");
    }
}
