//! # s02: adding a tool means adding one handler
//!
//! With bash alone a model can do much, and get much wrong: it guesses at flags, and it cannot add.
//! A tool of its own for one purpose does that part reliably. This lesson writes one,
//! [`SumColumn`], and adds it to the six that core has. Nothing else changes, since dispatch is a
//! look-up by name.
//!
//! ```text
//! tool call {name, input} -> find the tool by name -> check input against its schema -> run it
//!                                   |                            |                        |
//!                              unknown name                  wrong input                failure
//!                                   +----------------------------+------------------------+
//!                                                                v
//!                                            a tool result that says what would be right
//! ```
//!
//! Every path ends in a result. A name that does not exist, arguments that do not fit, a missing
//! file: the model reads what was wrong and tries again, so an error message is part of the prompt.
//! This is the look-up, from `core/src/dispatch.rs`:
//!
//! ```text
//!         match cx.agent.find(&call.name) {
//!             Some(tool) => call.finish(tool.call(&call.input, cx).await),
//!             None => {
//!                 let names = cx.agent.tool_names().join(", ");
//!                 call.refuse(format!("there is no tool `{}`; the tools are {names}", call.name))
//!             }
//!         }
//! ```
//!
//! Terms: **dispatch map**, **JSON Schema** (here made from a Rust type: its doc comments are what
//! the model reads), **validation**, **effect** (what a call does to the world, for later lessons).
//!
//! Run it: `cargo run --example s02_tool_use`
//!
//! You will see the model name a column that does not exist, read which ones do, and get it right;
//! then call a tool that does not exist, and use bash instead.
//!
//! Try, and predict first:
//! 1. Give [`SumInput`] a field `filter`, such as `region = north`. Which other file must change?
//! 2. Remove the doc comment of [`SumInput`]. When is the mistake found, and by whom?
//! 3. Let `call` return `"wrong"` as its only error text. What can the model do with that?
//!
//! Pitfalls: a path that the model names must pass the guard ([`paths::open`]), or it can read your
//! keys; a tool that returns a wrong number is worse than one that refuses; a file may be larger
//! than the memory, and one cell of it larger than the context window.
//!
//! A product also limits how long a tool may run, and has tools that come and go with servers
//! (s21).
//!
//! Builds on s01. Motto: *Adding a tool means adding one handler.*

use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Context, Effect, Result, Tool, ToolError, ToolOutput, ToolSpec, paths};
use rungs_files::{read_text, truncate_to_budget};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{fs::File, process::ExitCode};

/// How large a file may be, and how much is told of what is wrong with it, in bytes.
const MAX_FILE_BYTES: u64 = 10_000_000;
const MAX_ERROR_BYTES: usize = 2000;

/// Adds up a column of a CSV file, which no language model can be trusted with.
#[derive(Debug, Clone, Copy)]
pub struct SumColumn;

// The model reads these comments, and knows nothing else of the tool.
/// Adds up the numbers of one column of a CSV file and counts its rows. Use it instead of adding by
/// yourself.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SumInput {
    /// The CSV file; its first line names the columns.
    file_path: String,
    /// The name of the column.
    column: String,
}

impl Tool for SumColumn {
    type Input = SumInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<SumInput>("sum_column")
    }

    /// It changes nothing, so later lessons may run it beside other tools, and without asking.
    fn effect(&self, _: &SumInput) -> Effect {
        Effect::Reads
    }

    /// For the person who watches.
    fn summary(&self, input: &SumInput) -> Option<String> {
        Some(format!("sum_column {} of {}", input.column, input.file_path))
    }

    async fn call(&self, input: SumInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let SumInput { file_path, column } = input;
        // The model names the file, so the path passes the guard: inside the folder, or not at all.
        let file = paths::open(cx, &file_path)?;
        let sum = read_bounded(file).and_then(|text| sum(&text, &column));
        // What is wrong may quote the file, and whatever a tool returns fills the context.
        let cut = |why| truncate_to_budget(vec![why], MAX_ERROR_BYTES, 0).concat();
        Ok(sum.map_err(|why| ToolError(format!("{file_path}: {}", cut(why))))?.into())
    }
}

