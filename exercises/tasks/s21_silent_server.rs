// # A server that is silent
//
// drill, level 3, 35 minutes. Read: examples/s21_mcp_runtime.rs, crates/mcp/src/server.rs
//
// This is a small MCP client: it writes a request as a line of JSON to a server's standard input
// and reads a line with the answer. It works with a server that behaves. These do not:
//
// - one never answers; the agent waited for a night;
// - one answers too late: then the next call gets the answer of the last one;
// - one writes its log to standard output, and notifications between the answers;
// - one works for long and reports progress meanwhile (`notifications/progress`): it must be waited
//   for, but not for ever;
// - one refuses, one says that its tool failed, one ends in the middle of a call.
//
// Make `call` survive them. `limit` is a limit on silence: the time without a sign of life. Only
// progress is a sign of life, a log is none. However much progress is reported, a call ends after
// ten times the limit. Each error says what happened, and no call may panic.
//
// Run: cargo run -p rungs-exercises -- run s21_silent_server

use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout},
};

/// How many times its limit a call may take in all.
#[allow(dead_code)]
const MAX_EXTENSIONS: u32 = 10;

/// A server, spoken to by lines of JSON.
struct Server {
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// The id of the newest request.
    id: u64,
}

impl Server {
    /// Calls a tool: the text of its result, or why there is none.
    async fn call(&mut self, tool: &str, limit: Duration) -> Result<String, String> {
        let _ = limit;
        self.id += 1;
        let params = json!({"name": tool, "arguments": {}});
        let request = json!({"jsonrpc": "2.0", "id": self.id, "method": "tools/call",
                             "params": params});
        self.requests.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let line = self.answers.next_line().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        Ok(answer["result"]["content"][0]["text"].as_str().unwrap().into())
    }
}

mod tests {
    use super::*;
    use std::{process::Stdio, time::Instant};
    use tokio::{
        io::AsyncBufReadExt,
        process::{Child, Command},
        time::timeout,
    };

    /// What the servers are written in: `$id` is the id of the request, and these print answers.
    const WORDS: &str = r#"
        answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$1" "$2"; }
        say() { answer "$1" '"result":{"content":[{"type":"text","text":"'"$2"'"}]}'; }
        progress() { echo '{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'; }
    "#;

    /// Starts a server that runs this for each request. Its process ends with the first value.
    fn server(each: &str) -> (Child, Server) {
        let script = format!(
            "{WORDS}
             while IFS= read -r line; do
                 id=${{line#*\\\"id\\\":}}; id=${{id%%,*}}
                 {each}
             done"
        );
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-c", &script]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let requests = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, Server { requests, answers, id: 0 })
    }

    /// For servers that are silent, and for those that answer.
    const SHORT: Duration = Duration::from_millis(400);
    const LONG: Duration = Duration::from_secs(3);

    /// One call, which must end within four seconds.
    async fn call(server: &mut Server, limit: Duration) -> Result<String, String> {
        match timeout(Duration::from_secs(4), server.call("price", limit)).await {
            Ok(end) => end,
            Err(_) => panic!(
                "4 s, and the call has not ended: its limit is {limit:?} of silence. Nobody is \
                 there at night to press Ctrl+C"
            ),
        }
    }

    fn refused(end: Result<String, String>, what: &str) -> String {
        match end {
            Err(why) => why,
            Ok(text) => panic!("{what}: that is no result, and the model would read {text:?}"),
        }
    }

    #[tokio::test]
    async fn an_answer_is_an_answer() {
        let (_child, mut server) = server("say $id 60");
        assert_eq!(call(&mut server, LONG).await, Ok("60".into()), "a server that behaves");
        assert_eq!(call(&mut server, LONG).await, Ok("60".into()), "and the next one too");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_costs_its_limit_and_no_more() {
        let (_child, mut server) = server(":");
        let begin = Instant::now();
        let why = refused(call(&mut server, SHORT).await, "the server has said nothing");
        assert!(begin.elapsed() < SHORT * 4, "the limit is {SHORT:?}, it took longer: {why}");
        assert!(begin.elapsed() >= SHORT, "it was given up before the limit of {SHORT:?}");
    }

    #[tokio::test]
    async fn a_late_answer_is_not_that_of_the_next_call() {
        let late = "if [ $id = 1 ]; then sleep 0.6; say 1 late; else say $id \"answer $id\"; fi";
        let (_child, mut server) = server(late);
        refused(call(&mut server, SHORT).await, "the first answer came after the limit");
        assert_eq!(
            call(&mut server, LONG).await,
            Ok("answer 2".into()),
            "the answer to a call that was given up still arrives. An answer belongs to the \
             request whose id it carries"
        );
    }

    #[tokio::test]
    async fn what_is_no_answer_is_skipped() {
        let noise = r#"echo 'ready to serve'; echo '{"jsonrpc":"2.0","method":"notifications/x"}';
            echo '[1]'; echo; say $id 60"#;
        let (_child, mut server) = server(noise);
        let why = "logs, notifications, other JSON and blank lines are not what was asked for";
        assert_eq!(call(&mut server, LONG).await, Ok("60".into()), "{why}");
    }

    #[tokio::test]
    async fn whoever_reports_progress_is_waited_for() {
        let works = "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; progress; done; say $id done";
        let (_child, mut server) = server(works);
        let why = "it worked for a second and reported all the time; the limit is on silence";
        let limit = Duration::from_millis(700);
        assert_eq!(call(&mut server, limit).await, Ok("done".into()), "{why}");
    }

    #[tokio::test]
    async fn a_log_is_no_sign_of_life() {
        let (_child, mut server) = server("while sleep 0.1; do echo 'still here'; done");
        let begin = Instant::now();
        refused(call(&mut server, SHORT).await, "the server has only written its log");
        assert!(begin.elapsed() < SHORT * 4, "a log line must not renew the limit");
    }

    #[tokio::test]
    async fn progress_is_not_believed_for_ever() {
        let (_child, mut server) = server("while sleep 0.03; do progress; done");
        let limit = Duration::from_millis(150);
        let end = timeout(Duration::from_secs(4), server.call("price", limit)).await;
        let end = end.expect("a server that reports progress for ever is waited for for ever");
        refused(end, "the server has only reported progress");
    }

    #[tokio::test]
    async fn a_refusal_and_a_failure_are_errors_with_their_words() {
        let refuses = r#"answer $id '"error":{"code":-32602,"message":"no tool price"}'"#;
        let (_child, mut first) = server(refuses);
        let why = refused(call(&mut first, LONG).await, "the server has refused the call");
        assert!(why.contains("no tool price"), "the server has said why; pass it on: {why:?}");
        let fails = r#"answer $id '"result":{"isError":true,"content":[{"text":"sold out"}]}'"#;
        let (_child, mut second) = server(fails);
        let why = refused(call(&mut second, LONG).await, "`isError` says that the tool has failed");
        assert!(why.contains("sold out"), "the tool has said why; pass it on: {why:?}");
        let (_child, mut third) = server(r#"answer $id '"result":{}'"#);
        refused(call(&mut third, LONG).await, "the result has no text");
    }

    #[tokio::test]
    async fn a_server_that_ends_is_noticed_at_once() {
        let (_child, mut server) = server("exit 3");
        let begin = Instant::now();
        refused(call(&mut server, LONG).await, "the server has ended");
        assert!(begin.elapsed() < LONG, "its output has ended: there is nothing to wait for");
        refused(call(&mut server, LONG).await, "it is still gone");
    }
}
