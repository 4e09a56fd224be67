//! Fills in the directives of chapters, and leads their links to pages of the book.
use crate::{PLAYER, escape, items, sources::page_of};
use mdbook_markdown::{
    MarkdownOptions, new_cmark_parser,
    pulldown_cmark::{Event, Tag},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Component, Path, PathBuf},
};

/// A quote is read, not scrolled.
const MAX_QUOTE_LINES: usize = 50;

/// The sources of the chapters, from the repository's root.
const SRC: &str = "book/src";

/// Chapters on their way to pages.
pub(crate) struct Chapters<'a> {
    repository: &'a Path,
    unwritten: BTreeSet<&'a str>,
    /// Files of the repository that pages link to.
    files: BTreeSet<PathBuf>,
    faults: Vec<String>,
    quoted: BTreeMap<String, String>,
}

impl<'a> Chapters<'a> {
    pub(crate) fn new(repository: &'a Path, unwritten: &'a [String]) -> Self {
        let unwritten = unwritten.iter().map(String::as_str).collect();
        let (files, faults, quoted) = Default::default();
        Chapters { repository, unwritten, files, faults, quoted }
    }

    /// The files that need a page of their own, or all that is wrong.
    pub(crate) fn finish(self) -> Result<BTreeSet<PathBuf>, String> {
        if self.faults.is_empty() { Ok(self.files) } else { Err(self.faults.join("\n")) }
    }

    /// A chapter's Markdown with its directives filled in. `path` begins at the book's sources.
    pub(crate) fn fill_in(&mut self, path: &Path, text: &str) -> String {
        let to_root = "../".repeat(path.components().count() - 1);
        let file = Path::new(SRC).join(path);
        let text = self.lead_links(&file, text, &to_root);
        let mut filled = String::with_capacity(text.len());
        let mut fence = None;
        for (line, number) in text.lines().zip(1..) {
            if let Some(marks) = fence_of(line) {
                fence = match fence {
                    None => Some(marks),
                    Some(open) if marks.starts_with(open) => None,
                    open => open,
                };
            }
            let directive = line.trim().strip_prefix("{{#").and_then(|it| it.strip_suffix("}}"));
            match directive.filter(|_| fence.is_none()) {
                Some(directive) => match self.directive(directive, &to_root) {
                    Ok(text) => filled += &text,
                    Err(why) => self.faults.push(format!("{}:{number}: {why}", file.display())),
                },
                None => filled += line,
            }
            filled.push('\n');
        }
        filled
    }

    fn read(&mut self, file: &str) -> Result<String, String> {
        if let Some(text) = self.quoted.get(file) {
            return Ok(text.clone());
        }
        let text =
            fs::read_to_string(self.repository.join(file)).map_err(|e| format!("{file}: {e}"))?;
        self.quoted.insert(file.to_string(), text.clone());
        Ok(text)
    }

    fn directive(&mut self, directive: &str, to_root: &str) -> Result<String, String> {
        let (name, argument) = directive.split_once(' ').unwrap_or((directive, ""));
        match (name, argument.trim()) {
            ("item", argument) => {
                let (file, item) =
                    argument.split_once(' ').ok_or("`item` takes a file and a name")?;
                self.item(file, item.trim(), to_root)
            }
            ("transcript", lesson) => {
                let file = format!("book/transcripts/{lesson}.txt");
                Ok(transcript(lesson, &self.read(&file)?, to_root))
            }
            ("diagram", name) => {
                let file = format!("{SRC}/diagrams/{name}.svg");
                let svg = self.read(&file)?;
                Ok(diagram(name, &svg).map_err(|why| format!("{file}: {why}"))?)
            }
            ("exercises", lesson) => self.exercises(lesson, to_root),
            ("page", file) => {
                let text = self.read(file)?;
                Ok(self.lead_links(Path::new(file), &text, to_root))
            }
            ("player", "") => Ok(format!("[Open the player]({to_root}{PLAYER}/index.html)")),
            _ => Err(format!("there is no directive `{directive}`")),
        }
    }

