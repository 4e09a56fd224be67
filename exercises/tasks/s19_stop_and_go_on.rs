// # Stop, and go on
//
// repair, level 1, 15 minutes. Read: examples/s19_interrupts.rs, core/src/tools/mod.rs
//
// This harness runs the calls of a reply one after the other. Ctrl+C fires the token `stop`. A user
// reports:
//
//   "I stopped the second of three deployments. Since then every prompt fails with status 400."
//
// A colleague tried to answer all calls with `not run`. The status was gone, and another report
// came: "It was in the middle of a deployment when I stopped it. Then it deployed once more."
//
// Change `results` so that the conversation stays valid, whenever the stop comes, and so that the
// model reads what is known: a call that has ended has its own result, of the one that was running
// nobody knows how far it came, and those that had not begun were not run, and are not begun now.
//
// Run: cargo run -p rungs-exercises -- run s19_stop_and_go_on

use rungs_core::{CancellationToken, Message, ToolCall, ToolOutput};

/// For the call that was running.
#[allow(dead_code)]
const INTERRUPTED: &str = "interrupted: it may have run, wholly or in part";
/// For the calls that had not begun.
#[allow(dead_code)]
const NOT_RUN: &str = "not run: the person stopped the turn";

/// Runs the calls of one reply until the person stops it: the message that answers them.
async fn results(
    calls: &[ToolCall],
    stop: &CancellationToken,
    deploy: impl AsyncFn(&ToolCall) -> ToolOutput,
) -> Message {
    let mut results = vec![];
    for call in calls {
        tokio::select! {
            output = deploy(call) => results.push(call.finish(Ok(output))),
            () = stop.cancelled() => break,
        }
    }
    Message::results(results)
}

mod tests {
    use super::*;
    use rehearsal::{calls, say, scene, script};
    use rungs_core::{Agent, Model, Reply, Request, Result, ToolSpec};
    use rungs_exercises::support::results as texts;
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };
    use tokio::time::timeout;

    /// Brings the new version to a server.
    #[derive(Deserialize, JsonSchema)]
    struct Deploy {
        /// The server.
        #[allow(dead_code)]
        server: String,
    }

    /// The calls of a reply, one for each of these servers.
    fn reply(servers: &[&str]) -> Vec<ToolCall> {
        let call = |(i, server): (usize, &&str)| ToolCall {
            id: format!("toolu_{i}"),
            name: "deploy".into(),
            input: json!({ "server": server }),
        };
        servers.iter().enumerate().map(call).collect()
    }

    /// Runs these calls, and presses Ctrl+C once the one for `hangs` is at work, which never ends:
    /// the texts of the results, and the servers for which something was begun.
    async fn stopped(servers: &[&str]) -> (Vec<String>, Vec<String>) {
        let (stop, begun) = (CancellationToken::new(), Mutex::new(vec![]));
        let deploy = async |call: &ToolCall| {
            let server = call.input["server"].as_str().unwrap_or_default().to_string();
            begun.lock().unwrap().push(server.clone());
            if server == "hangs" {
                stop.cancel();
                std::future::pending::<()>().await;
            }
            format!("{server} has the new version").into()
        };
        let calls = reply(servers);
        let message = timeout(Duration::from_secs(2), results(&calls, &stop, deploy)).await;
        let message = message.expect("the person has pressed Ctrl+C, and nothing came back");
        let begun = begun.into_inner().unwrap();
        (texts(&message), begun)
    }

    #[tokio::test]
    async fn nobody_stops_and_all_is_as_before() {
        let (results, _) = stopped(&["a", "b"]).await;
        let both = ["a has the new version", "b has the new version"];
        assert_eq!(results, both, "without a stop each call has its own result");
    }

    #[tokio::test]
    async fn each_call_has_the_result_that_is_true() {
        let (results, _) = stopped(&["a", "hangs", "c"]).await;
        assert_eq!(
            results.len(),
            3,
            "three calls need three results in the very next message, or the API refuses the \
             conversation for ever; these are there: {results:?}"
        );
        assert_eq!(results[0], "a has the new version", "what has ended is known: say it");
        assert_eq!(
            results[1], INTERRUPTED,
            "a model that reads `not run` runs it again; nobody knows how far this call came"
        );
        assert_eq!(results[2], NOT_RUN, "this call had not begun, and that is known too");
    }

    #[tokio::test]
    async fn nothing_is_begun_after_the_stop() {
        let (results, begun) = stopped(&["hangs", "a", "b", "c", "d", "e", "f", "g", "h"]).await;
        assert_eq!(results.len(), 9, "each call needs a result");
        assert_eq!(
            begun,
            ["hangs"],
            "`select!` looks at its branches in a random order: a call in it may begin although \
             the token has fired long ago"
        );
    }

    #[tokio::test]
    async fn the_server_takes_the_conversation_after_a_stop() {
        let deploy = |server: &str| ("deploy", json!({ "server": server }));
        let go = scene("^go$", [calls([deploy("a"), deploy("hangs"), deploy("c")])]);
        let script = script([go, scene("^next$", [say("fine")])]);
        let (client, _server) = lessons::rehearse(script).await.unwrap();
        let cx = Agent::new(client.clone(), ".").context();
        let mut messages = vec![Arc::new(Message::user("go"))];
        let ask = async |messages: &[Arc<Message>]| -> Result<Reply> {
            let tools = vec![Arc::new(ToolSpec::of::<Deploy>("deploy"))];
            let messages = messages.to_vec();
            client.reply(&Request { messages, tools, ..Request::default() }, &cx).await
        };
        let reply = ask(&messages).await.unwrap();
        let stop = CancellationToken::new();
        let hangs = async |call: &ToolCall| {
            if call.input["server"] == "hangs" {
                stop.cancel();
                std::future::pending::<()>().await;
            }
            "done".into()
        };
        let answer = results(&reply.calls(), &stop, hangs).await;
        messages.extend([reply.message, answer.into(), Arc::new(Message::user("next"))]);
        match ask(&messages).await {
            Ok(reply) => assert_eq!(reply.text(), "fine", "the next prompt has its answer"),
            Err(error) => panic!("after Ctrl+C every prompt is refused: {error}"),
        }
    }
}
