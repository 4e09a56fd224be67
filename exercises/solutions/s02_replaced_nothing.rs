use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec, paths};
use schemars::JsonSchema;
use serde::Deserialize;

struct Rename;

/// Replaces a whole word by another one, everywhere in a file.
#[derive(Deserialize, JsonSchema)]
struct Input {
    /// The file, relative to the working directory.
    file_path: String,
    /// The word.
    from: String,
    /// The word to put in its place.
    to: String,
}

impl Tool for Rename {
    type Input = Input;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<Input>("rename")
    }

    fn effect(&self, input: &Input) -> Effect {
        Effect::Writes(vec![input.file_path.clone().into()])
    }

    async fn call(&self, input: Input, cx: &Context) -> Result<ToolOutput, ToolError> {
        let Input { file_path, from, to } = input;
        let fault = |error: std::io::Error| ToolError(format!("{file_path}: {error}"));
        let path = paths::locate(cx, &file_path)?;
        let text = std::fs::read_to_string(&path).map_err(fault)?;
        let (mut count, mut near) = (0, 0);
        let renamed = map_words(&text, |word| {
            if word == from {
                count += 1;
                return to.clone();
            }
            near += usize::from(word.contains(&from));
            word.to_string()
        });
        if count == 0 {
            let why = format!("{file_path}: there is no word `{from}`; {near} words contain it");
            return Err(ToolError(why));
        }
        std::fs::write(&path, renamed).map_err(fault)?;
        Ok(format!("{file_path}: renamed {from} to {to}, {count} times").into())
    }
}

/// Puts another word in place of each word, that is, of letters, digits and `_` in a row.
fn map_words(text: &str, mut map: impl FnMut(&str) -> String) -> String {
    let mut mapped = String::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(begin) = rest.find(is_word) {
        let (between, from_word) = rest.split_at(begin);
        let end = from_word.find(|c| !is_word(c)).unwrap_or(from_word.len());
        mapped += between;
        mapped += &map(&from_word[..end]);
        rest = &from_word[end..];
    }
    mapped + rest
}
