use crate::Unfit;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::Read;

/// How large a notebook may be, pictures and all, in bytes.
const BYTES: u64 = 100_000_000;

#[derive(Deserialize)]
struct Notebook {
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    cell_type: String,
    #[serde(default)]
    source: Text,
    #[serde(default)]
    outputs: Vec<Output>,
}

/// A whole, or its lines.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(String),
    Lines(Vec<String>),
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    text: Text,
    #[serde(default)]
    data: Map<String, Value>,
    ename: Option<String>,
    evalue: Option<String>,
}

impl Default for Text {
    fn default() -> Self {
        Text::Lines(vec![])
    }
}

impl Text {
    fn push_to(&self, shown: &mut String) {
        match self {
            Text::Whole(text) => shown.push_str(text),
            Text::Lines(lines) => shown.extend(lines.iter().map(String::as_str)),
        }
        end_line(shown);
    }
}

/// The cells with the text of their outputs; of everything else, what it is.
pub fn cells(file: impl Read) -> Result<String, Unfit> {
    let notebook: Notebook =
        serde_json::from_reader(file.take(BYTES)).map_err(Unfit::NoNotebook)?;
    let mut shown = String::new();
    for (number, cell) in notebook.cells.iter().enumerate() {
        shown.push_str(&format!("[cell {}: {}]\n", number + 1, cell.cell_type));
        cell.source.push_to(&mut shown);
        for output in &cell.outputs {
            shown.push_str("[output]\n");
            output.text.push_to(&mut shown);
            for media_type in
                output.data.keys().filter(|media_type| !media_type.starts_with("text/"))
            {
                shown.push_str(&format!("[{media_type} is not shown]\n"));
            }
            if let Some(Ok(text)) = output.data.get("text/plain").map(Text::deserialize) {
                text.push_to(&mut shown);
            }
            if let Some(name) = &output.ename {
                shown.push_str(&format!(
                    "{name}: {}\n",
                    output.evalue.as_deref().unwrap_or_default()
                ));
            }
        }
    }
    Ok(shown)
}

fn end_line(shown: &mut String) {
    if !shown.is_empty() && !shown.ends_with('\n') {
        shown.push('\n');
    }
}
