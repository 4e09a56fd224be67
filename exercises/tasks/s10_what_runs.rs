// # What runs before, during and after a plan
//
// predict, level 2, 15 minutes. Read: examples/s10_team_protocols.rs
//
// A lead has spawned ann under the rules of lesson 10. Ann makes the calls below, and the lead
// answers her plans as it is said. Some calls run; the others are refused, by the gate or by the
// protocol. Say which.
//
//   Ann's first turn:
//     1. `read` of a file
//     2. `bash` with `echo 1`
//     3. `task`: a subagent that runs `bash` with `echo 2`. Say whether the `bash` of the subagent
//        runs
//     4. `request` of a plan, "A"
//     5. `request` of another plan, "B"
//     6. `bash` with `echo 3`
//   The lead approves "A". Ann's second turn:
//     7. `bash` with `echo 4`
//     8. `task`: a subagent that runs `bash` with `echo 5`
//     9. `request` of a plan, "C"
//    10. `bash` with `echo 6`
//   The lead rejects "C", and then approves it with a second call of `respond`. Ann's third turn:
//    11. `bash` with `echo 7`
//    12. `read` of a file
//
// Run: cargo run -p rungs-exercises -- run s10_what_runs

/// For each call: `Some(true)` if it runs, `Some(false)` if it is refused.
const RUNS: [Option<bool>; 12] = [
    None, // 1. read
    None, // 2. bash
    None, // 3. bash of a subagent
    None, // 4. request "A"
    None, // 5. request "B"
    None, // 6. bash
    None, // 7. bash, after "A" was approved
    None, // 8. bash of a subagent
    None, // 9. request "C"
    None, // 10. bash
    None, // 11. bash, after "C" was rejected, and then "approved"
    None, // 12. read
];

mod tests {
    use super::*;
    use lessons::{
        s04_subagent,
        s09_agent_teams::{self, Mailboxes, Team},
        s10_team_protocols::{self, REPLY_TIMEOUT},
    };
    use rehearsal::{calls, say, say_results, scene};
    use rungs_core::{Chat, tools};
    use rungs_exercises::support::play;
    use serde_json::{Value, json};

    fn bash(n: u32) -> (&'static str, Value) {
        ("bash", json!({"command": format!("echo {n}")}))
    }

    fn task(n: u32) -> (&'static str, Value) {
        ("task", json!({"tasks": [{"description": "sub", "prompt": format!("run {n}")}]}))
    }

    fn read() -> (&'static str, Value) {
        ("read", json!({"file_path": "notes.txt"}))
    }

    fn plan(text: &str) -> (&'static str, Value) {
        ("request", json!({"to": "lead", "kind": "plan", "text": text}))
    }

    fn respond(approve: bool) -> (&'static str, Value) {
        ("respond", json!({"id": "{{ m[1] }}", "approve": approve, "text": "as I say"}))
    }

    /// Which of the calls ran, in their order.
    async fn run() -> Vec<bool> {
        let mail = tempfile::tempdir().unwrap();
        let folder = durable::Folder::open(mail.path(), "").unwrap();
        let team = Team::new(Mailboxes::open(&folder).await.unwrap());
        let spawn = json!({"name": "ann", "role": "helps", "prompt": "begin"});
        let first = [read(), bash(1), task(2), plan("A"), plan("B"), bash(3)];
        let second = [bash(4), task(5), plan("C"), bash(6)];
        let run = r"^run (\d)$";
        let scenes = [
            scene("^go$", [calls([("spawn_teammate", spawn)]), say("free")]),
            scene(run, [calls([("bash", json!({"command": "echo {{ m[1] }}"}))]), say_results()]),
            scene(r"lead.>\s*begin", [calls(first), say("I wait.")]),
            scene(r"\[request (\w+-\w+), [^\]]*\]\s*A", [calls([respond(true)]), say("Yes.")]),
            scene(r"\[\S+ approved\]", [calls(second), say("I wait again.")]),
            scene(
                r"\[request (\w+-\w+), [^\]]*\]\s*C",
                [calls([respond(false), respond(true)]), say("No. Or yes.")],
            ),
            scene(r"\[\S+ rejected\]", [calls([bash(7), read()]), say("The end.")]),
            scene("from=.ann", [say("Noted.")]),
        ];
        let play = play(scenes, |agent, dir| {
            std::fs::write(dir.join("notes.txt"), "notes\n").unwrap();
            let agent = s04_subagent::install(tools::all(agent));
            let agent = s09_agent_teams::install(agent, &team);
            s10_team_protocols::install(agent, &team, REPLY_TIMEOUT)
        })
        .await;
        play.run_until_idle(&mut Chat::default(), "go").await;
        // All results that ann was given, in their order.
        let asked = play.bodies_of("You are ann,").into_iter();
        let own = asked.filter(|body| body.to_string().contains("<mail id="));
        let newest = own.map(|body| body["messages"].as_array().unwrap().last().unwrap().clone());
        let blocks = newest.flat_map(|message| message["content"].as_array().unwrap().clone());
        let results = blocks.filter(|block| block["type"] == "tool_result");
        let refused = ["not run: ", "illegal: "];
        let ran = results.map(|result| {
            let text = result["content"][0]["text"].as_str().unwrap().to_string();
            !refused.iter().any(|why| text.contains(why))
        });
        let ran: Vec<bool> = ran.collect();
        assert_eq!(ran.len(), 12, "all twelve calls were answered");
        ran
    }

    fn wrong(ran: &[bool], calls: std::ops::RangeInclusive<usize>) -> Vec<usize> {
        calls.filter(|n| RUNS[n - 1] != Some(ran[n - 1])).collect()
    }

    #[tokio::test]
    async fn the_first_turn() {
        let wrong = wrong(&run().await, 1..=6);
        assert!(
            wrong.is_empty(),
            "not so for the calls {wrong:?}. The gate asks what a call does, and for whom the \
             agent works; the table says who may ask in which state"
        );
    }

    #[tokio::test]
    async fn the_second_turn() {
        let wrong = wrong(&run().await, 7..=10);
        assert!(
            wrong.is_empty(),
            "not so for the calls {wrong:?}. Look at `Registry::ask`: what becomes of an approval \
             when its owner asks again?"
        );
    }

    #[tokio::test]
    async fn the_third_turn() {
        let wrong = wrong(&run().await, 11..=12);
        assert!(
            wrong.is_empty(),
            "not so for the calls {wrong:?}. What does the table say to the lead's second answer, \
             and what is left of the first approval?"
        );
    }
}
