//! A message of Chat Completions, in the forms in which servers write it: whole, or in pieces.
use crate::arguments;
use serde_json::{Map, Value, json};

/// The fields of a message that are read here; all others are kept as they come.
const MESSAGE: [&str; 6] =
    ["role", "content", "refusal", "tool_calls", "function_call", "reasoning_content"];
/// The same of a call and of the function in it.
const CALL: [&str; 6] = ["index", "id", "type", "function", "name", "arguments"];

/// What a server says in one message, or in one piece of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// The model's thinking; empty if there is none.
    pub thinking: String,
    /// Content and refusal, unless they are empty.
    pub texts: Vec<String>,
    /// Whether the refusal is among them.
    pub refused: bool,
    /// The calls, or pieces of them, as they came.
    pub calls: Vec<Value>,
    /// All other fields that say something, and a content that is more than text.
    pub beside: Map<String, Value>,
}

impl Said {
    /// The first choice of an answer or of a chunk, and why it stopped; `None` when nothing is
    /// said in it.
    pub fn of(answer: &Value) -> Option<(Said, &Value)> {
        let choices = answer["choices"].as_array()?;
        let choice = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0)?;
        if choice["error"].is_object() {
            return None;
        }
        let messages = [&choice["delta"], &choice["message"]];
        let message = messages.into_iter().find(|message| message.is_object())?;
        let word = |key: &str| text_of(&message[key]);
        // DeepSeek's name for thinking, and the other name in use; some send both, with the same
        // text.
        let thinking = ["reasoning_content", "reasoning"].map(word);
        let thinking = thinking.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let mut texts = vec![word("content"), word("refusal")];
        let refused = !texts[1].is_empty();
        texts.retain(|text| !text.is_empty());
        let mut calls = match &message["tool_calls"] {
            Value::Array(calls) => calls.clone(),
            one => vec![one.clone()],
        };
        // The older form, of which there is one at most.
        calls.push(json!({"function": message["function_call"]}));
        calls.retain(|call| call["function"].is_object() || call["id"].is_string());
        let mut beside = fields_beside(&MESSAGE, message);
        if let Value::Array(parts) = &message["content"]
            && parts.iter().all(|part| part["type"].is_string())
            && parts.iter().any(|part| part["type"] != "text")
        {
            beside.insert("content".into(), parts.clone().into());
        }
        Some((Said { thinking, texts, refused, calls, beside }, &choice["finish_reason"]))
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Empty if the server gives none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// An object; text that is no JSON stays text.
    pub arguments: Value,
    /// All other fields that say something, those of its function in `function`.
    pub beside: Map<String, Value>,
}

impl Call {
    /// Reads a call.
    pub fn of(call: &Value) -> Self {
        let function = &call["function"];
        let mut beside = fields_beside(&CALL, call);
        let of_function = fields_beside(&CALL, function);
        if !of_function.is_empty() {
            beside.insert("function".into(), of_function.into());
        }
        let arguments = match &function["arguments"] {
            Value::Null => json!({}),
            Value::String(text) => arguments(text),
            // Some servers forget to put it into a string.
            object => object.clone(),
        };
        Call { id: text_of(&call["id"]), name: text_of(&function["name"]), arguments, beside }
    }
}

/// The text of a content, which may come in parts, as it is sent.
fn text_of(content: &Value) -> String {
    match content {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).collect(),
        Value::Object(part) => part.get("text").map_or(String::new(), text_of),
        other => other.to_string(),
    }
}

