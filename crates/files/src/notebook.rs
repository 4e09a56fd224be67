//! Jupyter notebooks as text.
use crate::ReadError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::Read;

/// How large a notebook may be with all its images, in bytes.
const MAX_NOTEBOOK_BYTES: u64 = 100_000_000;

#[derive(Deserialize)]
struct Notebook {
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    cell_type: String,
    #[serde(default)]
    source: MultilineText,
    #[serde(default)]
    outputs: Vec<Output>,
}

/// The format allows one string or a list of its lines.
#[derive(Deserialize)]
#[serde(untagged)]
enum MultilineText {
    Whole(String),
    Lines(Vec<String>),
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    text: MultilineText,
    /// One output in several media types.
    #[serde(default)]
    data: Map<String, Value>,
    ename: Option<String>,
    evalue: Option<String>,
    #[serde(default)]
    traceback: Vec<Value>,
}

impl Default for MultilineText {
    fn default() -> Self {
        MultilineText::Lines(vec![])
    }
}

impl MultilineText {
    fn push_to(&self, shown: &mut String) {
        match self {
            MultilineText::Whole(text) => shown.push_str(text),
            MultilineText::Lines(lines) => shown.extend(lines.iter().map(String::as_str)),
        }
        if !shown.is_empty() && !shown.ends_with('\n') {
            shown.push('\n');
        }
    }
}

/// The cells with the text of their outputs; of every other output, its media type.
pub(crate) fn cells(file: impl Read) -> Result<String, ReadError> {
    let notebook: Notebook = serde_json::from_reader(file.take(MAX_NOTEBOOK_BYTES))
        .map_err(ReadError::InvalidNotebook)?;
    let mut shown = String::new();
    for (index, cell) in notebook.cells.iter().enumerate() {
        shown.push_str(&format!("[cell {}: {}]\n", index + 1, cell.cell_type));
        cell.source.push_to(&mut shown);
        for output in &cell.outputs {
            shown.push_str("[output]\n");
            output.text.push_to(&mut shown);
            output.push_data_to(&mut shown);
            if let Some(name) = &output.ename {
                let value = output.evalue.as_deref().unwrap_or_default();
                shown.push_str(&format!("{name}: {value}\n"));
            }
            if !output.traceback.is_empty() {
                shown.push_str("[the traceback is not shown]\n");
            }
        }
    }
    Ok(shown)
}

impl Output {
    fn push_data_to(&self, shown: &mut String) {
        let mut plain = None;
        for (media_type, data) in &self.data {
            if media_type == "text/plain"
                && let Ok(text) = MultilineText::deserialize(data)
            {
                plain = Some(text);
            } else {
                shown.push_str(&format!("[{media_type} is not shown]\n"));
            }
        }
        if let Some(text) = plain {
            text.push_to(shown);
        }
    }
}
