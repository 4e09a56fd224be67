use serde_json::Value;

/// What the model said, and the calls that it makes: the name of a tool, and its arguments.
#[derive(Debug, Default, PartialEq)]
struct Reply {
    text: String,
    calls: Vec<(String, Value)>,
}

/// Puts the reply together from the body of an event stream.
fn reply(body: &str) -> Result<Reply, String> {
    let mut text = String::new();
    let mut calls: Vec<(String, String)> = vec![];
    let mut ended = false;
    for event in events(body) {
        match event["type"].as_str() {
            Some("content_block_start") => {
                if let Some(name) = event["content_block"]["name"].as_str() {
                    calls.push((name.into(), String::new()));
                }
            }
            Some("content_block_delta") => {
                let delta = &event["delta"];
                text += delta["text"].as_str().unwrap_or_default();
                if let (Some(piece), Some((_, json))) =
                    (delta["partial_json"].as_str(), calls.last_mut())
                {
                    *json += piece;
                }
            }
            Some("error") => return Err(format!("the server gave up: {}", event["error"])),
            Some("message_stop") => ended = true,
            _ => {}
        }
    }
    if !ended {
        return Err("the stream ended without its last event".into());
    }
    let calls = calls.into_iter().map(|(name, json)| {
        // A call without arguments has no piece of JSON at all.
        let json = if json.is_empty() { "{}" } else { &json };
        let input = serde_json::from_str(json);
        let input = input.map_err(|why| format!("the arguments of `{name}` are cut: {why}"))?;
        Ok((name, input))
    });
    Ok(Reply { text, calls: calls.collect::<Result<_, String>>()? })
}

/// The events of a body that make sense.
fn events(body: &str) -> impl Iterator<Item = Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|json| serde_json::from_str(json).ok())
}
