//! Cells of a Jupyter notebook: replaced, inserted and deleted. Every byte outside of the changed
//! cell stays.
//!
//! The format is that of nbformat 4
//! (<https://nbformat.readthedocs.io/en/latest/format_description.html>): code cells have `outputs` and an `execution_count`, no others do; from 4.5 on each cell has an
//! `id` of its own, of 1 to 64 letters, digits, `-` and `_`.
use crate::notebook_fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use std::collections::HashSet;

/// The only version of the format that is edited here.
const FORMAT: u64 = 4;
/// From this minor version on, cells have ids.
const MINOR_WITH_IDS: u64 = 5;

/// A change of one cell, as a model asks for it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct CellEdit {
    /// The notebook, relative to the working directory or absolute.
    pub file_path: String,
    /// What to do.
    pub edit_mode: EditMode,
    /// The cell to replace or delete, or after which to insert one; 0 for the beginning.
    pub cell: usize,
    /// The new source of the cell, for replace and insert.
    pub source: Option<String>,
    /// Its type, for insert (code unless given), and for replace if it is to change.
    pub cell_type: Option<CellType>,
}

/// What to do with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EditMode {
    /// Gives it another source.
    Replace,
    /// Adds one after it.
    Insert,
    /// Removes it.
    Delete,
}

/// The type of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CellType {
    /// A program.
    Code,
    /// Text in Markdown.
    Markdown,
    /// Text that is left as it is.
    Raw,
}

/// Why a cell was not changed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CellError {
    /// It is no notebook.
    #[error("this is no notebook: {0}")]
    NoNotebook(String),
    /// Its format is another one.
    #[error("its format is nbformat {0}, and only nbformat {FORMAT} can be edited here")]
    Format(u64),
    /// It has no such cell.
    #[error("there is no cell {cell}; it has {count}, counted from 1")]
    NoCell {
        /// The number.
        cell: usize,
        /// How many cells there are.
        count: usize,
    },
    /// There is no source to put into it.
    #[error("`source` is needed to replace or insert a cell")]
    NoSource,
    /// The cell is so already.
    #[error("cell {0} has this source already, so there is nothing to change")]
    NoChange(usize),
}

#[derive(Deserialize)]
struct Notebook<'a> {
    #[serde(borrow)]
    cells: &'a RawValue,
    nbformat: Option<u64>,
    nbformat_minor: Option<u64>,
}

/// The JSON of a notebook after the change, and what was done, in words.
pub(crate) fn edit_cell(json: &str, edit: &CellEdit) -> Result<(String, String), CellError> {
    let invalid = |error: serde_json::Error| CellError::NoNotebook(error.to_string());
    let notebook: Notebook<'_> =
        serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(invalid)?;
    let format = notebook.nbformat.unwrap_or(FORMAT);
    if format != FORMAT {
        return Err(CellError::Format(format));
    }
    let list = notebook.cells.get();
    let cells: Vec<&RawValue> = serde_json::from_str(list).map_err(invalid)?;
    // All are parts of one text.
    let offset = |part: &str| part.as_ptr().addr() - json.as_ptr().addr();
    let span = |i: usize| {
        let raw = cells[i].get();
        offset(raw)..offset(raw) + raw.len()
    };
    let count = cells.len();
    let index = |cell: usize| match cell.checked_sub(1) {
        Some(i) if i < count => Ok(i),
        _ => Err(CellError::NoCell { cell, count }),
    };
    let layout = Layout::of(json);
    let source = || edit.source.as_deref().ok_or(CellError::NoSource);
    let cell = edit.cell;
    let (range, new, done) = match edit.edit_mode {
        EditMode::Replace => {
            let i = index(cell)?;
            let old: Map<String, Value> = serde_json::from_str(cells[i].get()).map_err(invalid)?;
            let new = replaced(old, cell, source()?, edit.cell_type)?;
            (span(i), layout.render(&new), format!("replaced cell {cell} of {count}"))
        }
        EditMode::Insert => {
            let has_ids = notebook.nbformat_minor.unwrap_or_default() >= MINOR_WITH_IDS;
            let id = has_ids.then(|| new_id(&cells));
            let new = inserted(source()?, edit.cell_type.unwrap_or(CellType::Code), id);
            let new = layout.render(&new);
            let place = cell.saturating_add(1);
            let done = format!("inserted cell {place}; it has {} cells now", count + 1);
            let gap = layout.line(2);
            match cell {
                0 if count == 0 => {
                    let new = format!("[{gap}{new}{}]", layout.line(1));
                    (offset(list)..offset(list) + list.len(), new, done)
                }
                0 => (span(0).start..span(0).start, format!("{new},{gap}"), done),
                _ => {
                    let end = span(index(cell)?).end;
                    (end..end, format!(",{gap}{new}"), done)
                }
            }
        }
        EditMode::Delete => {
            let i = index(cell)?;
            let done = format!("deleted cell {cell}; it has {} cells now", count - 1);
            match (i, i + 1 < count) {
                (0, false) => (offset(list)..offset(list) + list.len(), "[]".into(), done),
                (_, true) => (span(i).start..span(i + 1).start, String::new(), done),
                (_, false) => (span(i - 1).end..span(i).end, String::new(), done),
            }
        }
    };
    let mut edited = json.to_owned();
    edited.replace_range(range, &new);
    match notebook_fault(&edited) {
        Some(fault) => Err(CellError::NoNotebook(fault)),
        None => Ok((edited, done)),
    }
}