/// Adds what a later piece says: texts and lists grow, unless a text is only repeated; all else is
/// replaced.
pub fn merge(whole: &mut Value, piece: &Value) {
    match (whole, piece) {
        (Value::Object(whole), Value::Object(piece)) => {
            for (key, value) in piece {
                merge(whole.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(whole), Value::Array(piece)) => whole.extend_from_slice(piece),
        (Value::String(whole), Value::String(piece)) if whole == piece => {}
        (Value::String(whole), Value::String(piece)) => whole.push_str(piece),
        (_, Value::Null) => {}
        (whole, piece) => *whole = piece.clone(),
    }
}

/// Adds a piece of a call to the calls so far. It belongs to the newest call
/// with its id and its index, as far as it has them. One with a name begins another call where that
/// has a name already, unless it repeats it: some servers give all calls the same index, some give
/// neither index nor id.
pub fn add_call_piece(calls: &mut Vec<Value>, mut piece: Value) {
    if !piece.is_object() {
        return;
    }
    if !piece["function"].is_object() {
        piece["function"] = json!({});
    }
    let text = match piece["function"]["arguments"].take() {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    if piece["id"] == "" {
        piece["id"] = Value::Null;
    }
    let continues = |call: &&mut Value| {
        let agrees =
            |key: &str| call[key].is_null() || piece[key].is_null() || call[key] == piece[key];
        let [mine, its] = [&call["function"]["name"], &piece["function"]["name"]];
        // Only where it matters: to parse the whole again for each piece takes time by its square.
        let is_whole = || {
            let text = call["function"]["arguments"].as_str().unwrap_or("");
            text.trim_end().ends_with(['}', '"']) && arguments(text).is_object()
        };
        let is_unnamed = mine.is_null() || its.is_null() || its == "";
        agrees("id") && agrees("index") && (is_unnamed || mine == its && !is_whole())
    };
    match calls.iter_mut().rev().find(continues) {
        Some(call) => {
            merge(call, &piece);
            if let Value::String(whole) = &mut call["function"]["arguments"] {
                whole.push_str(&text);
            }
        }
        None => {
            piece["function"]["arguments"] = text.into();
            calls.push(piece);
        }
    }
}

/// The fields beside those that are known, as far as they say something: an empty one may be
/// refused where it was not asked for.
fn fields_beside(known: &[&str], fields: &Value) -> Map<String, Value> {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let mut beside = fields.as_object().cloned().unwrap_or_default();
    beside.retain(|key, value| !known.contains(&key.as_str()) && says_something(value));
    beside
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the calls are called and given, after these pieces.
    fn calls(pieces: &[Value]) -> Vec<String> {
        let mut calls = vec![];
        for piece in pieces {
            add_call_piece(&mut calls, piece.clone());
        }
        let shown = |call: &Value| {
            let word = |value: &Value| value.as_str().unwrap_or("-").to_string();
            let (name, given) = (&call["function"]["name"], &call["function"]["arguments"]);
            format!("{} {} {}", word(&call["id"]), word(name), word(given))
        };
        calls.iter().map(shown).collect()
    }

    #[test]
    fn pieces_find_their_call_whatever_servers_leave_out() {
        let piece = |keys: Value, name: &str, given: &str| {
            let mut piece = keys;
            piece["function"] = json!({"arguments": given});
            if !name.is_empty() {
                piece["function"]["name"] = name.into();
            }
            piece
        };
        let (a, b) = (r#"{"n":1}"#, r#"{"n":2}"#);
        let two = ["a read {\"n\":1}", "b read {\"n\":2}"];
        let unnamed = ["- read {\"n\":1}", "- read {\"n\":2}"];
        for (expected, pieces) in [
            // As the API does it.
            (
                two,
                vec![
                    piece(json!({"index": 0, "id": "a"}), "read", ""),
                    piece(json!({"index": 0}), "", "{\"n\":"),
                    piece(json!({"index": 1, "id": "b"}), "read", ""),
                    piece(json!({"index": 0}), "", "1}"),
                    piece(json!({"index": 1}), "", b),
                ],
            ),
            // All with index 0, whole or in pieces.
            (
                two,
                vec![
                    piece(json!({"index": 0, "id": "a"}), "read", a),
                    piece(json!({"index": 0, "id": "b"}), "read", "{\"n\":"),
                    piece(json!({"index": 0}), "", "2}"),
                ],
            ),
            // Without an index.
            (
                two,
                vec![
                    piece(json!({"id": "a"}), "read", "{\"n\""),
                    piece(json!({}), "", ":1}"),
                    piece(json!({"id": "b"}), "read", b),
                ],
            ),
            // The id and the name with every piece.
            (
                two,
                vec![
                    piece(json!({"index": 0, "id": "a"}), "read", "{\"n\""),
                    piece(json!({"index": 0, "id": "a"}), "read", ":1}"),
                    piece(json!({"index": 0, "id": "b"}), "read", "{\"n\":2"),
                    piece(json!({"index": 0, "id": "b"}), "read", "}"),
                ],
            ),
            // The id after the name, and an empty one for none.
            (
                two,
                vec![
                    piece(json!({"index": 0, "id": ""}), "read", a),
                    piece(json!({"index": 0, "id": "a"}), "", ""),
                    piece(json!({"index": 1, "id": null}), "read", b),
                    piece(json!({"index": 1, "id": "b"}), "", ""),
                ],
            ),
            // Neither id nor a telling index.
            (
                unnamed,
                vec![
                    piece(json!({"index": 0}), "read", a),
                    piece(json!({"index": 0}), "read", "{\"n\""),
                    piece(json!({}), "", ":2}"),
                ],
            ),
        ] {
            assert_eq!(calls(&pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn what_is_no_piece_is_no_call() {
        let pieces = [json!(null), json!(5), json!([]), json!({"function": "x", "id": "a"})];
        assert_eq!(calls(&pieces), ["a - "]);
    }

    #[test]
    fn fields_grow_with_their_pieces() {
        let mut whole = Value::Null;
        for piece in [
            json!({"role": "assistant", "details": [{"text": "a"}], "n": 1, "x": {"y": "b"}}),
            json!({"role": "assistant", "details": [{"text": "c"}], "n": 2, "x": {"y": "d"}}),
            json!({"role": null, "x": null}),
        ] {
            merge(&mut whole, &piece);
        }
        let details = json!([{"text": "a"}, {"text": "c"}]);
        let expected = json!({"role": "assistant", "details": details, "n": 2, "x": {"y": "bd"}});
        assert_eq!(whole, expected);
    }
}
