// # A colon in the description
//
// build, level 2, 30 minutes. Read: examples/s05_skill_loading.rs
//
// Skills begin with front matter: lines such as `name: debug`, between two lines `---`. It is meant
// to be YAML, but people write prose into it, and `description: Finds faults: reproduce first` is
// no YAML. Loaders that drop such skills without a word have annoyed many.
//
// Write `read`, which gets the lines between the fences:
//
// 1. What `strict` can read is returned as it is, without a fault.
// 2. What it cannot read is read line by line: `KEY: VALUE`, where the value is everything after
//    the first colon, without the blanks around it. Then there is one fault; it says why the strict
//    reading failed, and the person will be shown it.
// 3. In the second reading, quotes around a whole value are taken off. Lines that are indented
//    continue the value before them, joined by a blank. Blank lines and lines that begin with `#`
//    are skipped.
// 4. Without a description, after either reading, the skill is of no use: return an error that says
//    what to add.
//
// Run: cargo run -p rungs-exercises -- run s05_colon

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
    let fields = strict(lines)?;
    Ok((fields, vec![]))
}

mod tests {
    use super::*;

    #[track_caller]
    fn fields(lines: &str) -> (Fields, Vec<String>) {
        read(lines).unwrap_or_else(|error| {
            panic!("the skill was dropped: {error}\n\nIts front matter was:\n{lines}")
        })
    }

    #[test]
    fn what_is_yaml_is_read_as_yaml() {
        let lines = "name: pdf\ndescription: >-\n  Reads PDF files.\n  Use it for PDF.\n";
        let (fields, faults) = fields(lines);
        let why = "folded text and quotes are YAML's business; read it strictly first";
        assert_eq!(fields["description"], "Reads PDF files. Use it for PDF.", "{why}");
        let quoted = "description: \"Finds faults: reproduce first\"\n";
        assert_eq!(self::fields(quoted).0["description"], "Finds faults: reproduce first", "{why}");
        assert!(faults.is_empty(), "nothing is wrong with it: {faults:?}");
    }

    #[test]
    fn a_colon_in_the_description_is_prose() {
        let (fields, faults) = fields(
            "name: debug\ndescription: Systematic debugging: reproduce, then isolate: one by one\n",
        );
        let why = "the value is everything after the first colon";
        let expected = "Systematic debugging: reproduce, then isolate: one by one";
        assert_eq!(
            (fields["description"].as_str(), fields["name"].as_str()),
            (expected, "debug"),
            "{why}"
        );
        let why = "whoever wrote it should hear of it: a strict loader elsewhere will drop it";
        assert_eq!(faults.len(), 1, "{why}: {faults:?}");
        assert!(!faults[0].is_empty(), "{why}");
    }

    #[test]
    fn other_lines_that_are_no_yaml_do_not_matter() {
        let (fields, faults) = fields(
            "description: Counts words\nargument-hint: [file] - name\n# for now\n\nlicense: MIT\n",
        );
        assert_eq!(fields["description"], "Counts words", "the fault is in another line");
        assert_eq!(fields["argument-hint"], "[file] - name", "taken as it is written");
        assert_eq!(fields["license"], "MIT", "a comment and a blank line are no fields");
        assert_eq!(fields.len(), 3, "three lines are fields: {fields:?}");
        assert_eq!(faults.len(), 1, "one reading failed, so there is one fault: {faults:?}");
    }

    #[test]
    fn quotes_and_indented_lines_are_understood_in_the_second_reading_too() {
        let (fields, _) = fields(
            "name: 'review'\ndescription: Reviews changes: finds defects,\n  proves them: by \
             running.\n",
        );
        assert_eq!(fields["name"], "review", "quotes around a whole value are not part of it");
        let expected = "Reviews changes: finds defects, proves them: by running.";
        let why = "an indented line continues the value before it, even if it has a colon";
        assert_eq!(fields["description"], expected, "{why}");
    }

    #[test]
    fn without_a_description_it_is_of_no_use() {
        for lines in ["name: x\n", "name: x\ndescription: ''\n", "name: a: b\ndescription:\n"] {
            let why = "a model chooses a skill by its description, and this one has none";
            let error = read(lines).expect_err(why);
            assert!(error.contains("description"), "say what to add: {error}");
        }
    }
}
