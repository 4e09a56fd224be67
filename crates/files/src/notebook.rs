//! Jupyter notebooks as text: read as their cells, and edited in the sources of the cells.
use crate::{
    EditError, Edited, ReadError,
    edit::{MAX_EXCERPTS, find_and_replace, not_found},
    text,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, io::Read};

/// How large a notebook may be with all its images, in bytes.
pub(crate) const MAX_BYTES: u64 = text::MAX_EDIT_BYTES;

/// Whether a file of this name is a notebook.
pub(crate) fn is_notebook(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".ipynb")
}

/// The JSON of a notebook of `size` bytes.
pub(crate) fn read(file: impl Read, size: u64) -> Result<String, ReadError> {
    if size > MAX_BYTES {
        return Err(ReadError::TooLargeNotebook(size));
    }
    text::read_text(file)
}

/// What is wrong with the JSON of a notebook; `None` when it is one.
pub fn notebook_fault(json: &str) -> Option<String> {
    show(json).err().map(|error| error.to_string())
}

/// A notebook as it is shown.
pub(crate) struct Shown<'a> {
    /// The cells with the text of their outputs; of every other output, its media type.
    pub(crate) text: String,
    sources: Vec<Source<'a>>,
}

/// The source of one cell.
struct Source<'a> {
    /// As it is in the JSON.
    raw: &'a str,
    text: String,
    /// Where it is in the text that is shown.
    shown_at: usize,
    has_outputs: bool,
}

/// Makes the text of a notebook from its JSON.
pub(crate) fn show(json: &str) -> Result<Shown<'_>, serde_json::Error> {
    let notebook: Notebook<'_> = serde_json::from_str(json.trim_start_matches('\u{feff}'))?;
    let mut shown = Shown { text: String::new(), sources: vec![] };
    for (index, cell) in notebook.cells.iter().enumerate() {
        shown.text.push_str(&format!("[cell {}: {}]\n", index + 1, cell.cell_type));
        if let Some(raw) = cell.source {
            let Joined(text) = serde_json::from_str(raw.get())?;
            let (shown_at, has_outputs) = (shown.text.len(), !cell.outputs.is_empty());
            push_lines(&text, &mut shown.text);
            shown.sources.push(Source { raw: raw.get(), text, shown_at, has_outputs });
        }
        for output in &cell.outputs {
            output.push_to(&mut shown.text);
        }
    }
    Ok(shown)
}

/// A notebook after an edit.
#[derive(Debug, PartialEq)]
pub struct EditedNotebook {
    /// Its new JSON.
    pub json: String,
    /// The notebook as it is shown, and the places in that text.
    pub shown: Edited,
    /// Whether a cell that was changed has outputs, which are still those of its old source.
    pub has_old_outputs: bool,
}

/// Replaces `old` by `new` in the sources of a notebook's cells, as [`replace`](crate::replace)
/// does in a text, and leaves every other byte of the JSON as it is.
///
/// # Errors
/// When `old` is in no cell or in more than one, or when nothing would change.
pub fn replace_in_notebook(
    json: &str,
    old: &str,
    new: &str,
    all: bool,
) -> Result<EditedNotebook, EditError> {
    let parse = |json| show(json).map_err(|error| EditError::InvalidNotebook(error.to_string()));
    let before = parse(json)?;
    let (mut lines, mut edits) = (vec![], vec![]);
    for (index, source) in before.sources.iter().enumerate() {
        let line = |offset: usize| 1 + before.text[..offset].matches('\n').count();
        match find_and_replace(&source.text, old, new, all) {
            Ok(None) => {}
            Ok(Some(edited)) => {
                lines.push(line(source.shown_at + edited.places[0].start));
                edits.push((index, edited));
            }
            Err(EditError::Ambiguous(found)) => {
                lines.extend(found.iter().map(|found| line(source.shown_at) + found - 1));
            }
            Err(error) => return Err(error),
        }
    }
    if lines.is_empty() {
        return Err(match before.text.contains(old) || json.contains(old) {
            true => EditError::NotInSource,
            false => not_found(&before.text, old),
        });
    }
    if lines.len() > 1 && !all {
        return Err(EditError::Ambiguous(lines));
    }
    let (mut new_json, mut copied) = (String::with_capacity(json.len()), 0);
    for (index, edited) in &edits {
        let raw = before.sources[*index].raw;
        // Both are parts of one text.
        let start = raw.as_ptr().addr() - json.as_ptr().addr();
        new_json.push_str(&json[copied..start]);
        new_json.push_str(&to_json(&edited.text, raw));
        copied = start + raw.len();
    }
    new_json.push_str(&json[copied..]);
    let after = parse(&new_json)?;
    let mut places = vec![];
    for (index, edited) in &edits {
        let at = after.sources[*index].shown_at;
        places.extend(edited.places.iter().map(|place| at + place.start..at + place.end));
    }
    places.truncate(MAX_EXCERPTS);
    let count = edits.iter().map(|(_, edited)| edited.count).sum();
    let has_old_outputs = edits.iter().any(|(index, _)| before.sources[*index].has_outputs);
    let shown = Edited { text: after.text, places, count };
    Ok(EditedNotebook { json: new_json, shown, has_old_outputs })
}