    fn item(&mut self, file: &str, item: &str, to_root: &str) -> Result<String, String> {
        let source = self.read(file)?;
        let quote = items::quote(&source, item).map_err(|why| format!("{file} {why}"))?;
        let lines = quote.last + 1 - quote.first;
        if lines > MAX_QUOTE_LINES {
            return Err(format!("{file}: `{item}` has {lines} lines of {MAX_QUOTE_LINES} at most"));
        }
        self.files.insert(file.into());
        Ok(format!(
            "<div class=\"quote\">\n\n```rust,noplayground\n{}\n```\n\n[`{file}`, lines {} to \
             {}]({to_root}source/{file}.html#L{})\n\n</div>",
            quote.text, quote.first, quote.last, quote.first
        ))
    }

    fn exercises(&mut self, lesson: &str, to_root: &str) -> Result<String, String> {
        let begin = format!("{lesson}_");
        let mut list = String::new();
        for name in file_names(&self.repository.join("exercises/tasks")) {
            let Some(stem) = name.strip_suffix(".rs").filter(|name| name.starts_with(&begin))
            else {
                continue;
            };
            let file = format!("exercises/tasks/{name}");
            let text = self.read(&file)?;
            let head =
                exercise_head(&text).map_err(|(line, why)| format!("{file}:{line}: {why}"))?;
            let _ = writeln!(
                list,
                "- **[{}]({to_root}source/{file}.html)**: {}, level {}, {} minutes.\n  \
                 `cargo run -p rungs-exercises -- run {stem}`",
                head.title, head.kind, head.level, head.minutes
            );
            self.files.insert(file.into());
        }
        if list.is_empty() {
            list += "There are none for this lesson.";
        }
        Ok(list)
    }

    /// The same text, whose links to files of the repository lead to the pages that show them.
    fn lead_links(&mut self, file: &Path, text: &str, to_root: &str) -> String {
        let options = MarkdownOptions::default();
        let mut edits = vec![];
        for (event, range) in new_cmark_parser(text, &options).into_offset_iter() {
            let Event::Start(Tag::Link { dest_url: to, .. } | Tag::Image { dest_url: to, .. }) =
                event
            else {
                continue;
            };
            if to.contains("://") || to.starts_with(['#']) || to.starts_with("mailto:") {
                continue;
            }
            let line = 1 + text[..range.start].matches('\n').count();
            let place = text[range.clone()].rfind(&*to);
            match (self.target(file, &to, to_root), place) {
                (Err(why), _) => self.faults.push(format!("{}:{line}: {why}", file.display())),
                (Ok(None), _) => {}
                (Ok(Some(_)), None) => {
                    let why = format!("write the link to {to} as [text](file)");
                    self.faults.push(format!("{}:{line}: {why}", file.display()));
                }
                (Ok(Some(new)), Some(place)) => {
                    let begin = range.start + place;
                    edits.push((begin..begin + to.len(), new));
                }
            }
        }
        let mut text = text.to_string();
        edits.sort_by_key(|(range, _)| range.start);
        for (range, new) in edits.into_iter().rev() {
            text.replace_range(range, &new);
        }
        text
    }

    /// Where a link of this file must lead in the book, if not where it leads now.
    fn target(&mut self, file: &Path, to: &str, to_root: &str) -> Result<Option<String>, String> {
        let (path, anchor) = to.split_once('#').map_or((to, None), |(path, at)| (path, Some(at)));
        let folder = file.parent().unwrap_or(Path::new(""));
        let target = inside(&folder.join(path))
            .ok_or_else(|| format!("the link {to} leads out of the repository"))?;
        let anchor = anchor.map_or(String::new(), |anchor| format!("#{anchor}"));
        if let Ok(page) = target.strip_prefix(SRC) {
            let name = page.to_string_lossy();
            if !self.repository.join(&target).is_file() && !self.unwritten.contains(&*name) {
                return Err(format!("there is no chapter {name}"));
            }
            return Ok((!file.starts_with(SRC)).then(|| format!("{to_root}{name}{anchor}")));
        }
        if !self.repository.join(&target).exists() {
            return Err(format!("there is no file {}", target.display()));
        }
        let page = format!("{to_root}{}{anchor}", page_of(&target));
        self.files.insert(target);
        Ok(Some(page))
    }
}

