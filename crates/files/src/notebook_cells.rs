//! Cells of a Jupyter notebook: replaced, inserted and deleted. Every byte outside of the changed
//! cell stays.
//!
//! The format is that of nbformat 4
//! (<https://nbformat.readthedocs.io/en/latest/format_description.html>): code cells have `outputs`
//! and an `execution_count`, no others do; from 4.5 on each cell has an `id` of its own, of 1 to 64
//! letters, digits, `-` and `_`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(edit_mode: EditMode, cell: usize, source: Option<&str>) -> CellEdit {
        let source = source.map(String::from);
        CellEdit { file_path: String::new(), edit_mode, cell, source, cell_type: None }
    }

    /// As Jupyter writes it: one blank a level, sorted keys, lines of a source apart.
    const NOTEBOOK: &str = r##"{
 "cells": [
  {
   "cell_type": "markdown",
   "id": "intro",
   "metadata": {},
   "source": [
    "# Title"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": 3,
   "id": "0a1b2c3d",
   "metadata": {
    "tags": []
   },
   "outputs": [
    {
     "name": "stdout",
     "output_type": "stream",
     "text": [
      "1\n"
     ]
    }
   ],
   "source": [
    "x = 1\n",
    "print(x)"
   ]
  }
 ],
 "metadata": {"custom": 1.50},
 "nbformat": 4,
 "nbformat_minor": 5
}
"##;

    fn edited(edit: &CellEdit) -> String {
        edit_cell(NOTEBOOK, edit).unwrap().0
    }

    #[test]
    fn a_replaced_cell_loses_its_outputs_and_every_other_byte_stays() {
        let (start, rest) = NOTEBOOK.split_once("   \"execution_count\": 3,").unwrap();
        let (_, end) = rest.split_once("    \"print(x)\"\n   ]\n").unwrap();
        let cell = r#"   "execution_count": null,
   "id": "0a1b2c3d",
   "metadata": {
    "tags": []
   },
   "outputs": [],
   "source": [
    "x = 2\n",
    "\"ä\""
   ]
"#;
        let new = edited(&edit(EditMode::Replace, 2, Some("x = 2\n\"ä\"")));
        assert_eq!(new, format!("{start}{cell}{end}"));
    }

    #[test]
    fn cells_are_inserted_and_deleted_at_every_place_and_back_again() {
        let id = |json: &str, at: usize| -> String {
            let value: Value = serde_json::from_str(json).unwrap();
            value["cells"][at]["id"].as_str().unwrap().into()
        };
        for after in 0..=2 {
            let new = edited(&edit(EditMode::Insert, after, Some("y")));
            assert_eq!(notebook_fault(&new), None);
            let cell = r#"{
   "cell_type": "code",
   "execution_count": null,
   "id": "ID",
   "metadata": {},
   "outputs": [],
   "source": [
    "y"
   ]
  }"#;
            let cell = cell.replace("ID", &id(&new, after));
            assert!(new.contains(&cell), "{new}");
            let (back, _) = edit_cell(&new, &edit(EditMode::Delete, after + 1, None)).unwrap();
            assert_eq!(back, NOTEBOOK);
        }
        let one = edited(&edit(EditMode::Delete, 1, None));
        let (none, _) = edit_cell(&one, &edit(EditMode::Delete, 1, None)).unwrap();
        assert!(none.starts_with("{\n \"cells\": [],\n"), "{none}");
        let (again, done) = edit_cell(&none, &edit(EditMode::Insert, 0, Some("y"))).unwrap();
        assert!(again.starts_with("{\n \"cells\": [\n  {\n   \"cell_type\""), "{again}");
        assert_eq!(done, "inserted cell 1; it has 1 cells now");
    }

    #[test]
    fn a_type_brings_what_it_must_have_and_takes_what_it_must_not() {
        let to = |cell, cell_type| {
            let edit =
                CellEdit { cell_type: Some(cell_type), ..edit(EditMode::Replace, cell, Some("t")) };
            let value: Value = serde_json::from_str(&edited(&edit)).unwrap();
            value["cells"][cell - 1].clone()
        };
        let text = json!({"cell_type": "markdown", "id": "0a1b2c3d", "metadata": {"tags": []},
            "source": ["t"]});
        assert_eq!(to(2, CellType::Markdown), text);
        let code = json!({"cell_type": "code", "execution_count": null, "id": "intro",
            "metadata": {}, "outputs": [], "source": ["t"]});
        assert_eq!(to(1, CellType::Code), code);
    }

    #[test]
    fn forms_of_other_programs_stay_and_ids_are_only_where_they_belong() {
        let cell = r#"{"cell_type":"raw","source":"a","metadata":{}}"#;
        let old = format!("{{\"nbformat\":4,\"nbformat_minor\":4,\"cells\":[{cell}]}}");
        let old = &old;
        let (new, _) = edit_cell(old, &edit(EditMode::Replace, 1, Some("b\nc"))).unwrap();
        assert_eq!(new, old.replace("\"a\"", "\"b\\nc\""));
        let (new, _) = edit_cell(old, &edit(EditMode::Insert, 1, Some("b"))).unwrap();
        let cell = concat!(
            r#",{"cell_type":"code","execution_count":null,"metadata":{},"#,
            r#""outputs":[],"source":["b"]}]}"#
        );
        assert_eq!(new, old.replace("]}", cell));
        let marked = format!("\u{feff}{old}");
        let (new, _) = edit_cell(&marked, &edit(EditMode::Delete, 1, None)).unwrap();
        assert_eq!(new, "\u{feff}{\"nbformat\":4,\"nbformat_minor\":4,\"cells\":[]}");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let fault = |json: &str, edit: &CellEdit| edit_cell(json, edit).unwrap_err().to_string();
        for (change, said) in [
            (edit(EditMode::Replace, 0, Some("x")), "there is no cell 0; it has 2, counted from 1"),
            (edit(EditMode::Delete, 3, None), "there is no cell 3; it has 2, counted from 1"),
            (
                edit(EditMode::Insert, usize::MAX, Some("x")),
                "there is no cell 18446744073709551615",
            ),
            (edit(EditMode::Insert, 0, None), "`source` is needed to replace or insert a cell"),
            (edit(EditMode::Replace, 1, Some("# Title")), "cell 1 has this source already"),
        ] {
            assert!(fault(NOTEBOOK, &change).starts_with(said), "{}", fault(NOTEBOOK, &change));
        }
        let change = edit(EditMode::Delete, 1, None);
        for (json, said) in [
            ("", "this is no notebook: EOF"),
            ("[]", "this is no notebook: "),
            (r#"{"worksheets": [], "nbformat": 3}"#, "this is no notebook: missing field `cells`"),
            (r#"{"cells": {}, "nbformat": 4}"#, "this is no notebook: invalid type"),
            (r#"{"cells": [1], "nbformat": 5}"#, "its format is nbformat 5"),
            (r#"{"cells": [1, 2], "nbformat": 4}"#, "this is no notebook: "),
        ] {
            assert!(fault(json, &change).starts_with(said), "{json}: {}", fault(json, &change));
        }
    }
}
