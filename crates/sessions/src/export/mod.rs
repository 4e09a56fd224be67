//! A transcript of a session to read, and to hand in: Markdown, or one HTML page that needs nothing
//! else. It shows all that happened in the order in which it happened, also what was rewound or
//! removed to make room later.
//!
//! Records of the kind `message` are read as messages of the Messages API, those of the kind
//! `result` as its `tool_result` blocks. Whatever else a block is, is shown as JSON.

mod diff;
mod html;
mod markdown;
mod parts;

use crate::Tree;
use std::char::{REPLACEMENT_CHARACTER, from_u32};

pub use html::html;
pub use markdown::markdown;

/// A session, as a person reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// What it is called.
    pub title: String,
    /// Id, folder, dates: a name and a value each.
    pub facts: Vec<(String, String)>,
    /// What happened, in order.
    pub parts: Vec<Part>,
}

/// A part of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A turn begins, or another conversation.
    Heading(String),
    /// What the harness did: rewound, made room.
    Note(String),
    /// What the person typed, or the model said.
    Said {
        /// Who, and when.
        who: String,
        /// The words.
        text: String,
    },
    /// What is read on demand: the system text, thinking, inserted text.
    Folded {
        /// What it is.
        title: String,
        /// Its text.
        text: String,
    },
    /// A call and its result.
    Call {
        /// The tool.
        name: String,
        /// Its arguments, as indented JSON.
        input: String,
        /// The change it asks for, as a unified diff.
        diff: String,
        /// What came of it: text, and whether it is an error. `None` when there is no result.
        result: Option<(String, bool)>,
        /// The pictures of the result: media type and base64 text.
        images: Vec<(String, String)>,
    },
    /// A picture: media type and base64 text.
    Image(String, String),
}

impl Transcript {
    /// The transcript of this session. `about` is what stands before it, such as the system text:
    /// a title and a text each. `children` are the conversations within it.
    pub fn new(tree: &Tree, children: &[Tree], about: Vec<(String, String)>) -> Transcript {
        let mut parts: Vec<Part> =
            about.into_iter().map(|(title, text)| Part::Folded { title, text }).collect();
        parts.extend(parts::of(tree));
        for child in children {
            let agent = child.begin.as_ref().map_or(child.id.as_str(), |begin| &begin.agent);
            parts.push(Part::Heading(format!("Subagent {agent}")));
            parts.extend(parts::of(child));
        }
        let first = tree.records.first().map_or(0, |record| record.at);
        let last = tree.records.last().map_or(0, |record| record.at);
        let mut facts = vec![("Session".into(), tree.id.clone())];
        if let Some(begin) = &tree.begin {
            facts.push(("Folder".into(), begin.folder.clone()));
            if let Some(fork) = &begin.fork {
                facts.push(("Fork of".into(), fork.session.clone()));
            }
        }
        facts.push(("Begun".into(), parts::date(first)));
        facts.push(("Last record".into(), parts::date(last)));
        let label = || tree.turns(tree.head).pop().map(|turn| turn.label);
        let title = tree.title().or_else(label).filter(|title| !title.is_empty());
        Transcript { title: title.unwrap_or_else(|| "A session".into()), facts, parts }
    }
}

/// A control character as its picture, so that no terminal which shows the file obeys it.
fn visible(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        '\0'..='\x1f' => from_u32(0x2400 + u32::from(c)).unwrap_or(REPLACEMENT_CHARACTER),
        '\x7f' => '\u{2421}',
        _ if c.is_control() => REPLACEMENT_CHARACTER,
        _ => c,
    }
}