/// The marks that begin a line which opens or closes a block of code.
fn fence_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let marks = &line[..line.len() - line.trim_start_matches('`').len()];
    (marks.len() >= 3).then_some(marks)
}

/// A path from the repository's root without `..`, unless it leaves the repository.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !inside.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::Normal(part) => inside.push(part),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// The names in a folder, in their order; none, if there is no such folder.
fn file_names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The first lines of an exercise.
#[derive(Debug, PartialEq)]
struct ExerciseHead<'a> {
    title: &'a str,
    kind: &'a str,
    level: &'a str,
    minutes: &'a str,
}

fn exercise_head(text: &str) -> Result<ExerciseHead<'_>, (usize, String)> {
    let mut lines = text.lines();
    let title = lines.next().and_then(|line| line.strip_prefix("// # "));
    let title = title.ok_or((1, "does not begin with `// # Title`".to_string()))?;
    let facts = lines.nth(1).and_then(|line| line.strip_prefix("// ")).unwrap_or_default();
    let form = || (3, "is not `// KIND, level N, M minutes. Read: ..`".to_string());
    let facts = facts.split(" Read:").next().unwrap_or_default().trim_end().trim_end_matches('.');
    let [kind, level, minutes] = facts.split(", ").collect::<Vec<_>>()[..] else {
        return Err(form());
    };
    let level = level.strip_prefix("level ").ok_or_else(form)?;
    let minutes = minutes.strip_suffix(" minutes").ok_or_else(form)?;
    Ok(ExerciseHead { title, kind, level, minutes })
}

/// A run as a terminal shows it: what is typed and what is called stands out.
fn transcript(lesson: &str, text: &str, to_root: &str) -> String {
    let number = lesson.split('_').next().unwrap_or(lesson);
    let prompt = format!("{number} >> ");
    let mut html = format!(
        "<pre class=\"transcript\" tabindex=\"0\" aria-label=\"A run of {lesson}\">\
         <span class=\"command\">$ cargo run --example {lesson}</span>\n"
    );
    for line in text.lines() {
        let escaped = escape(line);
        let _ = if line.starts_with(&prompt) {
            writeln!(html, "<b>{escaped}</b>")
        } else if is_call(line) {
            writeln!(html, "<i>{escaped}</i>")
        } else {
            writeln!(html, "{escaped}")
        };
    }
    let player = format!("{to_root}{PLAYER}/index.html#{lesson}");
    format!(
        "{html}</pre>\n<p class=\"caption\"><a href=\"{player}\">This run, step by step</a></p>\n"
    )
}

/// `> $ ls` or, of another agent, `  ann > read notes.txt`.
fn is_call(line: &str) -> bool {
    let name = line.strip_prefix("  ").and_then(|line| line.split_once(" > "));
    line.starts_with("> ") || name.is_some_and(|(name, _)| !name.contains(' '))
}

/// A drawing as a part of the page, with ids that no other drawing has.
fn diagram(name: &str, svg: &str) -> Result<String, String> {
    let begin = svg.find("<svg").ok_or("has no <svg>")?;
    for needed in ["viewBox=\"0 0 720 ", "<title", "<desc", "</svg>"] {
        if !svg.contains(needed) {
            return Err(format!("has no {needed}"));
        }
    }
    let mut svg = svg[begin..].to_string();
    let ids: BTreeSet<String> = svg
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(Into::into)
        .collect();
    for id in ids {
        let new = format!("{name}-{id}");
        svg = svg.replace(&format!(" id=\"{id}\""), &format!(" id=\"{new}\""));
        svg = svg.replace(&format!("url(#{id})"), &format!("url(#{new})"));
        svg = svg.replace(&format!("href=\"#{id}\""), &format!("href=\"#{new}\""));
    }
    // A blank line would end the HTML in the Markdown.
    let lines: Vec<&str> = svg.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(format!("<figure class=\"diagram\">\n{}\n</figure>\n", lines.join("\n")))
}

/// The words of a chapter's prose, without code and directives.
pub(crate) fn words(text: &str) -> usize {
    let mut is_code = false;
    let mut words = 0;
    for line in text.lines() {
        if fence_of(line).is_some() {
            is_code = !is_code;
        } else if !is_code && !line.starts_with("{{#") {
            words +=
                line.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
        }
    }
    words
}
