use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout},
    time::{Instant, timeout_at},
};

/// How many times its limit a call may take in all.
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
        self.id += 1;
        let params = json!({"name": tool, "arguments": {}});
        let request = json!({"jsonrpc": "2.0", "id": self.id, "method": "tools/call",
                             "params": params});
        let gone = |error: std::io::Error| format!("the server is gone: {error}");
        self.requests.write_all(format!("{request}\n").as_bytes()).await.map_err(gone)?;
        let begin = Instant::now();
        let mut last = begin;
        let answer = loop {
            let end = (last + limit).min(begin + limit * MAX_EXTENSIONS);
            let Ok(line) = timeout_at(end, self.answers.next_line()).await else {
                return Err(format!("the server was silent for {limit:?}; the call was given up"));
            };
            let Some(line) = line.map_err(gone)? else { return Err("the server has ended".into()) };
            // A log, if it is no JSON.
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            if message["method"] == "notifications/progress" {
                last = Instant::now();
            }
            if message["id"] == self.id {
                break message;
            }
        };
        if let Some(why) = answer["error"]["message"].as_str() {
            return Err(format!("the server refuses: {why}"));
        }
        let result = &answer["result"];
        match result["content"][0]["text"].as_str() {
            Some(text) if result["isError"] == true => Err(text.into()),
            Some(text) => Ok(text.into()),
            None => Err(format!("the server answered without a text: {answer}")),
        }
    }
}