/// The text of a file, unless it is too large to hold.
fn read_bounded(file: File) -> Result<String, String> {
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(format!("it has {bytes} bytes, of {MAX_FILE_BYTES} at most; use bash"));
    }
    read_text(file).map_err(|error| error.to_string())
}

/// The sum of a column, in words that tell the model what it needs next. What this simple reader
/// does not understand, it refuses, since a wrong sum would be believed.
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
        let (count, names) = (columns.len(), names.join(", "));
        return Err(format!("there are {count} columns `{column}`; the columns are {names}"));
    };
    let (mut total, mut count) = (0.0, 0);
    for (i, line) in rows {
        let (line_number, found, wanted) = (i + 1, line.split(',').count(), names.len());
        if found != wanted {
            return Err(format!("line {line_number} has {found} cells, the first line {wanted}"));
        }
        let cell = line.split(',').nth(index).unwrap_or_default().trim();
        match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => total += number,
            _ => return Err(format!("line {line_number}: `{cell}` in `{column}` is no number")),
        }
        count += 1;
    }
    // Binary fractions are not exact: 0.1 + 0.2 is 0.30000000000000004.
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
    use lessons::testing::{play, results};
    use rehearsal::{calls, say, scene};
    use serde_json::json;

    #[test]
    fn sums_and_says_what_is_wrong() {
        let fine = sum("\u{feff}a,b\n1,0.1\n3,0.2\n\n", "b").unwrap();
        assert_eq!(fine, "the sum of `b` is 0.3, of 2 rows");
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
    async fn a_huge_file_and_a_huge_cell_are_refused_in_a_few_words() {
        let sum = |file: &str| ("sum_column", json!({"file_path": file, "column": "n"}));
        let turns = [calls([sum("huge.csv"), sum("cell.csv"), sum("bytes.csv")]), say("done")];
        let play = play([scene("^go$", turns)], |agent, dir| {
            std::fs::File::create(dir.join("huge.csv")).unwrap().set_len(3 << 30).unwrap();
            std::fs::write(dir.join("cell.csv"), format!("n\n{}\n", "x".repeat(3_000_000)))
                .unwrap();
            std::fs::write(dir.join("bytes.csv"), b"n\n\xff\n").unwrap();
            install(agent)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let [huge, cell, bytes] = &results(&chat.messages()[2])[..] else { panic!("{chat:?}") };
        assert_eq!(huge, "huge.csv: it has 3221225472 bytes, of 10000000 at most; use bash");
        let cut = "x\n[2998030 bytes cut here to save room]\nx";
        assert!(cell.contains(cut) && cell.len() < 2100, "{cell}");
        assert!(bytes.starts_with("bytes.csv: line 2 is not UTF-8 (Latin-1, perhaps)"), "{bytes}");
    }

    #[tokio::test]
    async fn whatever_is_wrong_comes_back_as_a_result() {
        let sum =
            |file: &str, column: &str| ("sum_column", json!({"file_path": file, "column": column}));
        let turns = [
            calls([
                sum("f.csv", "n"),
                sum("f.csv", "m"),
                sum("../f.csv", "n"),
                ("sum_column", json!({"column": "n"})),
                ("sum_colum", json!({})),
            ]),
            say("done"),
        ];
        let play = play([scene("^go$", turns)], |agent, dir| {
            std::fs::write(dir.join("f.csv"), "n\n1\n2\n").unwrap();
            install(agent)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        assert_eq!(
            results(&chat.messages()[2]),
            [
                "the sum of `n` is 3, of 2 rows",
                "f.csv: there are 0 columns `m`; the columns are n",
                "../f.csv: it is outside the working directory",
                "missing field `file_path`",
                "there is no tool `sum_colum`; the tools are sum_column",
            ]
        );
    }
}
