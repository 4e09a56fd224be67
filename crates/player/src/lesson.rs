//! Lessons as the steps page shows them: their code, item by item, without head and tests.
use crate::Error;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// A lesson, or `full`.
pub(crate) struct Lesson {
    pub(crate) name: String,
    title: String,
    /// What its head says that is new: a text, and what is listed below it.
    adds: Vec<String>,
    builds_on: String,
    items: Vec<Item>,
}

/// A piece of code that begins at the margin: a function, a type, an `impl`.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    /// How it is called: `impl Layer for Reminder`, `fn install`.
    name: String,
    /// Its lines, with the comments before it.
    code: String,
}

impl Lesson {
    /// All of them, in the order of the course.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub(crate) fn all(root: &Path) -> Result<Vec<Lesson>, Error> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |error| Error::File(path, error)
        };
        let contents = root.join("lessons.rs");
        let text = fs::read_to_string(&contents).map_err(at(&contents))?;
        // Other modules are not indented.
        let modules = text.lines().filter_map(|line| line.strip_prefix("    pub mod "));
        let mut names: Vec<&str> = modules.map(|name| name.trim_end_matches(';')).collect();
        names.sort_by_key(|name| *name == "full");
        let read = |name: &str| {
            let file = root.join("examples").join(name).with_extension("rs");
            let source = fs::read_to_string(&file).map_err(at(&file))?;
            Ok(Lesson::read(name, &source))
        };
        names.into_iter().map(read).collect()
    }

    fn read(name: &str, source: &str) -> Lesson {
        let head: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let head: Vec<&str> =
            head.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let title = head.first().map_or("", |line| line.trim_start_matches("# ")).to_string();
        let text = head.join("\n");
        // The paragraph that begins with these words.
        let paragraph = |begin: &str| {
            let paragraphs = text.split("\n\n").map(str::trim);
            paragraphs.filter_map(|text| text.strip_prefix(begin)).last().unwrap_or_default()
        };
        let mut adds: Vec<String> = paragraph("New here: ").split("\n- ").map(plain).collect();
        if let Some(first) = adds[0].get(..1).map(str::to_uppercase) {
            adds[0].replace_range(..1, &first);
        }
        let builds_on = plain(paragraph("Builds on "));
        let builds_on = builds_on.split(". Motto").next().unwrap_or_default().to_string();
        Lesson { name: name.into(), title, adds, builds_on, items: items(source) }
    }

    fn json(&self) -> Value {
        let items: Vec<Value> =
            self.items.iter().map(|item| json!({"name": item.name, "code": item.code})).collect();
        json!({
            "name": self.name,
            "title": self.title,
            "adds": self.adds,
            "builds_on": self.builds_on,
            "items": items,
        })
    }
}

/// The script that gives all lessons to the page.
pub(crate) fn script(lessons: &[Lesson]) -> String {
    let lessons: Vec<Value> = lessons.iter().map(Lesson::json).collect();
    format!("STEPS.lessons({});\n", Value::from(lessons))
}

/// A paragraph of a doc comment in one line.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
}

/// The items of a source before its tests. It is formatted by rustfmt, so an item begins at the
/// margin, and ends with the line at the margin that closes it.
fn items(source: &str) -> Vec<Item> {
    let before_tests = source.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let (mut items, mut code, mut name) = (vec![], String::new(), None);
    for line in before_tests.filter(|line| !line.starts_with("//!")) {
        let at_margin = !line.is_empty() && !line.starts_with([' ', '\t']);
        if name.is_none() && at_margin && !line.starts_with("//") && !line.starts_with("#[") {
            name = Some(item_name(line));
        }
        if code.is_empty() && line.trim().is_empty() {
            continue;
        }
        code.push_str(line);
        code.push('\n');
        let closes = at_margin && (line.ends_with(';') || line.ends_with('}'));
        if closes && let Some(name) = name.take() {
            items.push(Item { name, code: std::mem::take(&mut code) });
        }
    }
    merged_imports(items)
}

/// All `use` as one item.
fn merged_imports(items: Vec<Item>) -> Vec<Item> {
    let is_import = |item: &Item| item.name == "use";
    let (imports, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(is_import);
    let code: String = imports.into_iter().map(|item| item.code).collect();
    let imports = (!code.is_empty()).then(|| Item { name: "use".into(), code });
    imports.into_iter().chain(rest).collect()
}

/// What an item is called, from its first line.
fn item_name(line: &str) -> String {
    let words = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
    let words = words.trim_start_matches("async ");
    if words.starts_with("use ") {
        return "use".into();
    }
    if words.starts_with("impl") {
        return words.split(" {").next().unwrap_or(words).trim_end_matches('{').trim().into();
    }
    let end = words.find(['(', '<', ':', '{', ';', '=']).unwrap_or(words.len());
    words[..end].trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_in_formatted_code() {
        let source = "//! # s99: a title\n//!\n//! New here: a\n//! [`Thing`].\n//! - one\n//!\n\
            //! Builds on s01, s02. Motto: *m*\n\nuse a::b;\nuse c::{\n    d,\n};\n\n\
            /// How many.\nconst MOST: usize = 3;\n\n#[derive(Debug)]\nstruct Thing<'a> {\n    \
            a: &'a str,\n}\n\nimpl<'a> Layer for Thing<'a> {\n    fn x() {}\n}\n\n\
            pub async fn install(agent: Agent) -> Agent {\n    agent\n}\n\nstruct Unit;\n\n\
            #[cfg(test)]\nmod tests {\n}\n";
        let lesson = Lesson::read("s99_x", source);
        let names: Vec<&str> = lesson.items.iter().map(|item| item.name.as_str()).collect();
        let expected = [
            "use",
            "const MOST",
            "struct Thing",
            "impl<'a> Layer for Thing<'a>",
            "fn install",
            "struct Unit",
        ];
        assert_eq!(names, expected);
        assert_eq!(lesson.items[0].code, "use a::b;\nuse c::{\n    d,\n};\n");
        assert_eq!(lesson.items[1].code, "/// How many.\nconst MOST: usize = 3;\n");
        let all = (&*lesson.title, &lesson.adds[..], &*lesson.builds_on);
        assert_eq!(all, ("s99: a title", &["A `Thing`.", "one"].map(String::from)[..], "s01, s02"));
    }

    #[test]
    fn every_line_of_code_of_every_lesson_is_in_an_item() {
        let root = crate::root();
        for lesson in Lesson::all(&root).unwrap() {
            let file = root.join("examples").join(&lesson.name).with_extension("rs");
            let source = fs::read_to_string(file).unwrap();
            let code = source.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
            let code = code.filter(|line| !line.starts_with("//!") && !line.trim().is_empty());
            let mut of_items: Vec<&str> =
                lesson.items.iter().flat_map(|i| i.code.lines()).collect();
            of_items.retain(|line| !line.trim().is_empty());
            let (mut code, name): (Vec<&str>, _) = (code.collect(), &lesson.name);
            code.sort_unstable();
            of_items.sort_unstable();
            assert_eq!(of_items, code, "{name}");
            assert!(lesson.items.iter().any(|item| item.name == "fn main"), "{name}");
            assert!(!lesson.title.is_empty() && !lesson.builds_on.is_empty(), "{name}");
        }
    }
}