fn replaced(
    mut cell: Map<String, Value>,
    number: usize,
    source: &str,
    cell_type: Option<CellType>,
) -> Result<Map<String, Value>, CellError> {
    let before = cell.clone();
    let was_sorted = cell.keys().is_sorted();
    let as_list = !cell.get("source").is_some_and(Value::is_string);
    cell.insert("source".into(), source_value(source, as_list));
    if let Some(cell_type) = cell_type {
        cell.insert("cell_type".into(), json!(cell_type));
    }
    if cell == before {
        return Err(CellError::NoChange(number));
    }
    match cell.get("cell_type").and_then(Value::as_str) {
        Some("code") => {
            cell.insert("outputs".into(), json!([]));
            cell.insert("execution_count".into(), Value::Null);
            cell.shift_remove("attachments");
        }
        _ => {
            cell.shift_remove("outputs");
            cell.shift_remove("execution_count");
        }
    }
    cell.entry("metadata").or_insert_with(|| json!({}));
    if was_sorted {
        cell.sort_keys();
    }
    Ok(cell)
}

fn inserted(source: &str, cell_type: CellType, id: Option<String>) -> Map<String, Value> {
    let mut cell = Map::new();
    cell.insert("cell_type".into(), json!(cell_type));
    cell.insert("metadata".into(), json!({}));
    cell.insert("source".into(), source_value(source, true));
    if cell_type == CellType::Code {
        cell.insert("execution_count".into(), Value::Null);
        cell.insert("outputs".into(), json!([]));
    }
    if let Some(id) = id {
        cell.insert("id".into(), id.into());
    }
    // As Jupyter writes it.
    cell.sort_keys();
    cell
}

/// As one string, or as a list of its lines, each with its line end.
fn source_value(source: &str, as_list: bool) -> Value {
    match as_list {
        true => source.split_inclusive('\n').collect(),
        false => source.into(),
    }
}

fn new_id(cells: &[&RawValue]) -> String {
    #[derive(Deserialize)]
    struct WithId {
        id: Option<String>,
    }
    let ids = cells.iter().filter_map(|cell| serde_json::from_str::<WithId>(cell.get()).ok()?.id);
    let ids: HashSet<String> = ids.collect();
    // Without random numbers the first one that is free will do.
    let first = getrandom::u32().unwrap_or_default();
    let candidates = (0..).map(|n| format!("{:08x}", first.wrapping_add(n)));
    candidates.into_iter().find(|id| !ids.contains(id)).unwrap_or_default()
}

/// How the JSON is laid out: the indentation of one level; none when it is in one line.
struct Layout<'a>(Option<&'a str>);

impl<'a> Layout<'a> {
    fn of(json: &'a str) -> Self {
        let after_brace = json.find('{').map_or("", |start| &json[start + 1..]);
        let blank = &after_brace[..after_brace.len() - after_brace.trim_start().len()];
        Layout(blank.rsplit_once('\n').map(|(_, indentation)| indentation))
    }

    /// What stands between two values at this depth.
    fn line(&self, depth: usize) -> String {
        self.0.map_or(String::new(), |indentation| format!("\n{}", indentation.repeat(depth)))
    }

    /// A cell, which is at depth 2.
    fn render(&self, cell: &Map<String, Value>) -> String {
        let value = json!(cell);
        let Some(indentation) = self.0 else { return value.to_string() };
        let format = serde_json::ser::PrettyFormatter::with_indent(indentation.as_bytes());
        let mut bytes = vec![];
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, format);
        // Values have strings for keys, and a vector takes everything.
        let _ = value.serialize(&mut serializer);
        // Line ends within strings are escaped.
        String::from_utf8_lossy(&bytes).replace('\n', &self.line(2))
    }
}