/// A source as JSON, in the form in which it was: one string, or a list of lines with the same
/// white space between them.
fn to_json(source: &str, was: &str) -> String {
    let string = |text: &str| serde_json::Value::from(text).to_string();
    let Some(list) = was.strip_prefix('[').and_then(|list| list.strip_suffix(']')) else {
        return string(source);
    };
    let before = &list[..list.len() - list.trim_start().len()];
    let after = &list[list.trim_end().len()..];
    let between = if before.is_empty() { " " } else { before };
    let lines: Vec<String> = source.split_inclusive('\n').map(string).collect();
    format!("[{before}{}{after}]", lines.join(&format!(",{between}")))
}

fn push_lines(text: &str, shown: &mut String) {
    shown.push_str(text);
    if !shown.is_empty() && !shown.ends_with('\n') {
        shown.push('\n');
    }
}

/// What a terminal shows in the end: of a line that was written again after each return, as
/// progress bars are, the last.
fn last_frames(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        line.rsplit_once('\r').map_or(line, |(_, last)| last)
    });
    lines.collect::<Vec<_>>().join("\n")
}

// Parsed without building values of what is not shown: a small array takes much memory.

#[derive(Deserialize)]
struct Notebook<'a> {
    #[serde(borrow)]
    cells: Vec<Cell<'a>>,
}

#[derive(Deserialize)]
struct Cell<'a> {
    cell_type: String,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default)]
    outputs: Vec<Output<'a>>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(default)]
    text: Joined,
    #[serde(borrow, default)]
    data: Media<'a>,
    ename: Option<String>,
    evalue: Option<String>,
    #[serde(default)]
    traceback: Vec<IgnoredAny>,
}

/// A text: the format allows one string or a list of its lines.
#[derive(Default)]
struct Joined(String);

/// One output in several media types, in their order.
#[derive(Default)]
struct Media<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Joined {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Joined;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<Joined, E> {
                Ok(Joined(text.into()))
            }
            fn visit_unit<E>(self) -> Result<Joined, E> {
                Ok(Joined::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Joined, A::Error> {
                let mut text = String::new();
                while let Some(line) = lines.next_element::<Cow<'de, str>>()? {
                    text.push_str(&line);
                }
                Ok(Joined(text))
            }
        }
        deserializer.deserialize_any(Lines)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Media<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Media<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of media types")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Media<'de>, A::Error> {
                let mut entries = vec![];
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Media(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Output<'_> {
    fn push_to(&self, shown: &mut String) {
        shown.push_str("[output]\n");
        push_lines(&last_frames(&self.text.0), shown);
        let mut plain = None;
        for (media_type, data) in &self.data.0 {
            if media_type == "text/plain"
                && let Ok(text) = serde_json::from_str(data.get())
            {
                plain = Some(text);
            } else {
                shown.push_str(&format!("[{media_type} is not shown]\n"));
            }
        }
        if let Some(Joined(text)) = plain {
            push_lines(&last_frames(&text), shown);
        }
        if let Some(name) = &self.ename {
            let value = self.evalue.as_deref().unwrap_or_default();
            shown.push_str(&format!("{name}: {value}\n"));
        }
        if !self.traceback.is_empty() {
            shown.push_str("[the traceback is not shown]\n");
        }
    }
}
