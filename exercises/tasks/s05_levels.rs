// # What does a request carry
//
// predict, level 1, 15 minutes. Read: examples/s05_skill_loading.rs
//
// An agent has the skills of lesson 5, and there is one: `review`. Its description is "Reviews
// changes", its instructions are "Look twice", and it has a file `more.md`, whose text is "Look a
// third time". The model answers one prompt with these replies, one for each request:
//
//     1. load_skill {"name": "review"}
//     2. load_skill {"name": "review", "file": "more.md"}
//     3. load_skill {"name": "review"}
//     4. "Done."
//
// Say how many of the four requests carry each of the three texts, whatever their place in the
// request is, and how often the instructions stand in the last request.
//
// Run: cargo run -p rungs-exercises -- run s05_levels

const WITH_DESCRIPTION: usize = 0;
const WITH_INSTRUCTIONS: usize = 0;
const WITH_MORE: usize = 0;
const INSTRUCTIONS_IN_LAST: usize = 0;

mod tests {
    use super::*;
    use lessons::s05_skill_loading::{Skills, install};
    use rehearsal::{call, say, scene};
    use rungs_exercises::support::play;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn requests_carry_what_was_predicted() {
        let load = |input: Value| call("load_skill", input);
        let turns = [
            load(json!({"name": "review"})),
            load(json!({"name": "review", "file": "more.md"})),
            load(json!({"name": "review"})),
            say("Done."),
        ];
        let play = play([scene("^go$", turns)], |agent, dir| {
            let folder = dir.join("skills/review");
            std::fs::create_dir_all(&folder).unwrap();
            let text = "---\nname: review\ndescription: Reviews changes\n---\nLook twice\n";
            std::fs::write(folder.join("SKILL.md"), text).unwrap();
            std::fs::write(folder.join("more.md"), "Look a third time").unwrap();
            install(agent, Skills::find(&[dir.into()]))
        })
        .await;
        play.ask("go").await;
        let bodies: Vec<String> = play.bodies().iter().map(Value::to_string).collect();
        assert_eq!(bodies.len(), 4, "the play has changed; the task must be changed with it");
        let with = |text: &str| bodies.iter().filter(|body| body.contains(text)).count();
        let in_last = bodies[3].matches("Look twice").count();
        let checks = [
            ("WITH_DESCRIPTION", WITH_DESCRIPTION == with("Reviews changes")),
            ("WITH_INSTRUCTIONS", WITH_INSTRUCTIONS == with("Look twice")),
            ("WITH_MORE", WITH_MORE == with("Look a third time")),
            ("INSTRUCTIONS_IN_LAST", INSTRUCTIONS_IN_LAST == in_last),
        ];
        let wrong: Vec<&str> =
            checks.iter().filter(|(_, right)| !right).map(|(name, _)| *name).collect();
        let help = "Every request carries the system text and the whole conversation so far. In \
                    which request does the result of a call appear first, and what becomes of it? \
                    What does the third call return?";
        assert!(wrong.is_empty(), "not right yet: {}.\n\n{help}", wrong.join(", "));
    }
}
