//! A model that costs the machine nothing: it answers each request at once with the next reply, and
//! neither reads nor checks what it was sent, as the rehearsal does for milliseconds on the
//! processors that the measured program needs.
use serde_json::{Value, json};
use std::time::Instant;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Child,
};

/// Where a program connects to, and its connection.
pub(crate) struct Server {
    listener: TcpListener,
    stream: Option<BufReader<TcpStream>>,
    replies: usize,
}

/// A request that has been read and waits for its reply.
pub(crate) struct Request {
    /// When its last byte had been read.
    pub(crate) arrived: Instant,
    /// The length of its body.
    pub(crate) bytes: usize,
    streams: bool,
}

impl Server {
    pub(crate) async fn bind() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server { listener, stream: None, replies: 0 }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next request of this program.
    pub(crate) async fn request(&mut self, child: &mut Child) -> Request {
        loop {
            if let Some(stream) = &mut self.stream
                && let Some(request) = read(stream).await
            {
                return request;
            }
            // There is none yet, or it was closed.
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted.unwrap().0,
                ended = child.wait() => panic!("no request, but the end: {}", ended.unwrap()),
            };
            stream.set_nodelay(true).unwrap();
            self.stream = Some(BufReader::with_capacity(256 * 1024, stream));
        }
    }

    /// Answers with a call, or with a text without one; gives the time before the first byte.
    pub(crate) async fn reply(
        &mut self,
        request: &Request,
        call: Option<(&str, Value)>,
    ) -> Instant {
        self.replies += 1;
        let id = format!("toolu_{:06}", self.replies);
        let (kind, body) = match request.streams {
            true => ("text/event-stream", streamed(&id, call)),
            false => ("application/json", whole(&id, call).to_string()),
        };
        let length = body.len();
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let stream = self.stream.as_mut().unwrap();
        let before = Instant::now();
        stream.write_all(response.as_bytes()).await.unwrap();
        before
    }
}

/// Reads a request, of which only its length counts; `None` at the end of the connection.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        let header = line.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let arrived = Instant::now();
    let body = String::from_utf8(body).unwrap();
    Some(Request { arrived, bytes: length, streams: body.contains("\"stream\":true") })
}

fn whole(id: &str, call: Option<(&str, Value)>) -> Value {
    match call {
        Some((name, input)) => {
            let block = json!({"type": "tool_use", "id": id, "name": name, "input": input});
            message(&json!([block]), Some("tool_use"))
        }
        None => message(&json!([{"type": "text", "text": "done"}]), Some("end_turn")),
    }
}

fn streamed(id: &str, call: Option<(&str, Value)>) -> String {
    let (block, delta, stop) = match call {
        Some((name, input)) => (
            json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            "tool_use",
        ),
        None => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": "done"}),
            "end_turn",
        ),
    };
    let events = [
        json!({"type": "message_start", "message": message(&json!([]), None)}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": null},
            "usage": {"output_tokens": 5},
        }),
        json!({"type": "message_stop"}),
    ];
    let text =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(text).collect()
}

fn message(content: &Value, stop: Option<&str>) -> Value {
    json!({
        "id": "msg_bench", "type": "message", "role": "assistant", "model": "bench",
        "content": content, "stop_reason": stop, "stop_sequence": null,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    })
}
