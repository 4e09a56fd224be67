use super::{Effect, Tool, ToolError, ToolOutput, ToolSpec, blocking};
use crate::{Context, paths};
use rungs_files::Query;

/// Finds files by what they hold.
#[derive(Debug, Clone, Copy)]
pub struct Grep;

impl Tool for Grep {
    type Input = Query;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<Query>("grep")
    }

    fn effect(&self, _: &Query) -> Effect {
        Effect::Reads
    }

    async fn call(&self, query: Query, cx: &Context) -> Result<ToolOutput, ToolError> {
        blocking(cx, move |cx, stop| {
            let root = paths::root_to_read(cx, query.path.as_deref().unwrap_or_default())?;
            Ok(rungs_files::grep(&root, &query, stop)?.into())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Agent, ToolCall,
        test::call,
        tools::{Glob, Outputs, all},
    };
    use serde_json::json;

    #[tokio::test]
    async fn both_search_the_agents_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/.git")).unwrap();
        for file in ["a/x.rs", "a/.git/y.rs", "z.rs"] {
            std::fs::write(dir.path().join(file), "needle\n").unwrap();
        }
        let cx = Agent::new(crate::test::Mute, dir.path().join("a")).context();
        let lines = json!({"pattern": "needle", "output_mode": "content", "-C": 1});
        let left_out = "[left out: .git (closed to tools)]";
        let found = call(Grep, lines, &cx).await.unwrap();
        assert_eq!(found, format!("x.rs:1:needle\n{left_out}\n"));
        let found = call(Glob, json!({"pattern": "*.rs"}), &cx).await.unwrap();
        assert_eq!(found, format!("x.rs\n{left_out}\n"));
        let wrong = call(Grep, json!({"pattern": "x", "-C": "one", "colour": true}), &cx)
            .await
            .unwrap_err();
        assert!(wrong.starts_with("`-C`: expected a whole number from 0"), "{wrong}");
        assert!(wrong.contains("got \"one\"; there is no field `colour` (there are: "), "{wrong}");
        let outside = call(Glob, json!({"pattern": "*", "path": ".."}), &cx).await.unwrap_err();
        assert_eq!(outside, "..: it is outside the working directory");
        let output = cx.resource::<Outputs>().create().unwrap().1;
        std::fs::write(&output, "line\nneedle\n").unwrap();
        let found =
            call(Grep, json!({"pattern": "needle", "path": output, "output_mode": "count"}), &cx)
                .await
                .unwrap();
        assert_eq!(found, "1.txt:1\n[1 in 1 files]\n");
    }

    #[tokio::test]
    async fn a_cancelled_search_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        cx.cancel().cancel();
        assert_eq!(call(Grep, json!({"pattern": "x"}), &cx).await.unwrap_err(), "stopped");
        assert_eq!(call(Glob, json!({"pattern": "x"}), &cx).await.unwrap_err(), "stopped");
    }

    #[test]
    fn the_six_come_in_their_order_and_say_what_they_do() {
        let agent = all(Agent::new(crate::test::Mute, "/project"));
        let names: Vec<String> = agent.specs().iter().map(|spec| spec.name.clone()).collect();
        assert_eq!(names, ["bash", "read", "write", "edit", "glob", "grep"]);
        let cx = agent.context();
        let effect =
            |name: &str, input| cx.effect(&ToolCall { id: "1".into(), name: name.into(), input });
        let file = json!({"file_path": "src/../a", "content": "x"});
        assert_eq!(effect("write", file), Effect::Writes(vec!["/project/a".into()]));
        let edit = json!({"file_path": "/b", "old_string": "x", "new_string": "y"});
        assert_eq!(effect("edit", edit), Effect::Writes(vec!["/b".into()]));
        assert_eq!(effect("bash", json!({"command": "ls"})), Effect::Anything);
        for (name, field) in [("read", "file_path"), ("glob", "pattern"), ("grep", "pattern")] {
            assert_eq!(effect(name, json!({field: "x"})), Effect::Reads, "{name}");
        }
        // Dispatch refuses what cannot be read, so it does nothing.
        assert_eq!(effect("bash", json!({"comand": "ls"})), Effect::Reads);
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
