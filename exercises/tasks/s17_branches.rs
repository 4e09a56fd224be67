// # Where is the conversation?
//
// predict, level 2, 15 minutes. Read: crates/sessions/src/tree.rs
//
// With the agent of lesson 17, each of the prompts `one`, `two` and `three` makes four messages:
// the prompt, a reply with a call, the result, and the answer. These commands are typed, one after
// the other:
//
//   one
//   two
//   :save here        names this place
//   three
//   :rewind           takes back one turn
//   two
//   :rewind here      returns to the place of this name
//   :fork             a session that shares the past of this one
//   one
//   :rewind 2         takes back two turns
//   :resume FIRST     goes on with the first session
//
// Say how many messages the conversation has after each of the last eight commands, from `three`
// on. The test runs them.
//
// Run: cargo run -p rungs-exercises -- run s17_branches

/// How many messages the conversation has after each command.
const MESSAGES: [(&str, usize); 8] = [
    ("three", 0),
    (":rewind", 0),
    ("two", 0),
    (":rewind here", 0),
    (":fork", 0),
    ("one", 0),
    (":rewind 2", 0),
    (":resume FIRST", 0),
];

mod tests {
    use super::*;
    use lessons::s17_session_management::{SessionLog, install};
    use rehearsal::{call, say, scene};
    use rungs_core::{Chat, tools};
    use rungs_exercises::support::play;
    use serde_json::json;

    const COMMANDS: [&str; 8] =
        ["three", ":rewind", "two", ":rewind here", ":fork", "one", ":rewind 2", ":resume FIRST"];

    #[tokio::test]
    async fn the_path_is_as_long_as_you_say() {
        assert_eq!(MESSAGES.map(|(command, _)| command), COMMANDS, "change the numbers only");
        let scenes = ["one", "two", "three"].map(|word| {
            let step = call("bash", json!({"command": format!("echo {word}")}));
            scene(&format!("^{word}$"), [step, say(word)])
        });
        let play = play(scenes, |agent, dir| {
            let state = durable::Folder::open(dir, ".rungs").unwrap();
            install(agent.tool(tools::Bash), &SessionLog::open(&state, vec![]).unwrap())
        })
        .await;
        let mut chat = Chat::default();
        let first = chat.id().to_string();
        for prompt in ["one", "two"] {
            play.run(&mut chat, prompt).await.unwrap();
        }
        play.agent.run_command("save", "here", &mut chat).await.unwrap().unwrap();
        let mut wrong = vec![];
        for (command, said) in MESSAGES {
            match command.strip_prefix(':') {
                Some(line) => {
                    let (name, args) = line.split_once(' ').unwrap_or((line, ""));
                    let args = args.replace("FIRST", &first);
                    play.agent.run_command(name, &args, &mut chat).await.unwrap().unwrap();
                }
                None => drop(play.run(&mut chat, command).await.unwrap()),
            }
            if chat.messages().len() != said {
                wrong.push(command);
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of 8 are right. The first one that is wrong: `{}`. Draw the records as a tree, and \
             mark after each command where the head is.",
            8 - wrong.len(),
            wrong[0]
        );
    }
}
