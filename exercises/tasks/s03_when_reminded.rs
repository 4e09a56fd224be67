// # When is it reminded
//
// predict, level 2, 15 minutes. Read: examples/s03_todo_write.rs
//
// An agent has the plan of lesson 3, whose `STALE_STEPS` is 3. It is given one prompt, and the
// model answers with these replies, one for each request:
//
//    1. todo_write   two items, the first in progress
//    2. bash
//    3. bash
//    4. todo_read
//    5. bash
//    6. bash
//    7. todo_update  item 1: completed
//    8. bash
//    9. bash
//   10. bash
//   11. bash
//   12. todo_update  item 2: completed
//   13. to 17. bash
//   18. "Done."
//
// Before which requests does a reminder join the conversation? Request 1 is the one that is
// answered by `todo_write`. Fill in `REMINDED`, with as many numbers as there are reminders.
//
// Run: cargo run -p rungs-exercises -- run s03_when_reminded

const REMINDED: &[usize] = &[];

mod tests {
    use super::*;
    use lessons::s03_todo_write;
    use rehearsal::{Turn, call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::play;
    use serde_json::{Value, json};

    fn bash() -> Turn {
        call("bash", json!({"command": "true"}))
    }

    fn completed(item: usize) -> Turn {
        call("todo_update", json!({"item": item, "status": "completed"}))
    }

    /// Which requests hold a reminder that the one before did not hold.
    async fn real() -> Vec<usize> {
        let todos = json!([{"content": "a", "status": "in_progress"}, {"content": "b"}]);
        let turns = [
            call("todo_write", json!({ "todos": todos })),
            bash().repeat(2),
            call("todo_read", json!({})),
            bash().repeat(2),
            completed(1),
            bash().repeat(4),
            completed(2),
            bash().repeat(5),
            say("Done."),
        ];
        let play = play([scene("^go$", turns)], |agent, _| {
            s03_todo_write::install(agent.tool(tools::Bash))
        })
        .await;
        play.ask("go").await;
        let bodies = play.bodies();
        assert_eq!(bodies.len(), 18, "the play has changed; the task must be changed with it");
        let count =
            |body: &Value| body["messages"].to_string().matches("<system-reminder>").count();
        let counts: Vec<usize> = bodies.iter().map(count).collect();
        (2..=counts.len()).filter(|n| counts[n - 1] > counts[n - 2]).collect()
    }

    #[tokio::test]
    async fn the_reminders_come_as_predicted() {
        let real = real().await;
        let right = REMINDED.iter().filter(|number| real.contains(number)).count();
        let help = "`is_stale` is called before each request: first it counts, then it compares. \
                    Write down the counter before each request. What sets it to zero?";
        assert!(
            real == REMINDED,
            "{right} of your {} numbers are right, and there are {} reminders.\n\n{help}",
            REMINDED.len(),
            real.len()
        );
    }
}
