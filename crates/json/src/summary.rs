//! Calls of tools in words.
use serde_json::Value;

/// How many characters of a value are shown.
const MAX_VALUE_CHARS: usize = 80;

/// A call in one line for a person, without the marks of JSON: `task_create Tag the release, after:
/// 1, 2`. A first argument that is text stands without its key. Objects, and lists that hold more
/// than plain values, are counted; long texts are cut between words.
pub fn summary(name: &str, arguments: &Value) -> String {
    let mut line = name.to_string();
    match arguments {
        Value::Object(fields) => {
            for (index, (key, value)) in fields.iter().enumerate() {
                line.push_str(if index == 0 { " " } else { ", " });
                if index > 0 || !value.is_string() {
                    line.push_str(&format!("{key}: "));
                }
                line.push_str(&in_words(value));
            }
        }
        other => line.push_str(&format!(" {}", in_words(other))),
    }
    line
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            counted(items.len(), "item")
        }
        Value::Array(items) => {
            // More of them would not be shown.
            let items: Vec<String> = items.iter().take(MAX_VALUE_CHARS).map(in_words).collect();
            shortened(&items.join(", "))
        }
        Value::Object(fields) => counted(fields.len(), "field"),
        other => other.to_string(),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The first words of a text, in one line.
fn shortened(text: &str) -> String {
    let words = text.split_whitespace().flat_map(|word| [" ", word]).flat_map(str::chars);
    // One more than is shown, to see whether a word ends there.
    let line: String = words.skip(1).take(MAX_VALUE_CHARS + 1).collect();
    let Some((end, _)) = line.char_indices().nth(MAX_VALUE_CHARS) else {
        return if line.is_empty() { "(empty)".into() } else { line };
    };
    match line.rsplit_once(' ') {
        Some((words, _)) => format!("{words} ..."),
        None => format!("{}...", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_is_told_in_words() {
        for (arguments, line) in [
            (json!({}), "t"),
            (
                json!({"subject": "Tag the release", "after": [1, 2]}),
                "t Tag the release, after: 1, 2",
            ),
            (json!({"item": 3, "status": "completed"}), "t item: 3, status: completed"),
            (json!({"to": "ann", "text": "line\n  \"two\""}), "t ann, text: line \"two\""),
            (json!({"todos": [{"content": "a"}, {"content": "b"}]}), "t todos: 2 items"),
            (json!({"rows": [[1]], "map": {"a": {}}}), "t rows: 1 item, map: 1 field"),
            (json!({"approve": true, "why": null}), "t approve: true, why: null"),
            (json!({"text": " \n", "names": []}), "t (empty), names: (empty)"),
            (json!("cut {"), "t cut {"),
            (json!([1, "two", 3.5]), "t 1, two, 3.5"),
        ] {
            assert_eq!(summary("t", &arguments), line);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_words_and_a_long_word_within() {
        let words = "seven77 ".repeat(10);
        assert_eq!(shortened(&words), words.trim_end());
        assert_eq!(shortened(&format!("{words}8")), format!("{words}..."));
        assert_eq!(shortened(&"ä".repeat(MAX_VALUE_CHARS)), "ä".repeat(MAX_VALUE_CHARS));
        let long = "ä".repeat(5_000_000);
        assert_eq!(shortened(&long), format!("{}...", "ä".repeat(MAX_VALUE_CHARS)));
        assert_eq!(shortened(&format!("a {long}")), "a ...");
        let numbers: Vec<u32> = (0..100_000).collect();
        let line = summary("t", &json!({ "n": numbers }));
        assert!(line.starts_with("t n: 0, 1, 2, ") && line.ends_with(" 20, 21, ..."), "{line}");
    }
}
