// # What does a subagent know
//
// predict, level 1, 15 minutes. Read: examples/s04_subagent.rs, core/src/children.rs
//
// An agent has the plan of lesson 3 and the subagents of lesson 4. Somebody types "The launch is on
// Friday. Check both services." This is what the models reply, each line to one request:
//
//     main    todo_write: one item, "Check both services"
//     main    task: two jobs, "check ann" and "check bob"
//     ann     todo_read
//     ann     "fine"
//     bob     "fine too"
//     main    "Both are fine."
//
// Fill in the constants, and then run it. The test says which are not right yet.
//
// Run: cargo run -p rungs-exercises -- run s04_what_it_knows

/// How many requests the server gets, of all agents together.
const REQUESTS: usize = 0;
/// How many messages the main conversation has at the end.
const MAIN_MESSAGES: usize = 0;
/// How many blocks of text stand in the first message of ann's first request.
const BLOCKS_IN_FIRST: usize = 0;
/// Whether ann could say when the launch is: `Some(true)` or `Some(false)`.
const ANN_KNOWS_THE_LAUNCH: Option<bool> = None;
/// Whether ann's `todo_read` returns the plan of the main agent.
const ANN_READS_THE_PLAN: Option<bool> = None;
/// Whether ann could start subagents of her own.
const ANN_HAS_TASK: Option<bool> = None;
/// Whether the request that leads to "Both are fine." holds what `todo_read` returned to ann.
const MAIN_READS_IT: Option<bool> = None;

mod tests {
    use super::*;
    use lessons::{s03_todo_write, s04_subagent};
    use rehearsal::{call, say, scene};
    use rungs_exercises::support::play;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn it_is_as_predicted() {
        let job = |name: &str| json!({"description": name, "prompt": format!("check {name}")});
        let main = [
            call("todo_write", json!({"todos": [{"content": "Check both services"}]})),
            call("task", json!({"tasks": [job("ann"), job("bob")]})),
            say("Both are fine."),
        ];
        let scenes = [
            scene("^The launch", main),
            scene("^check ann$", [call("todo_read", json!({})), say("fine")]),
            scene("^check bob$", [say("fine too")]),
        ];
        let play =
            play(scenes, |agent, _| s04_subagent::install(s03_todo_write::install(agent))).await;
        let (_, chat) = play.ask("The launch is on Friday. Check both services.").await;
        let bodies = play.bodies();
        let of_ann = |body: &&Value| body["messages"][0].to_string().contains("check ann");
        let ann: Vec<&Value> = bodies.iter().filter(of_ann).collect();
        let last = bodies.last().unwrap()["messages"].to_string();
        let no_plan = "There is no plan yet";
        let all_of_ann = ann.iter().map(|body| body.to_string()).collect::<String>();
        let checks = [
            ("REQUESTS", REQUESTS == bodies.len()),
            ("MAIN_MESSAGES", MAIN_MESSAGES == chat.messages().len()),
            (
                "BLOCKS_IN_FIRST",
                BLOCKS_IN_FIRST == ann[0]["messages"][0]["content"].as_array().unwrap().len(),
            ),
            ("ANN_KNOWS_THE_LAUNCH", ANN_KNOWS_THE_LAUNCH == Some(all_of_ann.contains("Friday"))),
            ("ANN_READS_THE_PLAN", ANN_READS_THE_PLAN == Some(!all_of_ann.contains(no_plan))),
            (
                "ANN_HAS_TASK",
                ANN_HAS_TASK == Some(ann[0]["tools"].to_string().contains("\"task\"")),
            ),
            ("MAIN_READS_IT", MAIN_READS_IT == Some(last.contains(no_plan))),
        ];
        let wrong: Vec<&str> =
            checks.iter().filter(|(_, right)| !right).map(|(name, _)| *name).collect();
        let help = "A subagent begins with an empty conversation. What is put into it, and by \
                    whom? What does it share with its parent, and what belongs to a conversation? \
                    Only its last message goes back.";
        assert!(wrong.is_empty(), "not right yet: {}.\n\n{help}", wrong.join(", "));
    }
}
