//! Reads JSON arguments, and says what is wrong with them so that a model can mend it.
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Segment, Track};

/// How much of a wrong value is shown, in characters.
const SHOWN: usize = 60;

/// What is wrong with some arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// Reads arguments.
///
/// # Errors
/// Names the field, what was expected and what came, and fields that there are not: left unread, they would do less
/// than the model believes.
pub fn read<T: DeserializeOwned>(input: &Value) -> Result<T, Wrong> {
    let (mut track, mut unknown) = (Track::new(), vec![]);
    let fields = serde_path_to_error::Deserializer::new(input, &mut track);
    let read = serde_ignored::deserialize(fields, |field| {
        unknown.push(format!("there is no field `{field}`"))
    });
    let error = match read {
        Ok(args) if unknown.is_empty() => return Ok(args),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    let path = track.path();
    let wrong = error.map(|error| match error.split_once(", expected ") {
        Some((_, expected)) => {
            format!("`{path}`: expected {}, got {}", plain(expected), shown(input, &path))
        }
        None if path.iter().next().is_none() => error,
        None => format!("`{path}`: {error}"),
    });
    Err(Wrong(wrong.into_iter().chain(unknown).collect::<Vec<_>>().join("; ")))
}

/// Without the names of Rust's own types.
fn plain(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" => "a whole number from 0 on",
        "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        other => other,
    }
}

/// What stands at this place.
fn shown(input: &Value, path: &serde_path_to_error::Path) -> String {
    let at = path.iter().try_fold(input, |at, segment| match segment {
        Segment::Seq { index } => at.get(index),
        Segment::Map { key } => at.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(at),
    });
    let text = at.unwrap_or(input).to_string();
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Args {
        file_path: String,
        limit: Option<usize>,
        mode: Option<Mode>,
        #[serde(default)]
        all: bool,
        #[serde(default)]
        edits: Vec<Edit>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Content,
        Count,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Edit {
        old: String,
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (input, error) in [
            (json!({"file_path": 7}), "`file_path`: expected a string, got 7"),
            (json!({"file_path": null}), "`file_path`: expected a string, got null"),
            (json!({}), "missing field `file_path`"),
            (json!({"path": "f"}), "missing field `file_path`; there is no field `path`"),
            (
                json!({"file_path": "f", "a": 1, "b": 2}),
                "there is no field `a`; there is no field `b`",
            ),
            (
                json!({"file_path": "f", "limit": -1}),
                "`limit`: expected a whole number from 0 on, got -1",
            ),
            (
                json!({"file_path": "f", "limit": "10"}),
                "`limit`: expected a whole number from 0 on, got \"10\"",
            ),
            (
                json!({"file_path": "f", "limit": 1.5}),
                "`limit`: expected a whole number from 0 on, got 1.5",
            ),
            (json!({"file_path": "f", "all": "true"}), "`all`: expected a boolean, got \"true\""),
            (
                json!({"file_path": "f", "mode": "list"}),
                "`mode`: expected `content` or `count`, got \"list\"",
            ),
            (json!({"file_path": "f", "edits": {}}), "`edits`: expected a sequence, got {}"),
            (
                json!({"file_path": "f", "edits": [{"old": "a"}, {"old": 2}]}),
                "`edits[1].old`: expected a string, got 2",
            ),
            (json!({"file_path": "f", "edits": [{}]}), "`edits[0]`: missing field `old`"),
            (
                json!({"file_path": "f", "edits": [{"old": "a", "x": 1}]}),
                "there is no field `edits.0.x`",
            ),
        ] {
            assert_eq!(read::<Args>(&input).unwrap_err().0, error);
        }
        let long = read::<Args>(&json!({"file_path": ["\u{e9}".repeat(1000)]})).unwrap_err().0;
        assert_eq!(
            long,
            format!("`file_path`: expected a string, got [\"{}...", "\u{e9}".repeat(58))
        );
        let right =
            json!({"file_path": "f", "limit": null, "mode": "count", "edits": [{"old": "a"}]});
        let edits = vec![Edit { old: "a".into() }];
        let args =
            Args { file_path: "f".into(), limit: None, mode: Some(Mode::Count), all: false, edits };
        assert_eq!(read(&right), Ok(args));
    }
}
