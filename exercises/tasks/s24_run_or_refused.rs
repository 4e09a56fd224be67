// # Run or refused
//
// predict, level 1, 15 minutes. Read: examples/s24_loop_detection.rs
//
// The agent of lesson 24 meets five models. Each of them makes the calls that are written beside
// it, a reply after the other, and does not stop by itself. Say what becomes of each call: `R` if
// it is run, `x` if it is refused. A text ends where the turn ends, or where the calls end.
//
//     echo A      prints A, each time the same
//     count       prints a number that is one higher each time
//
// Fill in the texts. The test plays the models and looks at the results.
//
// Run: cargo run -p rungs-exercises -- run s24_run_or_refused

/// Nine replies, each with the call `echo A`.
const SAME: &str = "";
/// Twelve replies with one call each: `echo A`, `echo B`, `echo C`, `echo A`, and so on.
const CIRCLE: &str = "";
/// Eight replies, each with the two calls `echo A` and `echo B`: two letters for a reply.
const PAIRS: &str = "";
/// Eight replies, each with the two calls `echo A` and `count`.
const ONE_OF_TWO: &str = "";
/// Five times `echo A`, then once `echo B`, then five times `echo A`, and an answer.
const A_WAY_OUT: &str = "";

mod tests {
    use super::*;
    use lessons::s24_loop_detection;
    use rehearsal::{Turn, calls, say, scene};
    use rungs_core::{Chat, tools};
    use rungs_exercises::support::{play, results};
    use serde_json::{Value, json};

    fn bash(command: &str) -> (&'static str, Value) {
        ("bash", json!({ "command": command }))
    }

    fn echo(what: &str) -> (&'static str, Value) {
        bash(&format!("echo {what}"))
    }

    fn count() -> (&'static str, Value) {
        bash("echo x >> n; wc -l < n")
    }

    /// What becomes of the calls.
    async fn found(turns: impl IntoIterator<Item = Turn>) -> String {
        let play = play([scene("^go$", turns)], |agent, _| {
            s24_loop_detection::install(agent.tool(tools::Bash))
        });
        let (play, mut chat) = (play.await, Chat::default());
        // It may end with an error: the turn was stopped.
        let _ = play.run(&mut chat, "go").await;
        let all = chat.messages().iter().flat_map(|message| results(message));
        all.map(|text| if text.starts_with("not run: ") { 'x' } else { 'R' }).collect()
    }

    fn compare(what: &str, said: &str, found: &str, ask: &str) {
        let same = said.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
        assert!(
            said == found,
            "{what}: your text {said:?} is right for the first {same} calls, and not after them. \
             {ask}"
        );
    }

    #[tokio::test]
    async fn the_same_call() {
        let found = found([calls([echo("A")]).repeat(9)]).await;
        let ask = "The first result is new. How many replies without progress are allowed, and \
                   after how many does the turn end?";
        compare("SAME", SAME, &found, ask);
    }

    #[tokio::test]
    async fn a_circle_of_three() {
        let turns = (0..12).map(|i| calls([echo(["A", "B", "C"][i % 3])]));
        let ask = "A call is compared with all that were made in this turn, not with the last one.";
        compare("CIRCLE", CIRCLE, &found(turns).await, ask);
    }

    #[tokio::test]
    async fn two_calls_in_each_reply() {
        let found = found([calls([echo("A"), echo("B")]).repeat(8)]).await;
        compare("PAIRS", PAIRS, &found, "What is counted: calls, or replies?");
    }

    #[tokio::test]
    async fn one_of_two_brings_something_new() {
        let found = found([calls([echo("A"), count()]).repeat(8)]).await;
        let ask = "What does one new result in a reply do to the count?";
        compare("ONE_OF_TWO", ONE_OF_TWO, &found, ask);
    }

    #[tokio::test]
    async fn a_way_out() {
        let same = || calls([echo("A")]).repeat(5);
        let found = found([same(), calls([echo("B")]), same(), say("end")]).await;
        let ask = "A call that was never made is always run. What is the count after it?";
        compare("A_WAY_OUT", A_WAY_OUT, &found, ask);
    }
}
