use rungs_files::parse_yaml;
use std::{collections::BTreeMap, path::Path};

/// Front matter, by key.
type Fields = BTreeMap<String, String>;

/// Reads the lines as YAML.
fn strict(lines: &str) -> Result<Fields, String> {
    parse_yaml(Path::new("SKILL.md"), lines).map_err(|error| error.to_string())
}

/// Reads front matter: its fields, and what the person should mend.
fn read(lines: &str) -> Result<(Fields, Vec<String>), String> {
    let (fields, faults) = match strict(lines) {
        Ok(fields) => (fields, vec![]),
        Err(why) => {
            (by_line(lines), vec![format!("this is no YAML, so it was read line by line: {why}")])
        }
    };
    match fields.get("description") {
        Some(description) if !description.trim().is_empty() => Ok((fields, faults)),
        _ => Err("there is no description; add a line `description: what for, and when`".into()),
    }
}

fn by_line(lines: &str) -> Fields {
    let mut fields: Vec<(String, String)> = vec![];
    for line in lines.lines() {
        let words = line.trim();
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                *value = format!("{value} {words}");
            }
        } else if let Some((key, value)) = words.split_once(':') {
            fields.push((key.trim().into(), value.trim().into()));
        }
    }
    fields.into_iter().map(|(key, value)| (key, unquoted(&value).into())).collect()
}

fn unquoted(value: &str) -> &str {
    let inner = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}
