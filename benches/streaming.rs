//! What streaming brings, and what it costs: time to the first words, and replies of very many
//! small deltas.
//!
//! `cargo bench --bench streaming`: the agent in this process, before servers on loopback. Nothing
//! is asserted; it prints figures.
use lessons::{s01_loop::agent_loop, s13_streaming};
use rehearsal::{say, scene, script};
use rungs_core::{
    Agent, Chat, Client, Event,
    client::{Endpoint, Format},
};
use std::{
    io::{BufWriter, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Of the reply whose first words are waited for: its pieces, and the time from one to the next.
const PIECES: u64 = 100;
const PACE_MS: u64 = 20;
/// How many deltas of one byte.
const DELTAS: [usize; 4] = [250_000, 500_000, 1_000_000, 2_000_000];

#[tokio::main]
async fn main() {
    // A server that does not stream sends nothing until the last piece is made.
    let text = "12345678".repeat(PIECES as usize);
    let whole = say(&*text).delay_ms(PIECES * PACE_MS);
    let streamed = say(&*text).pace_ms(PACE_MS);
    let server = script([scene("^whole$", [whole]), scene("^streamed$", [streamed])]);
    let server = server.serve().await.unwrap();
    let agent = agent(Format::Anthropic, server.url());
    for (prompt, agent) in
        [("whole", agent.clone()), ("streamed", s13_streaming::install(agent.clone()))]
    {
        let (first, all) = timed(agent, prompt).await;
        println!("{prompt:>8}: first words after {first:>7.1?}, all after {all:.1?}");
    }

    for format in [Format::Anthropic, Format::OpenAi] {
        for count in DELTAS {
            let agent = s13_streaming::install(self::agent(format, &small_deltas(format, count)));
            let start = Instant::now();
            let reply = agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
            let time = start.elapsed();
            assert_eq!(reply.text().len(), count);
            println!(
                "{format:?}, {count:>7} deltas of one byte: {time:.2?}, {:.2} µs each; peak memory \
                 so far: {}",
                time.as_secs_f64() * 1e6 / count as f64,
                peak_memory()
            );
        }
    }
}

fn agent(format: Format, url: &str) -> Agent {
    Agent::new(Client::new(Endpoint::new(format, url, "rehearsal")).unwrap(), ".")
}

/// When the first words were shown, and the last.
async fn timed(agent: Agent, prompt: &str) -> (Duration, Duration) {
    let first = Arc::new(Mutex::new(None));
    let (shown, start) = (first.clone(), Instant::now());
    let agent = agent.listen(move |event, _| {
        if matches!(event, Event::TextDelta(_) | Event::Reply(_)) {
            shown.lock().unwrap().get_or_insert_with(|| start.elapsed());
        }
    });
    agent.run(&mut Chat::default(), prompt, agent_loop).await.unwrap();
    let first = first.lock().unwrap().unwrap();
    (first, start.elapsed())
}

/// The address of a server whose reply is so many deltas. It holds none of them.
fn small_deltas(format: Format, count: usize) -> String {
    let (delta, end) = match format {
        Format::Anthropic => (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#,
            "{\"type\":\"content_block_stop\",\"index\":0}\n\ndata: \
             {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: \
             {\"type\":\"message_stop\"}",
        ),
        Format::OpenAi => (
            r#"{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#,
            "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]",
        ),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 64 * 1024]).unwrap();
        let mut body = BufWriter::new(stream);
        write!(body, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").unwrap();
        for _ in 0..count {
            write!(body, "data: {delta}\n\n").unwrap();
        }
        write!(body, "data: {end}\n\n").unwrap();
    });
    url
}

/// The kernel's own account, in its own words.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown on this system".into(), |line| line.trim().into())
}
