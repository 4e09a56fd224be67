// # Where does a revert lead?
//
// predict, level 2, 15 minutes. Read: crates/snapshots/src/revert.rs
//
// The files `a` and `b` hold `one`, and there is no file `c`. The agent of lesson 14 is given two
// prompts, and makes these calls:
//
//   turn 1   step 1   edit        a: one -> two
//            step 2   multi_edit  a: two -> three, and b: one -> two
//   turn 2   step 3   write       c: new
//            step 4   edit        a: three -> four
//
// Then a person types four commands, one after the other:
//
//   :revert 2
//   :revert
//   :revert turn 2
//   :revert turn 1
//
// Fill in what `a` and `b` hold after each of them, and whether there is a `c`. The test runs it
// all, with the real lesson.
//
// Run: cargo run -p rungs-exercises -- run s14_reverts

/// After each command: the content of a, the content of b, whether there is a c.
const AFTER: [(&str, &str, bool); 4] = [
    ("?", "?", false), // :revert 2
    ("?", "?", false), // :revert
    ("?", "?", false), // :revert turn 2
    ("?", "?", false), // :revert turn 1
];

mod tests {
    use super::*;
    use lessons::s14_tools_extended::install;
    use rehearsal::{call, say, scene};
    use rungs_core::{Chat, tools};
    use rungs_exercises::support::play;
    use rungs_snapshots::{Limits, Store};
    use serde_json::{Value, json};
    use std::fs;

    const COMMANDS: [&str; 4] = ["2", "", "turn 2", "turn 1"];

    fn edit(file: &str, old: &str, new: &str) -> Value {
        json!({"file_path": file, "old_string": old, "new_string": new})
    }

    #[tokio::test]
    async fn every_command_leads_where_you_say() {
        let both = json!({"edits": [edit("a", "two", "three"), edit("b", "one", "two")]});
        let first = [call("edit", edit("a", "one", "two")), call("multi_edit", both), say("x")];
        let new = call("write", json!({"file_path": "c", "content": "new"}));
        let second = [new, call("edit", edit("a", "three", "four")), say("x")];
        let play = play([scene("^first$", first), scene("^second$", second)], |agent, dir| {
            fs::write(dir.join("a"), "one").unwrap();
            fs::write(dir.join("b"), "one").unwrap();
            let state = durable::Folder::open(dir, ".rungs").unwrap();
            install(tools::all(agent), Store::open(&state, Limits::default()).unwrap())
        })
        .await;
        let mut chat = Chat::default();
        play.run(&mut chat, "first").await.unwrap();
        play.run(&mut chat, "second").await.unwrap();
        let read = |file: &str| fs::read_to_string(play.dir.path().join(file));
        let files = ["a", "b"].map(|file| read(file).unwrap());
        assert_eq!(files, ["four", "two"], "the steps themselves did not go as described");
        for (command, (a, b, c)) in COMMANDS.into_iter().zip(AFTER) {
            play.agent.run_command("revert", command, &mut chat).await.unwrap().unwrap();
            let wrong: Vec<&str> = [
                ("a", read("a").is_ok_and(|text| text == a)),
                ("b", read("b").is_ok_and(|text| text == b)),
                ("c", read("c").is_ok() == c),
            ]
            .into_iter()
            .filter_map(|(file, right)| (!right).then_some(file))
            .collect();
            assert!(
                wrong.is_empty(),
                "after `:revert {command}` you are wrong about: {}. Which step is undone, which \
                 ones come after it, and is a revert a step itself? `:snapshots` in the lesson \
                 shows the list.",
                wrong.join(", ")
            );
        }
    }
}
