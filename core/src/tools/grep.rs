use super::{Output, Tool, ToolError, ToolSpec, args, blocking};
use crate::{Context, paths};
use rungs_search::Query;
use serde_json::{Value, json};

/// Finds files by what they hold.
pub struct Grep;

impl Tool for Grep {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "grep",
            "Searches files below the working directory with a regular expression, as ripgrep does. Files that git \
             ignores and binary files are left out.",
            json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string", "description": "The regular expression, in Rust's syntax."},
                    "path": {"type": "string", "description": "A file or folder; the working directory unless given."},
                    "glob": {"type": "string", "description": "Only files of these names, such as `*.{ts,tsx}`."},
                    "type": {"type": "string", "description": "Only files of this type, such as `rust` or `py`."},
                    "output_mode": {
                        "type": "string",
                        "enum": ["content", "files_with_matches", "count"],
                        "description": "The lines, the files (so unless given), or how many lines in each file.",
                    },
                    "-i": {"type": "boolean", "description": "Small and large letters are the same."},
                    "-n": {"type": "boolean", "description": "Number the lines; so unless given."},
                    "-A": {"type": "integer", "description": "Lines to show after each match."},
                    "-B": {"type": "integer", "description": "Lines to show before each match."},
                    "-C": {"type": "integer", "description": "Lines to show around each match."},
                    "multiline": {"type": "boolean", "description": "Match across lines."},
                    "head_limit": {"type": "integer", "description": "How many lines or files to show: 250 unless given."},
                    "offset": {"type": "integer", "description": "How many to skip first."},
                },
                "required": ["pattern"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        let query: Query = args(input)?;
        blocking(cx, move |cx, stop| {
            let root = paths::root_to_read(cx, query.path.as_deref().unwrap_or_default())?;
            Ok(rungs_search::grep(&root, &query, stop)?.into())
        })
        .await
    }

    fn read_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Agent,
        tools::{Glob, Outputs, all},
    };

    #[tokio::test]
    async fn both_search_the_agents_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/.git")).unwrap();
        for file in ["a/x.rs", "a/.git/y.rs", "z.rs"] {
            std::fs::write(dir.path().join(file), "needle\n").unwrap();
        }
        let cx = Agent::new(crate::test::Mute, dir.path().join("a")).context();
        let lines = json!({"pattern": "needle", "output_mode": "content", "-C": 1});
        assert_eq!(Grep.call(lines, &cx).await.unwrap().text, "x.rs:1:needle\n");
        assert_eq!(Glob.call(json!({"pattern": "*.rs"}), &cx).await.unwrap().text, "x.rs\n");
        let wrong =
            Grep.call(json!({"pattern": "x", "-C": "1", "colour": true}), &cx).await.unwrap_err().0;
        assert_eq!(wrong, "`-C`: expected a whole number from 0 on, got \"1\"");
        let outside = Glob.call(json!({"pattern": "*", "path": ".."}), &cx).await.unwrap_err().0;
        assert_eq!(outside, "..: it is outside the working directory");
        let output = cx.local::<Outputs>().create().unwrap().1;
        std::fs::write(&output, "line\nneedle\n").unwrap();
        let found = Grep
            .call(json!({"pattern": "needle", "path": output, "output_mode": "count"}), &cx)
            .await
            .unwrap();
        assert_eq!(found.text, "1.txt:1\n[1 in 1 files]\n");
    }

    #[tokio::test]
    async fn a_cancelled_search_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        cx.cancel().cancel();
        assert_eq!(Grep.call(json!({"pattern": "x"}), &cx).await.unwrap_err().0, "stopped");
        assert_eq!(Glob.call(json!({"pattern": "x"}), &cx).await.unwrap_err().0, "stopped");
    }

    #[test]
    fn the_six_come_in_their_order() {
        let agent = all(Agent::new(crate::test::Mute, "."));
        let names: Vec<String> = agent.specs().iter().map(|spec| spec.name.clone()).collect();
        assert_eq!(names, ["bash", "read", "write", "edit", "glob", "grep"]);
        let gentle: Vec<&String> = names.iter().filter(|name| agent.is_read_only(name)).collect();
        assert_eq!(gentle, ["read", "glob", "grep"]);
        for spec in agent.specs() {
            assert_eq!(spec.input_schema["type"], "object");
            for required in spec.input_schema["required"].as_array().unwrap() {
                assert!(
                    spec.input_schema["properties"][required.as_str().unwrap()].is_object(),
                    "{}",
                    spec.name
                );
            }
        }
    }
}
